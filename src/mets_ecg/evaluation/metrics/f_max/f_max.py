"""F-max of a multi-label classification, as a module of Hugging Face's `evaluate`."""

import datasets
import evaluate
import numpy as np

from .statistics import f1_of_records, f_max

_DESCRIPTION = """\
F1 from the mean precision over records that have a prediction and the mean recall over records that have a class, by
one threshold for all classes. F-max takes the threshold that is best on the records themselves, which favours it:
choose it on a validation part, `compute(...)["threshold"]`, and pass that for the test part.
"""

_INPUTS = """\
Args:
    predictions: scores of each record, a number a class, on one scale for all classes.
    references: 0 or 1 for each class of each record.
    threshold: decide by it; by default the best one is found.

Returns:
    `f_max` and the `threshold`.

Examples:
    >>> metric = evaluate.load("f_max")
    >>> metric.compute(predictions=[[0.9, 0.1], [0.2, 0.6]], references=[[1, 0], [0, 1]], threshold=0.5)
    {'f_max': 1.0, 'threshold': 0.5}
"""

_CITATION = """\
@article{strodthoff2020deep,
  title = {Deep Learning for {ECG} Analysis: Benchmarks and Insights from {PTB-XL}},
  author = {Strodthoff, Nils and Wagner, Patrick and Schaeffter, Tobias and Samek, Wojciech},
  journal = {arXiv:2004.13701},
  year = {2020}
}
"""


class FMax(evaluate.Metric):
    """F-max."""

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

    def _compute(self, predictions, references, threshold=None):
        labels, scores = np.array(references), np.array(predictions)
        if threshold is None:
            value, threshold = f_max(labels, scores)
        else:
            value = f1_of_records(labels, scores >= threshold)
        return {"f_max": value, "threshold": threshold}
