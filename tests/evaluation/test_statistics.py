"""Figures of a classification, against hand-computed numbers and scikit-learn."""

from __future__ import annotations

import time

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, precision_recall_fscore_support, roc_auc_score

from mets_ecg.evaluation import statistics
from mets_ecg.evaluation.statistics import (
    auroc,
    bootstrap_auroc,
    bootstrap_mean,
    choose_thresholds,
    compare_auroc,
    f1_of_records,
    f_max,
    single_label_metrics,
)


def make_scores(records: int = 211, classes: int = 3, seed: int = 3, step: float | None = None):
    generator = np.random.default_rng(seed)
    labels = generator.random((records, classes)) < np.linspace(0.5, 0.15, classes)
    scores = labels + generator.normal(size=(records, classes))
    patients = generator.integers(records // 2, size=records)
    return labels, np.round(scores / step) * step if step else scores, patients


def test_auroc_by_hand_with_a_tie():
    labels = np.array([[1], [0], [1], [0], [0]], dtype=bool)
    scores = np.array([[0.9], [0.4], [0.4], [0.1], [0.6]])
    # 0.9 beats three negatives; 0.4 loses to 0.6, ties with 0.4, beats 0.1: (3 + 1.5) of 6 pairs.
    assert auroc(labels, scores) == pytest.approx([0.75])


@pytest.mark.parametrize("step", [None, 0.5, 2.0])
def test_auroc_agrees_with_scikit_learn(step):
    labels, scores, _ = make_scores(step=step)
    expected = [roc_auc_score(labels[:, c], scores[:, c]) for c in range(labels.shape[1])]
    np.testing.assert_allclose(auroc(labels, scores), expected, atol=1e-12)


def test_auroc_of_a_class_without_positives_or_negatives_is_nan():
    labels = np.array([[0, 1, 1], [0, 1, 0]], dtype=bool)
    result = auroc(labels, np.array([[0.2, 0.2, 0.8], [0.1, 0.1, 0.3]]))
    assert np.isnan(result[:2]).all()
    assert result[2] == 1.0


def test_auroc_of_infinite_scores():
    assert auroc(np.array([[True], [False]]), np.array([[np.inf], [-np.inf]])) == [1.0]


@pytest.mark.parametrize("step", [None, 0.5])
def test_auroc_of_weighted_records_agrees_with_scikit_learn(step):
    labels, scores, _ = make_scores(step=step)
    weights = np.random.default_rng(0).integers(0, 4, size=(len(labels), 7)).astype(np.float32)
    for c in range(labels.shape[1]):
        expected = [roc_auc_score(labels[:, c], scores[:, c], sample_weight=w) for w in weights.T]
        result = statistics._Ranking(labels[:, c], scores[:, c]).auroc(weights)
        np.testing.assert_allclose(result, expected, atol=1e-6)


@pytest.mark.parametrize("step", [None, 0.5])
def test_bootstrap_agrees_with_resampling_by_hand(step, monkeypatch):
    labels, scores, patients = make_scores(step=step)
    drawn = []
    counts = statistics._patient_counts
    monkeypatch.setattr(statistics, "_patient_counts", lambda *args: drawn.append(counts(*args)) or drawn[-1])
    result = bootstrap_auroc(labels, scores, patients, num_resamples=50, seed=4, confidence=0.8)

    names = np.unique(patients)
    by_hand = []
    for draw in np.concatenate(drawn, axis=1).T:
        rows = [
            i
            for name, count in zip(names, draw, strict=True)
            for _ in range(int(count))
            for i in np.flatnonzero(patients == name)
        ]
        by_hand.append([roc_auc_score(labels[rows, c], scores[rows, c]) for c in range(labels.shape[1])])
    low, high = np.quantile(by_hand, (0.1, 0.9), axis=0)
    np.testing.assert_allclose(result.per_class_low, low, atol=1e-6)
    np.testing.assert_allclose(result.per_class_high, high, atol=1e-6)
    macro_low, macro_high = np.quantile(np.mean(by_hand, axis=1), (0.1, 0.9))
    assert (result.macro_low, result.macro_high) == pytest.approx((macro_low, macro_high), abs=1e-6)
    assert result.macro == pytest.approx(roc_auc_score(labels, scores, average="macro"))


def test_every_resample_draws_as_many_patients_as_there_are():
    counts = statistics._patient_counts(np.random.default_rng(0), 40, 25)
    assert counts.shape == (40, 25)
    assert (counts.sum(axis=0) == 40).all()
    assert 0.25 < (counts == 0).mean() < 0.5  # about 1 / e are not drawn at all
    assert len({tuple(draw) for draw in counts.T}) == 25


def test_records_of_one_patient_are_drawn_together():
    labels, scores, _ = make_scores(records=60, classes=1, seed=1)
    copies = 10
    alone = bootstrap_auroc(labels, scores, np.arange(60), num_resamples=400)
    together = bootstrap_auroc(
        labels.repeat(copies, 0), scores.repeat(copies, 0), np.arange(60).repeat(copies), num_resamples=400
    )
    assert together.num_records == 600
    assert together.num_patients == 60
    # Ten copies of every record add nothing: the interval must not shrink as it would over records.
    assert together.macro_low == pytest.approx(alone.macro_low)
    assert together.macro_high == pytest.approx(alone.macro_high)


def test_blocks_of_resamples_do_not_change_the_draws(monkeypatch):
    labels, scores, patients = make_scores()
    whole = bootstrap_auroc(labels, scores, patients, num_resamples=33)
    monkeypatch.setattr(statistics, "_WEIGHTS_PER_BLOCK", 10 * len(labels))
    blocks = bootstrap_auroc(labels, scores, patients, num_resamples=33)
    np.testing.assert_array_equal(whole.per_class_low, blocks.per_class_low)
    assert whole.macro_high == blocks.macro_high


def test_seed_decides_the_intervals():
    labels, scores, patients = make_scores()
    first, again, other = (bootstrap_auroc(labels, scores, patients, num_resamples=99, seed=s) for s in (1, 1, 2))
    np.testing.assert_array_equal(first.per_class_low, again.per_class_low)
    assert (first.per_class_low != other.per_class_low).any()
    np.testing.assert_array_equal(first.per_class, other.per_class)


def test_absent_and_rare_classes_do_not_spoil_the_macro():
    labels, scores, _ = make_scores(records=50, classes=4)
    labels[:, 2] = False
    labels[:, 3] = np.arange(50) == 7
    result = bootstrap_auroc(labels, scores, np.arange(50), num_resamples=200)
    assert result.num_positives.tolist() == labels.sum(0).tolist()
    assert np.isnan([result.per_class[2], result.per_class_low[2], result.per_class_high[2]]).all()
    assert np.isfinite([result.per_class_low[3], result.macro_low, result.macro_high]).all()
    assert result.macro == pytest.approx(result.per_class[[0, 1, 3]].mean())


def test_nothing_to_average_is_nan():
    result = bootstrap_auroc(np.zeros((4, 2), bool), np.zeros((4, 2)), np.arange(4), num_resamples=5)
    assert np.isnan([result.macro, result.macro_low, result.macro_high]).all()


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    generator, hits = np.random.default_rng(11), 0
    for _ in range(100):
        labels = generator.random((120, 1)) < 0.4
        scores = labels + generator.normal(size=(120, 1))
        result = bootstrap_auroc(labels, scores, np.arange(120), num_resamples=200, confidence=0.9)
        hits += result.per_class_low[0] <= 0.76025 <= result.per_class_high[0]  # Phi(1 / sqrt(2))
    assert 82 <= hits <= 98


def test_bootstrap_of_a_test_fold_is_quick():
    labels, scores, patients = make_scores(records=2183, classes=5)
    start = time.perf_counter()
    bootstrap_auroc(labels, scores, patients, num_resamples=1000)
    assert time.perf_counter() - start < 3  # 0.1 s on an idle core


def test_bootstrap_of_a_large_corpus_sorts_once(monkeypatch):
    labels, scores, patients = make_scores(records=5000, classes=4)
    sorts, argsort = [], np.argsort
    monkeypatch.setattr(np, "argsort", lambda *args, **options: sorts.append(1) or argsort(*args, **options))
    monkeypatch.setattr(statistics, "_WEIGHTS_PER_BLOCK", 1)
    bootstrap_auroc(labels, scores, patients, num_resamples=80)
    assert len(sorts) <= 2 * 4  # for the classes as they are, and for all of ten blocks


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": np.zeros(9, bool)}, "expected both"),
        ({"scores": np.zeros((9, 3))}, "expected both"),
        (
            {"labels": np.zeros((0, 2), bool), "scores": np.zeros((0, 2)), "patients": np.zeros(0)},
            "at least one record",
        ),
        ({"labels": np.full((9, 2), 2)}, "other than 0 and 1"),
        ({"scores": np.full((9, 2), np.nan)}, "18 scores are NaN"),
        ({"patients": np.arange(8)}, "one a record"),
        ({"patients": np.array(["a"] * 8 + [None], dtype=object)}, "patient of 1 of 9 records is unknown"),
        ({"patients": np.array([1.0] * 7 + [np.nan] * 2)}, "patient of 2 of 9 records is unknown"),
        ({"num_resamples": 0}, "at least 1"),
        ({"confidence": 95}, "between 0 and 1"),
    ],
)
def test_bootstrap_refuses(change, message):
    arguments = {"labels": np.eye(9, 2, dtype=bool), "scores": np.zeros((9, 2)), "patients": np.arange(9)}
    with pytest.raises(ValueError, match=message):
        bootstrap_auroc(**(arguments | change))


def test_single_label_metrics_by_hand():
    result = single_label_metrics(np.array([0, 0, 1, 2]), np.array([0, 1, 1, 1]), 3)
    assert result.accuracy == 0.5
    # Of 12 record-class decisions, each of the two wrong records spoils two.
    assert result.binary_accuracy == pytest.approx(8 / 12)
    assert result.precision == pytest.approx((1 + 1 / 3 + 0) / 3)
    assert result.recall == pytest.approx((1 / 2 + 1 + 0) / 3)
    assert result.per_class_f1 == pytest.approx([2 / 3, 1 / 2, 0])


def test_single_label_metrics_agree_with_scikit_learn():
    generator = np.random.default_rng(5)
    targets, predictions = generator.integers(5, size=(2, 307))
    targets[targets == 3] = 0  # a class that never occurs and is predicted
    predictions[predictions == 1] = 2  # one that occurs and is never predicted
    result = single_label_metrics(targets, predictions, 6)  # and one that does neither
    expected = precision_recall_fscore_support(targets, predictions, labels=range(6), average="macro", zero_division=0)
    assert (result.precision, result.recall, result.f1) == pytest.approx(expected[:3])
    assert result.accuracy == pytest.approx(accuracy_score(targets, predictions))
    binary = [accuracy_score(targets == c, predictions == c) for c in range(6)]
    assert result.binary_accuracy == pytest.approx(np.mean(binary))
    assert result.num_records == 307


@pytest.mark.parametrize(
    ("targets", "predictions", "message"),
    [
        ([0, 1], [0], "2 targets and 1 predictions"),
        ([], [], "at least one record"),
        ([0, 3], [0, 1], "targets lie in 0 to 3: expected 0 to 2"),
        ([0, 1], [0, -1], "predictions lie in -1 to 0"),
        ([[0, 1]], [0, 1], "targets have shape"),
        ([0.5, 1.0], [0, 1], "expected integers"),
    ],
)
def test_single_label_metrics_refuse(targets, predictions, message):
    dtype = float if any(isinstance(t, float) for t in targets) else int
    with pytest.raises(ValueError, match=message):
        single_label_metrics(np.array(targets, dtype=dtype), np.array(predictions, dtype=int), 3)


def test_the_macro_of_frequent_classes_leaves_rare_ones_out():
    labels = np.zeros((100, 3), dtype=bool)
    labels[:40, 0] = labels[:10, 1] = labels[:9, 2] = True
    scores = np.random.default_rng(0).normal(size=(100, 3))
    found = bootstrap_auroc(labels, scores, np.arange(100), num_resamples=20)
    assert found.num_frequent == 2
    assert found.macro_frequent == pytest.approx(found.per_class[:2].mean())
    assert found.macro_frequent_low <= found.macro_frequent <= found.macro_frequent_high
    assert found.macro == pytest.approx(found.per_class.mean())


def test_a_paired_comparison_is_narrower_than_two_intervals():
    labels, scores, patients = make_scores(records=400)
    better = scores + 0.3 * labels
    found = compare_auroc(labels, scores, better, patients, num_resamples=200)
    one, other = (bootstrap_auroc(labels, own, patients, num_resamples=200) for own in (scores, better))
    assert found.macro == pytest.approx(other.macro - one.macro)
    assert found.macro_low > 0 and found.share_above > 0.99
    assert found.macro_high - found.macro_low < (one.macro_high - one.macro_low) / 2
    back = compare_auroc(labels, better, scores, patients, num_resamples=200)
    assert back.macro_low == pytest.approx(-found.macro_high)


def test_the_interval_of_a_mean_is_over_patients():
    values = np.repeat(np.random.default_rng(0).normal(size=50), 20)  # 50 patients of 20 equal records
    owners = np.repeat(np.arange(50), 20)
    mean, low, high = bootstrap_mean(values, owners)
    assert mean == pytest.approx(values.mean())
    assert high - low == pytest.approx(2 * 1.96 * values.std() / np.sqrt(50), rel=0.15)
    _, low_records, high_records = bootstrap_mean(values, np.arange(1000))
    assert high_records - low_records < (high - low) / 3


def test_f1_of_records_by_hand():
    labels = np.array([[1, 1, 0], [0, 1, 0], [0, 0, 0]], dtype=bool)
    predictions = np.array([[1, 0, 0], [0, 0, 0], [0, 1, 0]], dtype=bool)
    # Precision of the first and third record: 1 and 0. Recall of the first and second: 1/2 and 0.
    assert f1_of_records(labels, predictions) == pytest.approx(2 * 0.5 * 0.25 / 0.75)
    assert f1_of_records(labels, np.zeros_like(labels)) == 0
    with pytest.raises(ValueError, match="none of 3 records has one of the 3 classes"):
        f1_of_records(np.zeros_like(labels), predictions)


def test_f_max_is_the_best_of_its_thresholds():
    labels, scores, _ = make_scores()
    value, threshold = f_max(labels, scores)
    assert value == f1_of_records(labels, scores >= threshold)
    assert value >= max(f1_of_records(labels, scores >= at) for at in np.quantile(scores, [0.2, 0.5, 0.8]))
    perfect = np.where(labels, 0.9, 0.2)
    kept = labels.any(axis=1)
    assert f_max(labels[kept], perfect[kept]) == (1.0, 0.9)


def test_thresholds_are_those_of_highest_f1():
    labels = np.array([[1, 0], [1, 0], [0, 0], [1, 0], [0, 0]], dtype=bool)
    probabilities = np.array([[0.9, 0.1], [0.4, 0.2], [0.3, 0.3], [0.35, 0.4], [0.2, 0.5]])
    assert choose_thresholds(labels, probabilities) == [pytest.approx(0.35), 0.5]
