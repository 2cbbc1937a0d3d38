"""`ECGProcessor`: recordings and texts to model input, and its files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoFeatureExtractor, AutoProcessor

from mets_ecg import ECGFeatureExtractor, ECGProcessor
from mets_ecg.processing_ecg import METS_REPORT_TEMPLATE, METS_TEMPLATE, check_template

FILES = ["processor_config.json", "tokenizer.json", "tokenizer_config.json"]


def noise(leads: int = 12, samples: int = 1000) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((leads, samples)).astype(np.float32)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.fixture
def processor(tiny_checkpoint) -> ECGProcessor:
    """A processor of its own, which a test may change."""
    return ECGProcessor.from_pretrained(tiny_checkpoint)


def test_recordings_and_texts_become_the_models_input(tiny_processor):
    inputs = tiny_processor(
        ecg=[noise(3), noise(3)],
        text=["sinus rhythm", "left bundle branch block", "normal ecg"],
        sampling_rate=100,
        lead_names=["V1", "V2", "V3"],
        return_tensors="pt",
    )
    assert {name: tuple(value.shape) for name, value in inputs.items()} == {
        "input_values": (2, 12, 700),
        "ecg_attention_mask": (2, 700),
        "lead_mask": (2, 12),
        "input_ids": (3, 6),  # [CLS] left bundle branch block [SEP]
        "attention_mask": (3, 6),
    }
    assert set(inputs) == set(tiny_processor.model_input_names)
    assert inputs["input_ids"].dtype == torch.int64
    assert inputs["attention_mask"].tolist() == [[1, 1, 1, 1, 0, 0], [1] * 6, [1, 1, 1, 1, 0, 0]]


def test_recordings_alone_are_the_feature_extractors(tiny_processor):
    ours = tiny_processor(ecg=noise(), sampling_rate=100)
    theirs = tiny_processor.feature_extractor(noise(), 100)
    assert ours.keys() == theirs.keys()
    for name in ours:
        np.testing.assert_array_equal(ours[name], theirs[name])


def test_units_and_the_source_of_random_crops_are_handed_on(processor):
    processor.feature_extractor.crop = "random"
    crops = [
        processor(ecg=noise() * 1000, sampling_rate=100, units="uV", rng=np.random.default_rng(seed))["input_values"]
        for seed in (1, 1, 2)
    ]
    np.testing.assert_array_equal(crops[0], crops[1])
    assert not np.array_equal(crops[0], crops[2])


def test_text_is_lowered_by_the_processor_alone(processor):
    vocabulary = processor.tokenizer.get_vocab()
    expected = [vocabulary[word] for word in ("[CLS]", "sinus", "rhythm", "[SEP]")]
    # This tokenizer lowers too; without that, the processor still does.
    processor.tokenizer.backend_tokenizer.normalizer = None
    assert processor(text="SINUS Rhythm")["input_ids"].tolist() == [expected]
    processor.lowercase = False
    assert processor(text="SINUS Rhythm")["input_ids"].tolist() != [expected]


def test_what_a_tokenizers_file_bakes_in_changes_nothing(processor):
    expected = processor(text=["sinus rhythm", "normal"])["input_ids"]
    processor.tokenizer.backend_tokenizer.enable_truncation(3)
    processor.tokenizer.backend_tokenizer.enable_padding(length=20)
    np.testing.assert_array_equal(processor(text=["sinus rhythm", "normal"])["input_ids"], expected)


def test_a_batch_of_texts_equals_its_texts(tiny_processor):
    texts = ["sinus rhythm", "left bundle branch block"]
    batch = tiny_processor(text=texts)
    for i, text in enumerate(texts):
        single = tiny_processor(text=text)["input_ids"][0]
        np.testing.assert_array_equal(batch["input_ids"][i, : len(single)], single)


def test_a_long_text_is_truncated_and_that_is_said_once(processor, transformers_log):
    processor.max_length = 7  # not used by another test: the warning is once a process
    for _ in range(2):
        inputs = processor(text=["sinus " * 6, "normal"])
    assert inputs["input_ids"].shape == (2, 7)
    assert inputs["input_ids"][0, -1] == processor.tokenizer.sep_token_id
    said = [record.getMessage() for record in transformers_log.records if "truncated" in record.getMessage()]
    assert said == ["texts of more than 7 tokens are truncated (ECGProcessor.max_length)"]


def test_a_text_of_just_the_limit_is_not_called_long(processor, transformers_log):
    processor.max_length = 8
    assert processor(text="sinus " * 6)["input_ids"].shape == (1, 8)
    assert "truncated" not in transformers_log.text


def test_the_usual_keywords_of_transformers_are_taken(tiny_processor):
    texts = ["sinus rhythm", "left bundle branch block"]
    usual = tiny_processor(text=texts, return_tensors="pt")["input_ids"]
    for padding in (True, "longest"):
        same = tiny_processor(text=texts, padding=padding, truncation=True, max_length=33, return_tensors="pt")
        assert torch.equal(same["input_ids"], usual)
    assert tiny_processor(text=texts, max_length=4, return_tensors="pt")["input_ids"].shape == (2, 4)
    padded = tiny_processor(text=texts, padding="max_length", max_length=9, return_tensors="pt")
    assert padded["attention_mask"].tolist() == [[1] * 4 + [0] * 5, [1] * 6 + [0] * 3]
    lists = tiny_processor(text=texts, padding=False)
    assert [len(ids) for ids in lists["input_ids"]] == [4, 6]
    assert tiny_processor(text="sinus " * 50, truncation=False)["input_ids"].shape == (1, 52)


@pytest.mark.parametrize("text", ["", "  \n", ["sinus", ""], [None], []])
def test_an_empty_text_is_refused(tiny_processor, text):
    with pytest.raises(ValueError, match="empty"):
        tiny_processor(text=text)


def test_nothing_at_all_is_refused(tiny_processor):
    with pytest.raises(ValueError, match="ecg=.*text="):
        tiny_processor()


def test_a_misspelt_argument_is_refused_for_texts_too(tiny_processor):
    with pytest.raises(TypeError, match="paddin"):
        tiny_processor(text="sinus", paddin=True)


def test_the_defaults_are_the_words_of_mets(tiny_processor):
    processor = ECGProcessor(ECGFeatureExtractor(), tiny_processor.tokenizer)
    assert processor.hypothesis_template == METS_TEMPLATE == "The ECG of {}, a type of diagnostic."
    assert processor.report_template == METS_REPORT_TEMPLATE == "The report of the ECG is that {}"
    assert processor.format_report("sinus rhythm {}") == "The report of the ECG is that sinus rhythm {}"


@pytest.mark.parametrize("template", ["no place", "{} and {}", "", None, "{0}"])
def test_a_template_without_exactly_one_place_is_refused(tiny_processor, template):
    with pytest.raises(ValueError, match="exactly one {}"):
        check_template(template)
    for name in ("hypothesis_template", "report_template"):
        with pytest.raises(ValueError, match=name):
            ECGProcessor(ECGFeatureExtractor(), tiny_processor.tokenizer, **{name: template})


@pytest.mark.parametrize(
    "fields",
    [
        {"neutral_phrase": " "},
        {"languages": "en"},
        {"lowercase": "yes"},
        {"max_length": 0},
        {"max_length": 12.0},
        {"template": "{}"},
    ],
)
def test_a_wrong_field_is_refused(tiny_processor, fields):
    with pytest.raises((ValueError, TypeError), match=next(iter(fields))):
        ECGProcessor(ECGFeatureExtractor(), tiny_processor.tokenizer, **fields)


def test_save_load_save_is_byte_identical(tmp_path, processor):
    processor.hypothesis_template = "sinusrytm för {}"
    processor.languages = ["sv"]
    processor.save_pretrained(tmp_path / "first")
    loaded = AutoProcessor.from_pretrained(tmp_path / "first")
    assert loaded.hypothesis_template == "sinusrytm för {}" and loaded.languages == ["sv"]
    loaded.save_pretrained(tmp_path / "second")
    assert set(FILES) < set(contents(tmp_path / "first"))
    assert contents(tmp_path / "first") == contents(tmp_path / "second")
    np.testing.assert_array_equal(
        loaded(ecg=noise(), sampling_rate=100)["input_values"],
        processor(ecg=noise(), sampling_rate=100)["input_values"],
    )


def test_a_call_leaves_no_trace_in_the_saved_files(tmp_path, processor):
    processor.save_pretrained(tmp_path / "before")
    processor(text=["sinus rhythm", "a " * 50])
    processor.save_pretrained(tmp_path / "after")
    assert contents(tmp_path / "before") == contents(tmp_path / "after")


def test_the_tokenizers_file_says_nothing_of_this_machine(tmp_path, processor):
    processor.tokenizer.save_pretrained(tmp_path / "theirs")
    assert "is_local" in json.loads((tmp_path / "theirs" / "tokenizer_config.json").read_text())
    processor.save_pretrained(tmp_path / "ours")
    saved = json.loads((tmp_path / "ours" / "tokenizer_config.json").read_text())
    assert not saved.keys() & {"is_local", "local_files_only", "name_or_path"}


def test_auto_factories_give_the_packages_classes_for_a_folder_with_code(tiny_checkpoint):
    assert "auto_map" in json.loads((tiny_checkpoint / "processor_config.json").read_text())
    assert type(AutoProcessor.from_pretrained(tiny_checkpoint)) is ECGProcessor
    assert type(AutoFeatureExtractor.from_pretrained(tiny_checkpoint)) is ECGFeatureExtractor


def test_an_unknown_field_in_a_file_is_left_out_with_a_warning(tiny_checkpoint, transformers_log):
    path = tiny_checkpoint / "processor_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"from_the_future": 1}))
    assert ECGProcessor.from_pretrained(tiny_checkpoint).max_length == 33
    assert "ECGProcessor" in transformers_log.text and "from_the_future" in transformers_log.text


def test_a_file_of_this_version_is_read_without_a_warning(tiny_checkpoint, transformers_log):
    ECGProcessor.from_pretrained(tiny_checkpoint)
    assert "ECGProcessor" not in transformers_log.text and "ECGFeatureExtractor" not in transformers_log.text


def test_a_field_can_be_overridden_on_loading(tiny_checkpoint):
    assert ECGProcessor.from_pretrained(tiny_checkpoint, max_length=12).max_length == 12
