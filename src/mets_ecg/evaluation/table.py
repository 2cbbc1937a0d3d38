"""The zero-shot table: one line a way of asking, with the lines beside it that make a figure mean something."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace

import numpy as np
import torch

from ..data.prepared_rows import PreparedRows
from ..data.text_embeddings import TextColumn, encode_texts, read_texts
from ..modeling_ecg_text import ECGTextModel
from .probe import linear_probe
from .statistics import AUROC, SingleLabelMetrics, plain_values
from .tasks import Task
from .zero_shot import (
    auroc_with_interval,
    best_class_metrics,
    embed_pooled,
    encode_ecgs,
    load_labels,
    score_prompts,
    with_random_ecg_encoder,
)

NUM_UNTRAINED = 5

# METS' protocol: how each figure is called, and where it stands.
_FIGURES = {
    "accuracy": "accuracy",
    "accuracy, class by class": "binary_accuracy",
    "macro precision": "precision",
    "macro recall": "recall",
    "macro F1": "f1",
}


@dataclass
class ResultRow:
    """One row of the table: a way of asking and what it scored."""

    name: str
    auroc: AUROC
    single_label: SingleLabelMetrics | None = None


@dataclass
class ZeroShotTable:
    """Figures of a model on a task.

    Attributes:
        task: the task, its phrases' version included.
        classes: class codes, in the order of all per-class figures.
        excluded: how many rows do not count, by reason.
        lines: the figures, by key: `phrases`, `template`, `random_encoder`, and where asked for `linear_probe` and
            `text_oracle`.
    """

    task: Task
    classes: tuple[str, ...]
    excluded: dict[str, int] = field(default_factory=dict)
    lines: dict[str, ResultRow] = field(default_factory=dict)

    def as_dict(self) -> dict:
        """Return the table as plain values, for JSON."""
        return {
            "task": self.task.name,
            "phrases_version": self.task.phrases_version,
            "template": self.task.template,
            "source": self.task.source,
            "problem_type": self.task.problem_type,
            "unit": self.task.unit,
            "positive": self.task.positive,
            "excluded": self.excluded,
            "classes": list(self.classes),
            "lines": {key: plain_values({"name": line.name, "auroc": asdict(line.auroc),
                                   "single_label": line.single_label and asdict(line.single_label)})
                      for key, line in self.lines.items()},
        }  # fmt: skip

    def __str__(self) -> str:
        """Format the table for a terminal: a row a class, a column a way of asking."""
        lines = list(self.lines.values())
        first = lines[0].auroc
        rows = [["", "positive", *(line.name for line in lines)]]
        for i, code in enumerate(self.classes):
            rows.append([code, str(first.num_positives[i]), *(_show(line.auroc.per_class[i]) for line in lines)])
        rows.append(["macro AUROC", "", *(_show(line.auroc.macro) for line in lines)])
        rows.append(["  from", "", *(_show(line.auroc.macro_low) for line in lines)])
        rows.append(["  to", "", *(_show(line.auroc.macro_high) for line in lines)])
        heading = [
            f"{self.task.name}: {first.num_records} {self.task.unit}s of {first.num_patients} patients; intervals "
            f"{first.confidence:.0%}, by bootstrap over patients (of untrained encoders: their range)"
        ]
        for reason, count in self.excluded.items():
            heading.append(f"({count} more {self.task.unit}s do not count: {reason})")
        single = [line.single_label for line in lines]
        if any(single):
            num_single = next(own.num_records for own in single if own)
            counted = f"{num_single} {self.task.unit}s that have one class"
            heading.append(f"(accuracy to F1: the best-scored class of the {counted})")
            for name, figure in _FIGURES.items():
                rows.append([name, "", *(_show(getattr(own, figure)) if own else "-" for own in single)])
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        text = ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows]
        return "\n".join([*heading, *text])


def _show(figure: float) -> str:
    return "-" if np.isnan(figure) else f"{figure:.3f}"


def zero_shot_table(
    model: ECGTextModel,
    processor,
    rows: PreparedRows,
    task: Task,
    *,
    probe_rows: PreparedRows | None = None,
    text_oracle: TextColumn | None = None,
    num_resamples: int = 1000,
    seed: int = 0,
) -> ZeroShotTable:
    """Measure a model on prepared rows.

    Args:
        model: a dual encoder.
        processor: the model's.
        rows: prepared rows to measure on.
        task: classes, template and phrases.
        probe_rows: prepared rows to fit the linear probe on; None for no probe.
        text_oracle: also put each record's own text, of this column, in the place of its ECG: what the text side
            allows.
        num_resamples: of the bootstrap.
        seed: of the bootstrap and of the untrained encoders.

    Raises:
        ValueError: the rows have no labels of the task.
    """
    labels = load_labels(rows, task)
    labelled = rows.select(labels.rows)
    untrained = [with_random_ecg_encoder(model, seed + i) for i in range(NUM_UNTRAINED)]
    pooled, *untrained_pooled = encode_ecgs([model, *untrained], labelled)
    phrases, template = task.phrase_prompts(*(processor.languages or ())), task.template_prompts()
    table = ZeroShotTable(task, labels.classes, labels.excluded)

    def add(key: str, name: str, scores: np.ndarray, *, protocol: bool = True) -> None:
        auroc = auroc_with_interval(labels, scores, num_resamples=num_resamples, seed=seed)
        table.lines[key] = ResultRow(name, auroc, best_class_metrics(labels, scores) if protocol else None)

    embeds = embed_pooled(model, pooled)

    add("phrases", "phrases", score_prompts(model, processor, embeds, phrases))
    add("template", "METS template", score_prompts(model, processor, embeds, template))
    measured = []
    for other, own in zip(untrained, untrained_pooled, strict=True):
        scores = score_prompts(other, processor, embed_pooled(other, own), phrases)
        measured.append(auroc_with_interval(labels, scores, num_resamples=num_resamples, seed=seed))
    table.lines["random_encoder"] = ResultRow(f"untrained x{NUM_UNTRAINED}", _mean_and_range(measured))
    if probe_rows is not None:
        known = load_labels(probe_rows, task)
        (features,) = encode_ecgs([model], probe_rows.select(known.rows))
        scores = linear_probe(features.numpy(), known.labels, pooled.numpy())
        add("linear_probe", "linear probe", scores, protocol=False)
    if text_oracle is not None:
        texts = [own or ("ecg.",) for own in read_texts(labelled, text_oracle)]
        vectors = _embed_texts(model, processor, texts)
        add("text_oracle", "text oracle", score_prompts(model, processor, vectors, phrases))
    return table


def _mean_and_range(measured: Sequence[AUROC]) -> AUROC:
    """Return the mean of untrained encoders' metrics, because one may be lucky, with their range as interval."""
    per_class, macro = np.array([own.per_class for own in measured]), np.array([own.macro for own in measured])
    return replace(
        measured[0],
        per_class=per_class.mean(axis=0),
        per_class_low=per_class.min(axis=0),
        per_class_high=per_class.max(axis=0),
        macro=float(macro.mean()),
        macro_low=float(macro.min()),
        macro_high=float(macro.max()),
    )


@torch.no_grad()
def _embed_texts(model, processor, texts: Sequence[Sequence[str]]) -> torch.Tensor:
    """Return one vector a record: the mean of its texts' vectors, as a label has the mean of its phrases'."""
    encoded = encode_texts(model, processor, texts, progress=False)
    distinct = model.normalize_features(model.project_text(encoded.pooled.to(model.device))).float().cpu()
    return model.normalize_features(replace(encoded, pooled=distinct).mean_of_records())
