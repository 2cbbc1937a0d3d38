"""Classification as a training method: an ECG encoder and a head on the labels of a task."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

from mets_ecg_cli.finetune import FinetuneArguments

from ..configuration_ecg_text import ECGClassificationConfig
from ..data.prepared_rows import PreparedRows
from ..evaluation.checkpoints import read_saved
from ..evaluation.encoding import encode_ecgs
from ..evaluation.labels import draw_patients, load_labels
from ..evaluation.statistics import auroc, choose_thresholds, macro_average
from ..evaluation.tasks import Task
from ..feature_extraction_ecg import ECGFeatureExtractor
from ..leads import leads_from
from ..modeling_ecg_classification import ECGForSequenceClassification
from .augmentation import augment, check_shift
from .ecg_text_method import new_ecg_config
from .method import Method
from .processes import gather_in_order, own_share


class Classification(Method):
    """Binary cross-entropy of each class where a row may have several, else cross-entropy.

    The epoch with the highest macro AUROC on the validation rows is kept, with the thresholds of highest F1 there.

    Args:
        arguments: of the run.
        task: whose labels are trained on.
    """

    name = "classification"
    best = "validation_macro_auroc"

    def __init__(self, arguments: FinetuneArguments, task: Task):
        self.arguments, self.task = arguments, task
        self.counts: dict[str, int] = {}

    def build(self) -> tuple[ECGForSequenceClassification, ECGFeatureExtractor]:
        """Return a classifier with a new head, on a checkpoint's encoder or a new one, and its feature extractor.

        Raises:
            ValueError: the encoder's leads or rate are not those of the feature extractor, or the checkpoint is a
                classifier of other classes.
            OSError: there is no such checkpoint.
        """
        arguments = self.arguments
        kind = "multi_label_classification" if self.task.multi_label else "single_label_classification"
        id2label = dict(enumerate(self.task.classes))
        head = {"id2label": id2label, "problem_type": kind, "classifier_dropout": arguments.classifier_dropout}
        if arguments.model is not None:
            self.processor = ECGFeatureExtractor.from_pretrained(arguments.model)
            self.model = _load(arguments.model, head)
            known = read_saved(arguments.model, "metrics.json")
            name = Path(arguments.model).resolve().name if Path(arguments.model).is_dir() else arguments.model
            self.encoder_from = {"model": name} | {key: known.get(key, {}) for key in ("parts", "corpora")}
        else:
            self.processor = ECGFeatureExtractor(**arguments.feature_extractor)
            ecg_config = new_ecg_config(self.processor, arguments.ecg_config)
            self.model = ECGForSequenceClassification(ECGClassificationConfig(ecg_config=ecg_config, **head))
        check_shift(arguments, self.processor)
        return self.model, self.processor

    def setup(self, train: PreparedRows, validation: PreparedRows | None) -> PreparedRows:
        truth = load_labels(train, self.task)
        chosen = draw_patients(truth, self.arguments.label_fraction, [self.arguments.seed, 2])
        self.counts = {"train": len(chosen), "without_label": len(train) - len(truth.rows)}
        labels = truth.labels[chosen]
        absent = [code for code, count in zip(truth.classes, labels.sum(axis=0), strict=True) if count == 0]
        if len(truth.classes) - len(absent) < 2 - self.task.multi_label:
            raise ValueError(
                f"the {len(chosen)} training records have {len(truth.classes) - len(absent)} of the classes of "
                f"{self.task.name}: nothing can be learned from them"
            )
        self.labels = torch.from_numpy(labels.astype(np.float32))
        self.weights = self._class_weights(labels)
        self.validation = None
        if validation is not None:
            self.validation = load_labels(validation, self.task)
            self.validation_rows = self.with_leads(validation.select(self.validation.rows))
        return self.with_leads(train.select(truth.rows[chosen]))

    def with_leads(self, rows: PreparedRows) -> PreparedRows:
        """Return rows as if only the leads of the run had been recorded."""
        leads = self.arguments.leads
        return rows if leads is None else rows.with_leads(leads_from(leads, self.processor.lead_names))

    def _class_weights(self, labels: np.ndarray) -> torch.Tensor | None:
        if self.arguments.class_weights == "none":
            return None
        positive = labels.sum(axis=0).clip(min=1)
        weights = (len(labels) - positive) / positive if self.task.multi_label else len(labels) / positive
        if not self.task.multi_label:
            weights = weights / weights.mean()
        return torch.tensor(weights, dtype=torch.float32, device=self.model.device)

    def parameter_groups(self, learning_rate: float) -> list[dict]:
        layers = [*self.model.ecg_model.layers(), self.model.classifier]
        groups = []
        for depth, layer in enumerate(reversed(layers)):
            parameters = [parameter for parameter in layer.parameters() if parameter.requires_grad]
            if parameters:
                groups.append({"params": parameters, "lr": learning_rate * self.arguments.layer_decay**depth})
        return groups

    def collate(self, batch: dict, generator: torch.Generator) -> dict:
        """Add the labels, shift the recordings and drop leads."""
        batch["labels"] = self.labels[batch["index"]]
        return augment(batch, self.arguments, self.processor.sampling_rate, generator)

    def losses(self, model, batch: dict) -> dict[str, torch.Tensor]:
        inputs = {name: batch.get(name) for name in ("input_values", "ecg_attention_mask", "lead_mask")}
        logits = model(**inputs).logits.float()
        if self.task.multi_label:
            loss = nn.functional.binary_cross_entropy_with_logits(logits, batch["labels"], pos_weight=self.weights)
        else:
            loss = nn.functional.cross_entropy(logits, batch["labels"].argmax(dim=1), weight=self.weights)
        return {"classification": loss}

    def validate(self) -> dict[str, float]:
        """Return the macro AUROC on the validation rows, and set the model's thresholds by them."""
        if self.validation is None:
            return {}
        (encoded,) = encode_ecgs([self.model], own_share(self.validation_rows))
        probabilities = gather_in_order(encoded.outputs, len(self.validation_rows)).numpy()
        if self.task.multi_label:
            self.model.config.thresholds = choose_thresholds(self.validation.labels, probabilities)
        return {"validation_macro_auroc": macro_average(auroc(self.validation.labels, probabilities))}


def _load(checkpoint: str, head: dict) -> ECGForSequenceClassification:
    fields, _ = ECGClassificationConfig.get_config_dict(checkpoint)
    if fields.get("model_type") != ECGClassificationConfig.model_type:
        return ECGForSequenceClassification.from_pretrained(checkpoint, **head)
    model = ECGForSequenceClassification.from_pretrained(checkpoint)
    if model.config.id2label != head["id2label"] or model.config.problem_type != head["problem_type"]:
        raise ValueError(
            f"{checkpoint!s} is a classifier of {', '.join(model.config.id2label.values())}, and the task has "
            f"{', '.join(head['id2label'].values())}: fine-tune the checkpoint that it was made from"
        )
    return model
