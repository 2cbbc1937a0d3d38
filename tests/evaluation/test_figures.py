import numpy as np
import pytest

from mets_ecg.evaluation.figures import draw_auroc, draw_confusion, draw_reliability
from mets_ecg.evaluation.labels import TaskLabels
from mets_ecg.evaluation.table import Measuring, ResultTable
from mets_ecg.evaluation.tasks import simulated_task


@pytest.fixture
def table():
    rng = np.random.default_rng(0)
    classes = tuple(list(simulated_task().classes)[:3])
    labels = np.eye(3, dtype=bool)[rng.integers(2, size=40)]  # the third class has no record
    truth = TaskLabels(classes, labels, np.arange(40), np.arange(40).astype(str), np.arange(40), {})
    scores = labels * 0.4 + rng.random((40, 3)) * 0.5
    line = Measuring(num_resamples=20).row("phrases", truth, scores)
    return ResultTable(simulated_task(classes), truth, {"phrases": line, "other": line})


def test_every_class_has_its_place_and_the_interval_its_ends(table):
    (axes,) = draw_auroc(table).axes
    names = [label.get_text() for label in axes.get_yticklabels()]
    counts = table.lines["phrases"].auroc.num_positives
    assert sorted(names) == sorted(f"{c} ({n})" for c, n in zip(table.labels.classes, counts, strict=True))
    auroc = table.lines["phrases"].auroc
    drawn = axes.containers[0].lines[0].get_xdata()
    assert sorted(drawn) == sorted(auroc.per_class[:2])  # the third has none


def test_reliability_is_the_share_of_each_bin():
    labels = np.array([[1], [0], [1], [1]], dtype=bool)
    scores = np.array([[0.05], [0.05], [0.95], [1.0]])
    axes, counts = draw_reliability(labels, scores, title="t").axes
    line = axes.lines[-1]
    assert np.allclose(line.get_xdata(), [0.05, 0.975]) and np.allclose(line.get_ydata(), [0.5, 1])
    assert [bar.get_height() for bar in counts.patches] == [2, *[0] * 8, 2]


def test_confusion_counts_records_of_one_class():
    labels = np.array([[1, 0], [1, 0], [0, 1], [1, 1]], dtype=bool)
    scores = np.array([[0.9, 0.1], [0.2, 0.8], [0.1, 0.9], [0.9, 0.1]])
    (axes,) = draw_confusion(labels, scores, ["a", "b"]).axes
    assert [(text.get_position(), text.get_text()) for text in axes.texts] == [
        ((0, 0), "1"),
        ((1, 0), "1"),
        ((1, 1), "1"),
    ]
