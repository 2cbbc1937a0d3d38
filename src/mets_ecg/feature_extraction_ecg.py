"""`ECGFeatureExtractor`: the only code that turns recordings into model input.

Every step and constant is a field in its JSON, so that the file beside the weights says how they want their signals.
The steps, in order: trim, fill gaps, filter, resample, cut to windows, judge and arrange leads, scale.
"""

from __future__ import annotations

import inspect
import math
from dataclasses import dataclass

import numpy as np
from transformers import BatchFeature, FeatureExtractionMixin
from transformers.utils import logging

from .configuration_ecg_text import refuse_unknown
from .leads import STANDARD_LEADS, arrange_leads, canonical_leads
from .recordings import Recording, check_arguments, read_recording, recordings_in
from .signals import (
    MAX_NYQUIST_FRACTION,
    fill_gaps,
    filter_signal,
    lead_status,
    recorded_span,
    resample,
    scale_signal,
    window_starts,
)

logger = logging.get_logger(__name__)

# Raise it when the same fields make other input of the same recording: prepared rows of another version are refused.
PROCESSING_VERSION = 1

LOWEST_RATE, HIGHEST_RATE = 50.0, 2000.0

CROPS = ("start", "center", "random", "windows")

# What transformers writes into the file beside the fields.
_PASSED_THROUGH = {"auto_map", "feature_extractor_type", "processor_class"}


@dataclass(frozen=True)
class ECGWindow:
    """A part of a recording as model input.

    Attributes:
        input_values: `(leads, samples)` float32; 0 in masked leads and in padding.
        attention_mask: bool `(samples,)`, False in padding.
        lead_mask: bool `(leads,)`, True for leads that were recorded or derived.
        start, stop: the part that was read, s from the beginning of the recording as it was given.
        lead_status: of each lead of the model: `"recorded"`, `"derived"` (from two limb leads), or why it is masked:
            `"absent"` (there is no such channel), `"missing"` (no sample), `"gaps"` or `"constant"`.
    """

    input_values: np.ndarray
    attention_mask: np.ndarray
    lead_mask: np.ndarray
    start: float
    stop: float
    lead_status: dict[str, str]


class ECGFeatureExtractor(FeatureExtractionMixin):
    """Turn recordings in any rate, lead order and unit into the input of an ECG encoder.

    Args:
        sampling_rate: of the model's input, Hz.
        lead_names: of the model's input, in order.
        max_duration: s. Longer recordings are cropped, shorter ones padded with zeros; None takes any length.
        min_duration: s. Shorter recordings are refused: they hold no whole beat, and no encoder reaches below.
        crop: where a longer recording is cropped: `"start"`, `"center"`, `"random"` (training), or `"windows"`, which
            gives several rows a recording. Samples at the ends that no lead has are not counted.
        window_stride: s from one window to the next; None: `max_duration`. The last window ends with the recording.
        bandpass: lower and upper edge in Hz, either may be None; None for no filter.
        filter_order: of the Butterworth prototype, which runs forwards and backwards.
        notch_frequency: of the mains, Hz; None for no notch.
        notch_quality: frequency of the notch over its -3 dB width.
        max_gap: s. A lead with a longer run of missing samples in a window is masked, shorter ones are interpolated.
        max_missing: part of a window's samples, 0 to 1. A lead that misses more is masked.
        min_range: mV. A lead that varies by less in a window, before filtering, is constant: it is masked, and no other
            lead is derived from it.
        scaling: `"none"`, `"constant"`, `"z-score"` or `"min-max"`.
        scale_per: `"record"` or `"lead"`: what z-score and min-max take their statistics over (recorded leads only).
        scale_constant: divisor of `"constant"`, mV.
        scale_epsilon: added to the standard deviation or the range, so that a constant lead gives 0.
        clip: limit on the absolute value after scaling; None for none.
        amplitude_range: mV. A recording whose largest deviation from a lead's median is outside cannot be in mV.

    Source: filter band and defaults as DESIGN of mets-ecg; no scaling by default, because voltage criteria
    (hypertrophy, low voltage) depend on amplitude.
    """

    model_input_names = ["input_values", "ecg_attention_mask", "lead_mask"]
    padding_value = 0.0  # asked for by the pipeline's collation

    def __init__(
        self,
        sampling_rate=500,
        lead_names=STANDARD_LEADS,
        max_duration=10.0,
        min_duration=0.5,
        crop="center",
        window_stride=None,
        bandpass=(0.5, 45.0),
        filter_order=3,
        notch_frequency=None,
        notch_quality=30.0,
        max_gap=0.05,
        max_missing=0.1,
        min_range=0.0005,
        scaling="none",
        scale_per="record",
        scale_constant=1.0,
        scale_epsilon=1e-6,
        clip=None,
        amplitude_range=(0.02, 50.0),
        **kwargs,
    ):
        unknown = [name for name in kwargs if name not in _PASSED_THROUGH]
        refuse_unknown(type(self).__name__, unknown, self._field_names())
        self.sampling_rate = sampling_rate
        self.lead_names = lead_names
        self.max_duration = max_duration
        self.min_duration = min_duration
        self.crop = crop
        self.window_stride = window_stride
        self.bandpass = bandpass
        self.filter_order = filter_order
        self.notch_frequency = notch_frequency
        self.notch_quality = notch_quality
        self.max_gap = max_gap
        self.max_missing = max_missing
        self.min_range = min_range
        self.scaling = scaling
        self.scale_per = scale_per
        self.scale_constant = scale_constant
        self.scale_epsilon = scale_epsilon
        self.clip = clip
        self.amplitude_range = amplitude_range
        self._check()
        kwargs.pop("auto_map", None)  # written anew by every save
        super().__init__(**kwargs)

    def __setattr__(self, name: str, value) -> None:
        """Set a field and check it: a misspelt value or name would otherwise be found out by nobody.

        Raises:
            ValueError: a field is out of its range; it keeps its value.
            AttributeError: there is no such field.
        """
        fields = self._field_names()
        if name not in fields and not name.startswith("_") and name not in _PASSED_THROUGH:
            try:
                refuse_unknown(type(self).__name__, [name], fields)
            except TypeError as error:
                raise AttributeError(str(error)) from error
        if name == "lead_names":
            value = list(canonical_leads(value))
        elif isinstance(value, tuple):
            value = list(value)
        before = vars(self).get(name)
        super().__setattr__(name, value)
        if fields <= vars(self).keys():  # not while it is being built
            try:
                self._check()
            except ValueError:
                super().__setattr__(name, before)
                raise

    @classmethod
    def _field_names(cls) -> set[str]:
        return set(inspect.signature(cls.__init__).parameters) - {"self", "kwargs"}

    @classmethod
    def from_dict(cls, feature_extractor_dict, **kwargs):
        """Build the extractor from a saved file's contents; fields it does not know are left out with a warning."""
        known = cls._field_names() | _PASSED_THROUGH
        unknown = [name for name in feature_extractor_dict if name not in known]
        if unknown:
            logger.warning(
                f"{cls.__name__}: left out of the saved file, this version does not know them: {', '.join(unknown)}"
            )
        return super().from_dict({k: v for k, v in feature_extractor_dict.items() if k in known}, **kwargs)

    def save_pretrained(self, save_directory, **kwargs):
        """Save the fields and the code; see `transformers.FeatureExtractionMixin.save_pretrained`."""
        saved = super().save_pretrained(save_directory, **kwargs)
        vars(self).pop("auto_map", None)  # it is of the saved file alone
        return saved

    def _check(self) -> None:
        for name in (
            "sampling_rate",
            "min_duration",
            "notch_quality",
            "scale_constant",
            "scale_epsilon",
            "filter_order",
            "min_range",
        ):
            self._check_positive(name)
        for name in ("max_duration", "window_stride", "notch_frequency", "clip"):
            if getattr(self, name) is not None:
                self._check_positive(name)
        if not _is_number(self.max_gap) or self.max_gap < 0:
            raise ValueError(f"ECGFeatureExtractor: max_gap must be 0 s or more, got {self.max_gap!r}")
        if not _is_number(self.max_missing) or not 0 <= self.max_missing < 1:
            raise ValueError(f"ECGFeatureExtractor: max_missing must be from 0 to below 1, got {self.max_missing!r}")
        if not isinstance(self.filter_order, int):
            raise ValueError(f"ECGFeatureExtractor: filter_order must be a whole number, got {self.filter_order!r}")
        if not self.lead_names:
            raise ValueError("ECGFeatureExtractor: lead_names is empty; name at least one lead")
        if self.num_samples == 0:
            raise ValueError(f"ECGFeatureExtractor: max_duration={self.max_duration!r} s is shorter than a sample")
        choices = {
            "crop": CROPS,
            "scaling": ("none", "constant", "z-score", "min-max"),
            "scale_per": ("record", "lead"),
        }
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise ValueError(
                    f"ECGFeatureExtractor: {name} must be one of {', '.join(known)}, got {getattr(self, name)!r}"
                )
        if self.crop == "windows" and self.max_duration is None:
            raise ValueError("ECGFeatureExtractor: crop='windows' needs max_duration, the length of a window in s")
        if self.bandpass is not None and not _is_pair(self.bandpass, none_allowed=True):
            raise ValueError(
                "ECGFeatureExtractor: bandpass must be None or two edges in Hz, either may be None, "
                f"got {self.bandpass!r}"
            )
        low, high = self.bandpass or (None, None)
        highest = MAX_NYQUIST_FRACTION * self.sampling_rate / 2
        for edge, what in (
            (low, "lower edge of bandpass"),
            (high, "upper edge of bandpass"),
            (self.notch_frequency, "notch"),
        ):
            if edge is not None and not 0 < edge < highest:
                raise ValueError(
                    f"ECGFeatureExtractor: the {what} must lie between 0 and {highest:g} Hz (0.95 of the Nyquist "
                    f"frequency at {self.sampling_rate:g} Hz), got {edge!r}"
                )
        if low is not None and high is not None and low >= high:
            raise ValueError(f"ECGFeatureExtractor: bandpass must rise, got {self.bandpass}")
        if not _is_pair(self.amplitude_range) or not 0 <= self.amplitude_range[0] < self.amplitude_range[1]:
            raise ValueError(
                "ECGFeatureExtractor: amplitude_range must be two numbers that rise from 0 mV or more, "
                f"got {self.amplitude_range!r}"
            )

    def _check_positive(self, name: str) -> None:
        value = getattr(self, name)
        if not _is_number(value) or value <= 0:
            raise ValueError(f"ECGFeatureExtractor: {name} must be a number above 0, got {value!r}")

    @property
    def num_samples(self) -> int | None:
        """Samples of the model's input; None where any length is taken."""
        return None if self.max_duration is None else round(self.max_duration * self.sampling_rate)

    def __call__(
        self,
        ecg,
        sampling_rate: float | None = None,
        *,
        lead_names=None,
        units: str | list[str] | None = None,
        crop: str | None = None,
        return_tensors: str | None = None,
        rng: np.random.Generator | None = None,
    ) -> BatchFeature:
        """Turn one or several recordings into model input.

        Args:
            ecg: a recording, as `mets_ecg.recordings.read_recording` takes it: a path, an array `(leads, samples)`, a
                corpus row, a dict, a table, a `wfdb.Record`, an `ECGRecord`. Many: a list or another collection of
                them, or an array of rank 3.
            sampling_rate: Hz, of recordings that do not say it.
            lead_names: of the rows, where a recording's own are not names of leads; default for arrays: the model's
                own, if there are as many rows. None in a name's place leaves the channel out.
            units: `"mV"`, `"uV"` or `"V"`, for all rows or one each, of recordings that do not say it; arrays are taken
                for mV by default.
            crop: which part of a longer recording is read; default: the field.
            return_tensors: `"pt"` or `"np"`; default NumPy arrays.
            rng: source of random crops.

        Returns:
            `input_values (rows, leads, samples)` float32, `ecg_attention_mask (rows, samples)` and
            `lead_mask (rows, leads)`, int64; with `crop="windows"` also `record_index (rows,)`. There is one row a
            recording, or one a window.

        Raises:
            ValueError, TypeError, OSError: a recording cannot be read right, see `read_recording` and `windows`. The
                message names it.
        """
        many = recordings_in(ecg)
        records = [ecg] if many is None else list(many)
        if not records:
            raise ValueError("no recording: the list is empty")
        arguments = check_arguments(sampling_rate, lead_names, units)
        windows, index = [], []
        for i, record in enumerate(records):
            label = "the recording" if many is None else f"recording {i}"
            recording = read_recording(record, default_leads=self.lead_names, label=label, **arguments)
            own = self.windows(recording, crop=crop, rng=rng, label=label)
            windows += own
            index += [i] * len(own)
        data = self.batch(windows)
        if (crop or self.crop) == "windows":
            data["record_index"] = np.array(index)
        return BatchFeature(data, tensor_type=return_tensors)

    def batch(self, windows: list[ECGWindow]) -> dict[str, np.ndarray]:
        """Return windows as the model's input, padded with zeros to the longest; see `__call__`."""
        longest = max(len(window.attention_mask) for window in windows)
        values = [np.pad(w.input_values, ((0, 0), (0, longest - w.input_values.shape[1]))) for w in windows]
        masks = [np.pad(w.attention_mask, (0, longest - len(w.attention_mask))) for w in windows]
        return {
            "input_values": np.stack(values),
            "ecg_attention_mask": np.stack(masks).astype(np.int64),
            "lead_mask": np.stack([window.lead_mask for window in windows]).astype(np.int64),
        }

    def windows(
        self,
        recording: Recording,
        *,
        crop: str | None = None,
        rng: np.random.Generator | None = None,
        label: str = "the recording",
    ) -> list[ECGWindow]:
        """Return the parts of a recording that are read, as model input.

        Args:
            recording: from `mets_ecg.recordings.read_recording`.
            crop: which part of a longer recording is read; default: the field. Of `"windows"`, those without a usable
                lead, or with an amplitude that cannot be in mV, are left out with a warning if there are others.
            rng: source of random crops.
            label: what errors call a recording that has no name.

        Raises:
            ValueError: the rate is not from 50 to 2000 Hz; it is too short; no lead is usable in the part that is read,
                or none is one of the model's; or an amplitude there cannot be in mV.
        """
        label, rate, crop = recording.record_id or label, recording.sampling_rate, crop or self.crop
        if crop not in CROPS or (crop == "windows" and self.max_duration is None):
            why = f" with max_duration, got {crop!r}" if crop in CROPS else f", got {crop!r}"
            raise ValueError(f"crop must be one of {', '.join(CROPS)}{why}")
        if not LOWEST_RATE <= rate <= HIGHEST_RATE:
            raise ValueError(
                f"{label}: the sampling rate must be from {LOWEST_RATE:g} to {HIGHEST_RATE:g} Hz, got {rate:g}"
            )
        first, last = recorded_span(recording.signal_mv)
        if last == 0:
            raise ValueError(f"{label}: no usable lead, no sample was recorded")
        recorded = recording.signal_mv[:, first:last]
        if recorded.shape[1] / rate < self.min_duration:
            raise ValueError(
                f"{label}: {recorded.shape[1]} samples at {rate:g} Hz are {recorded.shape[1] / rate:.3g} s, shorter "
                f"than the {self.min_duration:g} s that the model needs"
            )
        # What cannot be an ECG is refused where it is read; elsewhere it must not ring into that part.
        filled = fill_gaps(recorded)
        if np.ptp(filled, axis=1).max() > self.amplitude_range[1]:  # no sample is further than that from the median
            impossible = np.abs(filled - np.median(filled, axis=1, keepdims=True)) > self.amplitude_range[1]
            filled = fill_gaps(np.where(impossible, np.nan, recorded))
        processed = self._filter_and_resample(filled, rate)
        size = self.num_samples or processed.shape[1]
        stride = max(1, round((self.window_stride or self.max_duration or 0) * self.sampling_rate))
        windows, unusable = [], None
        for start in window_starts(processed.shape[1], size, crop=crop, stride=stride, rng=rng):
            stop = min(start + size, processed.shape[1])
            from_sample, to_sample = (edge * rate / self.sampling_rate for edge in (start, stop))
            part = recorded[:, math.floor(from_sample) : math.ceil(to_sample)]  # what it was made of
            times = ((first + from_sample) / rate, (first + to_sample) / rate)
            status = dict(zip(recording.lead_names, self._judge(part, rate), strict=True))
            if "recorded" not in status.values():
                unusable = f"{label}: {_why_unusable(status)} from {times[0]:.4g} to {times[1]:.4g} s"
                continue
            try:
                usable = [name for name, value in status.items() if value == "recorded"]
                used = part[[value == "recorded" for value in status.values()]]
                self._check_amplitude(used, usable, recording, label)
            except ValueError as error:
                unusable = str(error)
                continue
            windows.append(self._window(processed[:, start:stop], status, times, label))
        if not windows:
            others = crop != "windows" and processed.shape[1] > size
            raise ValueError(f"{unusable}: crop='windows' reads the other parts too" if others else unusable)
        if unusable:
            logger.warning(f"{unusable} (such parts are left out)")
        return windows

    def _filter_and_resample(self, signal: np.ndarray, rate: float) -> np.ndarray:
        signal, left_out = filter_signal(
            signal,
            sampling_rate=rate,
            bandpass=self.bandpass,
            order=self.filter_order,
            notch_frequency=self.notch_frequency,
            notch_quality=self.notch_quality,
        )
        if left_out:
            logger.warning_once(
                f"recordings at {rate:g} Hz have nothing that the {' and '.join(left_out)} would remove: left out"
            )
        return resample(signal, sampling_rate=rate, target_rate=self.sampling_rate)

    def _judge(self, part: np.ndarray, rate: float) -> list[str]:
        max_gap = math.floor(self.max_gap * rate + 1e-6)
        return lead_status(part, max_gap=max_gap, max_missing=self.max_missing, min_range=self.min_range)

    def _window(self, processed: np.ndarray, status: dict[str, str], times: tuple[float, float], label: str):
        """Arrange, scale and pad a part; derived leads come last because filter and resampling are linear."""
        usable = np.array([value == "recorded" for value in status.values()])
        arranged, lead_mask = arrange_leads(processed, list(status), usable, self.lead_names)
        if not lead_mask.any():
            raise ValueError(
                f"{label}: none of the model's leads {', '.join(self.lead_names)} is in {', '.join(status)}"
            )
        ours = {name: status.get(name, "absent") for name in self.lead_names}
        for name, present in zip(self.lead_names, lead_mask, strict=True):
            if present and ours[name] != "recorded":
                ours[name] = "derived"
        for why in ("absent", "missing", "gaps", "constant"):
            if masked := [name for name, value in ours.items() if value == why]:
                said = {"gaps": "have gaps"}.get(why, f"are {why}")
                logger.warning_once(f"leads {', '.join(masked)} {said} in a recording: they are masked")
        length = self.num_samples or arranged.shape[1]
        values = np.zeros((len(arranged), length), dtype=np.float32)
        scaled = scale_signal(
            arranged[lead_mask],
            scaling=self.scaling,
            per=self.scale_per,
            constant=self.scale_constant,
            epsilon=self.scale_epsilon,
        )
        values[lead_mask, : arranged.shape[1]] = scaled if self.clip is None else scaled.clip(-self.clip, self.clip)
        return ECGWindow(values, np.arange(length) < arranged.shape[1], lead_mask, *times, ours)

    def _check_amplitude(self, part: np.ndarray, names: list[str], recording: Recording, label: str) -> None:
        low, high = self.amplitude_range
        widest = float((np.nanmax(part, axis=1) - np.nanmin(part, axis=1)).max())
        if low <= widest / 2 and widest <= high:  # so is the largest distance from the median, which takes longer
            return
        deflections = np.nanmax(np.abs(part - np.nanmedian(part, axis=1, keepdims=True)), axis=1)
        largest, lead = float(deflections.max()), names[int(deflections.argmax())]
        if low <= largest <= high:
            return
        limit = f"at most {high:g}" if largest > high else f"at least {low:g}"
        size = f"{label}: an amplitude of {largest:.4g} in {lead} cannot be in mV ({limit} mV is read). "
        if "units" not in recording.assumed:
            raise ValueError(f"{size}The unit was stated, by the recording or by units=: is it right?")
        if largest > high:
            raise ValueError(
                f"{size}If the samples are microvolts pass units='uV'; if they are integers from a converter, divide "
                "them by its gain (units per mV) first, or pass a corpus row or a path, which carry their gain"
            )
        raise ValueError(f"{size}If the samples are volts pass units='V'")


def _is_number(value) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _is_pair(value, *, none_allowed: bool = False) -> bool:
    is_list = isinstance(value, list) and len(value) == 2
    return is_list and all(_is_number(number) or (none_allowed and number is None) for number in value)


def _why_unusable(status: dict[str, str]) -> str:
    if set(status.values()) == {"constant"}:
        return "every lead is flat"
    return f"no usable lead ({', '.join(f'{name} {why}' for name, why in status.items())})"


ECGFeatureExtractor.register_for_auto_class()
