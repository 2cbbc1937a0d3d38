"""Arguments of `mets-ecg pretrain`: what METS has beside the arguments of all training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .augmentation import AugmentationArguments
from .evaluate import check_task
from .parser import argument

# What of a row an ECG is compared with.
TextColumn = Literal["report", "report_en", "findings"]


@dataclass(kw_only=True)
class PretrainArguments(AugmentationArguments):
    """Align an ECG encoder with a text encoder on recordings and their reports (METS).

    The defaults are what METS (arXiv 2303.12311) states: Adam, 1e-3, weight decay 1e-3, 50 epochs, batches of
    32. A recipe in `examples/configs/` sets them all, with the fields of the model and of the processor.
    """

    text_column: TextColumn = argument(
        "report",
        help="what an ECG is compared with: its report, without label codes; that in English; or one of its findings, "
        "another one each step",
    )
    text_model: str = argument("sentence-transformers/all-MiniLM-L6-v2", help="text encoder: a folder or a Hub id")
    model: dict = argument(default_factory=dict, help="fields of ECGTextConfig; ecg_config holds those of the encoder")
    feature_extractor: dict = argument(default_factory=dict, help="fields of ECGFeatureExtractor")
    processor: dict = argument(default_factory=dict, help="fields of ECGProcessor: templates, max_length ...")
    negatives: Literal["batch", "vocabulary"] = argument(
        "batch",
        help="what an ECG's own text is told from: the texts of the other records of the batch, as METS does; or all "
        "texts of the training records, which a frozen text encoder makes a fixed list",
    )
    task: str | None = argument(
        None, help="zero-shot task that is printed after each epoch and chooses nothing; default one of the corpus"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.task is not None:
            check_task(self.task)
        if self.negatives == "batch" and self.batch_size < 2:
            raise ValueError("--batch-size must be at least 2: the other records of a batch are the negatives")
        if self.negatives == "vocabulary" and not self.model.get("freeze_text_model", True):
            raise ValueError(
                "--negatives vocabulary needs a frozen text encoder, whose texts are a fixed list: leave "
                "freeze_text_model: false out, or use --negatives batch"
            )
