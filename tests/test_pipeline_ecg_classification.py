import numpy as np
import pytest
import torch
from transformers import pipeline

from mets_ecg import ECGFeatureExtractor, ECGForSequenceClassification

CLASSES = {0: "NORM", 1: "MI", 2: "CD"}


def noise(samples=1000, seed=0):
    return np.random.default_rng(seed).standard_normal((12, samples)).astype(np.float32)


@pytest.fixture
def checkpoint(tiny_checkpoint, tmp_path):
    """Write a classifier on the tiny checkpoint's encoder, with its feature extractor."""

    def write(**fields):
        torch.manual_seed(0)
        model = ECGForSequenceClassification.from_pretrained(tiny_checkpoint, id2label=CLASSES, **fields)
        model.save_pretrained(tmp_path / "classifier")
        ECGFeatureExtractor.from_pretrained(tiny_checkpoint).save_pretrained(tmp_path / "classifier")
        return str(tmp_path / "classifier")

    return write


def test_probabilities_are_those_of_the_model(checkpoint, ptb_xl_source):
    folder = checkpoint()
    record = str(ptb_xl_source / "records500/00000/00338_hr")
    answers = pipeline("ecg-classification", model=folder, device="cpu")(record)

    model = ECGForSequenceClassification.from_pretrained(folder)
    inputs = ECGFeatureExtractor.from_pretrained(folder)(record, return_tensors="pt")
    with torch.no_grad():
        expected = model(inputs["input_values"]).logits[0].sigmoid()
    assert {entry["label"]: entry["score"] for entry in answers} == pytest.approx(
        {CLASSES[i]: float(expected[i]) for i in range(3)}, abs=1e-5
    )
    assert [entry["score"] for entry in answers] == sorted((entry["score"] for entry in answers), reverse=True)
    assert all(entry.keys() == {"label", "score"} for entry in answers)


def test_a_single_label_model_gives_a_softmax(checkpoint):
    folder = checkpoint(problem_type="single_label_classification")
    answers = pipeline("ecg-classification", model=folder, device="cpu")(noise(), sampling_rate=100)
    assert sum(entry["score"] for entry in answers) == pytest.approx(1.0)


def test_thresholds_say_what_is_present(checkpoint):
    pipe = pipeline("ecg-classification", model=checkpoint(thresholds=[0.0, 1.0, 0.0]), device="cpu")
    answers = pipe(noise(), sampling_rate=100, return_details=True)
    assert {entry["label"]: entry["present"] for entry in answers["scores"]} == {"NORM": True, "MI": False, "CD": True}
    assert answers["duration"] == 10.0 and len(answers["windows"]) == 1
    assert [entry["score"] for entry in answers["windows"][0]["scores"]] == [x["score"] for x in answers["scores"]]


def test_windows_have_scores_of_their_own_which_are_averaged(checkpoint):
    pipe = pipeline("ecg-classification", model=checkpoint(), device="cpu")
    quiet = noise() * np.linspace(1, 3, 12)[:, None]
    answer = pipe(np.concatenate([noise(), quiet], axis=1), sampling_rate=100, crop="windows", return_details=True)
    windows = [{own["label"]: own["score"] for own in window["scores"]} for window in answer["windows"]]
    for own in answer["scores"]:
        assert own["score"] == pytest.approx(np.mean([window[own["label"]] for window in windows]))
    first = pipe(np.concatenate([noise(), quiet], axis=1)[:, :700], sampling_rate=100)
    last = pipe(np.concatenate([noise(), quiet], axis=1)[:, -700:], sampling_rate=100)
    for part, window in ((first, windows[0]), (last, windows[-1])):
        assert {own["label"]: own["score"] for own in part} == pytest.approx(window, abs=0.01)
    assert windows[0] != pytest.approx(windows[-1], abs=0.02)


def test_many_recordings_and_top_k(checkpoint):
    pipe = pipeline("ecg-classification", model=checkpoint(), device="cpu")
    many = pipe([noise(seed=1), noise(seed=2)], sampling_rate=100, top_k=1, batch_size=2)
    assert [len(own) for own in many] == [1, 1]
    assert many[1][0] == pytest.approx(pipe(noise(seed=2), sampling_rate=100)[0], abs=1e-5)


def test_windows_are_averaged_as_probabilities(checkpoint):
    pipe = pipeline("ecg-classification", model=checkpoint(), device="cpu")
    whole, first, second = (
        pipe(part, sampling_rate=100, crop="windows")
        for part in (noise(2000), noise(2000)[:, :1000], noise(2000)[:, 1000:])
    )
    by_label = [{entry["label"]: entry["score"] for entry in answers} for answers in (whole, first, second)]
    for label in CLASSES.values():
        assert by_label[0][label] == pytest.approx((by_label[1][label] + by_label[2][label]) / 2, abs=0.02)


def test_a_classifier_takes_no_labels_in_words(checkpoint):
    folder = checkpoint()
    with pytest.raises(ValueError, match="use pipeline\\('ecg-classification', model=...\\)"):
        pipeline("zero-shot-classification", model=folder, device="cpu")
    with pytest.raises(TypeError, match="candidate_labels"):
        pipeline("ecg-classification", model=folder, device="cpu")(noise(), candidate_labels=["af"], sampling_rate=100)


def test_saving_the_pipeline_saves_what_it_needs(checkpoint, tmp_path):
    pipe = pipeline("ecg-classification", model=checkpoint(), device="cpu")
    pipe.save_pretrained(tmp_path / "again")
    again = pipeline("ecg-classification", model=str(tmp_path / "again"), device="cpu")
    assert again(noise(), sampling_rate=100) == pipe(noise(), sampling_rate=100)
