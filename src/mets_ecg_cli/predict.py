"""Arguments of `mets-ecg predict` and, in part, of `mets-ecg plot`: recordings of one's own."""

from __future__ import annotations

from dataclasses import dataclass

from .parser import argument


@dataclass(kw_only=True)
class RecordingArguments:
    """Files of recordings, and what they do not say of themselves."""

    files: list[str] = argument(help="recordings, or folders of them", positional=True)
    sampling_rate: float | None = argument(None, help="Hz, of files that do not state it")
    lead_names: list[str] | None = argument(
        None, help="of files that do not name their leads, as I II V1; - leaves a channel out"
    )
    units: str | None = argument(None, help="mV, uV or V: of files that do not state it")

    def __post_init__(self) -> None:
        if self.sampling_rate is not None and not self.sampling_rate > 0:
            raise ValueError(f"--sampling-rate must be above 0 Hz, got {self.sampling_rate:g}")

    def stated(self) -> dict:
        """Return what is stated, as `read_recording` takes it."""
        names = self.lead_names and [name for own in self.lead_names for name in own.split(",") if name]
        names = names and [None if name == "-" else name for name in names]
        return {"sampling_rate": self.sampling_rate, "lead_names": names, "units": self.units}


@dataclass(kw_only=True)
class PredictArguments(RecordingArguments):
    """Ask recordings in words, or give them to a classifier, and print scores with remarks on them."""

    model: str | None = argument(
        None, help="checkpoint: a folder or a Hub id; default mets-small, which comes with the package"
    )
    labels: list[str] = argument(
        default_factory=list, help="what is asked, in words; or a text file with a label a line"
    )
    multi_label: bool = argument(False, help="judge each label on its own, not against the others")
    top_k: int | None = argument(None, help="print so many labels, best first; default all")
    windows: bool = argument(False, help="read all of a recording that is longer than the model's window, and average")
    over_time: bool = argument(False, help="scores of each window of a long recording, in a table and in --picture")
    picture: str | None = argument(
        None,
        help="draw each recording with its scores on clinical paper: a PNG, SVG or PDF file, or a folder for several",
    )
    json: bool = argument(False, help="print a line of JSON for each recording")
    csv: bool = argument(False, help="print a table with a line for each recording")
    batch_size: int = argument(16, help="windows in one forward pass")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.json and self.csv:
            raise ValueError("--json and --csv are two forms of the same: give one")
        if (self.csv or self.over_time) and self.top_k is not None:
            raise ValueError(f"--{'csv' if self.csv else 'over-time'} has a column for each label: leave --top-k out")
        if self.top_k is not None and self.top_k < 1:
            raise ValueError(f"--top-k must be at least 1, got {self.top_k}")
        if self.batch_size < 1:
            raise ValueError(f"--batch-size must be at least 1, got {self.batch_size}")
