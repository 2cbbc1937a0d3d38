"""Arguments of the commands that apply a checkpoint to recordings, and of those that measure it."""

from __future__ import annotations

from dataclasses import dataclass

from .data import SourceArguments
from .parser import argument


@dataclass(kw_only=True)
class CheckpointArguments(SourceArguments):
    """A checkpoint, recordings, and how they are read."""

    model: str = argument(help="checkpoint: a folder or a Hub id")
    test: list[str] | None = argument(
        None, help="which recordings: a split, folds such as 1-8, or all; default the corpus' own test part"
    )
    leads: list[str] | None = argument(
        None, help="as if only these leads had been recorded, as I II V2; limb leads that follow come with them"
    )
    windows: bool = argument(
        False, help="read recordings longer than the model's window in windows, whose mean counts; default the middle"
    )


@dataclass(kw_only=True)
class MeasureArguments(CheckpointArguments):
    """A checkpoint that is measured on recordings."""

    refuse_seen: bool = argument(False, help="refuse a test part that the checkpoint was trained or chosen on")
    seed: int = argument(0, help="of the bootstrap, of draws and of untrained encoders")
    num_resamples: int = argument(1000, help="of the bootstrap over patients")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.num_resamples < 1:
            raise ValueError(f"--num-resamples must be at least 1, got {self.num_resamples}")
