import numpy as np
import pytest
import torch
from transformers import pipeline

from mets_ecg.data.loading import load_prepared_rows
from mets_ecg.evaluation.tasks import simulated_task
from mets_ecg.evaluation.zero_shot import (
    Truth,
    embed_pooled,
    encode_ecgs,
    measure_single_label,
    read_truth,
    score_prompts,
    untrained_twin,
)


@pytest.fixture(scope="module")
def rows(simulated_corpus, tiny_processor):
    return load_prepared_rows(tiny_processor.feature_extractor, corpus=simulated_corpus)


def test_the_truth_holds_the_records_that_have_a_label_of_the_task(rows, simulated_corpus):
    names = simulated_corpus.features["labels_findings"].feature.names
    classes = ["right bundle branch block", "sinus tachycardia"]

    truth = read_truth(rows, simulated_task(classes))

    expected = [[names.index(code) in own for code in classes] for own in simulated_corpus["labels_findings"]]
    assert truth.rows.tolist() == [i for i, own in enumerate(expected) if any(own)]
    assert truth.labels.tolist() == [own for own in expected if any(own)]
    assert truth.patients.tolist() == [simulated_corpus["patient_id"][i] for i in truth.rows]


def test_a_corpus_without_the_labels_is_refused(simulated_corpus):
    with pytest.raises(ValueError, match="needs the column labels_findings; the corpus has no labels"):
        read_truth(simulated_corpus.remove_columns("labels_findings"), simulated_task())


def test_scores_are_those_of_the_pipeline(rows, simulated_corpus, tiny_model, tiny_processor):
    prompts = simulated_task().phrase_prompts()
    embeds = embed_pooled(tiny_model, encode_ecgs(tiny_model, rows.select([5, 50]), batch_size=1))
    scores = score_prompts(tiny_model, tiny_processor, embeds, prompts)

    pipe = pipeline("zero-shot-ecg-classification", model=tiny_model, processor=tiny_processor, device="cpu")
    for i, own in zip((5, 50), scores, strict=True):
        by_label = {entry["label"]: entry["score"] for entry in pipe(simulated_corpus[i], candidate_labels=prompts)}
        assert np.allclose(own, [by_label[label] for label in prompts], atol=1e-5)


def test_metss_protocol_takes_the_best_class_of_records_that_have_one():
    labels = np.array([[1, 0, 0], [0, 1, 0], [1, 1, 0], [0, 0, 1]], dtype=bool)
    scores = np.array([[0.5, 0.3, 0.2], [0.6, 0.3, 0.1], [0.1, 0.1, 0.8], [0.1, 0.2, 0.7]])
    figures = measure_single_label(Truth(("a", "b", "c"), labels, np.arange(4), np.arange(4)), scores)
    # Three records count; the second is called "a". F1: 2/3, 0 and 1.
    assert figures.num_records == 3
    assert figures.accuracy == pytest.approx(2 / 3)
    assert figures.f1 == pytest.approx(5 / 9)


def test_an_untrained_twin_shares_the_text_side_and_nothing_else(tiny_model, tiny_processor):
    state = torch.random.get_rng_state()
    twin, again, other = (untrained_twin(tiny_model, seed) for seed in (1, 1, 2))

    assert torch.equal(state, torch.random.get_rng_state())
    assert twin.text_model is tiny_model.text_model
    weight = "ecg_model.stem.convolution.weight"
    assert torch.equal(twin.state_dict()[weight], again.state_dict()[weight])
    assert not torch.equal(twin.state_dict()[weight], other.state_dict()[weight])
    inputs = tiny_processor(text="sinus rhythm", return_tensors="pt")
    assert torch.equal(twin.get_text_features(**inputs), tiny_model.get_text_features(**inputs))


def test_a_record_without_labels_is_left_out_and_not_given_all(rows):
    columns = [None if i % 2 else own for i, own in enumerate(rows["labels_findings"])]
    changed = rows.columns.remove_columns("labels_findings").add_column(
        "labels_findings", columns, feature=rows.features["labels_findings"]
    )
    truth = read_truth(changed, simulated_task())
    assert not (truth.rows % 2).any()


def test_without_single_label_records_there_are_no_single_label_figures():
    truth = Truth(("a", "b"), np.ones((2, 2), dtype=bool), np.arange(2), np.arange(2))
    assert measure_single_label(truth, np.ones((2, 2))) is None
