"""Arguments of `mets-ecg evaluate`."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

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
class EvaluateArguments(DataArguments):
    """Print a zero-shot table with intervals, beside untrained encoders, a linear probe and the text oracle.

    The linear probe is fitted on --train; none: no probe.
    """

    model: str = argument(help="checkpoint: a folder or a Hub id")
    task: str = argument("ptbxl-super", help="what to classify: a task of the package, or the path of a YAML file")
    leads: list[str] | None = argument(
        None, help="measure as if only these leads had been recorded, as I II V2; limb leads that follow come with them"
    )
    num_resamples: int = argument(1000, help="of the bootstrap over patients")
    seed: int = argument(0, help="of the bootstrap and the untrained encoders")
    output: str | None = argument(None, help="write the table as JSON to this file")
    json: bool = argument(False, help="print the table as JSON")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_task(self.task)
