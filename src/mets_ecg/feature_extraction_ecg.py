"""`ECGFeatureExtractor`: the only code that turns recordings into model input.

Every step and constant is a field in its JSON, so that the file beside the weights says how they want their signals.
The steps, in order: read, units, gaps, leads, filter, resample, length, scale.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from transformers import BatchFeature, FeatureExtractionMixin
from transformers.utils import logging

from .configuration_ecg_text import refuse_unknown
from .leads import STANDARD_LEADS, arrange_leads, canonical_leads
from .signals import (
    HIGHEST_EDGE,
    crop_or_pad,
    decode_signal,
    fill_gaps,
    filter_signal,
    resample,
    scale_signal,
    to_millivolt,
)

logger = logging.get_logger(__name__)

LOWEST_RATE, HIGHEST_RATE = 50.0, 2000.0

# Names that others give to a recording's parts. Ignored, they would leave a lead order or a rate unsaid.
_MISNAMED = {"leads": "lead_names", "sig_name": "lead_names", "fs": "sampling_rate", "sample_rate": "sampling_rate",
             "unit": "units", "array": "signal"}  # fmt: skip

# What transformers writes into the file beside the fields.
_PASSED_THROUGH = {"auto_map", "feature_extractor_type", "processor_class"}


class ECGFeatureExtractor(FeatureExtractionMixin):
    """Turn recordings in any rate, lead order and unit into the input of an ECG encoder.

    Args:
        sampling_rate: of the model's input, Hz.
        lead_names: of the model's input, in order.
        max_duration: s. Longer recordings are cropped, shorter ones padded with zeros; None takes any length.
        min_duration: s. Shorter recordings are refused: they hold no whole beat, and no encoder reaches below.
        crop: where a longer recording is cropped: `"start"`, `"center"`, `"random"` (training), or `"windows"`, which
            gives several rows a recording.
        window_stride: s from one window to the next; None: `max_duration`. The last window ends with the recording.
        bandpass: lower and upper edge in Hz, either may be None; None for no filter.
        filter_order: of the Butterworth prototype, which runs forwards and backwards.
        notch_frequency: of the mains, Hz; None for no notch.
        notch_quality: frequency of the notch over its -3 dB width.
        max_gap: s. Longer runs of missing samples make a lead missing, shorter ones are interpolated.
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
        self.lead_names = list(canonical_leads(lead_names))
        self.max_duration = max_duration
        self.min_duration = min_duration
        self.crop = crop
        self.window_stride = window_stride
        self.bandpass = list(bandpass) if isinstance(bandpass, tuple) else bandpass
        self.filter_order = filter_order
        self.notch_frequency = notch_frequency
        self.notch_quality = notch_quality
        self.max_gap = max_gap
        self.scaling = scaling
        self.scale_per = scale_per
        self.scale_constant = scale_constant
        self.scale_epsilon = scale_epsilon
        self.clip = clip
        self.amplitude_range = list(amplitude_range) if isinstance(amplitude_range, tuple) else amplitude_range
        self._check()
        if not __name__.startswith("transformers_modules"):
            kwargs.pop("auto_map", None)  # with the package imported, its own class serves the file
        super().__init__(**kwargs)

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

    def _check(self) -> None:
        for name in (
            "sampling_rate",
            "min_duration",
            "notch_quality",
            "scale_constant",
            "scale_epsilon",
            "filter_order",
        ):
            self._check_positive(name)
        for name in ("max_duration", "window_stride", "notch_frequency", "clip"):
            if getattr(self, name) is not None:
                self._check_positive(name)
        if not _is_number(self.max_gap) or self.max_gap < 0:
            raise ValueError(f"ECGFeatureExtractor: max_gap must be 0 s or more, got {self.max_gap!r}")
        if not isinstance(self.filter_order, int):
            raise ValueError(f"ECGFeatureExtractor: filter_order must be a whole number, got {self.filter_order!r}")
        if not self.lead_names:
            raise ValueError("ECGFeatureExtractor: lead_names is empty; name at least one lead")
        if self.num_samples == 0:
            raise ValueError(f"ECGFeatureExtractor: max_duration={self.max_duration!r} s is shorter than a sample")
        choices = {
            "crop": ("start", "center", "random", "windows"),
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
        highest = HIGHEST_EDGE * self.sampling_rate / 2
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
        units: str | list[str] = "mV",
        return_tensors: str | None = None,
        rng: np.random.Generator | None = None,
    ) -> BatchFeature:
        """Turn one or several recordings into model input.

        Args:
            ecg: a recording, or a list of them: an array `(leads, samples)`; a corpus row; a dict with `signal`,
                `sampling_rate` and, if need be, `lead_names` and `units`; a `wfdb.Record`; an `ECGRecord`; a path. An
                array of rank 3 is a batch `(records, leads, samples)`.
            sampling_rate: of arrays, Hz. Everything else carries its own, which must not differ.
            lead_names: of the rows of arrays; default: the model's own, if there are as many rows. For recordings that
                carry names these win. None in a name's place leaves the channel out.
            units: of arrays: `"mV"`, `"uV"` or `"V"`, for all rows or one each.
            return_tensors: `"pt"` or `"np"`; default NumPy arrays.
            rng: source of random crops.

        Returns:
            `input_values (rows, leads, samples)` float32, `ecg_attention_mask (rows, samples)` and
            `lead_mask (rows, leads)`, int64; with `crop="windows"` also `record_index (rows,)`. There is one row a
            recording, or one a window.

        Raises:
            ValueError: a recording cannot be read right: no rate, unknown, duplicate or missing lead names, an unknown
                unit, an amplitude that cannot be mV, no usable lead, all leads flat, or too short. The message
                names it.
        """
        records = self._as_list(ecg)
        if not records:
            raise ValueError("no recording: the list is empty")
        windows, masks, lead_masks, index = [], [], [], []
        for i, record in enumerate(records):
            signal, rate, names, unit, record_id = _read(record, sampling_rate, lead_names, units, self.lead_names)
            label = record_id or (f"recording {i}" if len(records) > 1 else "the recording")
            for window, mask, lead_mask in self._process(signal, rate, names, unit, label, rng):
                windows.append(window)
                masks.append(mask)
                lead_masks.append(lead_mask)
                index.append(i)
        longest = max(map(len, masks))
        data = {
            "input_values": np.stack([np.pad(w, ((0, 0), (0, longest - w.shape[1]))) for w in windows]),
            "ecg_attention_mask": np.stack([np.pad(m, (0, longest - len(m))) for m in masks]).astype(np.int64),
            "lead_mask": np.stack(lead_masks).astype(np.int64),
        }
        if self.crop == "windows":
            data["record_index"] = np.array(index)
        return BatchFeature(data, tensor_type=return_tensors)

    @staticmethod
    def _as_list(ecg) -> list:
        if isinstance(ecg, (list, tuple)):
            return list(ecg)
        if hasattr(ecg, "ndim") and ecg.ndim == 3:
            return list(ecg)
        return [ecg]

    def _process(self, signal, rate, lead_names, units, label, rng):
        signal = to_millivolt(signal, units)
        self._check_recording(signal, rate, label)
        signal, usable = fill_gaps(signal, max_gap=math.floor(self.max_gap * rate + 1e-6))
        if not usable.any():
            raise ValueError(
                f"{label}: no usable lead: every lead is missing, or has a gap longer than {self.max_gap:g} s"
            )
        self._check_amplitude(signal[usable], label, units)
        signal, lead_mask = arrange_leads(signal, lead_names, usable, self.lead_names)
        if not lead_mask.any():
            raise ValueError(
                f"{label}: none of the model's leads {', '.join(self.lead_names)} is in {', '.join(lead_names)}"
            )
        missing = [name for name, present in zip(self.lead_names, lead_mask, strict=True) if not present]
        if missing:
            logger.warning_once(f"leads {', '.join(missing)} are missing in a recording: they are masked")
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
        signal = resample(signal, sampling_rate=rate, target_rate=self.sampling_rate)
        for piece, mask in self._cut(signal, rng):
            scaled = np.zeros(piece.shape, dtype=np.float32)
            recorded = piece[np.ix_(lead_mask, mask)]
            scaled[np.ix_(lead_mask, mask)] = scale_signal(
                recorded,
                scaling=self.scaling,
                per=self.scale_per,
                constant=self.scale_constant,
                epsilon=self.scale_epsilon,
            )
            yield scaled if self.clip is None else scaled.clip(-self.clip, self.clip), mask, lead_mask

    def _cut(self, signal: np.ndarray, rng):
        size = self.num_samples
        if size is None:
            return [(signal, np.ones(signal.shape[1], dtype=bool))]
        if self.crop != "windows" or signal.shape[1] <= size:
            crop = "start" if self.crop == "windows" else self.crop
            return [crop_or_pad(signal, size, crop=crop, rng=rng)]
        stride = round((self.window_stride or self.max_duration) * self.sampling_rate)
        last = signal.shape[1] - size
        starts = [*range(0, last, max(1, stride)), last]
        return [(signal[:, start : start + size], np.ones(size, dtype=bool)) for start in starts]

    def _check_recording(self, signal: np.ndarray, rate: float, label: str) -> None:
        if not LOWEST_RATE <= rate <= HIGHEST_RATE:
            raise ValueError(
                f"{label}: the sampling rate must be from {LOWEST_RATE:g} to {HIGHEST_RATE:g} Hz, got {rate:g}"
            )
        duration = signal.shape[1] / rate
        if duration < self.min_duration:
            raise ValueError(
                f"{label}: {signal.shape[1]} samples at {rate:g} Hz are {duration:.3g} s, shorter than the "
                f"{self.min_duration:g} s that the model needs"
            )

    def _check_amplitude(self, signal: np.ndarray, label: str, units) -> None:
        largest = float(np.abs(signal - np.median(signal, axis=1, keepdims=True)).max())
        low, high = self.amplitude_range
        if largest == 0:
            raise ValueError(f"{label}: every lead is flat, there is no recording to read")
        if largest > high:
            raise ValueError(
                f"{label}: an amplitude of {largest:.4g} cannot be in mV (at most {high:g} mV is read). "
                "If the samples are microvolts pass units='uV'; if they are integers from a converter, divide them by "
                "its gain (units per mV) first, or pass a corpus row or a path, which carry their gain"
            )
        if largest < low:
            raise ValueError(
                f"{label}: an amplitude of {largest:.2g} cannot be in mV (at least {low:g} mV is read). "
                + ("If the samples are volts pass units='V'" if units == "mV" else f"Is units={units!r} right?")
            )


def _is_number(value) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _is_pair(value, *, none_allowed: bool = False) -> bool:
    is_list = isinstance(value, list) and len(value) == 2
    return is_list and all(_is_number(number) or (none_allowed and number is None) for number in value)


def _read(record, sampling_rate, lead_names, units, model_leads):
    """Return a recording of any kind as `(signal, sampling_rate, lead names, units, name of the record)`.

    What the record says of itself holds; lead names of the call win, for files whose own names say nothing.
    """
    record_id, own_rate, own_names, own_units = None, None, None, None
    if isinstance(record, (str, Path)):
        record_id = str(record)
        record = _read_path(record_id)
    if isinstance(record, Mapping):
        record_id = record.get("record_id") or record_id
        signal, own_rate, own_names, own_units = _read_row(record)
    elif hasattr(record, "p_signal"):  # a wfdb.Record
        if record.p_signal is None:
            raise ValueError(f"{record.record_name}: read it with physical=True, digital samples have no unit")
        signal, own_rate, own_names = np.asarray(record.p_signal).T, record.fs, record.sig_name
        own_units, record_id = [_unit(unit) for unit in record.units], record_id or record.record_name
    elif hasattr(record, "signal") and hasattr(record, "lead_names"):  # an ECGRecord
        signal, own_rate, own_names, own_units = record.signal, record.sampling_rate, record.lead_names, record.units
        record_id = record.record_id or record_id
    else:
        signal = record
    label = record_id or "the recording"
    rate = sampling_rate if own_rate is None else own_rate
    if rate is None:
        raise ValueError(
            f"{label}: an array does not say how many samples make a second: pass sampling_rate=, in Hz. "
            "A wrong rate would silently change every interval"
        )
    if None not in (sampling_rate, own_rate) and sampling_rate != own_rate:
        raise ValueError(
            f"{label}: the recording says {own_rate:g} Hz and the call {sampling_rate:g} Hz: leave sampling_rate= out, "
            "or pass the signal as an array if the recording is wrong"
        )
    names = own_names if lead_names is None else lead_names
    units = units if own_units is None else own_units
    if names is not None and not isinstance(units, str) and units is not None and len(units) == len(names):
        units = [unit for unit, name in zip(units, names, strict=True) if name is not None]
    signal, names = _orient(_as_array(signal, label), names, model_leads, label)
    return signal, float(rate), names, units, record_id


def _read_row(row: Mapping):
    """Return the signal of a corpus row or a dict, and what it says of its rate, lead names and units."""
    misnamed = {key: _MISNAMED[key] for key in row if key in _MISNAMED}
    if misnamed:
        raise ValueError(f"a recording's dict writes {', '.join(f'{b!r} and not {a!r}' for a, b in misnamed.items())}")
    if "signal" not in row:
        raise ValueError(f"a dict needs a 'signal' to be a recording, got the keys {', '.join(map(str, row))}")
    if row.get("gain") is not None:
        return decode_signal(row), row.get("sampling_rate"), row["lead_names"], "mV"
    return row["signal"], row.get("sampling_rate"), row.get("lead_names"), row.get("units")


def _read_path(path: str):
    # Inside a Hub repository's code the package may not be there; WFDB files are read without it.
    try:
        from mets_ecg.io import read_wfdb
    except ImportError:
        try:
            import wfdb
        except ImportError as error:
            raise ImportError("reading a recording from a path needs wfdb: pip install wfdb") from error
        return wfdb.rdrecord(str(Path(path).with_suffix("")) if path.endswith((".hea", ".dat", ".mat")) else path)
    return read_wfdb(path)


def _unit(unit: str) -> str:
    """The unit as this package writes it; headers also say `mv`. The check names unknown ones."""
    spellings = {"mv": "mV", "uv": "uV", "\N{MICRO SIGN}v": "uV", "\N{GREEK SMALL LETTER MU}v": "uV", "v": "V"}
    return spellings.get(str(unit).lower(), unit)


def _as_array(signal, label: str) -> np.ndarray:
    if hasattr(signal, "detach"):
        signal = signal.detach().cpu().numpy()
    try:
        array = np.asarray(signal)
        numeric = np.issubdtype(array.dtype, np.number) and not np.iscomplexobj(array)
    except ValueError:
        numeric = False
    if not numeric:
        raise ValueError(
            f"{label}: cannot be read as a recording: expected numbers as (leads, samples), got {type(signal).__name__}"
        )
    if array.ndim == 1:
        array = array[None]
    if array.ndim != 2 or array.shape[1] == 0:
        raise ValueError(f"{label}: a recording is (leads, samples), got the shape {array.shape}")
    return array


def _orient(array: np.ndarray, lead_names, model_leads, label: str) -> tuple[np.ndarray, tuple[str, ...]]:
    rows, columns = array.shape
    if lead_names is None:
        if rows != len(model_leads):
            hint = " It looks like (samples, leads): pass its transpose." if columns == len(model_leads) else ""
            raise ValueError(
                f"{label}: {rows} rows, and the model has {len(model_leads)} leads: pass lead_names= to say which "
                f"these are.{hint}"
            )
        return array, tuple(model_leads)
    if isinstance(lead_names, str):
        lead_names = [lead_names]
    wanted = [i for i, name in enumerate(lead_names) if name is not None]
    try:
        names = canonical_leads(lead_names[i] for i in wanted)
    except ValueError as error:
        raise ValueError(
            f"{label}: {error}. Pass lead_names= to name it, with None for a channel to leave out"
        ) from error
    if rows != len(lead_names) and columns == len(lead_names):
        array = array.T
    elif rows != len(lead_names):
        raise ValueError(
            f"{label}: {len(lead_names)} lead names for an array of shape {array.shape}; (leads, samples) is expected"
        )
    return array[wanted], names
