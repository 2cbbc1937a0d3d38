"""`ZeroShotECGClassificationPipeline`: ask a recording a question in words.

It serves the tasks `"zero-shot-ecg-classification"` and, for models of this package, `"zero-shot-classification"`.
"""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass

import torch

from .pipeline_ecg import ECGPipeline
from .processing_ecg import check_template
from .zero_shot_scoring import embed_phrases, label_phrases, list_labels, zero_shot_scores

TASKS = ("zero-shot-ecg-classification", "zero-shot-classification")

# What a checkpoint's config.json says of this file, for use without the package.
CUSTOM_PIPELINES = {
    task: {
        "impl": "pipeline_zero_shot_ecg.ZeroShotECGClassificationPipeline",
        "pt": ["AutoModel"],
        "type": "multimodal",
    }
    for task in TASKS
}


class ZeroShotECGClassificationPipeline(ECGPipeline):
    """Score a recording against labels in words.

    Scores. By default they are a softmax over the labels' similarities: they say which of the labels fits best and add
    up to 1. With `multi_label=True`, or with a single label, each label is judged on its own by a sigmoid, against the
    processor's neutral phrase if it has one. Their scales are fields of the processor (`phrase_scale`,
    `comparison_scale`) and the model's own. They rank; they are not calibrated probabilities.

    Example:
        >>> pipe = pipeline("zero-shot-classification", model="demo-output/checkpoint")
        >>> pipe("tests/fixtures/ptb-xl/records100/...", candidate_labels=["sinus rhythm", "atrial fibrillation"])
        [{"label": "sinus rhythm", "score": ...}, {"label": "atrial fibrillation", "score": ...}]
    """

    _load_processor = True

    def __init__(self, *args, **kwargs):
        if kwargs.get("processor") is None:
            raise ValueError(
                "the zero-shot ECG pipeline needs a processor: pass processor=AutoProcessor.from_pretrained(...)"
            )
        if kwargs.pop("feature_extractor", None) not in (None, kwargs["processor"].feature_extractor):
            raise ValueError("the feature extractor is part of the processor: set processor.feature_extractor")
        super().__init__(*args, **kwargs)
        self._label_embeds: tuple[_LabelEmbeds, ...] = ()  # of the label sets that were asked last

    @property
    def feature_extractor(self):
        """The processor's feature extractor: one object is used, shown and saved."""
        return self.processor.feature_extractor

    @feature_extractor.setter
    def feature_extractor(self, value) -> None:
        if value is not None:  # which the base class sets at first
            self.processor.feature_extractor = value

    def __call__(self, inputs, candidate_labels=None, **kwargs):
        """Score one or many recordings.

        Args:
            inputs: a recording as `ECGFeatureExtractor` takes it: a path, an array `(leads, samples)`, a corpus row, a
                dict, a table, a `wfdb.Record`, an `ECGRecord`. Many: a list or another collection of them, an array
                `(records, leads, samples)`, a `datasets.Dataset` of rows, or a generator or streamed data set, which is
                consumed as results are taken.
            candidate_labels: labels, in any iterable; a string of labels between commas; or a mapping of each label to
                its phrases, which are used as they stand.
            hypothesis_template: put round plain labels, with exactly one `{}`; default: the processor's own.
            multi_label: judge each label on its own.
            top_k: how many labels to return, best first; default all.
            sampling_rate, lead_names, units, crop: see `ECGFeatureExtractor.__call__`.
            return_details: say for each recording what its scores are based on.
            batch_size: recordings, or windows of them, in one forward pass.

        Returns:
            For a recording a list of `{"label", "score"}`, best first; for many, a list of such lists, or an
            iterator of them where the input is consumed as it goes.

            With `return_details` in place of each list a dict with the list as `"scores"`, and `"record_id"`;
            `"sampling_rate"` (Hz) and `"duration"` (s), as recorded; `"assumed"`, what neither the recording nor the
            call said; `"dropped_channels"`; `"limb_lead_error"`, above 0.3 where the limb leads cannot be what they are
            called; `"largest_deflection"` of a lead from its median, mV; `"qrs_found"`, False where no heart beat is to
            be seen, so that scores mean nothing; `"windows"`, the parts that were read, each with `"start"` and
            `"stop"` (s), `"num_qrs"`, the leads that are `"recorded"`, `"derived"` and `"masked"`, these with the
            reason (see `ECGWindow`), and its own `"scores"`; and `"remarks"`, what is to be known of this, in words.

        Raises:
            ValueError, TypeError: there are no labels or they are not texts, the template has no `{}`, or a recording
                cannot be read right.
        """
        if candidate_labels is not None:
            kwargs["candidate_labels"] = candidate_labels
        if kwargs.get("candidate_labels", self._postprocess_params.get("candidate_labels")) is None:
            raise ValueError("no candidate labels: pass candidate_labels=['sinus rhythm', 'atrial fibrillation', ...]")
        return self._answer(inputs, **kwargs)

    def _sanitize_parameters(
        self,
        candidate_labels=None,
        hypothesis_template=None,
        multi_label=None,
        top_k=None,
        **reading,
    ):
        reading = self._check_parameters(reading, top_k=top_k)
        if multi_label is not None and not isinstance(multi_label, bool):
            raise TypeError(f"multi_label must be True or False, got {multi_label!r}")
        # A wrong label or template is said before any recording is read.
        if hypothesis_template is not None:
            check_template(hypothesis_template)
        if candidate_labels is not None:
            candidate_labels = list_labels(candidate_labels)
            self._check_labels(label_phrases(candidate_labels, self._template(hypothesis_template)))
        scoring = {
            "candidate_labels": candidate_labels,
            "hypothesis_template": hypothesis_template,
            "multi_label": multi_label,
            "top_k": top_k,
        }
        return reading, {}, {name: value for name, value in scoring.items() if value is not None}

    def _check_labels(self, phrases: dict[str, list[str]]) -> None:
        """Refuse labels that are one text to the model: they would share its score."""
        seen: dict[tuple[str, ...], str] = {}
        for label, own in phrases.items():
            own = [text.lower() for text in own] if self.processor.lowercase else own
            texts = tuple(re.sub(r"\s+(?=\W|$)", "", text) for text in own)
            if texts in seen:
                raise ValueError(f"the candidate labels {seen[texts]!r} and {label!r} are the same text to the model")
            seen[texts] = label

    def _template(self, hypothesis_template: str | None) -> str:
        return self.processor.hypothesis_template if hypothesis_template is None else hypothesis_template

    def _forward(self, model_inputs):
        model_inputs, kept = self._split_inputs(model_inputs)
        return {"ecg_embeds": self.model.normalize_features(self.model.get_ecg_features(**model_inputs)), **kept}

    def postprocess(
        self, model_outputs, candidate_labels, hypothesis_template=None, multi_label=False, top_k=None
    ) -> list[dict] | dict:
        """Score one recording from the vectors of its windows: their mean, brought back to length 1."""
        phrases = label_phrases(candidate_labels, self._template(hypothesis_template))
        windows = torch.cat([output["ecg_embeds"] for output in model_outputs]).float()
        whole = self.model.normalize_features(windows.mean(dim=0, keepdim=True))
        embeds, neutral = self._embed_labels(phrases)
        scores = zero_shot_scores(
            torch.cat([whole, windows]),
            embeds,
            neutral,
            scale=self.model.get_logit_scale().item(),
            phrase_scale=self.processor.phrase_scale,
            comparison_scale=self.processor.comparison_scale,
            multi_label=multi_label,
        )
        return self._rank(list(phrases), scores[0], scores[1:], model_outputs, top_k)

    def save_pretrained(self, save_directory, **kwargs):
        """Save the model and the processor, with their code."""
        self.model.save_pretrained(save_directory, **kwargs)
        self.processor.save_pretrained(save_directory, **kwargs)

    def _embed_labels(self, phrases: dict[str, list[str]]) -> tuple[list[torch.Tensor], torch.Tensor | None]:
        """Return the vectors of the labels' phrases and of the neutral one; kept until the weights are others."""
        processor = self.processor
        neutral = [] if processor.neutral_phrase is None else [[processor.neutral_phrase]]
        texts = tuple(map(tuple, [*phrases.values(), *neutral]))
        asked = (texts, processor.lowercase, processor.max_length, processor.tokenizer)
        sets, weights = self._label_embeds, _text_weights(self.model)  # another thread may put other sets there
        kept = next((own for own in sets if own.asked == asked and own.are_of(weights)), None)
        if kept is None:
            with _TOKENIZER_LOCK, self.device_placement():
                vectors = embed_phrases(self.model, processor, texts)
            kept = _LabelEmbeds(asked, weights, vectors)
            sets = tuple(own for own in sets if own.are_of(weights))
        self._label_embeds = (kept, *(own for own in sets if own.asked != asked))[:_KEPT_LABEL_SETS]
        return kept.vectors[: len(phrases)], kept.vectors[-1][0] if neutral else None


# Whoever asks several sets of labels in turn does not wait for the text encoder each time.
_KEPT_LABEL_SETS = 16
# Tokenizers are not safe from threads.
_TOKENIZER_LOCK = threading.Lock()


@dataclass(frozen=True)
class _LabelEmbeds:
    """Vectors of labels, with what they were made from."""

    asked: tuple
    weights: list[tuple[torch.Tensor, int, float]]
    vectors: list[torch.Tensor]

    def are_of(self, now: list[tuple[torch.Tensor, int, float]]) -> bool:
        return len(now) == len(self.weights) and all(
            one[0] is kept[0] and one[1:] == kept[1:] for one, kept in zip(now, self.weights, strict=True)
        )


@torch.no_grad()
def _text_weights(model) -> list[tuple[torch.Tensor, int, float]]:
    """Return all that labels pass through, each with PyTorch's count of its changes, and the projection with its sum.

    The count misses changes through `.data`, as averaging of weights makes them.
    """
    projection = [] if model.text_projection is None else [*model.text_projection.parameters()]
    tensors = [*model.text_model.parameters(), *model.text_model.buffers(), *projection]
    sums = [0.0] * (len(tensors) - len(projection)) + [float(tensor.sum()) for tensor in projection]
    if model.config.text_centering:
        tensors, sums = [*tensors, model.text_mean], [*sums, float(model.text_mean.sum())]
    versions = [0 if tensor.is_inference() else tensor._version for tensor in tensors]
    return list(zip(tensors, versions, sums, strict=True))
