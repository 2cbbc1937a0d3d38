"""Zero-shot scores of encoded recordings by a dual encoder: by phrases, by a template, by records' own texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch

from ..data.text_embeddings import encode_texts
from ..modeling_ecg_text import ECGTextModel
from ..zero_shot_scoring import embed_phrases, zero_shot_scores


def score_prompts(
    model: ECGTextModel,
    processor,
    ecg_embeds: torch.Tensor,
    prompts: Mapping[str, Sequence[str]],
) -> np.ndarray:
    """Return scores `(records, classes)`, as the pipeline gives them with `multi_label`.

    They rank the records of a class better than a softmax over the classes does, where a record has one class too, and
    the class with the highest score is the same.

    Args:
        model: gives the label's vectors and the scale.
        processor: the model's.
        ecg_embeds: `(records, projection_dim)`.
        prompts: phrases of each class, in the classes' order.
    """
    was_training = model.training
    model.eval()
    neutral = [] if processor.neutral_phrase is None else [(processor.neutral_phrase,)]
    embeds = embed_phrases(model, processor, [*prompts.values(), *neutral])
    model.train(was_training)
    return zero_shot_scores(
        ecg_embeds,
        embeds[: len(prompts)],
        embeds[-1][0] if neutral else None,
        scale=model.get_logit_scale().item(),
        phrase_scale=processor.phrase_scale,
        comparison_scale=processor.comparison_scale,
        multi_label=True,
    ).numpy()


def dot_products(
    model: ECGTextModel, processor, ecg_embeds: torch.Tensor, prompts: Mapping[str, Sequence[str]]
) -> np.ndarray:
    """Return plain dot products `(records, classes)` with the mean vector of a class' phrases, as C-MELT's paper does.

    Of vectors that are not of length 1 they are no similarities: they rank records, and no class against another.
    """
    was_training = model.training
    model.eval()
    embeds = embed_phrases(model, processor, list(prompts.values()))
    model.train(was_training)
    return (ecg_embeds.double() @ torch.stack([own.double().mean(dim=0) for own in embeds]).T).numpy()


def less_mean(model: ECGTextModel, ecg_embeds: torch.Tensor, unlabelled: torch.Tensor) -> torch.Tensor:
    """Return vectors of ECGs less the mean over unlabelled ones of the same corpus, `(records, projection_dim)`.

    What is common to a corpus, as its recorder or its leads, goes. Transductive where `unlabelled` are the test part's:
    scores of a recording then depend on the other recordings that are tested.
    """
    return model.normalize_features(ecg_embeds - unlabelled.mean(dim=0))


@torch.no_grad()
def embed_record_texts(model: ECGTextModel, processor, texts: Sequence[Sequence[str]]) -> torch.Tensor:
    """Return one vector a record, `(records, projection_dim)`: the mean of its texts' vectors.

    Args:
        model: a dual encoder.
        processor: the model's.
        texts: of each record, at least one.
    """
    encoded = encode_texts(model, processor, texts, progress=False)
    distinct = model.normalize_features(model.project_text(encoded.pooled.to(model.device))).float().cpu()
    return model.normalize_features(replace(encoded, pooled=distinct).mean_of_records())
