"""The score of the PhysioNet/CinC Challenge 2021, as a module of Hugging Face's `evaluate`."""

import datasets
import evaluate
import numpy as np

from .cinc2021 import CLASSES, cinc2021_score

_DESCRIPTION = """\
The score of the PhysioNet/Computing in Cardiology Challenge 2021 over its 26 classes: decisions, with credit for
related diagnoses, 1 for the right ones and 0 for always deciding on sinus rhythm.
"""

_INPUTS = f"""\
Args:
    predictions: 0 or 1 for each class of each record: decisions, not scores. Classes in the order
        {" ".join(CLASSES)}.
    references: 0 or 1 for each class of each record.

Returns:
    `cinc2021_score`.
"""

_CITATION = """\
@inproceedings{reyna2021will,
  title = {Will Two Do? {Varying} Dimensions in Electrocardiography: The {PhysioNet/CinC} Challenge 2021},
  author = {Reyna, Matthew A. and Sadr, Nadi and Perez Alday, Erick A. and others},
  booktitle = {Computing in Cardiology},
  year = {2021}
}
"""


class CinC2021Score(evaluate.Metric):
    """The Challenge's score."""

    def _info(self):
        features = {
            "predictions": datasets.List(datasets.Value("int64")),
            "references": datasets.List(datasets.Value("int64")),
        }
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_INPUTS,
            features=datasets.Features(features),
        )

    def _compute(self, predictions, references):
        return {"cinc2021_score": cinc2021_score(np.array(references), np.array(predictions))}
