"""Arguments of what training changes in recordings; shared by pre-training and fine-tuning."""

from __future__ import annotations

from dataclasses import dataclass

from .parser import argument
from .training import TrainingArguments


@dataclass(kw_only=True)
class AugmentationArguments(TrainingArguments):
    """Shifts in time, and leads that go missing."""

    time_shift: float = argument(
        0.0, help="recordings are shifted by up to so many s either way; batches with padding are not"
    )
    lead_dropout: float = argument(0.0, help="probability of a lead to be masked in training")
    lead_dropout_records: float = argument(1.0, help="part of the records that lead dropout is for, drawn anew a step")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.time_shift >= 0:
            raise ValueError(f"--time-shift must be at least 0, got {self.time_shift}")
        self._check_fractions("lead_dropout")
        if not 0 <= self.lead_dropout_records <= 1:
            raise ValueError(f"--lead-dropout-records must be from 0 to 1, got {self.lead_dropout_records}")
