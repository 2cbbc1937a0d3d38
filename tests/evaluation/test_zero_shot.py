import numpy as np
import pytest
import torch
from transformers import pipeline

from mets_ecg.data.loading import load_prepared_rows
from mets_ecg.evaluation.encoding import encode_ecgs
from mets_ecg.evaluation.tasks import simulated_task
from mets_ecg.evaluation.zero_shot import embed_record_texts, less_mean, score_prompts


@pytest.fixture(scope="module")
def rows(simulated_corpus, tiny_processor):
    return load_prepared_rows(tiny_processor.feature_extractor, corpus=simulated_corpus)


def test_scores_are_those_of_the_pipeline(rows, simulated_corpus, tiny_model, tiny_processor):
    prompts = simulated_task().phrase_prompts()
    embeds = encode_ecgs([tiny_model], rows.select([5, 50]), batch_size=1)[0].outputs
    scores = score_prompts(tiny_model, tiny_processor, embeds, prompts)

    pipe = pipeline("zero-shot-ecg-classification", model=tiny_model, processor=tiny_processor, device="cpu")
    for i, own in zip((5, 50), scores, strict=True):
        by_label = {entry["label"]: entry["score"] for entry in pipe(simulated_corpus[i], prompts, multi_label=True)}
        assert np.allclose(own, [by_label[label] for label in prompts], atol=1e-5)


def test_a_task_of_one_class_is_scored_against_the_neutral_phrase(rows, tiny_model, tiny_processor, simulated_corpus):
    prompts = dict([next(iter(simulated_task().phrase_prompts().items()))])
    embeds = encode_ecgs([tiny_model], rows.select([5, 50, 7]))[0].outputs
    scores = score_prompts(tiny_model, tiny_processor, embeds, prompts)[:, 0]
    assert len(set(scores)) == 3
    pipe = pipeline("zero-shot-ecg-classification", model=tiny_model, processor=tiny_processor, device="cpu")
    assert scores[0] == pytest.approx(pipe(simulated_corpus[5], candidate_labels=prompts)[0]["score"], abs=1e-5)


def test_what_a_corpus_has_in_common_goes_with_its_mean(tiny_model):
    generator = torch.Generator().manual_seed(0)
    own = torch.randn(50, tiny_model.config.hidden_size, generator=generator)
    shifted = tiny_model.normalize_features(own - own.mean(dim=0) + 20 * torch.ones(own.shape[1]))
    centred = less_mean(tiny_model, shifted, shifted)
    assert torch.allclose(centred.norm(dim=1), torch.ones(50), atol=1e-5)
    assert shifted.mean(dim=0).norm() > 0.9
    assert centred.mean(dim=0).norm() < 0.1


def test_a_record_of_several_texts_has_their_mean(tiny_model, tiny_processor):
    one, two, both = embed_record_texts(
        tiny_model, tiny_processor, [("sinus rhythm",), ("left axis",), ("sinus rhythm", "left axis")]
    )
    assert torch.allclose(both, tiny_model.normalize_features((one + two) / 2), atol=1e-5)
