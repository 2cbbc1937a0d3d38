import numpy as np
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


def test_of_a_class_that_training_never_saw_the_probe_knows_nothing():
    labels = np.array([[1, 0], [0, 0], [1, 0], [0, 0]], dtype=bool)
    scores = linear_probe(np.arange(8.0).reshape(4, 2), labels, np.ones((3, 2)))
    assert scores[:, 1].tolist() == [0.5, 0.5, 0.5]
