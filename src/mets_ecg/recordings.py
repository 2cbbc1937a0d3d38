"""Inputs: whatever a user passes becomes a checked `Recording`, or an error that names the culprit and the way out.

A path, an `ECGRecord`, a `wfdb.Record`, a corpus row, a dict, a table, an array, a nested list. Nothing that an input
says of itself (rate, lead names, units, mask) is dropped, and the call may not contradict it; what neither says is an
error (the rate) or is written down as assumed. Nothing is filtered, resampled or cut here.
"""

from __future__ import annotations

import difflib
import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from transformers.utils import logging

from .leads import (
    MAX_LIMB_LEAD_ERROR,
    STANDARD_LEADS,
    canonical_lead,
    canonical_leads,
    eeg_channels,
    is_lead,
    is_other_channel,
    limb_lead_error,
)
from .signals import INVALID_SAMPLE, UNITS_PER_MILLIVOLT, canonical_unit, decode_signal, to_millivolt

logger = logging.get_logger(__name__)

# What a dict may hold, and what others call these parts.
_KEYS = ("signal", "path", "sampling_rate", "lead_names", "units", "record_id")
_SYNONYMS = {
    "lead_names": ("ch_names", "channel_names", "channels", "lead_name", "leads", "names", "sig_name", "sig_names"),
    "sampling_rate": ("fs", "freq", "frequency", "rate", "sample_rate", "sampling_frequency", "sfreq"),
    "signal": ("array", "data", "ecg", "p_signal", "samples", "signals", "val", "values"),
    "units": ("unit",),
}
_KEY_OF = {synonym: key for key, synonyms in _SYNONYMS.items() for synonym in synonyms}

# Rates closer than this part of each other are the same rate: 333.33 Hz is stored as 333.32999 in single precision.
_RATE_TOLERANCE = 1e-4

# Units by which formats say that a channel has none.
_NO_UNIT = ("", "nu", "n/a", "none", "nan")


@dataclass(frozen=True)
class Recording:
    """One recording, checked.

    Attributes:
        signal_mv: `(leads, samples)` float32, millivolt; NaN where nothing was recorded.
        sampling_rate: Hz.
        lead_names: standard names, one a row, no two alike.
        record_id: its name in its source, or None.
        assumed: what neither the input nor the call said, and what was taken in its place, for example
            `{"units": "mV"}`.
        dropped_channels: names of channels that are not leads of a 12-lead ECG, or that the call left out.
    """

    signal_mv: np.ndarray
    sampling_rate: float
    lead_names: tuple[str, ...]
    record_id: str | None = None
    assumed: Mapping[str, str] = field(default_factory=dict)
    dropped_channels: tuple[str, ...] = ()


@dataclass
class _Stated:
    """What an input says of itself; None where it does not say."""

    signal: object
    sampling_rate: object = None
    lead_names: object = None
    units: object = None
    record_id: str | None = None
    path: str | None = None
    rows: Sequence | None = None  # labels of the rows, which a labelled list of lead names may refer to
    left_out: tuple[str, ...] = ()  # channels of its file that are not among the rows
    is_dict: bool = False  # whose names are its writer's: None leaves a channel out
    is_file: bool = False  # of a file, whose missing units are integers without a gain and not millivolts


def recordings_in(ecg) -> list | Iterator | None:
    """Return the recordings of a collection; None if `ecg` is a single recording.

    Lists, tuples, arrays of rank 3, columns of paths and frames with a row for each recording give a list; data sets
    and iterators give an iterator, which is not read here. Nested lists of numbers are arrays: of rank 2 they are one
    recording, of rank 3 a batch.

    Raises:
        TypeError: it is neither; the message names what came.
        ValueError: it is empty.
    """
    if ecg is None or isinstance(ecg, (str, bytes, bytearray, memoryview, os.PathLike, Mapping)) or _is_rdsamp(ecg):
        return None
    if _is_frame(ecg) and {"signal", "path"} & set(ecg.columns):
        return ecg.to_dict("records")
    if isinstance(ecg, Iterator) or _is_dataset(ecg):
        return iter(ecg)
    if isinstance(ecg, torch.utils.data.Dataset):
        return iter(ecg) if hasattr(ecg, "__iter__") else (ecg[i] for i in range(len(ecg)))
    if isinstance(ecg, (set, frozenset)):
        raise TypeError("a set has no order: pass a list of recordings")
    if isinstance(ecg, Sequence):
        ecg = list(ecg)
        if not ecg:
            raise ValueError("no recording: the list is empty")
        return ecg if _rank_of_numbers(ecg) in (None, 3) else None
    if (_is_array(ecg) or _is_series(ecg)) and (ecg.ndim == 3 or _is_column_of_objects(ecg)):
        if not len(ecg):
            raise ValueError("no recording: the array is empty")
        return list(ecg)
    return None


def read_recording(
    ecg,
    sampling_rate=None,
    *,
    lead_names=None,
    units=None,
    default_leads: Sequence[str] = STANDARD_LEADS,
    label: str = "the recording",
) -> Recording:
    """Return one recording of any kind as a `Recording`.

    Args:
        ecg: a path; a `Recording`, which is returned; an `ECGRecord`; a `wfdb.Record`; a corpus row; a dict with
            `signal` (or `path`) and, as far as they are known, `sampling_rate`, `lead_names`, `units`, `record_id`; a
            pandas frame, with the leads as columns or as rows; an array, tensor, masked array or nested list
            `(leads, samples)`, of rank 1 for a single lead.
        sampling_rate: Hz, where the input does not say it.
        lead_names: of the rows, where the input's names are not lead names; None in a name's place leaves a channel
            out. A pandas Series names rows by its index.
        units: `"mV"`, `"uV"` or `"V"`, for all rows or one each, where the input does not say them.
        default_leads: of an array without names that has as many rows.
        label: what errors call a recording that has no name.

    Raises:
        TypeError: it is not a recording, or an argument is of the wrong type.
        ValueError: it cannot be read right: no rate; unknown, duplicate or missing lead names; an unknown unit; or a
            rate, name or unit of the call that contradicts the recording's own.
        OSError: a file is missing or cannot be read.
        ImportError: a path is given where this package is not installed.
    """
    if isinstance(ecg, Recording):
        if not (sampling_rate is lead_names is units is None):
            raise ValueError(f"{ecg.record_id or label}: a Recording says its rate, leads and unit: leave them out")
        return ecg
    call = check_arguments(sampling_rate, lead_names, units)
    sampling_rate, lead_names, units = call["sampling_rate"], call["lead_names"], call["units"]
    stated = _stated(ecg, label)
    label = stated.path or stated.record_id or label
    rate = _agreed_rate(_rate(stated.sampling_rate, f"{label}: sampling_rate"), sampling_rate, label)
    signal = _as_matrix(stated.signal, label)

    own_names = None
    if stated.lead_names is not None:  # a channel without a name is not one to leave out
        own_names = _names(stated.lead_names, f"{label}: lead_names")
        if not stated.is_dict:
            own_names = [name or "" for name in own_names]
    call_names = None if lead_names is None else _call_names(lead_names, signal.shape, stated.rows, label)
    if own_names is not None and call_names is not None:
        _check_names_agree(own_names, call_names, label)
    names = own_names if call_names is None else call_names
    if names is not None and len(signal) != len(names):
        if signal.shape[1] != len(names) or stated.is_file:
            raise ValueError(
                f"{label}: {len(names)} lead names for an array of shape {signal.shape}; (leads, samples) is expected"
            )
        signal = signal.T
    assumed = {}
    if names is None:
        if len(signal) != len(default_leads):
            hint = " It looks like (samples, leads): pass its transpose." * (signal.shape[1] == len(default_leads))
            hint = hint or " If a list has the leads of one recording, pass them as one array." * (len(signal) == 1)
            raise ValueError(
                f"{label}: {len(signal)} rows, and the model has {len(default_leads)} leads: pass lead_names= to say "
                f"which these are.{hint}"
            )
        names = list(default_leads)
        assumed["lead_names"] = ", ".join(default_leads)
    own_units = _units(stated.units, f"{label}: units", known_only=False)
    kept, leads, dropped = _choose_channels(names, own_names, own_units, stated, label)
    if stated.left_out:
        logger.warning_once(f"channels of another rate are left out: {', '.join(stated.left_out)}")
    whole = _are_whole(signal[kept])
    unit_of, assumed_unit = _agreed_units(
        own_units, units, names, kept, whole=whole, is_file=stated.is_file, label=label
    )
    if assumed_unit:
        assumed["units"] = "mV"
    signal_mv = to_millivolt(signal[kept], unit_of)
    if "lead_names" in assumed and (limb_lead_error(signal_mv, leads) or 0) > MAX_LIMB_LEAD_ERROR:
        logger.warning_once(
            "the limb leads of a recording without lead names do not fit each other in the order that was assumed: "
            f"{assumed['lead_names']}. Pass lead_names="
        )
    return Recording(signal_mv, rate, leads, stated.record_id, assumed, (*dropped, *stated.left_out))


def check_arguments(sampling_rate, lead_names, units) -> dict:
    """Return these arguments of `read_recording`, checked as far as they can be without a recording, and read once.

    Raises:
        TypeError, ValueError: see `read_recording`.
    """
    return {
        "sampling_rate": _rate(sampling_rate, "sampling_rate"),
        "lead_names": lead_names if lead_names is None or _is_series(lead_names) else _names(lead_names, "lead_names"),
        "units": _units(units, "units"),
    }


# What an input says.


def _stated(ecg, label: str) -> _Stated:
    if isinstance(ecg, (str, os.PathLike)):
        path = os.fspath(ecg)
        if isinstance(path, str):
            return _of_record(_read_path(path), path)
    if isinstance(ecg, Mapping):
        return _of_mapping(ecg, label)
    if _is_rdsamp(ecg):
        fields = ecg[1]
        return _Stated(np.asarray(ecg[0]).T, fields["fs"], fields["sig_name"], fields.get("units"), is_file=True)
    if hasattr(ecg, "p_signal") and hasattr(ecg, "sig_name"):
        return _of_wfdb(ecg)
    if _is_frame(ecg):
        return _of_frame(ecg, label)
    if _is_series(ecg) and "signal" in ecg.index:  # a row of a frame
        return _of_mapping(ecg.to_dict(), label)
    if hasattr(ecg, "signal") and hasattr(ecg, "lead_names"):
        return _of_record(ecg, None)
    if _is_series(ecg):
        name = ecg.name if isinstance(ecg.name, str) else None
        return _Stated(ecg.to_numpy(dtype=float, na_value=np.nan), lead_names=None if name is None else [name])
    if isinstance(ecg, (list, tuple)) or _is_array(ecg):
        return _Stated(ecg)
    if hasattr(ecg, "segments") and hasattr(ecg, "seg_name"):
        raise TypeError(f"{label}: a wfdb.MultiRecord has no signal of its own: read it with wfdb.rdrecord(m2s=True)")
    ways_out = {
        "DataLoader": ": pass its data set",
        "Table": ": pass datasets.Dataset(table) or table.to_pandas()",
        "RecordBatch": ": pass it as a pandas frame, by to_pandas()",
    }
    raise TypeError(
        f"{label}: expected a path, an array of numbers (leads, samples), a dict, a table or a record, got "
        f"{'None' if ecg is None else type(ecg).__name__}{ways_out.get(type(ecg).__name__, '')}"
    )


def _of_record(record, path: str | None) -> _Stated:
    return _Stated(
        record.signal,
        record.sampling_rate,
        record.lead_names,
        record.units,
        record.record_id,
        path=path,
        left_out=getattr(record, "left_out", ()),
        # A file of plain numbers is as an array of them; whole ones are numbers of a converter.
        is_file=record.units is not None or record.signal.dtype.kind in "iu",
    )


def _of_wfdb(record) -> _Stated:
    name = record.record_name
    if record.p_signal is None:
        raise ValueError(
            f"{name}: this wfdb.Record has no p_signal: read it with physical=True and smooth_frames=True, digital "
            "samples and samples in frames are not in one unit and rate"
        )
    return _Stated(np.asarray(record.p_signal).T, record.fs, record.sig_name, record.units, name, is_file=True)


def _of_mapping(row: Mapping, label: str) -> _Stated:
    """Of a corpus row, which may have any columns beside the signal's, or of a dict, which may not."""
    if row.get("signal") is not None and row.get("gain") is not None:
        signal, rate, names = decode_signal(row), row.get("sampling_rate"), row["lead_names"]
        return _Stated(signal, rate, names, "mV", row.get("record_id"))
    if isinstance(row.get("record_id"), (list, tuple, np.ndarray)):
        names = ", ".join(map(str, row["record_id"]))
        raise TypeError(f"{label}: a batch of rows ({names}): pass the data set itself, or its rows in a list")
    unknown = [key for key in row if key not in _KEYS]
    if unknown:
        way_out = "leave them out, of a data set by select_columns(...)"
        if all(map(is_lead, unknown)):
            way_out = "of leads by name make a table, pandas.DataFrame(...)"
        hints = []
        for key in map(str, unknown):
            nearest = _KEY_OF.get(key.lower()) or next(iter(difflib.get_close_matches(key.lower(), _KEYS, n=1)), None)
            hints.append(f"{key!r} (write {nearest!r})" if nearest else repr(key))
        raise ValueError(
            f"{row.get('record_id') or label}: a recording's dict has {', '.join(_KEYS)}; unknown: {', '.join(hints)}: "
            f"{way_out}"
        )
    if (row.get("signal") is None) == (row.get("path") is None):
        given = ", ".join(str(key) for key in row if row[key] is not None) or "nothing"
        raise ValueError(f"{label}: a recording's dict needs a 'signal' or a 'path', got {given}")
    if row.get("path") is not None:
        stated = _of_record(_read_path(os.fspath(row["path"])), os.fspath(row["path"]))
        for name in ("lead_names", "units"):
            if row.get(name) is not None:
                raise ValueError(f"{stated.path}: {name} of a dict with a path belong into the call, as {name}=")
        stated.sampling_rate = _agreed_rate(
            _rate(stated.sampling_rate, "sampling_rate"), _rate(row.get("sampling_rate"), "sampling_rate"), stated.path
        )
    else:
        signal = row["signal"]
        if isinstance(signal, Mapping):  # by name, as JSON has it
            if row.get("lead_names") is not None:
                raise ValueError(f"{label}: the dict has lead_names and its signal, by name, too: leave them out")
            row = {**row, "lead_names": list(signal)}
            signal = list(signal.values())
        stated = _stated(signal, label) if _is_frame(signal) or _is_series(signal) else _Stated(signal)
        stated.sampling_rate = row.get("sampling_rate")
        for name in ("lead_names", "units"):
            if row.get(name) is not None:
                if getattr(stated, name) is not None:
                    raise ValueError(f"{label}: the dict has {name} and its signal, a table, too: leave one out")
                setattr(stated, name, row[name])
        stated.is_dict = True
    stated.record_id = stated.record_id if row.get("record_id") is None else str(row["record_id"])
    return stated


def _of_frame(frame, label: str) -> _Stated:
    """Of a table whose columns or whose rows are named as leads."""
    values = frame.to_numpy()
    if values.dtype == object:  # pandas' own missing value is not a number
        try:
            values = frame.astype(float).to_numpy()
        except (TypeError, ValueError) as error:
            raise ValueError(f"{label}: a column of the table is not of numbers ({error}): leave it out") from error
    columns = list(frame.columns)
    index = list(getattr(frame, "index", range(len(values))))
    by_column, by_row = (any(is_lead(_split_unit(name)[0]) for name in names) for names in (columns, index))
    if by_column and by_row:
        raise ValueError(f"{label}: both the columns and the rows of the table are named as leads: keep one")
    if by_column or (not by_row and all(isinstance(name, str) for name in columns)):
        values, labels = values.T, columns
    elif by_row or not all(isinstance(name, (int, float, np.number)) for name in index):
        labels = index
    else:
        return _Stated(values)
    names, units = zip(*map(_split_unit, labels), strict=True)
    return _Stated(values, lead_names=names, units=units if any(units) else None, rows=labels)


def _split_unit(name) -> tuple:
    """Return the name and the unit of a column that is called `I (mV)`, None for the unit of any other."""
    match = re.fullmatch(r"(.+?)\s*[(\[]([^()\[\]]+)[)\]]", name) if isinstance(name, str) else None
    if match is None or not is_lead(match[1]):
        return name, None
    return match[1], match[2]


def _read_path(path: str):
    # The readers of files are not among the model files, which a checkpoint carries.
    try:
        from mets_ecg.io import read_ecg
    except ImportError as error:
        raise ImportError(
            f"{path}: recordings are read from paths by the package mets-ecg, which is not installed here. Install it, "
            "or pass the recording itself: for WFDB files wfdb.rdrecord(path); any array with sampling_rate=, "
            "lead_names= and units="
        ) from error
    return read_ecg(path)


# What the call says, and whether the two agree.


def _rate(value, what: str) -> float | None:
    if value is None:
        return None
    if hasattr(value, "detach"):
        value = value.detach().cpu()
    array = np.asarray(value)
    if array.size != 1 or array.dtype.kind not in "iuf":
        raise TypeError(f"{what} must be one number, in Hz, got {value!r}")
    rate = float(array.item())
    if not (math.isfinite(rate) and rate > 0):
        raise ValueError(f"{what} must be above 0 Hz, got {rate}")
    return rate


def _agreed_rate(own: float | None, call: float | None, label: str) -> float:
    if own is None and call is None:
        raise ValueError(
            f"{label}: the sampling rate is not stated: pass sampling_rate=, in Hz. A wrong rate would change every "
            "interval"
        )
    if None not in (own, call) and not math.isclose(own, call, rel_tol=_RATE_TOLERANCE):
        raise ValueError(
            f"{label}: the recording says {own:g} Hz and the call {call:g} Hz: leave sampling_rate= out, "
            "or pass the signal as an array if the recording is wrong"
        )
    return call if own is None else own


def _names(names, what: str) -> list:
    """Return names as a list of texts, None where there is none."""
    if isinstance(names, str):
        return [names]
    if isinstance(names, (Mapping, set, frozenset)) or not isinstance(names, Iterable):
        raise TypeError(f"{what} must be a list of names, one a row, got {type(names).__name__}")
    names = [None if _is_missing(name) else name for name in names]
    for name in names:
        if name is not None and not isinstance(name, str):
            raise TypeError(f"{what} must be texts, got {name!r}")
    return names


def _is_missing(value) -> bool:
    return value is None or type(value).__name__ == "NAType" or (isinstance(value, float) and math.isnan(value))


def _call_names(names, shape: tuple[int, int], rows: Sequence | None, label: str) -> list:
    """Return `lead_names` of the call, one for each row; of a pandas Series its index says which row is meant."""
    if not _is_series(names):
        return names
    rows = list(range(min(shape))) if rows is None else list(rows)
    unknown = [row for row in names.index if row not in rows]
    if unknown or names.index.has_duplicates:
        raise ValueError(
            f"{label}: the index of the Series in lead_names says which rows its names belong to, and "
            f"{'has duplicates' if not unknown else f'{unknown[0]!r} is not among them'}: if the names are in the "
            "order of the rows, pass a list"
        )
    named = dict(zip(names.index, _names(list(names), "lead_names"), strict=True))
    return [named.get(row) for row in rows]


def _check_names_agree(own: list, call: list, label: str) -> None:
    """The call may name what has no lead's name and leave channels out, and not rename a lead."""
    if len(own) != len(call):
        raise ValueError(
            f"{label}: {len(call)} lead names in the call for {len(own)} channels ({', '.join(map(str, own))}): give "
            "one a channel, None to leave it out"
        )
    for theirs, ours in zip(own, call, strict=True):
        if ours is not None and is_lead(theirs) and canonical_lead(theirs) != canonical_lead(ours):
            raise ValueError(
                f"{label}: the recording calls a channel {theirs!r} and the call {ours!r}: leave lead_names= out, or "
                "pass the signal as an array if the recording is wrong"
            )


def _choose_channels(
    names: list, own: list | None, units: str | list | None, stated: _Stated, label: str
) -> tuple[list[int], tuple[str, ...], tuple[str, ...]]:
    """Return which rows are leads, their standard names, and what the other channels are called.

    Of a file, beside channels in a unit of voltage, one in another unit or in none is no lead, unless it is called as
    one. Whoever names C3 himself, in a call or in a dict, means the chest lead.
    """
    volts = [unit in UNITS_PER_MILLIVOLT for unit in units] if isinstance(units, list) and stated.is_file else []
    volts = volts if len(volts) == len(names) and any(volts) else [True] * len(names)
    named = [i for i, name in enumerate(names) if name is not None]
    eeg = set() if own is None or stated.is_dict else eeg_channels(name for name in own if name)
    others = [i for i in named if names[i] in eeg or is_other_channel(names[i]) or not (volts[i] or is_lead(names[i]))]
    kept = [i for i in named if i not in others]
    if others:
        called = ", ".join(names[i] or "(no name)" for i in others)
        logger.warning_once(f"channels that are not leads of a 12-lead ECG are left out: {called}")
    if not kept:
        raise ValueError(
            f"{label}: none of its channels is a lead of a 12-lead ECG ({', '.join(map(str, own or names))}): if one "
            "is, name it by lead_names="
        )
    try:
        leads = canonical_leads(names[i] for i in kept)
    except ValueError as error:
        raise ValueError(
            f"{label}: {error}. Pass lead_names= to name it, with None for a channel to leave out"
        ) from error
    called = own or names
    return kept, leads, tuple(str(called[i] or i) for i in range(len(names)) if i not in kept)


def _units(units, what: str, *, known_only: bool = True) -> str | list | None:
    """Return units as this package writes them; of a recording, unknown ones as they are and None for none."""
    if units is None:
        return None
    if not isinstance(units, str):
        if isinstance(units, (Mapping, set, frozenset)) or not isinstance(units, Iterable):
            raise TypeError(f"{what} must be a unit, or a list with one a row, got {type(units).__name__}")
        return [_units(unit, what, known_only=known_only) for unit in units]
    if known_only:
        return canonical_unit(units)
    if units.strip().lower() in _NO_UNIT:
        return None
    try:
        return canonical_unit(units)
    except ValueError:
        return units


def _agreed_units(
    own, call, names: list, kept: list[int], *, whole: bool, is_file: bool, label: str
) -> tuple[list[str], bool]:
    """Return the unit of each lead that is kept, and whether it was assumed for any of them.

    Whole numbers without a unit are a converter's. Those of files whose other leads have one are not assumed either.
    """

    def each(units, whose: str) -> list:
        if units is None or isinstance(units, str):
            return [units] * len(names)
        if len(units) != len(names):
            raise ValueError(f"{label}: {len(units)} units {whose} for {len(names)} channels: give one for all or each")
        return units

    own, call = each(own, "of the recording"), each(call, "in the call")
    agreed, assumed = [], False
    for i in kept:
        if own[i] is not None and call[i] is not None and own[i] != call[i]:
            raise ValueError(
                f"{label}: the recording says that {names[i]} is in {own[i]} and the call {call[i]}: leave units= "
                "out, or pass the signal as an array if the recording is wrong"
            )
        unit = own[i] or call[i]
        if unit is not None and unit not in UNITS_PER_MILLIVOLT:
            raise ValueError(
                f"{label}: {names[i]} is in {unit!r}, which is not a known unit of voltage "
                f"({', '.join(UNITS_PER_MILLIVOLT)}): if it is not an ECG lead, leave it out by None in lead_names="
            )
        if unit is None and (whole or is_file):
            what = ", its samples are numbers of a converter" * whole
            raise ValueError(
                f"{label}: the unit of {names[i]} is not stated{what}: pass units= if they are millivolts, microvolts "
                "or volts; otherwise divide them by the gain (units per mV)"
            )
        assumed |= unit is None
        agreed.append(unit or "mV")
    return agreed, assumed


# Arrays.


def _is_array(ecg) -> bool:
    return hasattr(ecg, "ndim") and hasattr(ecg, "dtype") and not hasattr(ecg, "iloc")


def _is_series(ecg) -> bool:
    return hasattr(ecg, "iloc") and not hasattr(ecg, "columns")


def _is_column_of_objects(ecg) -> bool:
    """Whether this is an array or Series of texts or objects, other than a row or the leads of one recording."""
    if ecg.ndim != 1 or getattr(ecg.dtype, "kind", "f") not in "OTU" or (_is_series(ecg) and "signal" in ecg.index):
        return False
    return _is_series(ecg) or not (len(ecg) and _is_array(ecg[0]) and ecg[0].ndim == 1)


def _is_frame(ecg) -> bool:
    return hasattr(ecg, "columns") and hasattr(ecg, "to_numpy")


def _is_rdsamp(ecg) -> bool:
    """Whether this is what `wfdb.rdsamp` returns: samples and a dict of the header's fields."""
    return isinstance(ecg, tuple) and len(ecg) == 2 and isinstance(ecg[1], Mapping) and "sig_name" in ecg[1]


def _is_dataset(ecg) -> bool:
    """Whether this is a `datasets.Dataset` or `IterableDataset`, which need not be installed to be recognised."""
    return hasattr(ecg, "features") and hasattr(ecg, "map")


def _rank_of_numbers(nested) -> int | None:
    """Return the rank of a nested list of numbers, by its first element that is not None; None if it is of others."""
    rank = 0
    while isinstance(nested, (list, tuple)):
        if not nested:
            return rank + 1
        nested, rank = next((one for one in nested if one is not None), None), rank + 1
    return rank if isinstance(nested, (int, float, np.number)) and not isinstance(nested, bool) else None


def _as_matrix(signal, label: str) -> np.ndarray:
    """Return numbers as an array `(rows, columns)`, NaN where they are masked or missing."""
    if hasattr(signal, "detach"):
        signal = signal.detach().cpu()
        signal = (signal.float() if signal.dtype == torch.bfloat16 else signal).numpy()
    if isinstance(signal, np.ma.MaskedArray):
        signal = np.ma.filled(signal.astype(np.float64), np.nan)
    if isinstance(signal, (list, tuple)) or getattr(getattr(signal, "dtype", None), "kind", "") == "O":
        signal = _stack_rows(list(signal), label)
    array = np.asarray(signal)
    if array.dtype.kind not in "iuf":
        raise TypeError(f"{label}: expected numbers as (leads, samples), got {type(signal).__name__} of {array.dtype}")
    if array.ndim == 1:
        array = array[None]
    if array.ndim != 2 or 0 in array.shape:
        raise ValueError(f"{label}: a recording is (leads, samples), got the shape {array.shape}")
    not_recorded = array == INVALID_SAMPLE
    if not_recorded.any() and (array.dtype.kind == "i" or (array == np.rint(array)).all()):
        array = np.where(not_recorded, np.nan, array)  # the marker of integers that were not scaled
    return array


def _are_whole(signal: np.ndarray) -> bool:
    """Whether samples are whole numbers, as a converter's are, and not all alike."""
    known = signal[np.isfinite(signal)]
    return bool(known.size) and np.ptp(known) > 0 and bool((known == np.rint(known)).all())


def _stack_rows(rows: list, label: str) -> np.ndarray:
    """Return a list of numbers, or of the leads of a recording, as an array; None is what was not recorded."""
    if _rank_of_numbers(rows) == 1:
        rows = [rows]
    elif any(_is_series(row) for row in rows):
        raise TypeError(f"{label}: a list of Series: join them to a table, pandas.concat(..., axis=1)")
    stacked = []
    for row in rows:
        if _is_array(row):
            stacked.append(_as_matrix(row, label)[0] if row.ndim == 1 else np.asarray(row))
        elif not isinstance(row, (list, tuple, type(None))):
            raise TypeError(f"{label}: expected numbers as (leads, samples), got a list of {type(row).__name__}")
        else:
            stacked.append(row)
    lengths = {len(row) for row in stacked if row is not None}
    if len(lengths) > 1:
        raise ValueError(f"{label}: its leads differ in length: {', '.join(map(str, sorted(lengths)))} samples")
    stacked = [[None] * max(lengths, default=0) if row is None else row for row in stacked]
    for row in stacked:
        if isinstance(row, (list, tuple)) and any(isinstance(value, (str, bytes, bool)) for value in row):
            raise TypeError(f"{label}: expected numbers as (leads, samples), got texts or truth values among them")
    try:
        return np.array(stacked, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{label}: expected numbers as (leads, samples) ({error})") from error
