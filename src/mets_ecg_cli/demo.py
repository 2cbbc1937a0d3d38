"""Arguments of `mets-ecg demo`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .parser import argument


@dataclass
class DemoArguments:
    """Simulate recordings, pre-train METS or C-MELT on them, and ask a real recording a question."""

    output: str = argument("demo-output", help="folder of checkpoint/, metrics.json and ecg.png")
    source: str | None = argument(None, help="PTB-XL as PhysioNet publishes it, in place of simulated recordings")
    method: Literal["mets", "c-melt"] = argument("mets", help="of pre-training")
    num_records: int = argument(3000, help="recordings to simulate")
    epochs: int | None = argument(None, help="passes over the training records, in place of the recipe's")
    seed: int = argument(0, help="of simulation and training")
    overwrite: bool = argument(False, help="replace what an earlier demo left in the output folder")
