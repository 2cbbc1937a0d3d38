"""The score of the PhysioNet/Computing in Cardiology Challenge 2021: decisions, with credit for related diagnoses.

The classes and their weights are the Challenge's (github.com/physionetchallenges/evaluation-2021, BSD 2-Clause,
Copyright 2020, 2021 PhysioNet/Computing in Cardiology Challenges; the licence is in `data/snomed_LICENSE.txt`). The
metric module `metrics/cinc2021_score` carries a copy of this file, which therefore imports nothing of the package.
"""

from __future__ import annotations

import numpy as np

CLASSES = tuple(
    """
    AF AFL BBB Brady CLBBB|LBBB CRBBB|RBBB IAVB IRBBB LAD LAnFB LPR LQRSV LQT NSIVCB NSR PAC|SVPB PR
    PRWP PVC|VPB QAb RAD SA SB STach TAb TInv
    """.split()
)
NORMAL = "NSR"

# Credit for deciding on the one class where the other is right, in 80ths: the lower triangle of a symmetric matrix.
_WEIGHTS = """
80
40 80
38 38 80
24 24 26 80
38 38 38 26 80
32 32 34 32 34 80
24 24 26 40 26 32 80
24 24 26 40 26 32 40 80
28 28 30 36 30 36 36 36 80
28 28 30 36 30 36 36 36 40 80
24 24 26 40 26 32 40 40 36 36 80
34 34 36 30 36 38 30 30 34 34 30 80
36 36 38 28 38 36 28 28 32 32 28 38 80
28 28 30 36 30 36 36 36 40 40 36 34 32 80
20 20 22 36 22 28 36 36 32 32 36 26 24 32 80
27 27 29 37 29 35 37 37 39 39 37 33 31 39 33 80
30 30 32 34 32 38 34 34 38 38 34 36 34 38 30 37 80
34 34 36 30 36 38 30 30 34 34 30 38 38 34 26 33 36 80
30 30 32 34 32 38 34 34 38 38 34 36 34 38 30 37 40 36 80
32 32 30 16 30 24 16 16 20 20 16 26 28 20 12 19 22 26 22 80
28 28 30 36 30 36 36 36 40 40 36 34 32 40 32 39 38 34 38 20 80
24 24 26 40 26 32 40 40 36 36 40 30 28 36 36 37 34 30 34 16 36 80
24 24 26 40 26 32 40 40 36 36 40 30 28 36 36 37 34 30 34 16 36 40 80
30 30 32 34 32 38 34 34 38 38 34 36 34 38 30 37 40 36 40 22 38 34 34 80
40 40 38 24 38 32 24 24 28 28 24 34 36 28 20 27 30 34 30 32 28 24 24 30 80
40 40 38 24 38 32 24 24 28 28 24 34 36 28 20 27 30 34 30 32 28 24 24 30 40 80
"""


def _read_weights() -> np.ndarray:
    weights = np.zeros((len(CLASSES), len(CLASSES)))
    for i, line in enumerate(_WEIGHTS.split("\n")[1:-1]):
        weights[i, : i + 1] = weights[: i + 1, i] = [int(word) / 80 for word in line.split()]
    return weights


WEIGHTS = _read_weights()


def cinc2021_score(labels: np.ndarray, predictions: np.ndarray) -> float:
    """Return the Challenge's score: 1 for the right decisions, 0 for always deciding on sinus rhythm.

    Args:
        labels: bool `(records, 26)`, classes in the order of `CLASSES`.
        predictions: bool `(records, 26)`, decisions and not scores.

    Returns:
        The score; 0 where right decisions are those of always deciding on sinus rhythm.

    Raises:
        ValueError: the shapes are others, or there are values other than 0 and 1.
    """
    labels, predictions = np.asarray(labels), np.asarray(predictions)
    for name, values in (("labels", labels), ("predictions", predictions)):
        if values.ndim != 2 or values.shape[1] != len(CLASSES) or len(values) != len(labels):
            raise ValueError(f"{name} have shape {values.shape}: expected (records, {len(CLASSES)}) for both")
        if not np.isin(values, (0, 1)).all():
            raise ValueError(f"{name} hold values other than 0 and 1: decide by thresholds first")
    labels, predictions = labels.astype(bool), predictions.astype(bool)
    inactive = np.zeros_like(labels)
    inactive[:, CLASSES.index(NORMAL)] = True
    observed, correct, without = (_credit(labels, own) for own in (predictions, labels, inactive))
    return float((observed - without) / (correct - without)) if correct != without else 0.0


def _credit(labels: np.ndarray, predictions: np.ndarray) -> float:
    """Return the weighted sum of pairs of a right and a decided class, each record's divided by how many it has."""
    counts = np.maximum((labels | predictions).sum(axis=1), 1)
    confusion = (labels / counts[:, None]).T @ predictions
    return float((WEIGHTS * confusion).sum())
