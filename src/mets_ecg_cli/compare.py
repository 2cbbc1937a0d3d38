"""Arguments of `mets-ecg compare`."""

from __future__ import annotations

from dataclasses import dataclass

from .parser import argument


@dataclass(kw_only=True)
class CompareArguments:
    """Compare two reports of `mets-ecg evaluate --output` on the same records, by a paired bootstrap over patients."""

    first: str = argument(help="folder of a report", positional=True)
    second: str = argument(help="folder of a report; the difference is second less first", positional=True)
    lines: list[str] | None = argument(
        None, help="which line of each is compared, as phrases linear_probe; default the first of each"
    )
    num_resamples: int = argument(1000, help="of the bootstrap over patients")
    seed: int = argument(0, help="of the bootstrap")
    json: bool = argument(False, help="print the comparison as JSON")

    def __post_init__(self) -> None:
        if self.lines is not None and len(self.lines) != 2:
            raise ValueError(f"--lines takes two names, of the first report and of the second, got {self.lines}")
        if self.num_resamples < 1:
            raise ValueError(f"--num-resamples must be at least 1, got {self.num_resamples}")
