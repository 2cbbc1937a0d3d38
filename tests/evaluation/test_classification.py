import numpy as np
import pytest

from mets_ecg import ECGForSequenceClassification
from mets_ecg.evaluation.classification import choose_thresholds, classification_table, predict_logits
from mets_ecg.evaluation.tasks import simulated_task


def test_thresholds_are_those_of_highest_f1():
    labels = np.array([[1, 0], [1, 0], [0, 0], [1, 0], [0, 0]], dtype=bool)
    probabilities = np.array([[0.9, 0.1], [0.4, 0.2], [0.3, 0.3], [0.35, 0.4], [0.2, 0.5]])
    assert choose_thresholds(labels, probabilities) == [pytest.approx(0.35), 0.5]


def test_logits_are_in_the_order_of_the_rows_whatever_the_batches(prepared_rows, classifier):
    whole = predict_logits(classifier, prepared_rows)
    parts = predict_logits(classifier, prepared_rows, batch_size=7)
    np.testing.assert_allclose(whole, parts, atol=1e-5)


def test_a_classifier_of_other_classes_is_not_measured(prepared_rows, classifier):
    task = simulated_task(["atrial fibrillation", "left bundle branch block"])
    with pytest.raises(ValueError, match="it cannot be measured on it"):
        classification_table(classifier, prepared_rows, task)


def test_the_table_has_the_figures_of_each_class(prepared_rows, classifier):
    table = classification_table(classifier, prepared_rows, simulated_task(), num_resamples=20)
    line = table.lines["classifier"]
    assert len(line.auroc.per_class) == len(table.classes) == classifier.num_labels
    assert 0.2 < line.auroc.macro < 0.8  # it was not trained
    assert "macro AUROC" in str(table)


@pytest.fixture(scope="module")
def prepared_rows(simulated_corpus, tiny_processor):
    from mets_ecg.data.loading import load_prepared_rows

    return load_prepared_rows(tiny_processor.feature_extractor, corpus=simulated_corpus)


@pytest.fixture(scope="module")
def classifier():
    from pathlib import Path

    names = list(simulated_task().classes)
    folder = Path(__file__).parents[1] / "fixtures" / "tiny-checkpoint"
    return ECGForSequenceClassification.from_pretrained(folder, id2label=dict(enumerate(names)))
