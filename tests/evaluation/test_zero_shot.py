import dataclasses

import numpy as np
import pytest
import torch
from datasets import ClassLabel, Dataset, List
from transformers import pipeline

from mets_ecg.data.loading import load_prepared_rows
from mets_ecg.evaluation.tasks import get_task, read_task, simulated_task
from mets_ecg.evaluation.zero_shot import (
    TaskLabels,
    best_class_metrics,
    embed_pooled,
    encode_ecgs,
    load_labels,
    score_prompts,
    with_random_ecg_encoder,
)


@pytest.fixture(scope="module")
def rows(simulated_corpus, tiny_processor):
    return load_prepared_rows(tiny_processor.feature_extractor, corpus=simulated_corpus)


def test_the_labels_of_a_multi_label_task_are_those_of_the_rows(rows, simulated_corpus):
    names = simulated_corpus.features["labels_findings"].feature.names
    classes = ["right bundle branch block", "sinus tachycardia"]

    truth = load_labels(rows, simulated_task(classes))

    expected = [[names.index(code) in own for code in classes] for own in simulated_corpus["labels_findings"]]
    assert truth.labels.tolist() == expected and truth.excluded == {}  # records of other classes are negatives
    assert truth.patients.tolist() == [f"/{patient}" for patient in simulated_corpus["patient_id"]]


def test_a_corpus_without_the_labels_is_refused(simulated_corpus):
    with pytest.raises(ValueError, match="needs the column labels_findings; the corpus has statements"):
        load_labels(simulated_corpus.remove_columns("labels_findings"), simulated_task())
    ludb = Dataset.from_dict({"corpus": ["ludb"], "labels_rhythm": [[]]})
    with pytest.raises(ValueError, match="the corpus has labels_rhythm. A task of ludb is ludb-rhythm"):
        load_labels(ludb, simulated_task())


def test_scores_are_those_of_the_pipeline(rows, simulated_corpus, tiny_model, tiny_processor):
    prompts = simulated_task().phrase_prompts()
    embeds = embed_pooled(tiny_model, encode_ecgs([tiny_model], rows.select([5, 50]), batch_size=1)[0])
    scores = score_prompts(tiny_model, tiny_processor, embeds, prompts)

    pipe = pipeline("zero-shot-ecg-classification", model=tiny_model, processor=tiny_processor, device="cpu")
    for i, own in zip((5, 50), scores, strict=True):
        by_label = {entry["label"]: entry["score"] for entry in pipe(simulated_corpus[i], prompts, multi_label=True)}
        assert np.allclose(own, [by_label[label] for label in prompts], atol=1e-5)


def test_metss_protocol_takes_the_best_class_of_records_that_have_one():
    labels = np.array([[1, 0, 0], [0, 1, 0], [1, 1, 0], [0, 0, 1]], dtype=bool)
    scores = np.array([[0.5, 0.3, 0.2], [0.6, 0.3, 0.1], [0.1, 0.1, 0.8], [0.1, 0.2, 0.7]])
    figures = best_class_metrics(TaskLabels(("a", "b", "c"), labels, np.arange(4), np.arange(4), {}), scores)
    # Three records count; the second is called "a". F1: 2/3, 0 and 1.
    assert figures.num_records == 3
    assert figures.accuracy == pytest.approx(2 / 3)
    assert figures.f1 == pytest.approx(5 / 9)


def test_an_untrained_twin_shares_the_text_side_and_nothing_else(tiny_model, tiny_processor):
    state = torch.random.get_rng_state()
    twin, again, other = (with_random_ecg_encoder(tiny_model, seed) for seed in (1, 1, 2))

    assert torch.equal(state, torch.random.get_rng_state())
    assert twin.text_model is tiny_model.text_model
    weight = "ecg_model.stem.convolution.weight"
    assert torch.equal(twin.state_dict()[weight], again.state_dict()[weight])
    assert not torch.equal(twin.state_dict()[weight], other.state_dict()[weight])
    inputs = tiny_processor(text="sinus rhythm", return_tensors="pt")
    assert torch.equal(twin.get_text_features(**inputs), tiny_model.get_text_features(**inputs))


def with_labels(rows, labels):
    feature = rows.features["labels_findings"]
    return (
        rows.columns.select(range(len(labels)))
        .remove_columns("labels_findings")
        .add_column("labels_findings", labels, feature=feature)
    )


def test_unknown_labels_do_not_count_and_none_of_the_classes_is_a_negative(rows):
    truth = load_labels(with_labels(rows, [None, [], [0], [1, 2]]), simulated_task())
    assert truth.rows.tolist() == [1, 2, 3]
    assert truth.excluded == {"labels not known": 1}
    assert truth.labels.sum(axis=1).tolist() == [0, 1, 2]


def test_rows_of_a_single_label_task_have_exactly_one_of_its_classes(rows):
    names = rows.features["labels_findings"].feature.names
    task = dataclasses.replace(simulated_task(names[:2]), problem_type="single-label")
    truth = load_labels(with_labels(rows, [None, [], [0], [1, 2], [0, 1], [5]]), task)
    assert truth.rows.tolist() == [2, 3]
    assert truth.excluded == {"labels not known": 1, "not exactly one of the classes": 3}


def test_codes_of_statements_can_be_the_classes(tmp_path):
    codes = [["22", "23"], None, ["30+310"], ["1"]]
    rows = Dataset.from_dict(
        {
            "record_id": list("abcd"),
            "patient_id": list("1234"),
            "statements": [own and [{"code": code, "likelihood": None} for code in own] for own in codes],
        }
    )
    path = tmp_path / "sph.yaml"
    path.write_text(
        "corpus: sph\nlabel_column: statements\nclasses: {22: STACH, '30': {name: atrial premature beat}}\n"
    )
    truth = load_labels(rows, read_task(path))
    assert truth.rows.tolist() == [0, 2, 3]
    assert truth.labels.tolist() == [[True, False], [False, True], [False, False]]
    assert load_labels(rows.select([2, 3]), read_task(path)).labels.tolist() == [[False, True], [False, False]]
    with pytest.raises(ValueError, match="statements has no class '22', '30'; it has 1$"):
        load_labels(rows.select([3]), read_task(path))


def test_windows_with_a_second_kind_of_abnormal_beat_are_left_out_and_counted():
    names = ["normal beat", "atrial premature beat", "premature ventricular contraction", "other"]
    windows = ["NNN", "NAN", "NVN", "AVN", "NVN", "VVN", "NNE"]
    own = "NANAVVN"
    rows = Dataset.from_dict(
        {
            "record_id": list(map(str, range(7))),
            "patient_id": ["1"] * 7,
            "statements": [[{"code": code, "likelihood": None}] for code in own],
            "window_symbols": [list(window) for window in windows],
            "labels_beat": [[{"N": 0, "A": 1, "V": 2}[code]] for code in own],
        }
    ).cast_column("labels_beat", List(ClassLabel(names=names)))
    task = dataclasses.replace(get_task("mit-bih-beats"), classes={name: None for name in names[:3]})
    labels = load_labels(rows, task)
    assert labels.rows.tolist() == [0, 1, 4, 5]
    assert labels.excluded == {"a second kind of abnormal beat in the window": 3}


def test_a_task_of_one_class_is_scored_against_the_neutral_phrase(rows, tiny_model, tiny_processor, simulated_corpus):
    prompts = dict([next(iter(simulated_task().phrase_prompts().items()))])
    embeds = embed_pooled(tiny_model, encode_ecgs([tiny_model], rows.select([5, 50, 7]))[0])
    scores = score_prompts(tiny_model, tiny_processor, embeds, prompts)[:, 0]
    assert len(set(scores)) == 3
    pipe = pipeline("zero-shot-ecg-classification", model=tiny_model, processor=tiny_processor, device="cpu")
    assert scores[0] == pytest.approx(pipe(simulated_corpus[5], candidate_labels=prompts)[0]["score"], abs=1e-5)


def test_without_single_label_records_there_are_no_single_label_figures():
    truth = TaskLabels(("a", "b"), np.ones((2, 2), dtype=bool), np.arange(2), np.arange(2), {})
    assert best_class_metrics(truth, np.ones((2, 2))) is None
