"""The linear probe: what a frozen encoder knows, without words.

Beside a zero-shot figure it says whether the encoder or the words are the limit.
"""

from __future__ import annotations

import numpy as np


def linear_probe(
    train_features: np.ndarray, train_labels: np.ndarray, test_features: np.ndarray, *, strength: float = 0.1
) -> np.ndarray:
    """Fit one logistic regression a class on standardised features; return probabilities `(test records, classes)`.

    Args:
        train_features: `(training records, features)`.
        train_labels: bool `(training records, classes)`.
        test_features: `(test records, features)`.
        strength: scikit-learn's `C`, inverse of the L2 penalty; fixed beforehand and never chosen on the test records.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    scores = np.empty((len(test_features), train_labels.shape[1]))
    for i, labels in enumerate(train_labels.T):
        if labels.all() or not labels.any():
            scores[:, i] = 0.5  # nothing to learn from: the probe knows nothing of this class
            continue
        classifier = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=1000))
        scores[:, i] = classifier.fit(train_features, labels).predict_proba(test_features)[:, 1]
    return scores
