"""A fine-tuned classifier on prepared rows: its logits, thresholds, and its table."""

from __future__ import annotations

import numpy as np
import torch

from ..data.prepared_rows import PreparedRows
from ..modeling_ecg_classification import ECGForSequenceClassification
from .table import ResultRow, ZeroShotTable
from .tasks import Task
from .zero_shot import auroc_with_interval, best_class_metrics, encode_ecgs, load_labels


@torch.no_grad()
def predict_logits(model: ECGForSequenceClassification, rows: PreparedRows, *, batch_size: int = 256) -> torch.Tensor:
    """Return the logits of all rows, `(records, classes)`, on the CPU."""
    (pooled,) = encode_ecgs([model], rows, batch_size=batch_size)
    return model.classifier(pooled.to(model.device, model.dtype)).float().cpu()


def choose_thresholds(labels: np.ndarray, probabilities: np.ndarray) -> list[float]:
    """Return for each class the threshold of highest F1; 0.5 where a class has no positive.

    Args:
        labels: bool `(records, classes)`, of the validation part.
        probabilities: `(records, classes)`.
    """
    from sklearn.metrics import precision_recall_curve

    thresholds = []
    for truth, scores in zip(labels.T, probabilities.T, strict=True):
        if not truth.any():
            thresholds.append(0.5)
            continue
        precision, recall, at = precision_recall_curve(truth, scores)
        f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
        thresholds.append(float(at[f1[:-1].argmax()]))
    return thresholds


def classification_table(
    model: ECGForSequenceClassification, rows: PreparedRows, task: Task, *, num_resamples: int = 1000, seed: int = 0
) -> ZeroShotTable:
    """Measure a classifier on prepared rows.

    Raises:
        ValueError: the model was trained on other classes than the task's, or the rows have no labels of the task.
    """
    trained = [model.config.id2label[i] for i in range(model.num_labels)]
    if trained != list(task.classes):
        raise ValueError(
            f"the model classifies {', '.join(trained)}, and {task.name} has {', '.join(task.classes)}: it cannot be "
            "measured on it"
        )
    labels = load_labels(rows, task)
    scores = model.get_probabilities(predict_logits(model, rows.select(labels.rows)).double()).numpy()
    table = ZeroShotTable(task, labels.classes, labels.excluded)
    auroc = auroc_with_interval(labels, scores, num_resamples=num_resamples, seed=seed)
    table.lines["classifier"] = ResultRow("classifier", auroc, best_class_metrics(labels, scores))
    return table
