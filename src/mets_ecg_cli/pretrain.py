"""Arguments of `mets-ecg pretrain`: what METS and C-MELT have beside the arguments of all training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .augmentation import AugmentationArguments
from .evaluate import check_task
from .parser import argument

# What of a row an ECG is compared with.
TextColumn = Literal["report", "report_en", "findings"]

# Which other texts stand in for a record's own; see `mets_ecg.training.negatives`.
NegativeBand = Literal["farthest", "random", "semi-hard", "hard"]


@dataclass(kw_only=True)
class PretrainArguments(AugmentationArguments):
    """Align an ECG encoder with a text encoder on recordings and their reports (METS, C-MELT).

    The defaults are what METS (arXiv 2303.12311) states: Adam, 1e-3, weight decay 1e-3, 50 epochs, batches of
    32. A recipe in `examples/configs/` sets them all, with the fields of the model and of the processor.
    """

    method: Literal["mets", "c-melt"] = argument(
        "mets", help="mets: contrast with a frozen text encoder; c-melt: masked modelling, matching and contrast"
    )
    text_column: TextColumn = argument(
        "report",
        help="what an ECG is compared with: its report, without label codes; that in English; or one of its findings, "
        "another one each step",
    )
    text_model: str = argument("sentence-transformers/all-MiniLM-L6-v2", help="text encoder: a folder or a Hub id")
    text_config: dict = argument(
        default_factory=dict,
        help="c-melt: fields of a new text encoder, with its model_type, whose words are those of English reports; in "
        "place of --text-model",
    )
    model: dict = argument(default_factory=dict, help="fields of ECGTextConfig; ecg_config holds those of the encoder")
    feature_extractor: dict = argument(default_factory=dict, help="fields of ECGFeatureExtractor")
    processor: dict = argument(default_factory=dict, help="fields of ECGProcessor: templates, max_length ...")
    negatives: Literal["batch", "vocabulary"] = argument(
        "batch",
        help="what an ECG's own text is told from: the texts of the other records of the batch, as METS does; or all "
        "texts of the training records, which a frozen text encoder makes a fixed list",
    )
    negative_share: float = argument(0.5, help="c-melt: part of a batch's records that get the text of another one")
    negative_band: NegativeBand = argument(
        "farthest", help="c-melt: which texts these are drawn from, by similarity to the record's own"
    )
    negative_candidates: int = argument(64, help="c-melt: so many texts for each distinct text")
    negative_embedder: str = argument(
        "sentence-transformers/all-MiniLM-L6-v2", help="c-melt: text encoder that compares texts: a folder or a Hub id"
    )
    task: str | None = argument(
        None, help="zero-shot task that is printed after each epoch and chooses nothing; default one of the corpus"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.task is not None:
            check_task(self.task)
        self._check_fractions("negative_share")
        if self.negative_candidates < 1:
            raise ValueError(f"--negative-candidates must be at least 1, got {self.negative_candidates}")
        if self.method == "c-melt" and self.negatives == "vocabulary":
            raise ValueError("--negatives vocabulary is METS': C-MELT trains its text encoder")
        if self.method == "mets" and self.text_config:
            raise ValueError("--text-config is C-MELT's: METS takes a text encoder that is trained, by --text-model")
        if self.negatives == "batch" and self.batch_size < 2:
            raise ValueError("--batch-size must be at least 2: the other records of a batch are the negatives")
        if self.negatives == "vocabulary" and not self.model.get("freeze_text_model", True):
            raise ValueError(
                "--negatives vocabulary needs a frozen text encoder, whose texts are a fixed list: leave "
                "freeze_text_model: false out, or use --negatives batch"
            )
