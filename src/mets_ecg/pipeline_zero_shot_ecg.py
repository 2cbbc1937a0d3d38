"""`ZeroShotECGClassificationPipeline`: ask a recording a question in words.

It serves the tasks `"zero-shot-ecg-classification"` and, for models of this package, `"zero-shot-classification"`.
"""

from __future__ import annotations

import inspect
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from transformers.pipelines.base import ChunkPipeline

from .configuration_ecg_text import refuse_unknown
from .feature_extraction_ecg import ECGWindow
from .leads import limb_lead_error
from .processing_ecg import check_template
from .recordings import Recording, check_arguments, read_recording, recordings_in
from .signals import detect_qrs
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


class ZeroShotECGClassificationPipeline(ChunkPipeline):
    """Score a recording against labels in words.

    Scores. By default they are a softmax over the labels of `logit_scale.exp() * cosine`: they say which of the labels
    fits best and add up to 1. With `multi_label=True`, or with a single label, each label is judged on its own as
    `sigmoid(scale * (cos(label) - cos(neutral)))` against the processor's neutral phrase. They are never the cosine
    itself, because how typical a sentence is moves its cosine more than what the recording shows. They rank;
    they are not calibrated probabilities.

    Example:
        >>> pipe = pipeline("zero-shot-classification", model="demo-output/checkpoint")
        >>> pipe("tests/fixtures/ptb-xl/records100/...", candidate_labels=["sinus rhythm", "atrial fibrillation"])
        [{"label": "sinus rhythm", "score": ...}, {"label": "atrial fibrillation", "score": ...}]
    """

    _load_processor = True
    _load_tokenizer = False
    _load_feature_extractor = False
    _load_image_processor = False
    _load_video_processor = False

    def __init__(self, *args, **kwargs):
        if kwargs.get("processor") is None:
            raise ValueError(
                "the zero-shot ECG pipeline needs a processor: pass processor=AutoProcessor.from_pretrained(...)"
            )
        if kwargs.pop("feature_extractor", None) not in (None, kwargs["processor"].feature_extractor):
            raise ValueError("the feature extractor is part of the processor: set processor.feature_extractor")
        super().__init__(*args, **kwargs)
        self._label_embeds: _LabelEmbeds | None = None

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
            called; `"qrs_found"`, False where no heart beat is to be seen, so that scores mean
            nothing; and `"windows"`, the parts that were read, each with `"start"` and `"stop"` (s), `"num_qrs"`, and
            the leads that are `"recorded"`, `"derived"` and `"masked"`, these with the reason (see `ECGWindow`).

        Raises:
            ValueError, TypeError: there are no labels or they are not texts, the template has no `{}`, or a recording
                cannot be read right.
        """
        if candidate_labels is not None:
            kwargs["candidate_labels"] = candidate_labels
        if kwargs.get("candidate_labels", self._postprocess_params.get("candidate_labels")) is None:
            raise ValueError("no candidate labels: pass candidate_labels=['sinus rhythm', 'atrial fibrillation', ...]")
        if (kwargs.get("batch_size") or self._batch_size or 1) > 1 and self.feature_extractor.max_duration is None:
            raise ValueError(
                "this model takes recordings of any length, which do not go into one batch: use batch_size=1"
            )
        wanted, given = self.model.config.ecg_config.sampling_rate, self.feature_extractor.sampling_rate
        if wanted != given:
            raise ValueError(f"the model was trained at {wanted:g} Hz and its feature extractor gives {given:g} Hz")
        self.model.eval()  # it may come from training
        many = recordings_in(inputs)
        if many is None:
            return super().__call__([("the recording", inputs)], **kwargs)[0]
        named = ((f"recording {i}", recording) for i, recording in enumerate(many))
        if isinstance(many, list):
            return super().__call__(list(named), **kwargs)
        results = super().__call__(named, **kwargs)
        return list(results) if hasattr(inputs, "__len__") else results

    def _sanitize_parameters(
        self,
        candidate_labels=None,
        hypothesis_template=None,
        multi_label=None,
        top_k=None,
        sampling_rate=None,
        lead_names=None,
        units=None,
        crop=None,
        return_details=None,
        **unknown,
    ):
        known = set(inspect.signature(self._sanitize_parameters).parameters) - {"unknown"}
        refuse_unknown("a call of the pipeline", list(unknown), known)
        if top_k is not None and (isinstance(top_k, bool) or not hasattr(top_k, "__index__") or top_k < 1):
            raise ValueError(f"top_k must be 1 or more, or None for all labels, got {top_k!r}")
        for name, value in (("multi_label", multi_label), ("return_details", return_details)):
            if value is not None and not isinstance(value, bool):
                raise TypeError(f"{name} must be True or False, got {value!r}")
        if crop == "random":
            raise ValueError("crop='random' is for training: the pipeline gives the same answer every time")
        # A wrong label or template is said before any recording is read.
        if hypothesis_template is not None:
            check_template(hypothesis_template)
        if candidate_labels is not None:
            candidate_labels = list_labels(candidate_labels)
            self._check_labels(label_phrases(candidate_labels, self._template(hypothesis_template)))
        reading = {**check_arguments(sampling_rate, lead_names, units), "crop": crop, "return_details": return_details}
        scoring = {
            "candidate_labels": candidate_labels,
            "hypothesis_template": hypothesis_template,
            "multi_label": multi_label,
            "top_k": top_k,
        }
        return (
            {name: value for name, value in reading.items() if value is not None},
            {},
            {name: value for name, value in scoring.items() if value is not None},
        )

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

    def preprocess(self, named_ecg: tuple, return_details=False, crop=None, **arguments) -> Iterator[dict]:
        """Yield each window of a recording, which comes with what errors call it, as model input of one row."""
        (label, ecg), extractor = named_ecg, self.feature_extractor
        recording = read_recording(ecg, default_leads=extractor.lead_names, label=label, **arguments)
        windows = extractor.windows(recording, crop=crop, label=label)
        details = _details(recording, windows) if return_details else None
        for i, window in enumerate(windows):
            features = {name: torch.from_numpy(value) for name, value in extractor.batch([window]).items()}
            yield {**features, "is_last": i == len(windows) - 1, "details": details}

    def _forward(self, model_inputs):
        kept = {name: model_inputs.pop(name) for name in ("is_last", "details")}
        model_inputs["input_values"] = model_inputs["input_values"].to(self.model.dtype)
        if bool(model_inputs["ecg_attention_mask"].all()):
            model_inputs["ecg_attention_mask"] = None  # nothing is padded: the plain path
        return {"ecg_embeds": self.model.normalize_features(self.model.get_ecg_features(**model_inputs)), **kept}

    def postprocess(
        self, model_outputs, candidate_labels, hypothesis_template=None, multi_label=False, top_k=None
    ) -> list[dict] | dict:
        """Score one recording from the vectors of its windows: their mean, brought back to length 1."""
        phrases = label_phrases(candidate_labels, self._template(hypothesis_template))
        windows = torch.cat([output["ecg_embeds"] for output in model_outputs]).float()
        ecg_embed = self.model.normalize_features(windows.mean(dim=0, keepdim=True))
        embeds = self._embed_labels(phrases)
        scores = zero_shot_scores(
            ecg_embed,
            embeds[:-1],
            embeds[-1],
            scale=self.model.get_logit_scale().item(),
            multi_label=multi_label,
        )[0]
        ranked = sorted(zip(phrases, scores.tolist(), strict=True), key=lambda pair: -pair[1])
        result = [{"label": label, "score": score} for label, score in ranked[:top_k]]
        details = model_outputs[0]["details"]
        return result if details is None else {"scores": result, **details}

    def save_pretrained(self, save_directory, **kwargs):
        """Save the model and the processor, with their code."""
        self.model.save_pretrained(save_directory, **kwargs)
        self.processor.save_pretrained(save_directory, **kwargs)

    def _embed_labels(self, phrases: dict[str, list[str]]) -> torch.Tensor:
        """Return the labels' vectors and, last, the neutral phrase's; kept until labels or weights are others."""
        processor = self.processor
        texts = tuple(map(tuple, [*phrases.values(), [processor.neutral_phrase]]))
        asked = (texts, processor.lowercase, processor.max_length, processor.tokenizer)
        kept = self._label_embeds  # read once: another thread may put others there
        if kept is None or kept.asked != asked or not kept.are_of(self.model):
            weights = _text_weights(self.model)
            with _TOKENIZER_LOCK, self.device_placement():
                vectors = embed_phrases(self.model, processor, texts).float().cpu()
            kept = self._label_embeds = _LabelEmbeds(asked, weights, vectors)
        return kept.vectors


# Tokenizers are not safe from threads.
_TOKENIZER_LOCK = threading.Lock()


@dataclass(frozen=True)
class _LabelEmbeds:
    """Vectors of labels, with what they were made from."""

    asked: tuple
    weights: list[tuple[torch.Tensor, int, float]]
    vectors: torch.Tensor

    def are_of(self, model) -> bool:
        now = _text_weights(model)
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


def _details(recording: Recording, windows: list[ECGWindow]) -> dict:
    rate, parts = recording.sampling_rate, []
    for window in windows:
        signal = recording.signal_mv[:, round(window.start * rate) : round(window.stop * rate)]
        parts.append(
            {
                "start": window.start,
                "stop": window.stop,
                "num_qrs": len(detect_qrs(signal, rate)),
                "recorded": [name for name, status in window.lead_status.items() if status == "recorded"],
                "derived": [name for name, status in window.lead_status.items() if status == "derived"],
                "masked": {
                    name: status for name, status in window.lead_status.items() if status not in ("recorded", "derived")
                },
            }
        )
    return {
        "record_id": recording.record_id,
        "sampling_rate": rate,
        "duration": recording.signal_mv.shape[1] / rate,
        "assumed": dict(recording.assumed),
        "dropped_channels": list(recording.dropped_channels),
        "limb_lead_error": limb_lead_error(recording.signal_mv, recording.lead_names),
        "qrs_found": any(part["num_qrs"] > 0 for part in parts),
        "windows": parts,
    }
