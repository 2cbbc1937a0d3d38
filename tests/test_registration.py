"""What transformers knows once `mets_ecg` is imported, and what it keeps."""

from __future__ import annotations

import logging

import pytest
from transformers import (
    AutoConfig,
    AutoFeatureExtractor,
    AutoModel,
    AutoModelForSequenceClassification,
    BertConfig,
    BertForSequenceClassification,
    ZeroShotClassificationPipeline,
    pipeline,
)
from transformers.pipelines import PIPELINE_REGISTRY

from mets_ecg import ECGFeatureExtractor, ECGResNetConfig, ECGResNetModel, ECGTextConfig, ECGTextModel
from mets_ecg.registration import register


@pytest.fixture(scope="module")
def text_classifier(tmp_path_factory, tiny_processor) -> str:
    """Folder of a tiny text model for natural language inference."""
    folder = tmp_path_factory.mktemp("nli")
    config = BertConfig(
        vocab_size=len(tiny_processor.tokenizer),
        hidden_size=12,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=17,
        id2label={0: "contradiction", 1: "neutral", 2: "entailment"},
        label2id={"contradiction": 0, "neutral": 1, "entailment": 2},
    )
    BertForSequenceClassification(config).save_pretrained(folder)
    tiny_processor.tokenizer.save_pretrained(folder)
    return str(folder)


def test_auto_factories_know_the_classes(tiny_checkpoint, tmp_path):
    assert type(AutoConfig.from_pretrained(tiny_checkpoint)) is ECGTextConfig
    assert type(AutoModel.from_pretrained(tiny_checkpoint)) is ECGTextModel
    encoder = ECGResNetModel(ECGResNetConfig(hidden_sizes=[4, 6], depths=[1, 1]))
    encoder.save_pretrained(tmp_path / "encoder")
    ECGFeatureExtractor(sampling_rate=250).save_pretrained(tmp_path / "encoder")
    assert type(AutoModel.from_pretrained(tmp_path / "encoder")) is ECGResNetModel
    assert AutoFeatureExtractor.from_pretrained(tmp_path / "encoder").sampling_rate == 250


def test_text_models_still_get_transformers_own_zero_shot_pipeline(text_classifier):
    pipe = pipeline("zero-shot-classification", model=text_classifier, device="cpu")
    assert type(pipe) is ZeroShotClassificationPipeline
    assert type(pipe.model) is BertForSequenceClassification
    result = pipe("sinus rhythm", candidate_labels=["normal", "abnormal"])
    assert sorted(result["labels"]) == ["abnormal", "normal"]
    assert sum(result["scores"]) == pytest.approx(1.0, abs=1e-5)


def test_text_models_given_as_objects_too(text_classifier, tiny_processor):
    model = AutoModelForSequenceClassification.from_pretrained(text_classifier)
    pipe = pipeline("zero-shot-classification", model=model, tokenizer=tiny_processor.tokenizer, device="cpu")
    assert type(pipe) is ZeroShotClassificationPipeline


def test_the_default_model_of_the_task_is_kept():
    assert PIPELINE_REGISTRY.supported_tasks["zero-shot-classification"]["default"]["model"][0] == (
        "facebook/bart-large-mnli"
    )


def test_registering_again_changes_nothing_and_says_nothing(caplog):
    tasks = {name: dict(entry) for name, entry in PIPELINE_REGISTRY.supported_tasks.items()}
    logging.getLogger("transformers").addHandler(caplog.handler)
    try:
        register()
    finally:
        logging.getLogger("transformers").removeHandler(caplog.handler)
    assert PIPELINE_REGISTRY.supported_tasks == tasks
    assert not caplog.records


def test_the_dual_encoder_is_no_sequence_classifier(tiny_model):
    with pytest.raises(ValueError, match="Unrecognized configuration class"):
        AutoModelForSequenceClassification.from_config(tiny_model.config)
