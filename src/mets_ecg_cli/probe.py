"""Arguments of `mets-ecg probe`."""

from __future__ import annotations

from dataclasses import dataclass

from .checkpoint import MeasureArguments
from .data import DataArguments
from .evaluate import check_task
from .parser import argument


@dataclass(kw_only=True)
class ProbeArguments(MeasureArguments, DataArguments):
    """Fit small classifiers on a frozen ECG encoder with few or all labels, beside the same on untrained encoders.

    Linear: logistic regression, its penalty chosen on --validation. Prototypes: the mean of some recordings of a class.
    """

    task: str = argument("ptbxl-super", help="what to classify: a task of the package, or the path of a YAML file")
    fractions: list[float] = argument(
        default_factory=lambda: [0.01, 0.1, 1.0], help="of the training patients whose labels are used"
    )
    shots: list[int] = argument(
        default_factory=list, help="also prototypes: the mean of so many recordings of each class, as 1 4 16"
    )
    num_draws: int = argument(5, help="of patients, where not all are used, and of recordings for prototypes")
    output: str | None = argument(None, help="write the table as JSON to this file, and as Markdown beside it")
    json: bool = argument(False, help="print the table as JSON")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_task(self.task)
        if not self.fractions and not self.shots:
            raise ValueError("there is nothing to fit: give --fractions or --shots")
        for fraction in self.fractions:
            if not 0 < fraction <= 1:
                raise ValueError(f"--fractions must be above 0 and at most 1, got {fraction}")
        for name, values in (("shots", self.shots), ("num_draws", [self.num_draws])):
            if any(value < 1 for value in values):
                raise ValueError(f"--{name.replace('_', '-')} must be at least 1, got {min(values)}")
