"""Arguments of `mets-ecg plot`."""

from __future__ import annotations

from dataclasses import dataclass

from .parser import argument
from .predict import RecordingArguments


@dataclass(kw_only=True)
class PlotArguments(RecordingArguments):
    """Draw recordings on clinical paper: 25 mm/s, 10 mm/mV."""

    output: str = argument(help="PNG, SVG or PDF file; or a folder, for several recordings")
    start: float = argument(0.0, help="second of the recording at which the page begins")
    title: str | None = argument(None, help="above the paper; default the recording's name")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.start >= 0:
            raise ValueError(f"--start must be 0 s or more, got {self.start:g}")
