"""Figures of a classification and how sure they are: AUROC, its bootstrap over patients, single-label figures.

The only definitions of metrics in the package. Everything is NumPy on whole arrays, checked against
scikit-learn in the tests; scikit-learn itself is not needed. A class that a figure cannot be computed for is
NaN and is never silently skipped: the caller sees it, and the docstrings say what an average is taken over.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

# Resamples are worked through in blocks of about this many weights (records x resamples), so that a block and
# its cumulative sums stay near the processor's cache (1 MiB of float32) however many records or resamples
# there are.
_WEIGHTS_PER_BLOCK = 2**18


@dataclass(frozen=True)
class AUROC:
    """Areas under the ROC curve with bootstrap intervals, classes in the order of the label columns.

    Attributes:
        per_class: `(classes,)`, of the records as they are; NaN for a class without a positive or a negative.
        per_class_low: `(classes,)`, lower ends of the intervals.
        per_class_high: `(classes,)`, upper ends of the intervals.
        macro: mean over the classes that have at least one positive and one negative; NaN if none has.
        macro_low: lower end of the macro interval.
        macro_high: upper end of the macro interval.
        num_positives: int `(classes,)`, positive records of each class.
        num_records: number of records.
        num_patients: number of distinct patients, the units that are resampled.
        num_resamples: number of resamples drawn.
        confidence: coverage of the intervals.
    """

    per_class: np.ndarray
    per_class_low: np.ndarray
    per_class_high: np.ndarray
    macro: float
    macro_low: float
    macro_high: float
    num_positives: np.ndarray
    num_records: int
    num_patients: int
    num_resamples: int
    confidence: float


@dataclass(frozen=True)
class SingleLabelMetrics:
    """Figures of a classification with one label a record; averages are unweighted over all classes.

    Attributes:
        accuracy: share of records whose prediction is right.
        binary_accuracy: mean over classes of the accuracy of "this class or not". METS does not say which accuracy it
            prints: on balanced sets `accuracy` would equal macro recall, and its tables do not; this one fits one.
        precision: macro precision; 0 for a class that is never predicted.
        recall: macro recall; 0 for a class that never occurs.
        f1: macro F1; 0 for a class that is neither predicted nor right.
        per_class_f1: `(classes,)`.
        num_records: number of records.
    """

    accuracy: float
    binary_accuracy: float
    precision: float
    recall: float
    f1: float
    per_class_f1: np.ndarray
    num_records: int


def auroc(labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Return the area under the ROC curve of each class; a tie between a positive and a negative counts half.

    Args:
        labels: bool `(records, classes)`.
        scores: float `(records, classes)`, greater means more likely; any monotone scale.

    Returns:
        float64 `(classes,)`, NaN for a class with no positive or no negative record.

    Raises:
        ValueError: shapes differ or are not two-dimensional, labels are not 0 / 1, or a score is NaN.
    """
    labels, scores = _checked(labels, scores)
    ones = np.ones((len(labels), 1))
    return np.array([_weighted_auroc(labels[:, c], scores[:, c], ones)[0] for c in range(labels.shape[1])])


def bootstrap_auroc(
    labels: np.ndarray,
    scores: np.ndarray,
    patients: np.ndarray,
    *,
    num_resamples: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
) -> AUROC:
    """Return AUROCs with percentile intervals from a bootstrap over patients.

    Records of one patient are not independent, so patients are drawn with replacement and each of a patient's
    records is weighted with the number of times the patient was drawn. A resample without a positive or
    without a negative of a class says nothing about that class: it is left out of the class's interval, and
    the resample's macro is the mean over the classes it does have, as the macro itself is over the classes
    with at least one positive and one negative. For a macro with steadier terms, pass only the columns of
    classes with, say, ten positives or more.

    Args:
        labels: bool `(records, classes)`.
        scores: float `(records, classes)`, greater means more likely.
        patients: `(records,)`, identifiers of any comparable type; records of one patient share one.
        num_resamples: number of bootstrap resamples.
        seed: seed of the resampling; the same inputs and seed give the same intervals.
        confidence: coverage of the intervals, between 0 and 1.

    Raises:
        ValueError: as `auroc`; or `patients` has another length, a patient is unknown (None, NaN or an empty
            string), or an option is out of range.
    """
    labels, scores = _checked(labels, scores)
    patient_index, num_patients = _patient_index(patients, len(labels))
    if num_resamples < 1:
        raise ValueError(f"num_resamples is {num_resamples}: expected at least 1")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}: expected a share between 0 and 1, such as 0.95")
    per_class = auroc(labels, scores)
    resampled = np.empty((labels.shape[1], num_resamples))
    block = max(1, _WEIGHTS_PER_BLOCK // max(1, len(labels)))
    generator = np.random.default_rng(seed)
    for start in range(0, num_resamples, block):
        counts = _patient_counts(generator, num_patients, min(block, num_resamples - start))
        weights = counts[patient_index]
        for c in range(labels.shape[1]):
            resampled[c, start : start + block] = _weighted_auroc(labels[:, c], scores[:, c], weights)
    low, high = _interval(resampled, confidence)
    macro_low, macro_high = _interval(_mean_of_known(resampled)[None], confidence)
    return AUROC(
        per_class=per_class,
        per_class_low=low,
        per_class_high=high,
        macro=macro_average(per_class),
        macro_low=float(macro_low[0]),
        macro_high=float(macro_high[0]),
        num_positives=labels.sum(axis=0),
        num_records=len(labels),
        num_patients=num_patients,
        num_resamples=num_resamples,
        confidence=confidence,
    )


def single_label_metrics(targets: np.ndarray, predictions: np.ndarray, num_classes: int) -> SingleLabelMetrics:
    """Return accuracy by both definitions in use, and macro precision, recall and F1.

    Args:
        targets: int `(records,)`, the class of each record, 0 to `num_classes - 1`.
        predictions: int `(records,)`, the class predicted.
        num_classes: number of classes; one that never occurs still counts in every average.

    Raises:
        ValueError: the arrays are empty, differ in shape, or hold something that is not a class index.
    """
    targets = _class_indices(targets, num_classes, "targets")
    predictions = _class_indices(predictions, num_classes, "predictions")
    if len(targets) != len(predictions) or not len(targets):
        raise ValueError(
            f"{len(targets)} targets and {len(predictions)} predictions: expected one of each a record, "
            "and at least one record"
        )
    confusion = np.bincount(targets * num_classes + predictions, minlength=num_classes**2)
    confusion = confusion.reshape(num_classes, num_classes)
    right, actual, predicted = np.diag(confusion), confusion.sum(axis=1), confusion.sum(axis=0)
    per_class_f1 = _ratio(2 * right, actual + predicted)
    wrong_per_class = actual + predicted - 2 * right
    return SingleLabelMetrics(
        accuracy=float(right.sum() / len(targets)),
        binary_accuracy=float(1 - wrong_per_class.mean() / len(targets)),
        precision=float(_ratio(right, predicted).mean()),
        recall=float(_ratio(right, actual).mean()),
        f1=float(per_class_f1.mean()),
        per_class_f1=per_class_f1,
        num_records=len(targets),
    )


def macro_average(per_class: np.ndarray) -> float:
    """Return the mean of figures `(classes,)` over the classes that have one; NaN if none has."""
    return float(_mean_of_known(per_class[:, None])[0])


def plain_values(value):
    """Return figures as Python's own values, for JSON: arrays as lists, NaN, which JSON has not, as None."""
    if isinstance(value, Mapping):
        return {key: plain_values(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [plain_values(item) for item in value]
    if isinstance(value, (float, np.floating)):
        return float(value) if math.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value


def _weighted_auroc(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the AUROC of one class for many weightings of its records, from one sort.

    AUROC = sum over positives of w * (weight of negatives below + half the weight of negatives tied) / (P *
    N). Only the positives' side of the sum is visited, and the negatives enter by their cumulative weight
    alone.

    Args:
        labels: bool `(records,)`.
        scores: `(records,)`.
        weights: `(records, weightings)`, not negative.

    Returns:
        float64 `(weightings,)`, NaN where the positives or the negatives weigh nothing.
    """
    negatives = np.flatnonzero(~labels)
    negatives = negatives[np.argsort(scores[negatives], kind="stable")]
    positive_scores, sorted_scores = scores[labels], scores[negatives]
    below = np.searchsorted(sorted_scores, positive_scores, side="left")
    not_above = np.searchsorted(sorted_scores, positive_scores, side="right")
    # Row i holds the weight of the i lowest negatives. Whole counts below 2**24 are exact in float32.
    cumulative = np.zeros((len(negatives) + 1, weights.shape[1]), dtype=weights.dtype)
    np.cumsum(weights[negatives], axis=0, out=cumulative[1:])
    positive_weights = weights[labels]
    beaten = cumulative[below] + cumulative[not_above]  # twice the weight beaten, a tie counting once
    area = np.einsum("pw,pw->w", positive_weights, beaten, dtype=np.float64) / 2
    pairs = positive_weights.sum(axis=0, dtype=np.float64) * cumulative[-1]
    return np.divide(area, pairs, out=np.full(len(area), np.nan), where=pairs > 0)


def _patient_counts(generator: np.random.Generator, num_patients: int, num_resamples: int) -> np.ndarray:
    """Return how often each patient is drawn in each resample, float32 `(patients, resamples)`."""
    drawn = generator.integers(num_patients, size=(num_resamples, num_patients))
    drawn += np.arange(num_resamples)[:, None] * num_patients
    counts = np.bincount(drawn.ravel(), minlength=num_resamples * num_patients)
    return np.ascontiguousarray(counts.reshape(num_resamples, num_patients).T, dtype=np.float32)


def _interval(values: np.ndarray, confidence: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the percentile interval of each row, NaN left out and NaN where nothing is left."""
    tail = (1 - confidence) / 2
    ends = [
        np.quantile(row[~np.isnan(row)], (tail, 1 - tail)) if not np.isnan(row).all() else (np.nan, np.nan)
        for row in values
    ]
    low, high = np.array(ends, dtype=np.float64).reshape(-1, 2).T
    return low, high


def _mean_of_known(values: np.ndarray) -> np.ndarray:
    """Return the mean of each column over its rows that are not NaN; NaN for a column of NaN."""
    known = ~np.isnan(values)
    count = known.sum(axis=0)
    return np.divide(
        np.where(known, values, 0).sum(axis=0), count, out=np.full(values.shape[1], np.nan), where=count > 0
    )


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Return `part / whole`, 0 where the whole is 0 (scikit-learn's `zero_division=0`)."""
    return np.divide(part, whole, out=np.zeros(len(part)), where=whole > 0)


def _checked(labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return labels as bool and scores as float64, both `(records, classes)`."""
    labels, scores = np.asarray(labels), np.asarray(scores, dtype=np.float64)
    if labels.ndim != 2 or labels.shape != scores.shape or not len(labels):
        raise ValueError(
            f"labels have shape {labels.shape} and scores {scores.shape}: expected both (records, classes), "
            "at least one record; for one class pass labels[:, None] and scores[:, None]"
        )
    if labels.dtype != bool and not np.isin(labels, (0, 1)).all():
        raise ValueError("labels hold values other than 0 and 1: expected bool, one column a class")
    if np.isnan(scores).any():
        where = np.argwhere(np.isnan(scores))[0]
        raise ValueError(
            f"{int(np.isnan(scores).sum())} scores are NaN, first in record {where[0]}, class {where[1]}: "
            "expected finite scores; find out which recording the model fails on"
        )
    return labels.astype(bool), scores


def _patient_index(patients: np.ndarray, num_records: int) -> tuple[np.ndarray, int]:
    """Return the number of each record's patient, `(records,)` from 0, and how many patients there are."""
    patients = np.asarray(patients)
    if patients.shape != (num_records,):
        raise ValueError(f"patients have shape {patients.shape}: expected one a record, ({num_records},)")
    unknown = [p is None or p != p or str(p) == "" for p in patients.tolist()]
    if any(unknown):
        raise ValueError(
            f"the patient of {sum(unknown)} of {num_records} records is unknown: expected an identifier "
            "for each; where the source has none, pass record ids and say that the intervals are over records"
        )
    distinct, index = np.unique(patients, return_inverse=True)
    return index, len(distinct)


def _class_indices(values: np.ndarray, num_classes: int, name: str) -> np.ndarray:
    """Return class indices as int64 `(records,)`."""
    values = np.asarray(values)
    if values.ndim != 1 or not np.issubdtype(values.dtype, np.integer):
        raise ValueError(f"{name} have shape {values.shape} and type {values.dtype}: expected integers (records,)")
    if len(values) and (values.min() < 0 or values.max() >= num_classes):
        raise ValueError(f"{name} lie in {values.min()} to {values.max()}: expected 0 to {num_classes - 1}")
    return values.astype(np.int64)
