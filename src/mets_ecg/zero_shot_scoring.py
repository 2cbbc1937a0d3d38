"""How labels become vectors and similarities become scores: what the pipeline and the evaluation share.

A label is one or several phrases, joined by log-sum-exp of their similarities. Labels are compared with each other
where one is meant, and judged on their own where several may hold. The scales are fields of the processor; they were
chosen on fold 8 of PTB-XL, over superclasses, subclasses, form, rhythm and diagnostic statements together
(`examples/benchmarks/results/scores_fold8.md`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import torch

from .processing_ecg import check_template


def label_phrases(candidate_labels, hypothesis_template: str) -> dict[str, list[str]]:
    """Return each label's phrases.

    Args:
        candidate_labels: as `list_labels` takes them. The template is put round plain labels; phrases are used as they
            stand.
        hypothesis_template: with exactly one `{}`.

    Raises:
        TypeError: labels are not texts.
        ValueError: there is no label, a label is empty or named twice, a label has no phrase, or the template is wrong.
    """
    labels = None if candidate_labels is None else list_labels(candidate_labels)
    if not labels:
        raise ValueError("no candidate labels: pass candidate_labels=['sinus rhythm', 'atrial fibrillation', ...]")
    if isinstance(labels, dict):
        phrases = labels
    else:
        check_template(hypothesis_template)
        repeated = sorted({label for label in labels if labels.count(label) > 1})
        if repeated:
            raise ValueError(f"candidate labels are named twice: {', '.join(repeated)}")
        phrases = {label: [hypothesis_template.replace("{}", label) if label.strip() else ""] for label in labels}
    for label, own in phrases.items():
        if not own or not all(phrase.strip() for phrase in own):
            raise ValueError(f"candidate label {label!r} has no phrase, or an empty one: {own}")
    return phrases


def list_labels(candidate_labels) -> list[str] | dict[str, list[str]]:
    """Return labels as a list, or as a dict of lists of phrases; whatever can be read only once is read here.

    Args:
        candidate_labels: any iterable of labels, one string with labels between commas, or a mapping of each label to
            its phrase or phrases.

    Raises:
        TypeError: they are not texts.
    """
    if isinstance(candidate_labels, str):
        return [label.strip() for label in candidate_labels.split(",") if label.strip()]
    if isinstance(candidate_labels, Mapping):
        return {
            label: [phrases] if isinstance(phrases, str) else _texts(phrases, f"phrases of {label!r}")
            for label, phrases in candidate_labels.items()
        }
    return _texts(candidate_labels, "candidate_labels")


def _texts(values, what: str) -> list[str]:
    if isinstance(values, (bytes, bytearray)) or hasattr(values, "columns") or not isinstance(values, Iterable):
        raise TypeError(f"{what} must be a list of texts, got {values!r}")
    values = list(values)
    for value in values:
        if not isinstance(value, str):
            raise TypeError(f"{what} must be texts, got {value!r} among them")
    return [str(value) for value in values]


@torch.no_grad()
def embed_phrases(model, processor, phrases: Sequence[Sequence[str]]) -> list[torch.Tensor]:
    """Return the vectors of each list's phrases, each `(phrases, projection_dim)`, of length 1 if similarity is cosine.

    All phrases go through the text encoder in one pass.
    """
    flat = [phrase for own in phrases for phrase in own]
    inputs = processor(text=flat, return_tensors="pt").to(model.device)
    embeds = model.normalize_features(model.get_text_features(inputs["input_ids"], inputs["attention_mask"]))
    return list(embeds.float().cpu().split([len(own) for own in phrases]))


def label_similarities(
    ecg_embeds: torch.Tensor, label_embeds: Sequence[torch.Tensor], *, phrase_scale: float
) -> torch.Tensor:
    """Return how similar ECGs are to labels of one or several phrases, `(records, labels)`, in double precision.

    The phrases of a label are joined by log-sum-exp: between their mean and the most similar one.
    """
    # A confident softmax would round to 1 in single precision, and its ties spoil a ranking. Of length 1 in any case:
    # vectors of a model that was trained by their dot product are compared by their cosine too.
    ecg_embeds, labels = (
        torch.nn.functional.normalize(own.double(), dim=1) for own in (ecg_embeds, torch.cat(list(label_embeds)))
    )
    cosines = ecg_embeds @ labels.T
    parts = cosines.split([len(own) for own in label_embeds], dim=1)
    joined = [(phrase_scale * own).logsumexp(dim=1) - math.log(own.shape[1]) for own in parts]
    return torch.stack(joined, dim=1) / phrase_scale


def zero_shot_scores(
    ecg_embeds: torch.Tensor,
    label_embeds: Sequence[torch.Tensor],
    neutral_embed: torch.Tensor | None,
    *,
    scale: float | torch.Tensor,
    phrase_scale: float,
    comparison_scale: float,
    multi_label: bool = False,
) -> torch.Tensor:
    """Return scores `(records, labels)` in 0 to 1.

    Labels are compared with each other by a softmax over them; with `multi_label`, and where there is one label, each
    is judged on its own by a sigmoid.

    Args:
        ecg_embeds: `(records, projection_dim)`, as `ECGTextModel.normalize_features` gives them.
        label_embeds: of each label `(phrases, projection_dim)`, from `embed_phrases`.
        neutral_embed: `(projection_dim,)` of the phrase that a label is judged against on its own; None for none, where
            0 stands for the average text, as with centred texts.
        scale: of the sigmoid; the model's own.
        phrase_scale: of the log-sum-exp over phrases.
        comparison_scale: of the softmax over labels.
        multi_label: judge every label on its own.
    """
    similarities = label_similarities(ecg_embeds, label_embeds, phrase_scale=phrase_scale)
    if multi_label or len(label_embeds) == 1:
        if neutral_embed is not None:
            similarities = similarities - label_similarities(ecg_embeds, [neutral_embed[None]], phrase_scale=1.0)
        return torch.sigmoid(scale * similarities)
    return (comparison_scale * similarities).softmax(dim=-1)
