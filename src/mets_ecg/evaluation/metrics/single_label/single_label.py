"""METS' figures of a classification with one label a record, as a module of Hugging Face's `evaluate`."""

import datasets
import evaluate
import numpy as np

from .statistics import plain_values, single_label_metrics

_DESCRIPTION = """\
Accuracy, macro precision, recall and F1 of a classification with one label a record, as METS' tables have them. With as
many records of each class accuracy is macro recall, and METS' tables disagree: `binary_accuracy`, the mean over classes
of the accuracy of "this class or not", fits one of them.
"""

_INPUTS = """\
Args:
    predictions: the class predicted for each record, 0 to num_classes - 1.
    references: the class of each record.
    num_classes: number of classes; one that never occurs counts in every mean.

Returns:
    `accuracy`, `binary_accuracy`, `precision`, `recall`, `f1`, `per_class_f1`, `num_records`.

Examples:
    >>> evaluate.load("single_label").compute(predictions=[0, 1, 1], references=[0, 1, 0], num_classes=2)["recall"]
    0.75
"""

_CITATION = """\
@inproceedings{li2023frozen,
  title = {Frozen Language Model Helps {ECG} Zero-Shot Learning},
  author = {Li, Jun and Liu, Che and Cheng, Sibo and Arcucci, Rossella and Hong, Shenda},
  booktitle = {Medical Imaging with Deep Learning},
  year = {2023}
}
"""


class SingleLabel(evaluate.Metric):
    """METS' figures."""

    def _info(self):
        features = {"predictions": datasets.Value("int64"), "references": datasets.Value("int64")}
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_INPUTS,
            features=datasets.Features(features),
        )

    def _compute(self, predictions, references, num_classes):
        return plain_values(vars(single_label_metrics(np.array(references), np.array(predictions), num_classes)))
