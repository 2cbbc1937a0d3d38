"""Zero-shot classification of prepared rows by a dual encoder: labels, scores, AUROC with intervals, METS' protocol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from datasets import Dataset
from transformers import PreTrainedModel

from ..data.prepared_rows import PreparedRows
from ..data.rows import is_label_column
from ..modeling_ecg_text import ECGTextModel
from ..zero_shot_scoring import embed_phrases, zero_shot_scores
from .statistics import AUROC, SingleLabelMetrics, bootstrap_auroc, single_label_metrics
from .tasks import Task, task_of


@dataclass(frozen=True)
class TaskLabels:
    """The labels of some rows for a task.

    Attributes:
        classes: class codes, in the task's order.
        labels: bool `(records, classes)`; only rows that count. A row of a multi-label task may have no class: it is a
            negative of all of them.
        patients: `(records,)`; a record whose patient is unknown counts as a patient of its own.
        rows: `(records,)`, their positions in the rows given.
        excluded: how many rows do not count, by reason.
    """

    classes: tuple[str, ...]
    labels: np.ndarray
    patients: np.ndarray
    rows: np.ndarray
    excluded: dict[str, int]


def load_labels(rows: Dataset | PreparedRows, task: Task) -> TaskLabels:
    """Return the labels of the rows that count.

    Raises:
        ValueError: the corpus has no such label column or lacks a class, or no row counts.
    """
    if task.label_column not in rows.column_names:
        known = [name for name in sorted(rows.column_names) if is_label_column(name) or name == "statements"]
        other = task_of(rows["corpus"][0], rows.column_names) if "corpus" in rows.column_names else None
        raise ValueError(
            f"task {task.name} needs the column {task.label_column}; the corpus has {', '.join(known) or 'no labels'}"
            + (f". A task of {other.corpus} is {other.name}" if other else "")
        )
    names, stated = _classes_of(rows, task.label_column)
    missing = [code for code in task.classes if code not in names]
    # No list says which codes there could be: one that nobody has may be rare, and is shown with no positives.
    if missing and (task.label_column != "statements" or len(missing) == len(task.classes)):
        raise ValueError(
            f"task {task.name}: the column {task.label_column} has no class {', '.join(map(repr, missing))}; it has "
            f"{', '.join(names)}"
        )
    unknown = np.array([own is None for own in stated], dtype=bool)
    labels = np.array([[code in (own or ()) for code in task.classes] for own in stated], dtype=bool)
    labels = labels.reshape(len(stated), len(task.classes))
    excluded = {"labels not known": unknown}
    if task.problem_type == "single-label":
        excluded["not exactly one of the classes"] = ~unknown & (labels.sum(axis=1) != 1)
    if task.unit == "beat":
        excluded["a second kind of abnormal beat in the window"] = _mixed_windows(rows)
    counted = ~np.any(list(excluded.values()), axis=0)
    if not counted.any():
        raise ValueError(f"task {task.name}: none of the {len(rows)} rows counts: all have {' or '.join(excluded)}")
    kept = np.flatnonzero(counted)
    corpora = rows["corpus"] if "corpus" in rows.column_names else [""] * len(rows)
    owners = zip(corpora, rows["patient_id"], rows["record_id"], strict=True)
    patients = np.array([f"{corpus}/{patient or f'record {record}'}" for corpus, patient, record in owners])
    counts = {reason: int(marked.sum()) for reason, marked in excluded.items() if marked.any()}
    return TaskLabels(tuple(task.classes), labels[kept], patients[kept], kept, counts)


def _classes_of(rows, column: str) -> tuple[list[str], list[set[str] | None]]:
    """Return a column's classes by name, and those of each row; None where they are not known."""
    if column == "statements":  # a modifier, as in SPH's 30+310, does not make another class of a statement
        stated = [None if own is None else {one["code"].split("+")[0] for one in own} for own in rows[column]]
        return sorted(set().union(*filter(None, stated))), stated
    names = rows.features[column].feature.names
    return names, [None if own is None else {names[i] for i in own} for own in rows[column]]


def _mixed_windows(rows) -> np.ndarray:
    """Return which windows have an abnormal beat of another kind than the beat that they are of."""
    own = [statements[0]["code"] for statements in rows["statements"]]
    return np.array([bool(set(others) - {"N", code}) for others, code in zip(rows["window_symbols"], own, strict=True)])


@torch.no_grad()
def encode_ecgs(models: Sequence[PreTrainedModel], rows: PreparedRows, *, batch_size: int = 256) -> list[torch.Tensor]:
    """Return the pooled output of several models' ECG encoders for all rows, which are read once.

    Args:
        models: dual encoders or classifiers.
        rows: prepared rows.
        batch_size: rows in one forward pass.

    Returns:
        For each model `(records, encoder hidden size)`, on the CPU.
    """
    was_training = [model.training for model in models]
    pooled = [torch.empty(len(rows), model.config.ecg_config.hidden_size) for model in models]
    for model in models:
        model.eval()
    for batch in rows.in_order(batch_size):
        index = batch["index"].cpu()
        for model, own in zip(models, pooled, strict=True):
            on_device = {name: values.to(model.device) for name, values in batch.items()}
            lead_mask = None if bool(on_device["lead_mask"].all()) else on_device["lead_mask"]
            output = model.ecg_model(on_device["input_values"], on_device.get("ecg_attention_mask"), lead_mask)
            own[index] = output.pooler_output.float().cpu()
    for model, training in zip(models, was_training, strict=True):
        model.train(training)
    return pooled


@torch.no_grad()
def embed_pooled(model: ECGTextModel, ecg_pooled: torch.Tensor) -> torch.Tensor:
    """Return the vectors that are compared with texts, `(records, projection_dim)`, from pooled output."""
    return model.normalize_features(model.ecg_projection(ecg_pooled.to(model.device))).float().cpu()


def score_prompts(
    model: ECGTextModel,
    processor,
    ecg_embeds: torch.Tensor,
    prompts: Mapping[str, Sequence[str]],
) -> np.ndarray:
    """Return scores `(records, classes)`, as the pipeline gives them with `multi_label`.

    They rank the records of a class better than a softmax over the classes does, where a record has one class too, and
    the class with the highest score is the same.

    Args:
        model: gives the label's vectors and the scale.
        processor: the model's.
        ecg_embeds: `(records, projection_dim)`.
        prompts: phrases of each class, in the classes' order.
    """
    was_training = model.training
    model.eval()
    neutral = [] if processor.neutral_phrase is None else [(processor.neutral_phrase,)]
    embeds = embed_phrases(model, processor, [*prompts.values(), *neutral])
    model.train(was_training)
    return zero_shot_scores(
        ecg_embeds,
        embeds[: len(prompts)],
        embeds[-1][0] if neutral else None,
        scale=model.get_logit_scale().item(),
        phrase_scale=processor.phrase_scale,
        comparison_scale=processor.comparison_scale,
        multi_label=True,
    ).numpy()


def auroc_with_interval(labels: TaskLabels, scores: np.ndarray, *, num_resamples: int = 1000, seed: int = 0) -> AUROC:
    """Return the AUROC of scores `(records, classes)` with intervals over patients."""
    return bootstrap_auroc(labels.labels, scores, labels.patients, num_resamples=num_resamples, seed=seed)


def best_class_metrics(labels: TaskLabels, scores: np.ndarray) -> SingleLabelMetrics | None:
    """Return METS' metrics: the best-scored class of the records that have exactly one.

    Over the classes that have such a record; None if fewer than two have.
    """
    single = labels.labels.sum(axis=1) == 1
    present = np.flatnonzero(labels.labels[single].any(axis=0))
    if len(present) < 2:
        return None
    truth, own = labels.labels[single][:, present], scores[single][:, present]
    return single_label_metrics(truth.argmax(axis=1), own.argmax(axis=1), len(present))


def with_random_ecg_encoder(model: ECGTextModel, seed: int) -> ECGTextModel:
    """Return the same model with a new ECG encoder and ECG projection: what any training must surpass."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        other = type(model)(model.config)
    other.text_model, other.text_projection = model.text_model, model.text_projection
    if model.config.text_centering:
        other.text_mean = model.text_mean
    with torch.no_grad():
        other.logit_scale.copy_(model.logit_scale)
    return other.to(model.device).eval()
