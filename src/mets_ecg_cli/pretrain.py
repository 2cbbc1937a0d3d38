"""Arguments of `mets-ecg pretrain`: everything that decides a run beside the model's and the processor's own fields."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .data import DataArguments
from .evaluate import check_task
from .parser import argument

# What of a row an ECG is compared with.
TextColumn = Literal["report", "report_en", "findings"]


@dataclass(kw_only=True)
class PretrainArguments(DataArguments):
    """Align an ECG encoder with a frozen text encoder on recordings and their reports (METS).

    The defaults are what METS (arXiv 2303.12311) states: Adam, 1e-3, weight decay 1e-3, 50 epochs, batches of
    32. A recipe in `examples/configs/` sets them all, with the fields of the model and of the processor.
    """

    output: str = argument(help="folder of the checkpoint, its metrics.json and training_args.yaml")
    text_column: TextColumn = argument(
        "report",
        help="what an ECG is compared with: its report, without label codes; that in English; or one of its findings, "
        "another one each step",
    )
    text_model: str = argument("sentence-transformers/all-MiniLM-L6-v2", help="text encoder: a folder or a Hub id")
    model: dict = argument(default_factory=dict, help="fields of ECGTextConfig; ecg_config holds those of the encoder")
    feature_extractor: dict = argument(default_factory=dict, help="fields of ECGFeatureExtractor")
    processor: dict = argument(default_factory=dict, help="fields of ECGProcessor: templates, max_length ...")
    task: str | None = argument(
        None, help="zero-shot task that is printed after each epoch and chooses nothing; default one of the corpus"
    )
    epochs: int = argument(50, help="passes over the training records")
    max_steps: int | None = argument(None, help="stop after so many steps, for trying a recipe out")
    batch_size: int = argument(32, help="records in a step; the other records of a batch are its negatives")
    optimizer: Literal["adam", "adamw"] = argument("adam", help="adam couples weight decay with the gradient")
    learning_rate: float = argument(1e-3, help="at its height")
    weight_decay: float = argument(1e-3, help="of all trained weights")
    lr_scheduler: Literal["cosine", "constant"] = argument("cosine", help="after the warm-up")
    warmup_fraction: float = argument(0.05, help="part of all steps in which the learning rate rises")
    time_shift: float = argument(
        0.0, help="recordings are shifted by up to so many s either way; batches with padding are not"
    )
    lead_dropout: float = argument(0.0, help="probability of each lead to be masked in training")
    mixed_precision: Literal["no", "bf16"] = argument("no", help="bf16 only where the processor computes in it")
    seed: int = argument(0, help="of new weights, the order of records and their changes")
    overwrite: bool = argument(False, help="replace an output folder that is there already")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.task is not None:
            check_task(self.task)
        for name, least in (("epochs", 1), ("batch_size", 2), ("max_steps", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"--{name.replace('_', '-')} must be at least {least}, got {value}")
        if not self.learning_rate > 0:
            raise ValueError(f"--learning-rate must be above 0, got {self.learning_rate}")
        for name in ("warmup_fraction", "lead_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"--{name.replace('_', '-')} must be from 0 to below 1, got {getattr(self, name)}")
