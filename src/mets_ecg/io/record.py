"""`ECGRecord` and `DigitalRecord`: one recording in memory, as the readers in this folder return it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

# What marks a sample that was not recorded in `DigitalRecord.signal`: WFDB's own marker in format 16. It is also that
# of `mets_ecg.signals`, which this folder must not know; a test holds the two together.
INVALID_SAMPLE = -32768


@dataclass(frozen=True)
class ECGRecord:
    """One recording as its file holds it.

    Attributes:
        signal: `(leads, samples)` float32 in `units`; NaN where no sample was recorded. Integers where the file has
            them and says neither gain nor unit.
        sampling_rate: samples a second, Hz; None where the file does not state it.
        lead_names: one name a row, as in the file; None where the file names none.
        units: `"mV"`, `"uV"`, `"V"`, or another unit as the file spells it, one for all rows or one a row. None where
            the file does not state how samples become volts: `signal` is then in units of the converter, from its zero.
            None for all where it names no unit at all.
        record_id: the record's name in its source, if it has one.
        age: of the patient, in years; None where it is hidden or not known.
        age_over_89: True also where the file says only that; None where the age is not known.
        sex: None where it is not known.
        start_time: of the recording, in ISO 8601; only a time, `"10:36:00"`, or only a date where the file has no more.
        left_out: channels of the file that are not among the rows.
    """

    signal: np.ndarray
    sampling_rate: float | None
    lead_names: tuple[str, ...] | None
    units: str | tuple[str | None, ...] | None = "mV"
    record_id: str | None = None
    age: float | None = None
    age_over_89: bool | None = None
    sex: Literal["male", "female"] | None = None
    start_time: str | None = None
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class DigitalRecord:
    """One recording in the integers of its converter, from which a corpus is built without loss.

    Millivolts are `(signal - baseline) / gain`, lead by lead.

    Attributes:
        signal: `(leads, samples)` int16; `INVALID_SAMPLE` where no sample was recorded.
        gain: `(leads,)` float64, above 0: units of the converter per mV, whatever unit the file is in.
        baseline: `(leads,)` int32: the converter's value at 0 mV.
        sampling_rate: samples a second, Hz.
        lead_names: one name a row, as in the file but without blanks around it; no two are alike.
        record_id: the record's name in its header, without a stray `.mat`.
        comments: the header's comment lines, without `#` and blanks around them.
        units: one a row, as the header spells it (`gain` is already per mV).
    """

    signal: np.ndarray
    gain: np.ndarray
    baseline: np.ndarray
    sampling_rate: float
    lead_names: tuple[str, ...]
    record_id: str
    comments: tuple[str, ...]
    units: tuple[str, ...]
