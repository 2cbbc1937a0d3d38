"""`ZeroShotECGClassificationPipeline`: ask a recording a question in words.

It serves the tasks `"zero-shot-ecg-classification"` and, for models of this package, `"zero-shot-classification"`.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from transformers import AutoModel
from transformers.pipelines.base import ChunkPipeline

from .processing_ecg import check_template
from .zero_shot_scoring import embed_phrases, label_phrases, zero_shot_scores

TASKS = ("zero-shot-ecg-classification", "zero-shot-classification")


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
        super().__init__(*args, **kwargs)
        self._label_embeds: tuple[tuple, torch.Tensor] | None = None

    def __call__(self, inputs, candidate_labels=None, **kwargs):
        """Score one or many recordings.

        Args:
            inputs: a recording as `ECGFeatureExtractor` takes it: a path, an array `(leads, samples)`, a corpus row, a
                `wfdb.Record`, an `ECGRecord`. Many: a list or tuple, an array `(records, leads, samples)`, a
                `datasets.Dataset` of rows, or a generator or streamed data set, which is consumed as results are taken.
            candidate_labels: a list of labels; a string of labels between commas; or a mapping of each label to its
                phrases, which are used as they stand.
            hypothesis_template: put round plain labels, with exactly one `{}`; default: the processor's own.
            multi_label: judge each label on its own.
            top_k: how many labels to return, best first; default all.
            sampling_rate, lead_names, units: of arrays; see `ECGFeatureExtractor`.
            batch_size: recordings, or windows of them, in one forward pass.

        Returns:
            For a recording a list of `{"label", "score"}`, best first; for many, a list of such lists, or an
            iterator of them where the input is consumed as it goes.

        Raises:
            ValueError: there are no labels, the template has no `{}`, or a recording cannot be read right.
        """
        if candidate_labels is not None:
            kwargs["candidate_labels"] = candidate_labels
        if kwargs.get("candidate_labels", self._postprocess_params.get("candidate_labels")) is None:
            raise ValueError("no candidate labels: pass candidate_labels=['sinus rhythm', 'atrial fibrillation', ...]")
        if (kwargs.get("batch_size") or self._batch_size or 1) > 1 and self.feature_extractor.max_duration is None:
            raise ValueError(
                "this model takes recordings of any length, which do not go into one batch: use batch_size=1"
            )
        results = super().__call__(_as_many(inputs), **kwargs)
        return list(results) if _is_dataset(inputs) and hasattr(inputs, "__len__") else results

    def _sanitize_parameters(
        self,
        candidate_labels=None,
        hypothesis_template=None,
        multi_label=None,
        top_k=None,
        sampling_rate=None,
        lead_names=None,
        units=None,
    ):
        reading = {"sampling_rate": sampling_rate, "lead_names": lead_names, "units": units}
        scoring = {
            "candidate_labels": candidate_labels,
            "hypothesis_template": hypothesis_template,
            "multi_label": multi_label,
            "top_k": top_k,
        }
        if top_k is not None and (isinstance(top_k, bool) or not isinstance(top_k, int) or top_k < 1):
            raise ValueError(f"top_k must be 1 or more, or None for all labels, got {top_k!r}")
        # A wrong label or template is said before any recording is read.
        if hypothesis_template is not None:
            check_template(hypothesis_template)
        if candidate_labels is not None:
            label_phrases(candidate_labels, self._template(hypothesis_template))
        return (
            {name: value for name, value in reading.items() if value is not None},
            {},
            {name: value for name, value in scoring.items() if value is not None},
        )

    def _template(self, hypothesis_template: str | None) -> str:
        return self.processor.hypothesis_template if hypothesis_template is None else hypothesis_template

    def preprocess(self, ecg, sampling_rate=None, lead_names=None, units="mV") -> Iterator[dict]:
        """Yield each window of a recording as model input of one row."""
        features = self.processor(
            ecg=[ecg], sampling_rate=sampling_rate, lead_names=lead_names, units=units, return_tensors="pt"
        )
        features.pop("record_index", None)
        rows = len(features["input_values"])
        for i in range(rows):
            yield {**{name: value[i : i + 1] for name, value in features.items()}, "is_last": i == rows - 1}

    def _forward(self, model_inputs):
        is_last = model_inputs.pop("is_last")
        model_inputs["input_values"] = model_inputs["input_values"].to(self.model.dtype)
        if bool(model_inputs["ecg_attention_mask"].all()):
            model_inputs["ecg_attention_mask"] = None  # nothing is padded: the plain path
        return {"ecg_embeds": self.model.embed(self.model.get_ecg_features(**model_inputs)), "is_last": is_last}

    def postprocess(
        self, model_outputs, candidate_labels, hypothesis_template=None, multi_label=False, top_k=None
    ) -> list[dict]:
        """Score one recording from the vectors of its windows: their mean, brought back to length 1."""
        phrases = label_phrases(candidate_labels, self._template(hypothesis_template))
        windows = torch.cat([output["ecg_embeds"] for output in model_outputs]).float()
        ecg_embed = self.model.embed(windows.mean(dim=0, keepdim=True))
        embeds = self._embed_labels(phrases)
        alone = multi_label or len(phrases) == 1
        scores = zero_shot_scores(
            ecg_embed,
            embeds[:-1],
            scale=self.model.scale().item(),
            neutral_embed=embeds[-1] if alone else None,
        )[0]
        ranked = sorted(zip(phrases, scores.tolist(), strict=True), key=lambda pair: -pair[1])
        return [{"label": label, "score": score} for label, score in ranked[:top_k]]

    def save_pretrained(self, save_directory, **kwargs):
        """Save the model and the processor, and the code where it came with them."""
        if __name__.startswith("transformers_modules"):
            super().save_pretrained(save_directory, **kwargs)
        else:
            self.model.save_pretrained(save_directory, **kwargs)
        self.processor.save_pretrained(save_directory, **kwargs)

    def _embed_labels(self, phrases: dict[str, list[str]]) -> torch.Tensor:
        """Return the labels' vectors and, last, the neutral phrase's; kept until other labels are asked for."""
        asked = [*phrases.values(), [self.processor.neutral_phrase]]
        key = tuple(map(tuple, asked))
        if self._label_embeds is None or self._label_embeds[0] != key:
            with self.device_placement():
                self._label_embeds = (key, embed_phrases(self.model, self.processor, asked).float().cpu())
        return self._label_embeds[1]


def _as_many(inputs):
    """Bring collections that the base class does not know to a list or a generator; leave a recording as it is."""
    if isinstance(inputs, tuple) or (hasattr(inputs, "ndim") and inputs.ndim == 3):
        inputs = list(inputs)
    if isinstance(inputs, list) and not inputs:
        raise ValueError("no recording: the list is empty")
    if hasattr(inputs, "__next__") or _is_dataset(inputs):
        return (row for row in inputs)
    return inputs


def _is_dataset(inputs) -> bool:
    """Whether this is a `datasets.Dataset` or `IterableDataset`, which need not be installed to be recognised."""
    return hasattr(inputs, "features") and hasattr(inputs, "map")


# What `save_pretrained` and the Hub export write as `custom_pipelines`. It stands here, in the module itself,
# so that the class has it too when it is loaded as a Hub repository's code.
ZeroShotECGClassificationPipeline._registered_impl = {
    task: {"impl": ZeroShotECGClassificationPipeline, "pt": (AutoModel,), "type": "multimodal"} for task in TASKS
}
