"""Arguments of `mets-ecg convert`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .parser import argument


@dataclass
class ConvertArguments:
    """Make a checkpoint that others released one of this package's: weights, processor, code and card."""

    kind: Literal["dbeta"] = argument(help="dbeta: C-MELT as its authors released it (D-BETA), a .pt", positional=True)
    checkpoint: str = argument(help="the released file; no code in it is run", positional=True)
    output: str = argument(help="folder of the checkpoint; `--model` of other commands reads it", positional=True)
    tokenizer: str | None = argument(
        None, help="the text encoder's tokenizer, a folder or a Hub id; by default the one that it was trained with"
    )
