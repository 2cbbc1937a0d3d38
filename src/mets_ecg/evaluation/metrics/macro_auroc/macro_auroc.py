"""Macro AUROC with intervals by bootstrap over patients, as a module of Hugging Face's `evaluate`."""

import datasets
import evaluate
import numpy as np

from .statistics import bootstrap_auroc, plain_values

_DESCRIPTION = """\
Area under the ROC curve of each class of a multi-label classification, and two means over classes: `macro`, over all
that have a positive and a negative, and `macro_frequent`, over those with at least 10 positives, as rarer ones are
mostly noise. Intervals are percentiles of a bootstrap over patients, whose records are not independent. A class that
has no AUROC is None and is never silently skipped.
"""

_INPUTS = """\
Args:
    predictions: scores of each record, a number a class, greater means more likely; any monotone scale.
    references: 0 or 1 for each class of each record.
    patients: whose each record is; by default every record is of a patient of its own.
    num_resamples: of the bootstrap.
    seed: of the bootstrap.
    confidence: coverage of the intervals.

Returns:
    `per_class`, `macro`, `macro_frequent`, each with `_low` and `_high`; `num_positives`, `num_frequent`,
    `num_records`, `num_patients`, `num_resamples`, `confidence`.

Examples:
    >>> metric = evaluate.load("macro_auroc")
    >>> found = metric.compute(predictions=[[0.9], [0.2], [0.6]], references=[[1], [0], [0]], patients=["a", "b", "c"])
    >>> found["macro"]
    1.0
"""

_CITATION = """\
@software{mets_ecg, title = {mets-ecg: ECG-text models as Hugging Face models}}
"""


class MacroAUROC(evaluate.Metric):
    """Macro AUROC with intervals over patients."""

    def _info(self):
        features = {
            "predictions": datasets.List(datasets.Value("float64")),
            "references": datasets.List(datasets.Value("int64")),
        }
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_INPUTS,
            features=datasets.Features(features),
        )

    def _compute(self, predictions, references, patients=None, num_resamples=1000, seed=0, confidence=0.95):
        owners = np.arange(len(references)) if patients is None else np.asarray(patients)
        found = bootstrap_auroc(
            np.array(references),
            np.array(predictions),
            owners,
            num_resamples=num_resamples,
            seed=seed,
            confidence=confidence,
        )
        return plain_values(vars(found))
