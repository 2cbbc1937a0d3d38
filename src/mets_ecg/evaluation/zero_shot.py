"""Zero-shot figures of a dual encoder on prepared rows: scores, METS' protocol, AUROC with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from datasets import Dataset

from ..data.prepared_rows import PreparedRows
from ..modeling_ecg_text import ECGTextModel
from ..zero_shot_scoring import embed_phrases, zero_shot_scores
from .statistics import AUROC, SingleLabelMetrics, bootstrap_auroc, single_label_metrics
from .tasks import Task


@dataclass(frozen=True)
class Truth:
    """The labels of some rows for a task.

    Attributes:
        classes: class codes, in the task's order.
        labels: bool `(records, classes)`; only records that have a label of the task.
        patients: `(records,)`; a record whose patient is unknown is its own.
        rows: `(records,)`, their positions in the rows given.
    """

    classes: tuple[str, ...]
    labels: np.ndarray
    patients: np.ndarray
    rows: np.ndarray


def read_truth(rows: Dataset | PreparedRows, task: Task) -> Truth:
    """Return the labels of the rows that have one.

    Raises:
        ValueError: the corpus has no such label column, or no row has a label.
    """
    if task.label_column not in rows.column_names:
        known = [name for name in rows.column_names if name.startswith("labels_")]
        raise ValueError(
            f"task {task.name} needs the column {task.label_column}; the corpus has {', '.join(known) or 'no labels'}"
        )
    names = rows.features[task.label_column].feature.names
    labels = np.zeros((len(rows), len(names)), dtype=bool)
    for i, own in enumerate(rows[task.label_column]):
        if own:  # null: no label; as an index it would mean all of them
            labels[i, own] = True
    labels = labels[:, [names.index(code) for code in task.classes]]
    has_label = np.flatnonzero(labels.any(axis=1))
    if not len(has_label):
        raise ValueError(f"task {task.name}: none of the {len(rows)} records has a label")
    patients = np.array(
        [patient or f"record {record}" for patient, record in zip(rows["patient_id"], rows["record_id"], strict=True)]
    )
    return Truth(tuple(task.classes), labels[has_label], patients[has_label], has_label)


@torch.no_grad()
def encode_ecgs(model: ECGTextModel, rows: PreparedRows, *, batch_size: int = 256) -> torch.Tensor:
    """Return the ECG encoder's pooled output for all rows, `(records, encoder hidden size)`, on the CPU."""
    was_training = model.training
    model.eval()
    pooled = torch.empty(len(rows), model.config.ecg_config.hidden_size)
    for batch in rows.in_order(batch_size):
        batch = {name: values.to(model.device) for name, values in batch.items()}
        lead_mask = None if bool(batch["lead_mask"].all()) else batch["lead_mask"]
        output = model.ecg_model(batch["input_values"], batch.get("ecg_attention_mask"), lead_mask)
        pooled[batch["index"].cpu()] = output.pooler_output.float().cpu()
    model.train(was_training)
    return pooled


@torch.no_grad()
def embed_pooled(model: ECGTextModel, ecg_pooled: torch.Tensor) -> torch.Tensor:
    """Return the vectors that are compared with texts, `(records, projection_dim)`, from pooled output."""
    return model.embed(model.ecg_projection(ecg_pooled.to(model.device))).float().cpu()


def score_prompts(
    model: ECGTextModel, processor, ecg_embeds: torch.Tensor, prompts: Mapping[str, Sequence[str]]
) -> np.ndarray:
    """Return scores `(records, classes)`: a softmax over the classes, as the pipeline forms them.

    Args:
        model: gives the label's vectors and the scale.
        processor: the model's.
        ecg_embeds: `(records, projection_dim)`.
        prompts: phrases of each class, in the classes' order.
    """
    was_training = model.training
    model.eval()
    label_embeds = embed_phrases(model, processor, list(prompts.values())).float().cpu()
    model.train(was_training)
    return zero_shot_scores(ecg_embeds, label_embeds, scale=model.scale().item()).numpy()


def measure(truth: Truth, scores: np.ndarray, *, num_resamples: int = 1000, seed: int = 0) -> AUROC:
    """Return the AUROC of scores `(records, classes)` with intervals over patients."""
    return bootstrap_auroc(truth.labels, scores, truth.patients, num_resamples=num_resamples, seed=seed)


def measure_single_label(truth: Truth, scores: np.ndarray) -> SingleLabelMetrics | None:
    """Return METS' figures: the best-scored class of the records that have exactly one.

    None if some class has no such record: an average over the classes would then say nothing.
    """
    single = truth.labels.sum(axis=1) == 1
    if not truth.labels[single].any(axis=0).all():
        return None
    return single_label_metrics(truth.labels[single].argmax(axis=1), scores[single].argmax(axis=1), len(truth.classes))


def untrained_twin(model: ECGTextModel, seed: int) -> ECGTextModel:
    """Return the same model with a new ECG encoder and ECG projection: the floor that training must leave behind."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        twin = type(model)(model.config)
    twin.text_model, twin.text_projection = model.text_model, model.text_projection
    if model.config.text_centering:
        twin.text_mean = model.text_mean
    with torch.no_grad():
        twin.logit_scale.copy_(model.logit_scale)
    return twin.to(model.device).eval()
