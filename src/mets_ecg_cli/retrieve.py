"""Arguments of `mets-ecg retrieve`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .checkpoint import MeasureArguments
from .parser import argument


@dataclass(kw_only=True)
class RetrieveArguments(MeasureArguments):
    """Find reports by recordings and recordings by reports: how often the right one is among the first.

    Recordings with equal reports are equally right.
    """

    text_column: Literal["report", "report_en", "findings"] | None = argument(
        None, help="the texts; default what the checkpoint was trained on"
    )
    at: list[int] = argument(default_factory=lambda: [1, 5, 10, 50], help="how many of the first are looked at")
    output: str | None = argument(None, help="write the figures as JSON to this file")
    json: bool = argument(False, help="print the figures as JSON")

    def __post_init__(self) -> None:
        super().__post_init__()
        if any(k < 1 for k in self.at):
            raise ValueError(f"--at must be at least 1, got {min(self.at)}")
