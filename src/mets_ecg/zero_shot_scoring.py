"""How labels become vectors and similarities become scores: what the pipeline and the evaluation share.

A label is one or several phrases; its vector is the mean of theirs, each of length 1, brought back to length 1. Scores
compare labels with each other, or with a neutral phrase, and are never the cosine itself: how typical a
sentence is moves its cosine more than what the recording shows (on PTB-XL a raw cosine ranks records 0.17 to
0.20 AUC worse).
"""

from __future__ import annotations

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
def embed_phrases(model, processor, phrases: Sequence[Sequence[str]]) -> torch.Tensor:
    """Return a vector for each list of phrases: `(labels, projection_dim)`, of length 1 where similarity is cosine."""
    flat = [phrase for own in phrases for phrase in own]
    inputs = processor(text=flat, return_tensors="pt").to(model.device)
    embeds = model.normalize_features(model.get_text_features(inputs["input_ids"], inputs["attention_mask"]))
    means = torch.stack([own.mean(dim=0) for own in embeds.split([len(own) for own in phrases])])
    return model.normalize_features(means)


def zero_shot_scores(
    ecg_embeds: torch.Tensor,
    label_embeds: torch.Tensor,
    neutral_embed: torch.Tensor,
    *,
    scale: float | torch.Tensor,
    multi_label: bool = False,
) -> torch.Tensor:
    """Return scores `(records, labels)` in 0 to 1.

    Labels are compared with each other by a softmax over them; with `multi_label`, and where there is one label, each
    is compared with the neutral phrase on its own.

    Args:
        ecg_embeds: `(records, projection_dim)`, as `ECGTextModel.normalize_features` gives them.
        label_embeds: `(labels, projection_dim)`, from `embed_phrases`.
        neutral_embed: `(projection_dim,)` of the neutral phrase.
        scale: factor on similarities; the model's own.
        multi_label: judge every label on its own.
    """
    # In double precision: a confident softmax would round to 1 in single, and its ties spoil a ranking.
    logits = scale * (ecg_embeds.double() @ label_embeds.double().T)
    if multi_label or len(label_embeds) == 1:
        return torch.sigmoid(logits - scale * (ecg_embeds.double() @ neutral_embed.double())[:, None])
    return logits.softmax(dim=-1)
