import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from mets_ecg.evaluation.probe import linear_probe


def test_what_is_linear_in_the_features_is_found_and_what_is_not_is_not():
    rng = np.random.default_rng(0)
    train, test = rng.normal(size=(600, 7)) * 50, rng.normal(size=(300, 7)) * 50

    def labels(features):
        return np.stack([features @ np.arange(7) > 0, rng.random(len(features)) < 0.5], axis=1)

    known, truth = labels(train), labels(test)
    scores = linear_probe(train, known, test)

    assert roc_auc_score(truth[:, 0], scores[:, 0]) > 0.98
    assert 0.4 < roc_auc_score(truth[:, 1], scores[:, 1]) < 0.6


def test_a_class_that_never_occurs_is_refused():
    with pytest.raises(ValueError, match="class 1 of the probe has only one kind"):
        linear_probe(np.ones((4, 2)), np.array([[1, 0], [0, 0], [1, 0], [0, 0]], dtype=bool), np.ones((1, 2)))
