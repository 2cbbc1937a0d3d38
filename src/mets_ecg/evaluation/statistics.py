"""Classification metrics with confidence intervals: AUROC, its bootstrap over patients, F-max, single-label metrics.

The only definitions of metrics in the package; `metrics/` makes modules of Hugging Face's `evaluate` of them, beside
which this file is copied, so it imports nothing of the package. AUROC is NumPy on whole arrays, as a thousand
weightings of the same scores need it; single-label metrics are scikit-learn's. A class that a metric cannot be computed
for is NaN and is never silently skipped: the caller sees it, and the docstrings say what an average is taken over.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from sklearn.metrics import accuracy_score, precision_recall_curve, precision_recall_fscore_support

# Resamples are worked through in blocks of about this many weights (records x resamples), so that a block and its
# cumulative sums stay near the processor's cache (1 MiB of float32); but of at least 8 resamples, as weights are
# gathered record by record, and a gather of one number costs as much as that of eight.
_WEIGHTS_PER_BLOCK = 2**18
_SMALLEST_BLOCK = 8

# A class with fewer positives has an AUROC that a single record moves far.
MIN_POSITIVES = 10


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
        macro_frequent: mean over the classes that have at least `MIN_POSITIVES` positives and a negative; NaN if none
            has. The macro's terms of rarer classes are mostly noise.
        macro_frequent_low: lower end of its interval.
        macro_frequent_high: upper end of its interval.
        num_frequent: how many classes it is over.
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
    macro_frequent: float
    macro_frequent_low: float
    macro_frequent_high: float
    num_frequent: int
    num_positives: np.ndarray
    num_records: int
    num_patients: int
    num_resamples: int
    confidence: float


@dataclass(frozen=True)
class AUROCDifference:
    """How much further the AUROCs of one model reach than those of another on the same records; see `AUROC`.

    Attributes:
        per_class, per_class_low, per_class_high: `(classes,)`, second less first, with its interval.
        macro, macro_low, macro_high: of the macro.
        macro_frequent, macro_frequent_low, macro_frequent_high: of the macro over frequent classes.
        share_above: share of the resamples whose macro is higher for the second.
    """

    per_class: np.ndarray
    per_class_low: np.ndarray
    per_class_high: np.ndarray
    macro: float
    macro_low: float
    macro_high: float
    macro_frequent: float
    macro_frequent_low: float
    macro_frequent_high: float
    share_above: float


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
    return np.array([_Ranking(own, ranked).auroc(ones)[0] for own, ranked in zip(labels.T, scores.T, strict=True)])


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
    (resampled,), num_patients = _resample(labels, [scores], patients, num_resamples, seed, confidence)
    per_class = auroc(labels, scores)
    frequent = _frequent(labels)
    low, high = _interval(resampled, confidence)
    return AUROC(
        per_class=per_class,
        per_class_low=low,
        per_class_high=high,
        **_macros(per_class, resampled, frequent, confidence),
        num_frequent=int(frequent.sum()),
        num_positives=labels.sum(axis=0),
        num_records=len(labels),
        num_patients=num_patients,
        num_resamples=num_resamples,
        confidence=confidence,
    )


def compare_auroc(
    labels: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
    patients: np.ndarray,
    *,
    num_resamples: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
) -> AUROCDifference:
    """Return how much higher the AUROCs of `second` are than those of `first`, each resample scored by both.

    Args:
        labels: bool `(records, classes)`.
        first: scores `(records, classes)` of one model.
        second: scores of the other on the same records.
        patients, num_resamples, seed, confidence: as in `bootstrap_auroc`.

    Raises:
        ValueError: as `bootstrap_auroc`.
    """
    checked, first = _checked(labels, first)
    _, second = _checked(labels, second)
    one, other = _resample(checked, [first, second], patients, num_resamples, seed, confidence)[0]
    per_class, frequent = auroc(checked, second) - auroc(checked, first), _frequent(checked)
    low, high = _interval(other - one, confidence)
    macro = _mean_of_known(other) - _mean_of_known(one)
    return AUROCDifference(
        per_class=per_class,
        per_class_low=low,
        per_class_high=high,
        **_macros(per_class, other - one, frequent, confidence),
        share_above=float(np.mean(macro > 0) + np.mean(macro == 0) / 2),
    )


def bootstrap_mean(
    values: np.ndarray, patients: np.ndarray, *, num_resamples: int = 1000, seed: int = 0, confidence: float = 0.95
) -> tuple[float, float, float]:
    """Return the mean of values `(records,)` with the ends of its interval, by bootstrap over patients.

    Raises:
        ValueError: as `bootstrap_auroc`.
    """
    values = np.asarray(values, dtype=np.float64)
    patient_index, num_patients = _patient_index(patients, len(values))
    counts = _patient_counts(np.random.default_rng(seed), num_patients, num_resamples)[patient_index]
    low, high = _interval((values @ counts / counts.sum(axis=0))[None], confidence)
    return float(values.mean()), float(low[0]), float(high[0])


def _resample(labels, scored, patients, num_resamples, seed, confidence) -> tuple[list[np.ndarray], int]:
    """Return the AUROCs `(classes, resamples)` of each scoring on the same resamples, and the number of patients."""
    patient_index, num_patients = _patient_index(patients, len(labels))
    if num_resamples < 1:
        raise ValueError(f"num_resamples is {num_resamples}: expected at least 1")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}: expected a share between 0 and 1, such as 0.95")
    rankings = [
        [_Ranking(own, ranked, patient_index) for own, ranked in zip(labels.T, scores.T, strict=True)]
        for scores in scored
    ]
    resampled = [np.empty((labels.shape[1], num_resamples)) for _ in scored]
    block = max(_SMALLEST_BLOCK, _WEIGHTS_PER_BLOCK // len(labels))
    generator = np.random.default_rng(seed)
    for start in range(0, num_resamples, block):
        counts = _patient_counts(generator, num_patients, min(block, num_resamples - start))
        for own, out in zip(rankings, resampled, strict=True):
            for c, ranking in enumerate(own):
                out[c, start : start + block] = ranking.auroc(counts)
    return resampled, num_patients


def _frequent(labels: np.ndarray) -> np.ndarray:
    return labels.sum(axis=0) >= MIN_POSITIVES


def _macros(per_class: np.ndarray, resampled: np.ndarray, frequent: np.ndarray, confidence: float) -> dict[str, float]:
    """Return both macros with their intervals."""
    macros = {}
    for name, classes in (("macro", np.ones(len(frequent), dtype=bool)), ("macro_frequent", frequent)):
        low, high = _interval(_mean_of_known(resampled[classes])[None], confidence)
        macros |= {
            name: macro_average(per_class[classes]),
            f"{name}_low": float(low[0]),
            f"{name}_high": float(high[0]),
        }
    return macros


def f_max(labels: np.ndarray, scores: np.ndarray) -> tuple[float, float]:
    """Return the highest F1 of records over one threshold for all classes, and that threshold.

    It is chosen on the records that it is measured on: for a figure without that favour, choose the threshold on a
    validation part and pass it to `f1_of_records`.

    Args:
        labels: bool `(records, classes)`.
        scores: float `(records, classes)`, greater means more likely; on one scale for all classes.

    Raises:
        ValueError: as `auroc`, or no record has a class.

    Source: F_max of Strodthoff et al. 2020 (arXiv 2004.13701), after the CAFA challenges; the thresholds tried are 200
    quantiles of the scores.
    """
    labels, scores = _checked(labels, scores)
    thresholds = np.unique(np.quantile(scores, np.linspace(0, 1, 200), method="nearest"))
    found = [f1_of_records(labels, scores >= threshold) for threshold in thresholds]
    best = int(np.argmax(found))
    return found[best], float(thresholds[best])


def f1_of_records(labels: np.ndarray, predictions: np.ndarray) -> float:
    """Return F1 from the mean precision over records with a prediction and the mean recall over those with a class.

    Args:
        labels: bool `(records, classes)`.
        predictions: bool `(records, classes)`.

    Raises:
        ValueError: as `auroc`, or no record has a class.

    Source: as `f_max`.
    """
    labels, predictions = _checked(labels, predictions)
    predicted, stated = predictions.sum(axis=1), labels.sum(axis=1)
    if not stated.any():
        raise ValueError(f"none of {len(labels)} records has one of the {labels.shape[1]} classes: there is no recall")
    if not predicted.any():
        return 0.0
    right = (labels & predictions.astype(bool)).sum(axis=1)
    precision = (right[predicted > 0] / predicted[predicted > 0]).mean()
    recall = (right[stated > 0] / stated[stated > 0]).mean()
    return float(2 * precision * recall / (precision + recall)) if right.any() else 0.0


def choose_thresholds(labels: np.ndarray, scores: np.ndarray) -> list[float]:
    """Return for each class the threshold of highest F1; 0.5 where a class has no positive.

    Args:
        labels: bool `(records, classes)`, of the validation part.
        scores: float `(records, classes)`, in 0 to 1.
    """
    thresholds = []
    for truth, own in zip(labels.T, scores.T, strict=True):
        if not truth.any():
            thresholds.append(0.5)
            continue
        precision, recall, at = precision_recall_curve(truth, own)
        f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
        thresholds.append(float(at[f1[:-1].argmax()]))
    return thresholds


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
    precision, recall, f1, _ = precision_recall_fscore_support(
        targets, predictions, labels=range(num_classes), zero_division=0
    )
    accuracy = float(accuracy_score(targets, predictions))
    return SingleLabelMetrics(
        accuracy=accuracy,
        # Each wrong record is wrong for two classes, its own and the predicted one.
        binary_accuracy=1 - 2 * (1 - accuracy) / num_classes,
        precision=float(precision.mean()),
        recall=float(recall.mean()),
        f1=float(f1.mean()),
        per_class_f1=f1,
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


class _Ranking:
    """The ranks of one class' records by their scores, from one sort, for any weighting of the records.

    AUROC = sum over positives of w * (weight of negatives below + half the weight of negatives tied) / (P * N). Only
    the positives' side of the sum is visited, and the negatives enter by their cumulative weight alone.

    Args:
        labels: bool `(records,)`.
        scores: `(records,)`.
        units: `(records,)`, which row of the weights is a record's; its own by default.
    """

    def __init__(self, labels: np.ndarray, scores: np.ndarray, units: np.ndarray | None = None):
        units = np.arange(len(labels)) if units is None else units
        negatives, positives = np.flatnonzero(~labels), np.flatnonzero(labels)
        negatives = negatives[np.argsort(scores[negatives], kind="stable")]
        sorted_scores = scores[negatives]
        self.below = np.searchsorted(sorted_scores, scores[positives], side="left")
        self.not_above = np.searchsorted(sorted_scores, scores[positives], side="right")
        self.positives, self.negatives = units[positives], units[negatives]

    def auroc(self, weights: np.ndarray) -> np.ndarray:
        """Return the AUROC for each weighting, float64; NaN where the positives or the negatives weigh nothing.

        Args:
            weights: `(units, weightings)`, not negative.
        """
        # Row i is the weight of the i lowest negatives. Whole counts below 2**24 are exact in float32.
        cumulative = np.zeros((len(self.negatives) + 1, weights.shape[1]), dtype=weights.dtype)
        np.cumsum(weights[self.negatives], axis=0, out=cumulative[1:])
        positive_weights = weights[self.positives]
        beaten = cumulative[self.below] + cumulative[self.not_above]  # twice the weight beaten, a tie counting once
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
