"""A checkpoint's table on a task: one line a way of asking, with the lines beside it that make a figure mean something.

`measure` makes it, of a dual encoder (`zero_shot_table`) or a classifier (`classification_table`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace

import numpy as np
import torch

from ..data.prepared_rows import PreparedRows
from ..data.text_embeddings import TextColumn, read_texts
from ..modeling_ecg_classification import ECGForSequenceClassification
from ..modeling_ecg_text import ECGTextModel
from .cinc2021 import CLASSES as CINC2021_CLASSES
from .cinc2021 import cinc2021_score
from .encoding import encode_ecgs, with_random_ecg_encoder
from .labels import TaskLabels, draw_balanced, load_labels
from .probe import linear_probe
from .statistics import (
    AUROC,
    SingleLabelMetrics,
    bootstrap_auroc,
    choose_thresholds,
    f1_of_records,
    f_max,
    macro_average,
    plain_values,
    single_label_metrics,
)
from .tasks import Task
from .zero_shot import dot_products, embed_record_texts, less_mean, score_prompts

NUM_UNTRAINED = 5

# METS' protocol: how each figure is called, and where it stands.
_FIGURES = {
    "accuracy": "accuracy",
    "accuracy, class by class": "binary_accuracy",
    "macro precision": "precision",
    "macro recall": "recall",
    "macro F1": "f1",
}


@dataclass(frozen=True)
class BalancedDraws:
    """METS' protocol: the best-scored class, on draws with as many records of each class.

    Attributes:
        mean: of each figure over the draws, by the name that `SingleLabelMetrics` has for it.
        low, high: their range over the draws. It says what drawing does, and nothing of other patients.
        num_draws: number of draws.
        per_class: records of each class in a draw.
    """

    mean: dict[str, float]
    low: dict[str, float]
    high: dict[str, float]
    num_draws: int
    per_class: int


@dataclass(frozen=True)
class ThresholdFigures:
    """Figures of decisions, by thresholds that were chosen on the validation part.

    Attributes:
        f_max: `f1_of_records` by one threshold for all classes.
        macro_f1: mean F1 over the classes that have a positive, by a threshold each.
        cinc2021: the Challenge's score, by a threshold each; None of other tasks.
        common: the one threshold.
        thresholds: those of the classes.
        chosen_on: number of validation records.
    """

    f_max: float
    macro_f1: float
    cinc2021: float | None
    common: float
    thresholds: list[float]
    chosen_on: int


@dataclass
class ResultRow:
    """One row of the table: a way of asking, what it scored, and the scores `(records, classes)` themselves."""

    name: str
    auroc: AUROC
    single_label: SingleLabelMetrics | None = None
    balanced: BalancedDraws | None = None
    decisions: ThresholdFigures | None = None
    scores: np.ndarray | None = None


@dataclass
class ResultTable:
    """Figures of a model on a task.

    Attributes:
        task: the task, its phrases' version included.
        labels: of the records that count.
        lines: the figures, by key: `phrases`, `template`, `random_encoder`, of a model that was trained by the dot
            product `dot_product`, and, where asked for, `transductive`, `linear_probe` and `text_oracle`; or
            `classifier`.
    """

    task: Task
    labels: TaskLabels
    lines: dict[str, ResultRow] = field(default_factory=dict)

    def as_dict(self) -> dict:
        """Return the table as plain values, for JSON; without the scores."""
        return {
            "task": self.task.name,
            "phrases_version": self.task.phrases_version,
            "template": self.task.template,
            "source": self.task.source,
            "problem_type": self.task.problem_type,
            "unit": self.task.unit,
            "seconds": self.task.seconds,
            "positive": self.task.positive,
            "excluded": self.labels.excluded,
            "records_fingerprint": self.labels.fingerprint,
            "classes": list(self.labels.classes),
            "lines": {
                key: plain_values({name: value for name, value in asdict(line).items() if name != "scores"})
                for key, line in self.lines.items()
            },
            **({} if self.task.unit == "record" else {"by_patient": plain_values(self.by_patient())}),
        }

    def by_patient(self) -> dict[str, dict]:
        """Return for each patient how many records of each class there are, and how many have the best score right."""
        line = next(iter(self.lines.values()))
        right = (line.scores.argmax(axis=1)[:, None] == np.arange(len(self.labels.classes))) & self.labels.labels
        found = {}
        for patient in np.unique(self.labels.patients):
            own = self.labels.patients == patient
            counts, hits = self.labels.labels[own].sum(axis=0), right[own].sum(axis=0)
            present = {
                code: {"records": int(counts[i]), "right": int(hits[i])}
                for i, code in enumerate(self.labels.classes)
                if counts[i]
            }
            found[str(patient)] = present
        return found

    def __str__(self) -> str:
        """Format the table for a terminal: a row a class, a column a way of asking."""
        heading, rows = self.cells()
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        text = ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows]
        return "\n".join([*heading, *text])

    def cells(self) -> tuple[list[str], list[list[str]]]:
        """Return what stands above the table, and its cells, the first row and column of which are titles."""
        lines = list(self.lines.values())
        first = lines[0].auroc
        rows = [["", "positive", *(line.name for line in lines)]]
        for i, code in enumerate(self.labels.classes):
            rows.append([code, str(first.num_positives[i]), *(_show(line.auroc.per_class[i]) for line in lines)])

        def add(name: str, figures: Sequence[float | None], count: object = "") -> None:
            rows.append([name, str(count), *("-" if figure is None else _show(figure) for figure in figures)])

        for title, name, count in (
            ("macro AUROC", "macro", ""),
            ("macro AUROC, frequent", "macro_frequent", first.num_frequent),
        ):
            if name == "macro_frequent" and first.num_frequent in (0, int((first.num_positives > 0).sum())):
                continue
            add(title, [getattr(line.auroc, name) for line in lines], count)
            add("  from", [getattr(line.auroc, f"{name}_low") for line in lines])
            add("  to", [getattr(line.auroc, f"{name}_high") for line in lines])
        unit = self.task.unit
        heading = [
            f"{self.task.name}: {first.num_records} {unit}s of {first.num_patients} patients; intervals "
            f"{first.confidence:.0%}, by bootstrap over patients (of untrained encoders: their range)"
        ]
        heading += [f"({n} more {unit}s do not count: {reason})" for reason, n in self.labels.excluded.items()]
        if len(rows) > len(self.labels.classes) + 4:
            heading.append("(frequent: classes of 10 positives or more, whose number is given)")
        single = [line.single_label for line in lines]
        if any(single):
            num_single = next(own.num_records for own in single if own)
            heading.append(f"(accuracy to F1: the best-scored class of the {num_single} {unit}s that have one class)")
            for name, figure in _FIGURES.items():
                add(name, [own and getattr(own, figure) for own in single])
        balanced = [line.balanced for line in lines]
        if any(balanced):
            some = next(own for own in balanced if own)
            heading.append(
                f"(balanced: mean of {some.num_draws} draws of {some.per_class} {unit}s a class, F1 with its range)"
            )
            for name, figure in _FIGURES.items():
                add(f"balanced: {name}", [own and own.mean[figure] for own in balanced])
            add("  from", [own and own.low["f1"] for own in balanced])
            add("  to", [own and own.high["f1"] for own in balanced])
        decisions = [line.decisions for line in lines]
        if any(decisions):
            chosen_on = next(own.chosen_on for own in decisions if own)
            heading.append(f"(F-max, F1: by thresholds chosen with the labels of {chosen_on} validation {unit}s)")
            add("F-max", [own and own.f_max for own in decisions])
            add("macro F1, by class", [own and own.macro_f1 for own in decisions])
            if any(own and own.cinc2021 is not None for own in decisions):
                add("CinC 2021 score", [own and own.cinc2021 for own in decisions])
        return heading, rows


def _show(figure: float) -> str:
    return "-" if np.isnan(figure) else f"{figure:.3f}"


@dataclass(frozen=True)
class Measuring:
    """How a table is measured.

    Attributes:
        num_resamples: of the bootstrap over patients.
        seed: of the bootstrap, the balanced draws and the untrained encoders.
        balanced_draws: how many; 0 for none.
        draw_size: records of each class in one.
        transductive: also less the mean over all rows that are measured, labelled or not.
        progress: show a bar, on a terminal.
    """

    num_resamples: int = 1000
    seed: int = 0
    balanced_draws: int = 0
    draw_size: int = 100
    transductive: bool = False
    progress: bool = False

    def row(self, name: str, labels: TaskLabels, scores: np.ndarray, *, protocol: bool = True) -> ResultRow:
        """Return a line of the table from scores `(records, classes)`; METS' protocol where `protocol`."""
        auroc = bootstrap_auroc(
            labels.labels, scores, labels.patients, num_resamples=self.num_resamples, seed=self.seed
        )
        single = best_class_metrics(labels, scores) if protocol else None
        balanced = self._balanced(labels, scores) if protocol and self.balanced_draws else None
        return ResultRow(name, auroc, single, balanced, scores=scores)

    def _balanced(self, labels: TaskLabels, scores: np.ndarray) -> BalancedDraws:
        drawn = draw_balanced(labels, self.draw_size, self.balanced_draws, self.seed)
        present = np.flatnonzero(labels.labels[drawn[0]].any(axis=0))
        truth, best = labels.labels[:, present].argmax(axis=1), scores[:, present].argmax(axis=1)
        found = [asdict(single_label_metrics(truth[rows], best[rows], len(present))) for rows in drawn]
        figures = {name: [own[name] for own in found] for name in _FIGURES.values()}
        return BalancedDraws(
            mean={name: float(np.mean(own)) for name, own in figures.items()},
            low={name: float(np.min(own)) for name, own in figures.items()},
            high={name: float(np.max(own)) for name, own in figures.items()},
            num_draws=len(drawn),
            per_class=len(drawn[0]) // len(present),
        )


def zero_shot_table(
    model: ECGTextModel,
    processor,
    rows: PreparedRows,
    task: Task,
    *,
    probe_rows: PreparedRows | None = None,
    threshold_rows: PreparedRows | None = None,
    text_oracle: TextColumn | None = None,
    measuring: Measuring | None = None,
) -> ResultTable:
    """Measure a dual encoder on prepared rows.

    Args:
        model: a dual encoder.
        processor: the model's.
        rows: prepared rows to measure on.
        task: classes, template and phrases.
        probe_rows: prepared rows to fit the linear probe on; None for no probe.
        threshold_rows: prepared rows whose labels choose thresholds; None for none.
        text_oracle: also put each record's own text, of this column, in the place of its ECG: what the text side
            allows.
        measuring: intervals, draws, seed.

    Raises:
        ValueError: the rows have no labels of the task.
    """
    measuring = measuring or Measuring()
    labels = load_labels(rows, task)
    labelled = rows.select(labels.rows)
    untrained = [with_random_ecg_encoder(model, measuring.seed + i) for i in range(NUM_UNTRAINED)]
    phrases, template = task.phrase_prompts(*(processor.languages or ())), task.template_prompts()
    encoded, *of_untrained = encode_ecgs([model, *untrained], labelled, progress=measuring.progress)
    table = ResultTable(task, labels)

    def add(key: str, name: str, embeds, prompts) -> None:
        table.lines[key] = measuring.row(name, labels, score_prompts(model, processor, embeds, prompts))

    add("phrases", "phrases", encoded.outputs, phrases)
    add("template", "METS template", encoded.outputs, template)
    if model.config.similarity == "dot":
        scores = dot_products(model, processor, encoded.outputs, phrases)
        table.lines["dot_product"] = measuring.row("dot product", labels, scores, protocol=False)
    if measuring.transductive:
        others = rows.select(np.setdiff1d(np.arange(len(rows)), labels.rows))
        everything = [encoded.outputs, *(own.outputs for own in (encode_ecgs([model], others) if len(others) else ()))]
        centred = less_mean(model, encoded.outputs, torch.cat(everything))
        add("transductive", "phrases, transductive", centred, phrases)
        add("transductive_template", "template, transductive", centred, template)
    found = [
        measuring.row("", labels, score_prompts(other, processor, own.outputs, phrases), protocol=False).auroc
        for other, own in zip(untrained, of_untrained, strict=True)
    ]
    table.lines["random_encoder"] = ResultRow(f"untrained x{NUM_UNTRAINED}", _mean_and_range(found))
    if probe_rows is not None:
        known = load_labels(probe_rows, task)
        (features,) = encode_ecgs([model], probe_rows.select(known.rows), progress=measuring.progress)
        scores = linear_probe(features.pooled.numpy(), known.labels, encoded.pooled.numpy())
        table.lines["linear_probe"] = measuring.row("linear probe", labels, scores, protocol=False)
    if text_oracle is not None:
        texts = [own or ("ecg.",) for own in read_texts(labelled, text_oracle)]
        add("text_oracle", "text oracle", embed_record_texts(model, processor, texts), phrases)
    if threshold_rows is not None:
        known = load_labels(threshold_rows, task)
        (chosen_on,) = encode_ecgs([model], threshold_rows.select(known.rows), progress=measuring.progress)
        for key, prompts in (("phrases", phrases), ("template", template)):
            scores = score_prompts(model, processor, chosen_on.outputs, prompts)
            table.lines[key].decisions = _decide(task, known, scores, labels, table.lines[key].scores)
    return table


def classification_table(
    model: ECGForSequenceClassification,
    rows: PreparedRows,
    task: Task,
    *,
    threshold_rows: PreparedRows | None = None,
    measuring: Measuring | None = None,
) -> ResultTable:
    """Measure a classifier on prepared rows.

    Args:
        model: a classifier of the task's classes.
        rows: prepared rows to measure on.
        task: classes.
        threshold_rows: prepared rows whose labels choose thresholds; None for none.
        measuring: intervals, draws, seed.

    Raises:
        ValueError: the model was trained on other classes than the task's, or the rows have no labels of the task.
    """
    measuring = measuring or Measuring()
    trained = [model.config.id2label[i] for i in range(model.num_labels)]
    if trained != list(task.classes):
        raise ValueError(
            f"the model classifies {', '.join(trained)}, and {task.name} has {', '.join(task.classes)}: it cannot be "
            "measured on it"
        )
    labels = load_labels(rows, task)
    (encoded,) = encode_ecgs([model], rows.select(labels.rows), progress=measuring.progress)
    line = measuring.row("classifier", labels, encoded.outputs.numpy())
    if threshold_rows is not None:
        known = load_labels(threshold_rows, task)
        (chosen_on,) = encode_ecgs([model], threshold_rows.select(known.rows), progress=measuring.progress)
        line.decisions = _decide(task, known, chosen_on.outputs.numpy(), labels, line.scores)
    return ResultTable(task, labels, {"classifier": line})


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


def _decide(
    task: Task, known: TaskLabels, known_scores: np.ndarray, labels: TaskLabels, scores: np.ndarray
) -> ThresholdFigures:
    """Choose thresholds on the validation records, and decide by them on the others."""
    _, common = f_max(known.labels, known_scores)
    thresholds = np.array(choose_thresholds(known.labels, known_scores))
    decided = scores >= thresholds
    right = (decided & labels.labels).sum(axis=0)
    f1 = 2 * right / np.maximum(decided.sum(axis=0) + labels.labels.sum(axis=0), 1)
    of_challenge = tuple(task.classes) == CINC2021_CLASSES
    return ThresholdFigures(
        f_max=f1_of_records(labels.labels, scores >= common),
        macro_f1=macro_average(np.where(labels.labels.any(axis=0), f1, np.nan)),
        cinc2021=cinc2021_score(labels.labels, decided) if of_challenge else None,
        common=common,
        thresholds=thresholds.tolist(),
        chosen_on=len(known.labels),
    )


def _mean_and_range(measured: Sequence[AUROC]) -> AUROC:
    """Return the mean of untrained encoders' metrics, because one may be lucky, with their range as interval."""
    merged = {}
    for name in ("per_class", "macro", "macro_frequent"):
        values = np.array([getattr(own, name) for own in measured])
        for key, summary in ((name, np.mean), (f"{name}_low", np.min), (f"{name}_high", np.max)):
            merged[key] = summary(values, axis=0) if name == "per_class" else float(summary(values))
    return replace(measured[0], **merged)
