"""Arguments of `mets-ecg simulate`."""

from __future__ import annotations

from dataclasses import dataclass

from .parser import argument


@dataclass
class SimulateArguments:
    """Write a corpus of simulated 12-lead recordings with reports, in the row that every corpus shares."""

    output: str = argument(help="folder of the corpus; `--data` of other commands reads it")
    num_records: int = argument(2000, help="recordings, each 10 s")
    sampling_rate: float = argument(100.0, help="Hz")
    held_out: list[str] = argument(default_factory=list, help="findings kept out of folds 1 to 8")
    seed: int = argument(0, help="of findings, signals and wording")
    num_proc: int | None = argument(None, help="processes")
