import json

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from mets_ecg import ECGFeatureExtractor, ECGForSequenceClassification
from mets_ecg.evaluation.probe import STRENGTHS, chosen_linear_probe, linear_probe, prototype_scores, run_probe
from mets_ecg_cli.probe import ProbeArguments


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


def test_the_penalty_is_chosen_on_the_validation_records():
    """Of 40 noisy records in 60 numbers, one of which tells the class, a weak penalty learns the noise."""
    rng = np.random.default_rng(0)

    def drawn(count):
        labels = rng.random((count, 1)) < 0.5
        return np.concatenate([labels * 1.5 + rng.normal(size=(count, 1)), rng.normal(size=(count, 59))], 1), labels

    (train, known), (validation, chosen_on), (test, truth) = drawn(40), drawn(400), drawn(400)
    scores, strength = chosen_linear_probe(train, known, validation, chosen_on, test)
    reached = {own: roc_auc_score(chosen_on, linear_probe(train, known, validation, strength=own)) for own in STRENGTHS}
    assert strength == max(reached, key=reached.get) and min(reached.values()) < reached[strength] - 0.01
    assert roc_auc_score(truth, scores) > 0.6


def test_prototypes_are_the_mean_directions_of_a_few_records():
    rng = np.random.default_rng(0)
    centres = np.eye(3)[:, :3] * 5
    kinds = rng.integers(3, size=90)
    vectors = 100 + np.concatenate([centres[kinds] + rng.normal(size=(90, 3)), rng.normal(size=(90, 4))], axis=1)
    labels = np.eye(3, dtype=bool)[kinds]
    scores = prototype_scores(vectors[:60], labels[:60], vectors[60:], 5, np.random.default_rng(1))
    assert (scores.argmax(axis=1) == kinds[60:]).mean() > 0.9
    absent = np.concatenate([labels[:60], np.zeros((60, 1), bool)], axis=1)
    assert (prototype_scores(vectors[:60], absent, vectors[60:], 5, np.random.default_rng(1))[:, 3] == 0).all()


@pytest.mark.parametrize("classifies", [False, True])
def test_the_command_prints_each_way_beside_an_untrained_encoder(
    classifies, tiny_checkpoint, ptb_xl_source, tmp_path, capsys
):
    model = str(tiny_checkpoint)
    if classifies:
        ECGForSequenceClassification.from_pretrained(model, num_labels=2).save_pretrained(tmp_path / "c")
        ECGFeatureExtractor.from_pretrained(model).save_pretrained(tmp_path / "c")
        model = str(tmp_path / "c")
    document = run_probe(
        ProbeArguments(
            model=model,
            source=str(ptb_xl_source),
            train=["1-5"],
            validation=["6-7"],
            test=["8"],
            fractions=[0.5, 1.0],
            shots=[2],
            num_draws=2,
            num_resamples=10,
            output=str(tmp_path / "probe.json"),
        )
    )
    printed = capsys.readouterr().out
    assert [line["name"] for line in document["lines"]] == [
        "linear, 0.5 of the patients",
        "linear, 1 of the patients",
        "prototypes of 2",
    ]
    half, whole, few = document["lines"]
    assert half["num_draws"] == 2 and whole["num_draws"] == 1
    assert half["num_records"] < whole["num_records"]
    assert half["auroc"]["macro"] == pytest.approx(np.mean(half["draws"]))
    assert whole["draws"] != whole["untrained_draws"]
    assert len(half["strengths"]) == 2 and few["strengths"] == []
    assert "| prototypes of 2 |" in printed
    assert json.loads((tmp_path / "probe.json").read_text()) == document
    assert (tmp_path / "probe.md").read_text() == printed


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train": ["none"]}, "there is nothing to fit on: name a part by --train"),
        ({"validation": ["none"]}, "to choose the penalty of linear probes on: name a part by --validation"),
        ({"fractions": [2.0]}, "--fractions must be above 0 and at most 1, got 2.0"),
        ({"fractions": [], "shots": []}, "there is nothing to fit: give --fractions or --shots"),
        ({"shots": [0]}, "--shots must be at least 1, got 0"),
    ],
)
def test_what_cannot_be_fitted_is_refused(tiny_checkpoint, ptb_xl_source, changes, message):
    where = {"model": str(tiny_checkpoint), "source": str(ptb_xl_source)}
    parts = {"train": ["1-6"], "validation": ["7"], "test": ["8"]}
    with pytest.raises(ValueError, match=message):
        run_probe(ProbeArguments(**where, **{**parts, **changes}))
