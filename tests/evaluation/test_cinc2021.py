"""The Challenge's score against a double loop over its definition."""

import numpy as np
import pytest

from mets_ecg.evaluation.cinc2021 import CLASSES, WEIGHTS, cinc2021_score

NSR = CLASSES.index("NSR")


def by_hand(labels, predictions):
    def credit(predicted):
        total = 0.0
        for truth, own in zip(labels, predicted, strict=True):
            size = max(np.sum(truth | own), 1)
            total += sum(WEIGHTS[j, k] / size for j in np.flatnonzero(truth) for k in np.flatnonzero(own))
        return total

    normal = np.zeros_like(labels)
    normal[:, NSR] = True
    return (credit(predictions) - credit(normal)) / (credit(labels) - credit(normal))


def test_it_is_the_challenge_s_definition():
    rng = np.random.default_rng(0)
    labels, predictions = rng.random((2, 40, 26)) < 0.12
    assert cinc2021_score(labels, predictions) == pytest.approx(by_hand(labels, predictions))
    assert cinc2021_score(labels, labels) == 1
    normal = np.zeros_like(labels)
    normal[:, NSR] = True
    assert cinc2021_score(labels, normal) == 0
    assert cinc2021_score(normal, normal) == 0  # nothing to be gained


def test_the_weights_are_those_of_the_challenge():
    """Some cells of its weights.csv; atrial fibrillation for flutter is half right."""
    at = {name: i for i, name in enumerate(CLASSES)}
    for one, other, weight in (("AF", "AFL", 0.5), ("QAb", "NSR", 0.15), ("PAC|SVPB", "PVC|VPB", 0.4625)):
        assert WEIGHTS[at[one], at[other]] == WEIGHTS[at[other], at[one]] == weight
    assert (np.diag(WEIGHTS) == 1).all() and WEIGHTS.shape == (26, 26)


@pytest.mark.parametrize(
    ("labels", "predictions", "message"),
    [
        (np.ones((3, 25)), np.ones((3, 25)), r"labels have shape \(3, 25\): expected \(records, 26\)"),
        (np.ones((3, 26)), np.ones((2, 26)), r"predictions have shape \(2, 26\)"),
        (np.ones((3, 26)), np.full((3, 26), 0.5), "predictions hold values other than 0 and 1: decide by thresholds"),
    ],
)
def test_scores_are_not_decisions(labels, predictions, message):
    with pytest.raises(ValueError, match=message):
        cinc2021_score(labels, predictions)
