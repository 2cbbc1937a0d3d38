"""Arguments of `mets-ecg evaluate`, and which tasks there are."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from .checkpoint import MeasureArguments
from .data import DataArguments
from .parser import argument


def task_names() -> list[str]:
    """Return the names of the package's tasks, one a file of `mets_ecg.evaluation`, which is not imported for it."""
    folder = Path(find_spec("mets_ecg").origin).parent / "evaluation" / "task_files"
    return sorted(path.stem for path in folder.glob("*.yaml"))


def check_task(name: str) -> None:
    """Raise a `ValueError` that says which tasks there are, unless `name` is one or the path of a YAML file."""
    if name not in (*task_names(), "simulated") and Path(name).suffix not in (".yaml", ".yml"):
        raise ValueError(f"--task {name}: there are {', '.join(task_names())}, or the path of a task's YAML file")


@dataclass(kw_only=True)
class EvaluateArguments(MeasureArguments, DataArguments):
    """Print a checkpoint's figures on a task with intervals: zero-shot beside baselines, or a classifier's.

    The linear probe is fitted on --train; none: no probe. `mets-ecg probe` has more of it.
    """

    task: str = argument("ptbxl-super", help="what to classify: a task of the package, or the path of a YAML file")
    thresholds: bool = argument(False, help="also F-max and F1 by thresholds that are chosen on --validation")
    balanced_draws: int = argument(
        0, help="also METS' protocol: accuracy to F1 on this many draws with as many records of each class"
    )
    draw_size: int = argument(100, help="records of each class in a balanced draw; fewer where a class has fewer")
    transductive: bool = argument(
        False, help="also phrases after the mean over the test part's unlabelled recordings is subtracted"
    )
    output: str | None = argument(None, help="folder for the report: report.json, report.md, scores and figures")
    json: bool = argument(False, help="print the table as JSON")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_task(self.task)
        for name, least in (("balanced_draws", 0), ("draw_size", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"--{name.replace('_', '-')} must be at least {least}, got {getattr(self, name)}")
