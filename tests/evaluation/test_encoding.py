import copy

import numpy as np
import pytest
import torch
from datasets import Dataset, concatenate_datasets
from transformers import pipeline

from mets_ecg import ECGForSequenceClassification
from mets_ecg.data.loading import load_prepared_rows
from mets_ecg.data.prepare import prepare_windows
from mets_ecg.data.rows import encode_signal
from mets_ecg.evaluation.encoding import encode_ecgs, with_random_ecg_encoder


@pytest.fixture(scope="module")
def rows(simulated_corpus, tiny_processor):
    return load_prepared_rows(tiny_processor.feature_extractor, corpus=simulated_corpus)


def test_what_is_encoded_does_not_depend_on_the_batches_and_is_in_the_order_of_the_rows(rows, tiny_model):
    some = rows.select([5, 50, 7, 9])
    (whole,), (parts,) = encode_ecgs([tiny_model], some), encode_ecgs([tiny_model], some, batch_size=3)
    assert torch.allclose(whole.pooled, parts.pooled, atol=1e-5)
    (alone,) = encode_ecgs([tiny_model], rows.select([7]))
    assert torch.allclose(whole.outputs[2:3], alone.outputs, atol=1e-5)
    assert torch.allclose(whole.outputs.norm(dim=1), torch.ones(4), atol=1e-5)


def test_of_a_classifier_come_probabilities_as_its_pipeline_gives_them(rows, simulated_corpus, tiny_checkpoint):
    classifier = ECGForSequenceClassification.from_pretrained(tiny_checkpoint, num_labels=3)
    (encoded,) = encode_ecgs([classifier], rows.select([5, 50]), batch_size=1)
    from mets_ecg import ECGFeatureExtractor

    extractor = ECGFeatureExtractor.from_pretrained(tiny_checkpoint)
    pipe = pipeline("ecg-classification", model=classifier, feature_extractor=extractor, device="cpu")
    for i, own in zip((5, 50), encoded.outputs, strict=True):
        scores = {entry["label"]: entry["score"] for entry in pipe(simulated_corpus[i])}
        assert np.allclose(own, [scores[f"LABEL_{c}"] for c in range(3)], atol=1e-6)


def test_a_model_in_training_stays_in_training(rows, tiny_checkpoint):
    classifier = ECGForSequenceClassification.from_pretrained(tiny_checkpoint, num_labels=3).train()
    before = copy.deepcopy(classifier.state_dict())
    encode_ecgs([classifier], rows.select([1, 2]))
    assert classifier.training
    assert all(torch.equal(before[name], value) for name, value in classifier.state_dict().items())


@pytest.fixture(scope="module")
def long_corpus(simulated_corpus):
    """Three recordings: of 25 s, of 10 s, and of 4 s."""
    signals = [np.array(simulated_corpus[i]["signal"]) / 1000 for i in range(4)]
    rate = simulated_corpus[0]["sampling_rate"]
    joined = np.concatenate(signals[:3], axis=1)[:, : int(25 * rate)]
    made = [joined, signals[3], signals[3][:, : int(4 * rate)]]
    rows = [simulated_corpus[i] | encode_signal(signal) for i, signal in enumerate(made)]
    return Dataset.from_list(rows, features=simulated_corpus.features)


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 0]])
def test_windows_of_a_long_recording_are_averaged_as_the_pipeline_does(order, long_corpus, tiny_model, tiny_processor):
    extractor = tiny_processor.feature_extractor
    rows = prepare_windows(concatenate_datasets([long_corpus]), extractor).select(order)
    assert rows["record_id"][:] == [long_corpus[i]["record_id"] for i in order]
    (encoded,) = encode_ecgs([tiny_model], rows, batch_size=2)
    for own, i in zip(encoded.outputs, order, strict=True):
        windows = extractor([long_corpus[i]], crop="windows", return_tensors="pt")
        assert len(windows["input_values"]) == [4, 2, 1][i]
        windows.pop("record_index")
        with torch.no_grad():
            each = tiny_model.normalize_features(tiny_model.get_ecg_features(**windows))
        assert torch.allclose(own, tiny_model.normalize_features(each.mean(dim=0)), atol=1e-5)


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
