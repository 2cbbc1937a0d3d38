"""The labels of rows for a task: which rows count, whose they are, and draws of them by class and by patient."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from datasets import Dataset

from ..data.prepared_rows import PreparedRows
from ..data.rows import is_label_column
from .tasks import Task, task_of


@dataclass(frozen=True)
class TaskLabels:
    """The labels of some rows for a task.

    Attributes:
        classes: class codes, in the task's order.
        labels: bool `(records, classes)`; only rows that count. A row of a multi-label task may have no class: it is a
            negative of all of them.
        patients: `(records,)`; a record whose patient is unknown counts as a patient of its own.
        records: `(records,)`, what each is called, its corpus before it.
        rows: `(records,)`, their positions in the rows given.
        excluded: how many rows do not count, by reason.
    """

    classes: tuple[str, ...]
    labels: np.ndarray
    patients: np.ndarray
    records: np.ndarray
    rows: np.ndarray
    excluded: dict[str, int]

    @property
    def fingerprint(self) -> str:
        """A digest of the records, their patients and their labels: equal where two measurements are of the same."""
        digest = hashlib.sha256(repr(self.classes).encode())
        for name, patient, own in zip(self.records, self.patients, self.labels, strict=True):
            digest.update(f"{name}\0{patient}\0{own.astype(int).tolist()}\n".encode())
        return digest.hexdigest()


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
        if task.seconds is not None:
            excluded["not in the middle of its window"] = _off_centre(rows)
    counted = ~np.any(list(excluded.values()), axis=0)
    if not counted.any():
        raise ValueError(f"task {task.name}: none of the {len(rows)} rows counts: all have {' or '.join(excluded)}")
    kept = np.flatnonzero(counted)
    patients, records = name_owners(rows)
    counts = {reason: int(marked.sum()) for reason, marked in excluded.items() if marked.any()}
    return TaskLabels(tuple(task.classes), labels[kept], patients[kept], records[kept], kept, counts)


def name_owners(rows: Dataset | PreparedRows) -> tuple[np.ndarray, np.ndarray]:
    """Return each row's patient and record, their corpus before them; an unknown patient is one of its own."""
    corpora = rows["corpus"] if "corpus" in rows.column_names else [""] * len(rows)
    named = list(zip(corpora, rows["patient_id"], rows["record_id"], strict=True))
    patients = np.array([f"{corpus}/{patient or f'record {record}'}" for corpus, patient, record in named])
    return patients, np.array([f"{corpus}/{record}" for corpus, _, record in named])


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


def _off_centre(rows) -> np.ndarray:
    """Return which beats are not in the middle, as the first and last of a recording are; almost all are."""
    places = np.array(rows["beat_sample"])
    return places != np.median(places)


def draw_balanced(labels: TaskLabels, per_class: int, num_draws: int, seed: int) -> list[np.ndarray]:
    """Return draws of as many records of each class, METS' protocol: positions in `labels`, without replacement.

    Only records that have exactly one class are drawn, and classes that have such a record.

    Args:
        labels: of the test part.
        per_class: records of each class; fewer where a class has fewer, and then of all classes.
        num_draws: number of draws.
        seed: of the draws.

    Raises:
        ValueError: fewer than two classes have a record of their own.
    """
    single = labels.labels.sum(axis=1) == 1
    of_class = [np.flatnonzero(single & own) for own in labels.labels.T]
    of_class = [rows for rows in of_class if len(rows)]
    if len(of_class) < 2:
        raise ValueError("balanced draws need two classes that have records of their own")
    size = min(per_class, *map(len, of_class))
    generator = np.random.default_rng(seed)
    return [np.concatenate([generator.permutation(rows)[:size] for rows in of_class]) for _ in range(num_draws)]


def draw_patients(labels: TaskLabels, fraction: float, seed: Sequence[int]) -> np.ndarray:
    """Return the positions in `labels` of the records of a part of the patients.

    Args:
        labels: of the training part.
        fraction: of its patients, at least one.
        seed: of the draw.
    """
    if fraction == 1:
        return np.arange(len(labels.rows))
    patients = np.unique(labels.patients)
    drawn = np.random.default_rng(seed).permutation(patients)[: max(1, round(fraction * len(patients)))]
    return np.flatnonzero(np.isin(labels.patients, drawn))
