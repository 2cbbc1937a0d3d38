"""`ZeroShotECGClassificationPipeline`: every input, the scores by hand, and what it refuses."""

from __future__ import annotations

import copy
import itertools
import json
import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import AutoModel, AutoProcessor, pipeline

from mets_ecg import ECGProcessor, ZeroShotECGClassificationPipeline
from mets_ecg.data.loading import load_corpus
from mets_ecg.data.parts import select_part
from mets_ecg.io import read_wfdb
from mets_ecg.leads import STANDARD_LEADS

LABELS = ["sinus rhythm", "atrial fibrillation", "left bundle branch block"]
TASKS = ["zero-shot-classification", "zero-shot-ecg-classification"]


def noise(samples: int = 1000, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((12, samples)).astype(np.float32)


@pytest.fixture(scope="module")
def pipe(tiny_model, tiny_processor) -> ZeroShotECGClassificationPipeline:
    return pipeline("zero-shot-classification", model=tiny_model, processor=tiny_processor, device="cpu")


@pytest.fixture
def own_processor(tiny_checkpoint) -> ECGProcessor:
    """A processor of its own, which a test may change."""
    return ECGProcessor.from_pretrained(tiny_checkpoint)


@pytest.fixture(scope="module")
def paths(ptb_xl_source):
    return sorted((ptb_xl_source / "records100" / "00000").glob("*.hea"))[:5]


@pytest.fixture(scope="module")
def corpus(ptb_xl_source, tmp_path_factory):
    cache = tmp_path_factory.mktemp("corpus")
    return select_part(load_corpus(source=ptb_xl_source, sampling_rate=100, cache_dir=cache), ["1"])


def as_dict(result: list[dict]) -> dict[str, float]:
    return {entry["label"]: entry["score"] for entry in result}


def assert_same(left, right) -> None:
    """The same labels in the same order, with equal scores."""
    assert [entry["label"] for entry in left] == [entry["label"] for entry in right]
    np.testing.assert_allclose([e["score"] for e in left], [e["score"] for e in right], atol=1e-5)


@torch.no_grad()
def cosines(model, processor, ecg, phrases: list[str], window=0, **reading) -> tuple[torch.Tensor, float]:
    """Cosines of one recording with phrases, and the scale, straight from model and processor."""
    inputs = processor(ecg=ecg, text=phrases, return_tensors="pt", **reading)
    output = model(**{name: inputs[name] for name in ("input_values", "input_ids", "attention_mask")})
    return (output.ecg_embeds @ output.text_embeds.T)[window], model.logit_scale.exp().item()


def test_scores_are_the_softmax_of_model_and_processor_by_hand(pipe, tiny_model, tiny_processor):
    result = pipe(noise(), candidate_labels=LABELS, sampling_rate=100)
    prompts = [f"The ECG of {label}, a type of diagnostic." for label in LABELS]
    cosine, _ = cosines(tiny_model, tiny_processor, noise(), prompts, sampling_rate=100)
    expected = (tiny_processor.comparison_scale * cosine).softmax(dim=0)
    np.testing.assert_allclose([as_dict(result)[label] for label in LABELS], expected, atol=1e-5)
    scores = [entry["score"] for entry in result]
    assert scores == sorted(scores, reverse=True)
    assert sum(scores) == pytest.approx(1.0, abs=1e-6)


def test_multi_label_judges_each_label_against_the_neutral_phrase(pipe, tiny_model, tiny_processor):
    result = as_dict(pipe(noise(), candidate_labels=LABELS, multi_label=True, sampling_rate=100))
    prompts = [f"The ECG of {label}, a type of diagnostic." for label in LABELS] + ["ecg."]
    cosine, scale = cosines(tiny_model, tiny_processor, noise(), prompts, sampling_rate=100)
    expected = torch.sigmoid(scale * (cosine[:3] - cosine[3]))
    np.testing.assert_allclose([result[label] for label in LABELS], expected, atol=1e-5)
    alone = pipe(noise(), candidate_labels=LABELS[1:2], multi_label=True, sampling_rate=100)
    assert as_dict(alone)[LABELS[1]] == pytest.approx(result[LABELS[1]], abs=1e-5)


def test_a_single_label_is_judged_on_its_own(pipe):
    single = pipe(noise(), candidate_labels=LABELS[:1], sampling_rate=100)
    assert len(single) == 1 and 0 < single[0]["score"] < 1
    assert_same(single, pipe(noise(), candidate_labels=LABELS[:1], multi_label=True, sampling_rate=100))


def test_a_template_goes_round_plain_labels_only(pipe):
    plain = pipe(noise(), candidate_labels=["sinus", "flutter"], hypothesis_template="{} rhythm", sampling_rate=100)
    phrases = {"sinus": ["sinus rhythm"], "flutter": "flutter rhythm"}
    assert_same(plain, pipe(noise(), candidate_labels=phrases, sampling_rate=100))
    assert_same(plain, pipe(noise(), candidate_labels=phrases, hypothesis_template="a {}", sampling_rate=100))
    assert plain != pipe(noise(), candidate_labels=["sinus", "flutter"], sampling_rate=100)


def test_the_default_template_is_the_processors_own(tiny_model, own_processor):
    own_processor.hypothesis_template = "{} rhythm"
    pipe = pipeline("zero-shot-classification", model=tiny_model, processor=own_processor, device="cpu")
    expected = pipe(noise(), {"sinus": "sinus rhythm", "flutter": "flutter rhythm"}, sampling_rate=100)
    assert_same(pipe(noise(), ["sinus", "flutter"], sampling_rate=100), expected)


def test_several_phrases_of_a_label_are_joined_by_log_sum_exp(pipe, tiny_model, tiny_processor):
    labels = {"af": ["atrial fibrillation", "rhythm irregular, atrial"], "sr": ["sinus rhythm"]}
    result = as_dict(pipe(noise(), candidate_labels=labels, sampling_rate=100))
    with torch.no_grad():
        inputs = tiny_processor(
            ecg=noise(), text=[*labels["af"], *labels["sr"]], sampling_rate=100, return_tensors="pt"
        )
        output = tiny_model(**{name: inputs[name] for name in ("input_values", "input_ids", "attention_mask")})
        cosines = output.ecg_embeds[0] @ output.text_embeds.T
        joined = ((10 * cosines[:2]).exp().mean().log() / 10, cosines[2])
        expected = (10 * torch.stack(joined)).softmax(dim=0)
    np.testing.assert_allclose([result["af"], result["sr"]], expected, atol=1e-5)


def test_labels_may_be_one_string(pipe):
    assert_same(
        pipe(noise(), candidate_labels="sinus rhythm, atrial fibrillation,left bundle branch block", sampling_rate=100),
        pipe(noise(), candidate_labels=LABELS, sampling_rate=100),
    )


def test_top_k_keeps_the_best(pipe):
    whole = pipe(noise(), candidate_labels=LABELS, sampling_rate=100)
    assert_same(pipe(noise(), candidate_labels=LABELS, sampling_rate=100, top_k=2), whole[:2])
    assert_same(pipe(noise(), candidate_labels=LABELS, sampling_rate=100, top_k=99), whole)


def test_every_kind_of_one_recording_gives_the_same_list(pipe, paths, corpus):
    record = read_wfdb(paths[0])
    expected = pipe(str(paths[0]), candidate_labels=LABELS)
    array = {"sampling_rate": 100, "lead_names": record.lead_names}
    assert_same(pipe(paths[0], candidate_labels=LABELS), expected)
    assert_same(pipe(record, candidate_labels=LABELS), expected)
    assert_same(pipe(record.signal, candidate_labels=LABELS, **array), expected)
    assert_same(pipe(record.signal * 1000, candidate_labels=LABELS, units="uV", **array), expected)
    assert_same(pipe(torch.from_numpy(record.signal.copy()), candidate_labels=LABELS, **array), expected)
    row = next(row for row in corpus if row["record_id"] == "32")
    assert_same(pipe(row, candidate_labels=LABELS), pipe(str(paths[0].with_name("00032_lr")), candidate_labels=LABELS))


def test_lead_names_and_rate_of_the_call_matter(pipe):
    reversed_names = STANDARD_LEADS[::-1]
    expected = pipe(noise(), candidate_labels=LABELS, sampling_rate=100)
    assert_same(pipe(noise()[::-1], LABELS, sampling_rate=100, lead_names=reversed_names), expected)
    assert pipe(noise()[::-1], LABELS, sampling_rate=100) != expected
    assert pipe(noise(), LABELS, sampling_rate=120) != expected


def test_many_recordings_give_a_list_of_lists(pipe, paths):
    singles = [pipe(path, candidate_labels=LABELS) for path in paths]
    for many in (list(paths), tuple(map(str, paths)), [read_wfdb(path) for path in paths]):
        results = pipe(many, candidate_labels=LABELS)
        assert isinstance(results, list) and len(results) == 5
        for one, single in zip(results, singles, strict=True):
            assert_same(one, single)
    assert len({tuple(as_dict(single).values()) for single in singles}) == 5
    assert pipe(paths[:1], candidate_labels=LABELS) == [singles[0]]


def test_an_array_of_rank_3_is_many(pipe):
    signals = np.stack([noise(seed=seed) for seed in range(3)])
    results = pipe(signals, candidate_labels=LABELS, sampling_rate=100)
    assert len(results) == 3
    for result, signal in zip(results, signals, strict=True):
        assert_same(result, pipe(signal, candidate_labels=LABELS, sampling_rate=100))


@pytest.mark.parametrize("batch_size", [2, 3])
def test_batches_change_no_score_of_long_and_padded_recordings(pipe, batch_size):
    signals = [noise(samples, seed) for seed, samples in enumerate((1000, 300, 700, 2000, 120))]
    singles = pipe(signals, candidate_labels=LABELS, sampling_rate=100)
    batches = pipe(signals, candidate_labels=LABELS, sampling_rate=100, batch_size=batch_size)
    assert len(batches) == 5
    for batch, single in zip(batches, singles, strict=True):
        assert_same(batch, single)


def test_a_dataset_gives_one_list_a_row(pipe, corpus):
    results = pipe(corpus, candidate_labels=LABELS, batch_size=2)
    assert isinstance(results, list) and len(results) == len(corpus) > 2
    for result, row in zip(results, corpus, strict=True):
        assert_same(result, pipe(row, candidate_labels=LABELS))


def test_a_streamed_dataset_and_a_generator_are_consumed_as_results_are_taken(pipe, corpus):
    expected = pipe(corpus[0], candidate_labels=LABELS)
    streamed = pipe(corpus.to_iterable_dataset(), candidate_labels=LABELS)
    assert not isinstance(streamed, list)
    assert_same(next(iter(streamed)), expected)

    taken = []

    def endless():
        for i in itertools.count():
            taken.append(i)
            yield corpus[i % 2]

    results = iter(pipe(endless(), candidate_labels=LABELS))
    assert_same(next(results), expected)
    assert_same(next(results), pipe(corpus[1], candidate_labels=LABELS))
    assert len(taken) <= 4


def test_an_iterator_that_is_no_generator_is_read(pipe, paths):
    assert len(list(pipe(iter(paths[:2]), candidate_labels=LABELS))) == 2


def test_windows_are_averaged_as_vectors_of_length_1(tiny_model, own_processor):
    whole = noise(1000)
    own_processor.feature_extractor.max_duration = 3.0
    own_processor.feature_extractor.crop = "windows"
    own_processor.feature_extractor.bandpass = None  # so that windows can be cut by hand
    pipe = pipeline("zero-shot-classification", model=tiny_model, processor=own_processor, device="cpu")
    with torch.no_grad():
        windows = torch.stack([torch.from_numpy(whole[:, start : start + 300]) for start in (0, 300, 600, 700)])
        vectors = torch.nn.functional.normalize(tiny_model.get_ecg_features(windows), dim=-1)
        vector = vectors.mean(dim=0) / vectors.mean(dim=0).norm()
        texts = own_processor(
            text=[f"The ECG of {label}, a type of diagnostic." for label in LABELS], return_tensors="pt"
        )
        labels = torch.nn.functional.normalize(tiny_model.get_text_features(**texts), dim=-1)
        expected = (own_processor.comparison_scale * vector @ labels.T).softmax(dim=0)
    result = pipe(whole, candidate_labels=LABELS, sampling_rate=100)
    np.testing.assert_allclose([as_dict(result)[label] for label in LABELS], expected, atol=1e-5)
    for batch_size in (1, 3):  # windows of one record lie in several batches
        many = pipe([whole, whole[:, :250], whole], LABELS, sampling_rate=100, batch_size=batch_size)
        assert_same(many[0], result)
        assert_same(many[2], result)
        assert_same(many[1], pipe(whole[:, :250], LABELS, sampling_rate=100))


def test_labels_are_embedded_once_not_once_a_record(pipe, paths, monkeypatch):
    calls = []
    embed = type(pipe.model).get_text_features
    monkeypatch.setattr(
        type(pipe.model),
        "get_text_features",
        lambda self, ids, *rest: calls.append(len(ids)) or embed(self, ids, *rest),
    )
    labels = {"rhythm": ["sinus rhythm", "rhythm of sinus"], "block": ["bundle branch block"]}
    first = pipe(paths, candidate_labels=labels, batch_size=2)
    assert calls == [4]  # three phrases and the neutral one, in one pass
    assert pipe(paths, candidate_labels=labels, batch_size=2) == first
    assert calls == [4]
    pipe(paths[0], candidate_labels=["sinus rhythm", "bundle branch block"])
    assert calls == [4, 3]
    assert_same(pipe(paths[0], candidate_labels=labels), first[0])  # the labels asked for are the labels scored


def test_parameters_may_be_given_when_it_is_made(tiny_model, tiny_processor):
    fields = {"candidate_labels": LABELS, "top_k": 1, "sampling_rate": 100, "batch_size": 2}
    pipe = pipeline("zero-shot-classification", model=tiny_model, processor=tiny_processor, device="cpu", **fields)
    assert len(pipe(noise())) == 1
    assert [len(result) for result in pipe([noise(), noise(seed=1)], top_k=2)] == [2, 2]


@pytest.mark.parametrize("task", TASKS)
def test_both_tasks_load_a_folder_without_trust_remote_code(task, tiny_checkpoint, pipe):
    loaded = pipeline(task, model=str(tiny_checkpoint), device="cpu")
    assert type(loaded) is ZeroShotECGClassificationPipeline
    assert type(loaded.processor) is ECGProcessor
    assert_same(loaded(noise(), LABELS, sampling_rate=100), pipe(noise(), LABELS, sampling_rate=100))
    assert not any(parameter.requires_grad for parameter in loaded.model.text_model.parameters())


def test_a_model_at_half_precision_is_fed_in_its_own(tiny_checkpoint, pipe):
    half = pipeline("zero-shot-classification", model=str(tiny_checkpoint), dtype=torch.bfloat16, device="cpu")
    scores = as_dict(half(noise(), LABELS, sampling_rate=100))
    expected = as_dict(pipe(noise(), LABELS, sampling_rate=100))
    assert half.model.dtype == torch.bfloat16
    for label in LABELS:
        assert scores[label] == pytest.approx(expected[label], abs=0.05)


def test_what_it_saves_loads_again_with_the_processors_words(tmp_path, tiny_checkpoint, own_processor):
    own_processor.hypothesis_template = "{} rhythm"
    model = AutoModel.from_pretrained(tiny_checkpoint)
    first = pipeline("zero-shot-classification", model=model, processor=own_processor, device="cpu")
    first.save_pretrained(tmp_path / "saved")
    shutil.rmtree(tiny_checkpoint)
    assert AutoProcessor.from_pretrained(tmp_path / "saved").hypothesis_template == "{} rhythm"
    again = pipeline("zero-shot-classification", model=str(tmp_path / "saved"), device="cpu")
    assert_same(again(noise(), LABELS, sampling_rate=100), first(noise(), LABELS, sampling_rate=100))


@pytest.mark.parametrize(
    ("labels", "fields", "message"),
    [
        (None, {}, "no candidate labels: pass candidate_labels="),
        ([], {}, "no candidate labels"),
        (" , ", {}, "no candidate labels"),
        ({}, {}, "no candidate labels"),
        (["sinus", " "], {}, "empty"),
        ({"sinus": []}, {}, "'sinus' has no phrase"),
        ({"sinus": ["a", ""]}, {}, "'sinus'.*empty"),
        (["sinus", "sinus"], {}, "named twice: sinus"),
        (["sinus"], {"hypothesis_template": "no place"}, "exactly one {}"),
        ({"sinus": "sinus"}, {"hypothesis_template": "no place"}, "exactly one {}"),
        (["sinus"], {"top_k": 0}, "top_k must be 1 or more"),
        (["sinus"], {"top_k": 1.5}, "top_k must be 1 or more"),
    ],
)
def test_wrong_labels_are_refused_before_a_recording_is_read(pipe, labels, fields, message):
    with pytest.raises(ValueError, match=message):
        pipe("no-such-record", candidate_labels=labels, **fields)


@pytest.mark.parametrize(
    ("ecg", "fields", "message"),
    [
        (noise(), {}, "pass sampling_rate="),
        (noise(), {"sampling_rate": 100, "lead_names": ["I"]}, "1 lead names for an array"),
        (noise() * 0, {"sampling_rate": 100}, "every lead is flat"),
        (noise(30), {"sampling_rate": 100}, "shorter than the 0.5 s"),
        (noise() * np.nan, {"sampling_rate": 100}, "no usable lead"),
        (noise(), {"sampling_rate": 100, "units": "kV"}, "unknown unit"),
        ([], {}, "the list is empty"),
    ],
)
def test_a_recording_that_cannot_be_read_is_refused(pipe, ecg, fields, message):
    with pytest.raises(ValueError, match=message):
        pipe(ecg, candidate_labels=LABELS, **fields)


def test_a_misspelt_argument_is_refused(pipe):
    with pytest.raises(TypeError, match="multilabel"):
        pipe(noise(), candidate_labels=LABELS, sampling_rate=100, multilabel=True)


def test_a_pipeline_without_a_processor_says_how_to_give_one(tiny_model):
    for fields in ({}, {"candidate_labels": LABELS}):
        with pytest.raises(ValueError, match="pass processor="):
            pipeline("zero-shot-classification", model=tiny_model, device="cpu", **fields)


def test_recordings_of_any_length_do_not_go_into_one_batch(tiny_model, own_processor):
    own_processor.feature_extractor.max_duration = None
    pipe = pipeline("zero-shot-classification", model=tiny_model, processor=own_processor, device="cpu")
    assert len(pipe([noise(), noise(701)], LABELS, sampling_rate=100)) == 2
    with pytest.raises(ValueError, match="batch_size=1"):
        pipe([noise(), noise(701)], LABELS, sampling_rate=100, batch_size=2)


# What an answer stands on.


def test_details_say_what_the_scores_stand_on(pipe, ptb_xl_source):
    signal = read_wfdb(ptb_xl_source / "records500/00000/00338_hr").signal
    channels = {name: row for name, row in zip(STANDARD_LEADS, signal, strict=True) if name not in ("III", "V6")}
    channels["V2"] = np.zeros(5000)
    channels["vx"] = signal[0]
    call = {"sampling_rate": 500, "lead_names": list(channels)}
    array = np.stack(list(channels.values()))
    answer = pipe(array, candidate_labels=LABELS, return_details=True, **call)
    assert_same(answer["scores"], pipe(array, candidate_labels=LABELS, **call))
    (window,) = answer.pop("windows")
    assert_same(window.pop("scores"), answer.pop("scores"))
    assert answer == {
        "record_id": None,
        "sampling_rate": 500.0,
        "duration": 10.0,
        "assumed": {"units": "mV"},
        "dropped_channels": ["vx"],
        "qrs_found": True,
        "limb_lead_error": pytest.approx(0.003, abs=0.003),
        "largest_deflection": pytest.approx(1.975),
        "remarks": ["masked: constant V2; absent V6", "derived: III", "left out: vx", "assumed: units mV"],
    }
    assert 8 <= window.pop("num_qrs") <= 16
    assert window == {
        "start": 1.5,  # the model reads the 7 s in the middle
        "stop": 8.5,
        "recorded": [name for name in STANDARD_LEADS if name not in ("III", "V2", "V6")],
        "derived": ["III"],
        "masked": {"V2": "constant", "V6": "absent"},
    }
    json.dumps(answer)


def test_flat_leads_and_a_calibration_pulse_do_not_mislead_the_details(pipe, ptb_xl_source):
    """Flat leads at a level above 0 outvoted the others; a pulse in all leads made limb leads look swapped."""
    signal = read_wfdb(ptb_xl_source / "records500/00000/00338_hr").signal
    flat = signal.copy()
    flat[3:6], flat[7:] = 0.5, 0.5
    pulse = np.concatenate([signal, np.zeros((12, 200)), np.ones((12, 100)), np.zeros((12, 200))], axis=1)
    asked = {"candidate_labels": LABELS, "sampling_rate": 500, "return_details": True, "crop": "windows"}
    assert all(window["num_qrs"] > 5 for window in pipe(flat, **asked)["windows"])
    assert pipe(np.concatenate([pulse, signal], axis=1), **asked)["limb_lead_error"] < 0.1


def test_a_flat_lead_in_one_window_does_not_hide_that_leads_are_swapped(pipe, ptb_xl_source):
    signal = np.tile(read_wfdb(ptb_xl_source / "records500/00000/00338_hr").signal, 3)
    signal[[3, 4]] = signal[[4, 3]]
    signal[0, :10500] = 0.0  # three windows of five
    asked = {"candidate_labels": LABELS, "sampling_rate": 500, "return_details": True, "crop": "windows"}
    assert pipe(signal, **asked)["limb_lead_error"] > 0.3


def test_details_of_noise_say_that_there_is_no_heart_beat(pipe):
    answer = pipe(noise(), candidate_labels=LABELS, sampling_rate=100, return_details=True)
    assert answer["qrs_found"] is False and answer["windows"][0]["num_qrs"] == 0


@pytest.mark.parametrize("batch_size", [1, 2])
def test_details_of_many_recordings_and_windows(pipe, paths, batch_size):
    long = np.tile(read_wfdb(paths[0]).signal, 2)
    many = [long, *(read_wfdb(path) for path in paths[:2])]
    fields = {"candidate_labels": LABELS, "return_details": True, "crop": "windows", "batch_size": batch_size}
    answers = pipe([many[0], many[0]], sampling_rate=100, **fields) + pipe(many[1:], **fields)
    assert [[window["start"] for window in answer["windows"]] for answer in answers[:2]] == [[0.0, 7.0, 13.0]] * 2
    assert [answer["record_id"] for answer in answers[2:]] == [path.stem for path in paths[:2]]


def test_windows_have_scores_of_their_own(pipe, tiny_model, tiny_processor):
    reading = {"sampling_rate": 100, "crop": "windows"}
    answer = pipe(noise(2100), candidate_labels=LABELS, return_details=True, **reading)
    prompts = [f"The ECG of {label}, a type of diagnostic." for label in LABELS]
    assert len(answer["windows"]) == 3
    for i, window in enumerate(answer["windows"]):
        cosine, _ = cosines(tiny_model, tiny_processor, noise(2100), prompts, window=i, **reading)
        expected = (tiny_processor.comparison_scale * cosine).softmax(dim=0)
        np.testing.assert_allclose([as_dict(window["scores"])[label] for label in LABELS], expected, atol=1e-5)


@pytest.mark.parametrize(("factor", "size"), [(0.05, "small"), (8, "large"), (1, None)])
def test_an_amplitude_that_is_unusual_is_remarked_on(pipe, ptb_xl_source, factor, size):
    signal = factor * read_wfdb(ptb_xl_source / "records500/00000/00338_hr").signal
    answer = pipe(signal, candidate_labels=LABELS, sampling_rate=500, return_details=True)
    said = [remark for remark in answer["remarks"] if "deflection" in remark]
    assert [f" mV, {size} for an ECG: is the unit right?" in remark for remark in said] == [True] * (size is not None)


def test_results_of_a_generator_come_one_by_one_and_go_on_after_an_error(pipe):
    recordings = iter([noise(seed=1), np.zeros((12, 1000)), noise(seed=2)])
    answers = pipe(recordings, candidate_labels=LABELS, sampling_rate=100)
    first = next(answers)
    with pytest.raises(ValueError, match="recording 1: every lead is flat"):
        next(answers)
    assert_same(next(answers), pipe(noise(seed=2), candidate_labels=LABELS, sampling_rate=100))
    assert_same(first, pipe(noise(seed=1), candidate_labels=LABELS, sampling_rate=100))


def test_several_sets_of_labels_are_embedded_once_each(pipe, monkeypatch):
    asked = []
    embed = type(pipe.model).get_text_features
    monkeypatch.setattr(type(pipe.model), "get_text_features", lambda *args: asked.append(1) or embed(*args))
    sets = [["sinus rhythm", f"rhythm {i}"] for i in range(4)]
    first = [pipe(noise(), candidate_labels=labels, sampling_rate=100) for labels in sets]
    again = [pipe(noise(), candidate_labels=labels, sampling_rate=100) for labels in sets]
    assert len(asked) == 4 and first == again
    for i in range(30):  # asked now and then, the first set is kept
        pipe(noise(), candidate_labels=["sinus rhythm", f"other {i}"], sampling_rate=100)
        pipe(noise(), candidate_labels=sets[0], sampling_rate=100)
    assert len(asked) == 34


def test_a_crop_of_the_call_reads_the_whole_recording(pipe):
    signal = noise(1000)
    whole = pipe(signal, candidate_labels=LABELS, sampling_rate=100, crop="windows")
    assert as_dict(whole) != as_dict(pipe(signal, candidate_labels=LABELS, sampling_rate=100))
    with pytest.raises(ValueError, match="crop must be one of"):
        pipe(signal, candidate_labels=LABELS, sampling_rate=100, crop="window")


# Labels.


@pytest.mark.parametrize(
    "labels",
    [
        lambda: (label for label in LABELS),
        lambda: map(str, LABELS),
        lambda: np.array(LABELS),
        lambda: pd.Series(LABELS),
        lambda: dict.fromkeys(LABELS).keys(),
    ],
    ids=["generator", "map", "array", "Series", "keys"],
)
def test_labels_in_any_iterable_are_scored(pipe, labels):
    expected = pipe(noise(), candidate_labels=LABELS, sampling_rate=100)
    assert pipe(noise(), candidate_labels=labels(), sampling_rate=100) == expected
    assert pipe([noise(), noise()], candidate_labels=labels(), sampling_rate=100)[1] == expected


@pytest.mark.parametrize("labels", [3, [1, 2], np.arange(2), b"sinus"])
def test_labels_that_are_no_texts_are_refused(pipe, labels):
    with pytest.raises(TypeError, match="candidate_labels must be"):
        pipe(noise(), candidate_labels=labels, sampling_rate=100)


def test_another_model_or_other_weights_are_asked_anew(tiny_checkpoint, tiny_processor):
    pipes = [
        pipeline(
            "zero-shot-classification",
            model=AutoModel.from_pretrained(tiny_checkpoint),
            processor=tiny_processor,
            device="cpu",
        )
        for _ in range(2)
    ]
    pipe, other = pipes
    before = pipe(noise(), candidate_labels=LABELS, sampling_rate=100)
    with torch.no_grad():
        other.model.text_projection[0].weight.mul_(-1)
    changed = other(noise(), candidate_labels=LABELS, sampling_rate=100)
    assert changed != before
    pipe.model = other.model
    assert pipe(noise(), candidate_labels=LABELS, sampling_rate=100) == changed
    with torch.no_grad():
        pipe.model.text_projection[0].weight.mul_(-1)  # in place, as a step of training does it
    assert_same(pipe(noise(), candidate_labels=LABELS, sampling_rate=100), before)


def test_threads_get_the_answers_to_their_own_labels(pipe):
    questions = [
        LABELS,
        ["sinus rhythm", "normal ecg"],
        {"a": "left axis", "b": "q wave"},
        ["av block", "st depression"],
    ]
    expected = [pipe(noise(), candidate_labels=labels, sampling_rate=100) for labels in questions]
    with ThreadPoolExecutor(8) as pool:
        futures = [pool.submit(pipe, noise(), candidate_labels=questions[i % 4], sampling_rate=100) for i in range(200)]
        for i, future in enumerate(futures):
            assert_same(future.result(), expected[i % 4])


@pytest.mark.parametrize("change", ["data", "numpy", "max_length"])
def test_changes_that_pytorch_does_not_count_are_noticed(tiny_checkpoint, own_processor, change):
    model = AutoModel.from_pretrained(tiny_checkpoint)
    pipe = pipeline("zero-shot-classification", model=model, processor=own_processor, device="cpu")
    labels = ["normal ecg with a left bundle branch block", "normal ecg with an old inferior infarct"]
    before = pipe(noise(), candidate_labels=labels, sampling_rate=100)
    weight = pipe.model.text_projection[0].weight
    if change == "data":
        weight.data.mul_(-1)
    elif change == "numpy":
        weight.detach().numpy()[:] *= -1
    else:
        own_processor.max_length = 9
    assert as_dict(pipe(noise(), candidate_labels=labels, sampling_rate=100)) != as_dict(before)


@pytest.mark.parametrize(
    "labels", [["normal ecg", "Normal ecg"], ["normal ecg", "normal  ecg "], {"a": ["x is."], "b": ["X is."]}]
)
def test_labels_that_are_one_text_to_the_model_are_refused(pipe, labels):
    with pytest.raises(ValueError, match="are the same text to the model"):
        pipe(noise(), candidate_labels=labels, sampling_rate=100)


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({"multi_label": "False"}, TypeError, "multi_label must be True or False, got 'False'"),
        ({"return_details": "no"}, TypeError, "return_details must be True or False"),
        ({"crop": "random"}, ValueError, "the same answer every time"),
        ({"lead_name": LABELS}, TypeError, "no field 'lead_name' .did you mean 'lead_names'"),
        ({"candidate_labels": pd.DataFrame({"label": LABELS})}, TypeError, "candidate_labels must be a list"),
    ],
)
def test_wrong_arguments_are_refused(pipe, fields, error, message):
    with pytest.raises(error, match=message):
        pipe(noise(), **{"candidate_labels": LABELS, "sampling_rate": 100, **fields})


# The model and the processor.


def test_a_model_in_training_mode_answers_as_in_evaluation_and_stays_as_it_is(tiny_checkpoint, pipe, tiny_processor):
    model = AutoModel.from_pretrained(tiny_checkpoint).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    ours = pipeline("zero-shot-classification", model=model, processor=tiny_processor, device="cpu")
    expected = pipe([noise(), noise(seed=1)], candidate_labels=LABELS, sampling_rate=100)
    model.train()
    for got, wanted in zip(ours([noise(), noise(seed=1)], LABELS, sampling_rate=100), expected, strict=True):
        assert_same(got, wanted)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_the_feature_extractor_is_the_processor_s_and_is_saved(tiny_model, own_processor, tmp_path):
    pipe = pipeline("zero-shot-classification", model=tiny_model, processor=own_processor, device="cpu")
    other = copy.deepcopy(own_processor.feature_extractor)
    other.scaling = "z-score"
    before = pipe(noise(), LABELS, sampling_rate=100)
    pipe.feature_extractor = other
    changed = pipe(noise(), LABELS, sampling_rate=100)
    assert changed != before and own_processor.feature_extractor is other
    pipe.save_pretrained(tmp_path)
    again = pipeline("zero-shot-classification", model=str(tmp_path), device="cpu")
    assert_same(again(noise(), LABELS, sampling_rate=100), changed)
    parts = {"model": tiny_model, "processor": own_processor, "feature_extractor": copy.deepcopy(other)}
    with pytest.raises(ValueError, match="set processor.feature_extractor"):
        pipeline("zero-shot-ecg-classification", device="cpu", **parts)


def test_a_feature_extractor_of_another_rate_than_the_model_s_is_refused(tiny_model, own_processor):
    pipe = pipeline("zero-shot-classification", model=tiny_model, processor=own_processor, device="cpu")
    own_processor.feature_extractor.sampling_rate = 250
    with pytest.raises(ValueError, match="trained at 100 Hz and its feature extractor gives 250 Hz"):
        pipe(noise(), LABELS, sampling_rate=100)


# Devices and precision.


@pytest.mark.parametrize("crop", ["center", "windows"])
@pytest.mark.parametrize("batch_size", [1, 3])
def test_half_precision_in_batches_and_windows_on_a_named_device(tiny_checkpoint, pipe, crop, batch_size):
    half = pipeline(
        "zero-shot-classification", model=str(tiny_checkpoint), device=torch.device("cpu"), dtype=torch.bfloat16
    )
    signals = [noise(samples, seed) for seed, samples in enumerate((1000, 300, 2000, 700))]
    call = {"candidate_labels": LABELS, "sampling_rate": 100, "crop": crop}
    for ours, expected in zip(half(signals, batch_size=batch_size, **call), pipe(signals, **call), strict=True):
        for label in LABELS:
            assert as_dict(ours)[label] == pytest.approx(as_dict(expected)[label], abs=0.05)


def test_a_pipeline_at_half_precision_is_saved(tiny_checkpoint, tmp_path):
    half = pipeline("zero-shot-classification", model=str(tiny_checkpoint), dtype=torch.bfloat16, device="cpu")
    half.save_pretrained(tmp_path / "half")
    again = pipeline("zero-shot-classification", model=str(tmp_path / "half"), device="cpu")
    assert again.model.dtype == torch.bfloat16
    assert_same(again(noise(), LABELS, sampling_rate=100), half(noise(), LABELS, sampling_rate=100))
