"""What METS and C-MELT share: a new ECG encoder beside a text encoder, and the texts of records."""

from __future__ import annotations

from typing import ClassVar

import torch

from mets_ecg_cli.pretrain import PretrainArguments

from ..configuration_ecg_text import build_ecg_config
from ..data.prepared_rows import PreparedRows
from ..data.text_embeddings import read_texts
from ..evaluation.labels import TaskLabels, load_labels
from ..evaluation.statistics import auroc, macro_average
from ..evaluation.tasks import Task
from ..evaluation.zero_shot import score_prompts
from ..feature_extraction_ecg import ECGFeatureExtractor
from ..modeling_ecg_text import ECGTextModel
from ..processing_ecg import ECGProcessor
from ..text_models import load_text_tokenizer
from .augmentation import check_shift
from .method import Method


def new_ecg_config(feature_extractor: ECGFeatureExtractor, fields: dict):
    """Return the config of a new ECG encoder that takes what a feature extractor gives.

    Args:
        feature_extractor: whose leads and rate the encoder has.
        fields: of its config.

    Raises:
        ValueError: they name other leads or another rate.
    """
    own = {"num_leads": len(feature_extractor.lead_names), "sampling_rate": feature_extractor.sampling_rate}
    ecg_config = build_ecg_config({**own, **fields})
    for name, value in own.items():
        if getattr(ecg_config, name) != value:
            raise ValueError(f"the encoder has {name}={getattr(ecg_config, name)}, the feature extractor gives {value}")
    return ecg_config


class ECGTextMethod(Method):
    """A method that trains a dual encoder on recordings and their texts.

    Args:
        arguments: of the run.
        task: `validate` measures its zero-shot AUROC too, which chooses nothing.
    """

    best = "validation_loss"
    model_class: ClassVar[type[ECGTextModel]] = ECGTextModel
    model_defaults: ClassVar[dict] = {}

    def __init__(self, arguments: PretrainArguments, task: Task | None = None):
        self.arguments = arguments
        self.task = task
        self.counts: dict[str, int] = {}

    def build(self) -> tuple[ECGTextModel, ECGProcessor]:
        """Return a model with a new ECG encoder, and its processor, from the recipe's fields.

        Raises:
            ValueError: the encoder's leads or rate are not those of the feature extractor, or the time shift is longer
                than its window.
            TypeError: the recipe names a field that there is not.
            OSError: the text model is not there.
        """
        arguments = self.arguments
        extractor = ECGFeatureExtractor(**arguments.feature_extractor)
        fields = {**self.model_defaults, **arguments.model}
        ecg_config = new_ecg_config(extractor, fields.pop("ecg_config", {}))
        check_shift(arguments, extractor)
        text, tokenizer = self._text_encoder(fields.get("text_model_revision"))
        languages = None if arguments.text_column == "report" else ["en"]
        self.processor = ECGProcessor(extractor, tokenizer, **{"languages": languages, **arguments.processor})
        self.model = self.model_class.from_ecg_text_pretrained(ecg_config, text, **fields)
        limit = self.processor.max_length
        positions = getattr(self.model.config.text_config, "max_position_embeddings", limit)
        if limit > positions:
            raise ValueError(f"the processor's max_length={limit} is above the text model's {positions} positions")
        return self.model, self.processor

    def _text_encoder(self, revision: str | None):
        """Return the text encoder, or where it is, and its tokenizer."""
        name = self.arguments.text_model
        return name, load_text_tokenizer(name, revision=revision)

    def describe_negatives(self) -> str:
        """Say what texts are trained against, where there is something to say."""
        return ""

    def _read_texts(self, rows: PreparedRows) -> tuple[list[int], list[tuple[str, ...]]]:
        """Return which rows have something to learn from, and their texts."""
        texts = read_texts(rows, self.arguments.text_column)
        kept = [i for i, own in enumerate(texts) if own]
        return kept, [texts[i] for i in kept]

    def _read_validation_texts(self, rows: PreparedRows) -> tuple[list[int], list[tuple[str, ...]]]:
        """Return what `_read_texts` does, of rows that a contrast is measured on."""
        kept, texts = self._read_texts(rows)
        if len(kept) < 2:
            raise ValueError("a contrastive loss needs at least 2 validation records: name others by --validation")
        return kept, texts

    def _validation_labels(self, rows: PreparedRows) -> TaskLabels | None:
        """Return the labels of the task; None where there is no task, or the rows have none of its labels."""
        has_labels = self.task is not None and self.task.label_column in rows.column_names
        return load_labels(rows, self.task) if has_labels else None

    def _zero_shot(self, ecg_embeds: torch.Tensor, truth: TaskLabels) -> dict[str, float]:
        """Return the zero-shot macro AUROC from vectors of all validation rows, `(records, projection_dim)`."""
        prompts = self.task.phrase_prompts(*(self.processor.languages or ()))
        scores = score_prompts(self.model, self.processor, ecg_embeds[truth.rows], prompts)
        return {"zero_shot_macro_auroc": macro_average(auroc(truth.labels, scores))}
