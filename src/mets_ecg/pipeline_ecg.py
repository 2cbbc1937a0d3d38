"""What the pipelines share: which inputs they take, how a recording is read, and what is said of it."""

from __future__ import annotations

import inspect
import statistics
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from transformers.pipelines.base import ChunkPipeline
from transformers.utils.logging import tqdm

from .configuration_ecg_text import refuse_unknown
from .feature_extraction_ecg import ECGWindow
from .leads import limb_lead_error
from .recordings import Recording, check_arguments, read_recording, recordings_in
from .remarks import answer_remarks
from .signals import detect_qrs

_READING = ("sampling_rate", "lead_names", "units", "crop", "return_details")


class ECGPipeline(ChunkPipeline):
    """Parent of the pipelines: recordings in, windows through the model one by one, an answer for each recording."""

    _load_processor = False
    _load_tokenizer = False
    _load_feature_extractor = False
    _load_image_processor = False
    _load_video_processor = False

    def _answer(self, inputs, **kwargs):
        """Answer for one or many recordings; see `__call__` of the subclasses."""
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
        return list(results) if hasattr(inputs, "__len__") else iter(results)

    def _check_parameters(self, reading: dict, *, top_k) -> dict:
        """Check what all pipelines take, before any recording is read; return the parameters of `preprocess`.

        Args:
            reading: what the call has beside the parameters of the subclass.
            top_k: how many labels to return.
        """
        known = {*inspect.signature(self._sanitize_parameters).parameters, *_READING} - {"reading"}
        refuse_unknown("a call of the pipeline", [name for name in reading if name not in _READING], known)
        sampling_rate, lead_names, units, crop, return_details = map(reading.get, _READING)
        if top_k is not None and (isinstance(top_k, bool) or not hasattr(top_k, "__index__") or top_k < 1):
            raise ValueError(f"top_k must be 1 or more, or None for all labels, got {top_k!r}")
        if return_details is not None and not isinstance(return_details, bool):
            raise TypeError(f"return_details must be True or False, got {return_details!r}")
        if crop == "random":
            raise ValueError("crop='random' is for training: the pipeline gives the same answer every time")
        reading = {**check_arguments(sampling_rate, lead_names, units), "crop": crop, "return_details": return_details}
        return {name: value for name, value in reading.items() if value is not None}

    def preprocess(self, named_ecg: tuple, return_details=False, crop=None, **arguments) -> Iterator[dict]:
        """Yield each window of a recording, which comes with what errors call it, as model input of one row."""
        (label, ecg), extractor = named_ecg, self.feature_extractor
        recording = read_recording(ecg, default_leads=extractor.lead_names, label=label, **arguments)
        windows = extractor.windows(recording, crop=crop, label=label)
        details = None
        if return_details:
            whole = (crop or extractor.crop) == "windows"
            details = _details(recording, windows, max_duration=extractor.max_duration, whole=whole)
        bar = tqdm(windows, unit="window", leave=False, disable=None if len(windows) > 100 else True)
        for i, window in enumerate(bar, start=1):
            features = {name: torch.from_numpy(value) for name, value in extractor.batch([window]).items()}
            is_last = i == len(windows)
            yield {**features, "is_last": is_last, "details": details if is_last else None}

    @staticmethod
    def _split_inputs(model_inputs: dict) -> tuple[dict, dict]:
        """Return the model's own inputs, and what is handed on beside them."""
        kept = {name: model_inputs.pop(name) for name in ("is_last", "details")}
        if bool(model_inputs["ecg_attention_mask"].all()):
            model_inputs["ecg_attention_mask"] = None  # nothing is padded: the plain path
        return model_inputs, kept

    @staticmethod
    def _rank(
        labels: Sequence[str],
        scores: torch.Tensor,
        window_scores: torch.Tensor,
        model_outputs: list[dict],
        top_k: int | None,
    ) -> list[dict] | dict:
        """Return labels with their scores, best first, and with the details if they were asked for.

        Args:
            labels: what was asked.
            scores: `(labels,)` of the recording.
            window_scores: `(windows, labels)`.
            model_outputs: of the windows; the last one has the details.
            top_k: how many labels to return.
        """
        result, details = _ranked(labels, scores, top_k), model_outputs[-1]["details"]
        if details is None:
            return result
        windows = [
            {**part, "scores": _ranked(labels, own, top_k)}
            for part, own in zip(details["windows"], window_scores, strict=True)
        ]
        return {"scores": result, **details, "windows": windows}


def _ranked(labels: Sequence[str], scores: torch.Tensor, top_k: int | None) -> list[dict]:
    ranked = sorted(zip(labels, scores.tolist(), strict=True), key=lambda pair: -pair[1])
    return [{"label": label, "score": score} for label, score in ranked[:top_k]]


def _details(recording: Recording, windows: list[ECGWindow], *, max_duration: float | None, whole: bool) -> dict:
    rate, parts, errors, deflections = recording.sampling_rate, [], [], []
    for window in windows:
        signal = recording.signal_mv[:, round(window.start * rate) : round(window.stop * rate)]
        errors.append(limb_lead_error(signal, recording.lead_names))
        used = signal[[window.lead_status.get(name, "recorded") == "recorded" for name in recording.lead_names]]
        used = used[np.isfinite(used).any(axis=1)]
        deflections.append(float(np.nanmax(np.abs(used - np.nanmedian(used, axis=1, keepdims=True)))))
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
    known = [error for error in errors if error is not None]
    details = {
        "record_id": recording.record_id,
        "sampling_rate": rate,
        "duration": recording.signal_mv.shape[1] / rate,
        "assumed": dict(recording.assumed),
        "dropped_channels": list(recording.dropped_channels),
        # The usual one of the windows: a calibration pulse or an artefact says nothing of how the leads are called.
        "limb_lead_error": statistics.median(known) if known else None,
        "largest_deflection": statistics.median(deflections),
        "qrs_found": any(part["num_qrs"] > 0 for part in parts),
        "windows": parts,
    }
    return {**details, "remarks": answer_remarks(details, max_duration=max_duration, whole=whole)}
