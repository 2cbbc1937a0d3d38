"""Pure functions on recordings: units, gaps, filter, resampling, length and scale.

Arrays are `(leads, samples)`, times in seconds, rates in Hz, amplitudes in millivolt. `ECGFeatureExtractor` calls these
in the order of its fields; nothing here keeps state. `scipy.signal` is imported where it is used, because it costs a
tenth of the package's import time.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

import numpy as np

# What marks a sample that was not recorded in integer rows; WFDB's own marker in format 16.
INVALID_SAMPLE = -32768

UNITS_PER_MILLIVOLT = {"mV": 1.0, "uV": 1e3, "V": 1e-3}

# Above this part of the Nyquist frequency a filter has nothing left to remove, and its design degenerates.
HIGHEST_EDGE = 0.95


def decode_signal(row: Mapping) -> np.ndarray:
    """Return a corpus row's recording in millivolts: float32 `(leads, samples)`, NaN where nothing was recorded.

    Raises:
        ValueError: a column is missing, a lead has no gain, or the lengths of the row's columns disagree.
    """
    missing = [name for name in ("signal", "gain", "baseline", "lead_names") if row.get(name) is None]
    if missing:
        raise ValueError(
            f"row {row.get('record_id')!r} has no {', '.join(missing)}: integers become millivolts by signal, gain, "
            "baseline and lead_names; a signal in millivolts comes without gain"
        )
    digital = np.asarray(row["signal"])
    gain = np.asarray(row["gain"], dtype=np.float64).reshape(-1, 1)
    baseline = np.asarray(row["baseline"], dtype=np.float64).reshape(-1, 1)
    if digital.ndim != 2 or not len(digital) == len(gain) == len(baseline) == len(row["lead_names"]):
        raise ValueError(
            f"row {row.get('record_id')!r}: signal of shape {digital.shape} with {len(gain)} gains, "
            f"{len(baseline)} baselines and {len(row['lead_names'])} lead names; one of each is needed for every lead"
        )
    if not (gain > 0).all():
        raise ValueError(
            f"row {row.get('record_id')!r}: gain must be above 0 units per mV, got {gain.ravel().tolist()}"
        )
    signal = ((digital - baseline) / gain).astype(np.float32)
    return np.where(digital == INVALID_SAMPLE, np.float32(np.nan), signal)


def to_millivolt(signal: np.ndarray, units: str | list[str] | tuple[str, ...]) -> np.ndarray:
    """Return the signal as float32 millivolts.

    Args:
        signal: `(leads, samples)`.
        units: one of `"mV"`, `"uV"`, `"V"` for all leads, or one for each.

    Raises:
        ValueError: a unit is unknown.
    """
    each = [units] * len(signal) if isinstance(units, str) else list(units)
    if len(each) != len(signal):
        raise ValueError(f"{len(each)} units for {len(signal)} leads: give one for all, or one for each lead")
    unknown = sorted({str(unit) for unit in each if unit not in UNITS_PER_MILLIVOLT})
    if unknown:
        raise ValueError(
            f"unknown unit {', '.join(map(repr, unknown))}: known units are {', '.join(UNITS_PER_MILLIVOLT)}"
        )
    divisor = np.array([UNITS_PER_MILLIVOLT[unit] for unit in each])
    return (np.asarray(signal, dtype=np.float64) / divisor[:, None]).astype(np.float32)


def fill_gaps(signal: np.ndarray, max_gap: int) -> tuple[np.ndarray, np.ndarray]:
    """Interpolate short runs of samples that are not finite; a lead with a longer run is given up.

    Args:
        signal: `(leads, samples)`.
        max_gap: the longest run to interpolate, samples.

    Returns:
        The signal, all finite, zero in leads given up; and which leads are usable, bool `(leads,)`.
    """
    invalid = ~np.isfinite(signal)
    if not invalid.any():
        return signal, np.ones(len(signal), dtype=bool)
    filled = signal.copy()
    usable = np.ones(len(signal), dtype=bool)
    times = np.arange(signal.shape[1])
    for i in np.flatnonzero(invalid.any(axis=1)):
        edges = np.flatnonzero(np.diff(invalid[i], prepend=False, append=False))
        usable[i] = (edges[1::2] - edges[::2]).max() <= max_gap and not invalid[i].all()
        filled[i] = np.interp(times, times[~invalid[i]], signal[i, ~invalid[i]]) if usable[i] else 0.0
    return filled, usable


def filter_signal(
    signal: np.ndarray,
    *,
    sampling_rate: float,
    bandpass: tuple[float | None, float | None] | None,
    order: int,
    notch_frequency: float | None,
    notch_quality: float,
) -> tuple[np.ndarray, list[str]]:
    """Filter without phase shift: Butterworth band-pass as second-order sections, then a mains notch.

    The ends are padded by odd reflection, three time constants of the lowest edge long, so that they do not ring.

    Args:
        signal: `(leads, samples)`.
        sampling_rate: Hz.
        bandpass: lower and upper edge in Hz, either of them None for none; None for no band-pass.
        order: of the Butterworth prototype; running forwards and backwards doubles it.
        notch_frequency: Hz, or None.
        notch_quality: the notch's frequency over its -3 dB width.

    Returns:
        The filtered signal, and the names of what was left out because it lies at or above 0.95 of the input's Nyquist
        frequency, where there is nothing to remove.

    Raises:
        ValueError: the lower edge lies up there, where the recording holds nothing to keep.
    """
    from scipy.signal import butter, iirnotch, sosfiltfilt, tf2sos

    highest = HIGHEST_EDGE * sampling_rate / 2
    low, high = bandpass or (None, None)
    if low is not None and low >= highest:
        raise ValueError(
            f"a recording at {sampling_rate:g} Hz holds nothing above the lower edge of the filter, {low:g} Hz: "
            "give one at a higher sampling rate"
        )
    left_out = []
    if high is not None and high >= highest:
        left_out.append(f"upper edge {high:g} Hz")
        high = None
    if notch_frequency is not None and notch_frequency >= highest:
        left_out.append(f"notch {notch_frequency:g} Hz")
        notch_frequency = None

    sections = []
    if low is not None and high is not None:
        sections.append(butter(order, (low, high), "bandpass", fs=sampling_rate, output="sos"))
    elif low is not None:
        sections.append(butter(order, low, "highpass", fs=sampling_rate, output="sos"))
    elif high is not None:
        sections.append(butter(order, high, "lowpass", fs=sampling_rate, output="sos"))
    if notch_frequency is not None:
        sections.append(tf2sos(*iirnotch(notch_frequency, notch_quality, fs=sampling_rate)))
    if not sections:
        return signal, left_out
    # A notch rings for its quality in periods.
    periods = [1 / edge for edge in (low, high) if edge is not None]
    longest = max([*periods, *([notch_quality / notch_frequency] if notch_frequency is not None else [])])
    padding = min(int(np.ceil(3 * longest / (2 * np.pi) * sampling_rate)) + 1, signal.shape[1] - 1)
    filtered = sosfiltfilt(np.concatenate(sections), signal.astype(np.float64), axis=1, padlen=padding)
    return filtered.astype(np.float32), left_out


def resample(signal: np.ndarray, *, sampling_rate: float, target_rate: float) -> np.ndarray:
    """Resample by a polyphase filter at the exact ratio of the rates; `round(samples * target / rate)` samples out.

    Args:
        signal: `(leads, samples)`.
        sampling_rate: of the signal, Hz.
        target_rate: wanted, Hz.
    """
    if sampling_rate == target_rate:
        return signal
    from scipy.signal import resample_poly

    ratio = (Fraction(target_rate) / Fraction(sampling_rate)).limit_denominator(10_000)
    wanted = max(1, round(signal.shape[1] * target_rate / sampling_rate))
    # "line" keeps a lead's offset from ringing at the ends; polyphase output is one sample long where the ratio
    # is not whole.
    resampled = resample_poly(signal.astype(np.float64), ratio.numerator, ratio.denominator, axis=1, padtype="line")
    if resampled.shape[1] < wanted:
        resampled = np.pad(resampled, ((0, 0), (0, wanted - resampled.shape[1])), mode="edge")
    return resampled[:, :wanted].astype(np.float32)


def crop_or_pad(
    signal: np.ndarray, num_samples: int, *, crop: str, rng: np.random.Generator | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Bring the signal to a length: a longer one is cropped, a shorter one padded with zeros at its end.

    Args:
        signal: `(leads, samples)`.
        num_samples: wanted.
        crop: `"start"`, `"center"` or `"random"` (which needs `rng`).
        rng: source of the random crop.

    Returns:
        The signal `(leads, num_samples)`, and which samples were recorded, bool `(num_samples,)`.
    """
    surplus = signal.shape[1] - num_samples
    if surplus >= 0:
        start = {"start": 0, "center": surplus // 2}.get(crop)
        if start is None:
            if rng is None:
                raise ValueError("a random crop needs a random generator: pass rng=np.random.default_rng(seed)")
            start = int(rng.integers(surplus + 1))
        return signal[:, start : start + num_samples], np.ones(num_samples, dtype=bool)
    mask = np.arange(num_samples) < signal.shape[1]
    return np.pad(signal, ((0, 0), (0, -surplus))), mask


def scale_signal(signal: np.ndarray, *, scaling: str, per: str, constant: float, epsilon: float) -> np.ndarray:
    """Scale amplitudes; what does not vary becomes 0.

    Args:
        signal: `(leads, samples)`, before padding, so that pads do not enter the statistics.
        scaling: `"none"`; `"constant"`: divide by `constant`; `"z-score"`: `(x - mean) / (std + epsilon)`;
            `"min-max"`: `(x - min) / (max - min + epsilon)`, 0 to 1.
        per: `"record"` or `"lead"`: what the statistics are taken over.
        constant: the divisor of `"constant"`.
        epsilon: keeps a constant lead from being divided by 0.
    """
    if scaling == "none":
        return signal
    if scaling == "constant":
        return signal / np.float32(constant)
    axis = 1 if per == "lead" else None
    wide = signal.astype(np.float64)
    if scaling == "z-score":
        offset, spread = wide.mean(axis, keepdims=True), wide.std(axis, keepdims=True)
    else:
        offset, spread = wide.min(axis, keepdims=True), np.ptp(wide, axis, keepdims=True)
    return ((wide - offset) / (spread + epsilon)).astype(np.float32)
