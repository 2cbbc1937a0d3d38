"""Arguments of `mets-ecg embed`."""

from __future__ import annotations

from dataclasses import dataclass

from .checkpoint import CheckpointArguments
from .parser import argument


@dataclass(kw_only=True)
class EmbedArguments(CheckpointArguments):
    """Write what a checkpoint makes of recordings as Parquet: pooled output, and vectors or probabilities.

    On several devices by `accelerate launch -m mets_ecg_cli embed ...`, one Parquet file a process.
    """

    test: list[str] = argument(
        default_factory=lambda: ["all"], help="which recordings: a split, folds such as 1-8, or all"
    )
    output: str = argument(help="folder for the Parquet files")
    batch_size: int = argument(256, help="recordings in one forward pass")
