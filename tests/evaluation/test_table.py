import json

import numpy as np
import pytest

from mets_ecg import ECGForSequenceClassification
from mets_ecg.data.loading import load_prepared_rows
from mets_ecg.data.parts import select_part
from mets_ecg.evaluation.cinc2021 import CLASSES
from mets_ecg.evaluation.labels import TaskLabels
from mets_ecg.evaluation.table import Measuring, best_class_metrics, classification_table, zero_shot_table
from mets_ecg.evaluation.tasks import get_task, simulated_task


@pytest.fixture(scope="module")
def rows(simulated_corpus, tiny_processor):
    return load_prepared_rows(tiny_processor.feature_extractor, corpus=simulated_corpus)


@pytest.fixture(scope="module")
def table(rows, tiny_model, tiny_processor):
    task = simulated_task(["sinus rhythm", "sinus tachycardia", "right bundle branch block"])
    return zero_shot_table(
        tiny_model,
        tiny_processor,
        select_part(rows, ["5-10"]),
        task,
        probe_rows=select_part(rows, ["1-4"]),
        threshold_rows=select_part(rows, ["1-4"]),
        text_oracle="report",
        measuring=Measuring(num_resamples=50, balanced_draws=4, draw_size=6, transductive=True),
    )


def test_the_table_has_a_line_for_each_way_of_asking(table):
    asked = ["phrases", "template", "transductive", "transductive_template"]
    assert list(table.lines) == [*asked, "random_encoder", "linear_probe", "text_oracle"]
    assert table.lines["linear_probe"].single_label is None
    for line in table.lines.values():
        assert line.auroc.macro_low <= line.auroc.macro <= line.auroc.macro_high


def test_the_words_of_the_table_show_its_figures(table):
    text = str(table)
    for line in table.lines.values():
        assert line.name in text
        assert f"{line.auroc.macro:.3f}" in text
    row = next(own for own in text.splitlines() if own.startswith("sinus tachycardia"))
    assert row.split()[2] == str(table.lines["phrases"].auroc.num_positives[1])
    assert len({len(own) for own in text.splitlines() if not own.startswith(("(", "simulated:"))}) == 1  # they line up


def test_the_table_is_plain_json_and_names_what_it_was_made_with(table):
    document = json.loads(json.dumps(table.as_dict(), allow_nan=False))
    assert document["phrases_version"] == "simulated-phrases-1"
    per_class = document["lines"]["phrases"]["auroc"]["per_class"]
    assert np.allclose(per_class, table.lines["phrases"].auroc.per_class)


def test_balanced_draws_are_summarised_over_draws(table):
    balanced = table.lines["phrases"].balanced
    assert balanced.num_draws == 4 and balanced.per_class <= 6
    assert balanced.low["f1"] <= balanced.mean["f1"] <= balanced.high["f1"]
    assert balanced.mean["accuracy"] == pytest.approx(balanced.mean["recall"])  # with as many records of each class
    assert "balanced: macro F1" in str(table)


def test_thresholds_of_the_validation_part_decide_on_the_test_part(table):
    decisions = table.lines["phrases"].decisions
    scores, labels = table.lines["phrases"].scores, table.labels.labels
    decided = scores >= np.array(decisions.thresholds)
    right = (decided & labels).sum(axis=0)
    f1 = 2 * right / (decided.sum(axis=0) + labels.sum(axis=0))
    assert decisions.macro_f1 == pytest.approx(f1.mean())
    assert 0 < decisions.f_max < 1 and decisions.cinc2021 is None
    assert table.lines["linear_probe"].decisions is None


def test_macros_over_all_and_over_frequent_classes_are_both_shown(table):
    assert table.lines["phrases"].auroc.num_frequent == 3  # all: one macro is enough
    assert "macro AUROC, frequent" not in str(table)


def test_metss_protocol_takes_the_best_class_of_records_that_have_one():
    labels = np.array([[1, 0, 0], [0, 1, 0], [1, 1, 0], [0, 0, 1]], dtype=bool)
    scores = np.array([[0.5, 0.3, 0.2], [0.6, 0.3, 0.1], [0.1, 0.1, 0.8], [0.1, 0.2, 0.7]])
    own = TaskLabels(("a", "b", "c"), labels, np.arange(4), np.arange(4), np.arange(4), {})
    figures = best_class_metrics(own, scores)
    # Three records count; the second is called "a". F1: 2/3, 0 and 1.
    assert figures.num_records == 3
    assert figures.accuracy == pytest.approx(2 / 3)
    assert figures.f1 == pytest.approx(5 / 9)


def test_without_single_label_records_there_are_no_single_label_figures():
    truth = TaskLabels(("a", "b"), np.ones((2, 2), dtype=bool), np.arange(2), np.arange(2), np.arange(2), {})
    assert best_class_metrics(truth, np.ones((2, 2))) is None


@pytest.fixture(scope="module")
def classifier():
    from pathlib import Path

    names = list(simulated_task().classes)
    folder = Path(__file__).parents[1] / "fixtures" / "tiny-checkpoint"
    return ECGForSequenceClassification.from_pretrained(folder, id2label=dict(enumerate(names)))


def test_a_classifier_of_other_classes_is_not_measured(rows, classifier):
    task = simulated_task(["atrial fibrillation", "left bundle branch block"])
    with pytest.raises(ValueError, match="it cannot be measured on it"):
        classification_table(classifier, rows, task)


def test_the_table_of_a_classifier_has_the_figures_of_each_class(rows, classifier):
    table = classification_table(
        classifier,
        select_part(rows, ["5-10"]),
        simulated_task(),
        threshold_rows=select_part(rows, ["1-4"]),
        measuring=Measuring(num_resamples=20),
    )
    line = table.lines["classifier"]
    assert len(line.auroc.per_class) == len(table.labels.classes) == classifier.num_labels
    assert 0.2 < line.auroc.macro < 0.8  # it was not trained
    assert "macro AUROC" in str(table) and "F-max" in str(table)


def test_the_challenge_s_task_has_the_challenge_s_classes():
    assert tuple(get_task("physionet2021-dx").classes) == CLASSES
