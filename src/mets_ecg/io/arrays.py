"""Files of arrays: `.npy`, `.npz`, MATLAB's `.mat` and HDF5. They hold numbers, and seldom say what these are.

The recording is the one array of two axes in the file, or of one axis where there is none; the longer axis is time. A
single number beside it that is called a rate, as `fs`, is its sampling rate; texts that are called names of leads, or
units, are those. Numbers that are not whole are taken as volts of some unit, which the caller states or assumes; whole
ones are a converter's, whose unit must be stated.
"""

from __future__ import annotations

import io
import math
import re
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from .hdf5 import open_hdf5
from .record import INVALID_SAMPLE, ECGRecord

# The largest file that is read: an array of this size is 17 h of twelve leads at 500 Hz in 16 bit.
MAX_BYTES = 750_000_000

# What the parts are called. So they are in `mets_ecg.recordings`, of which this folder knows nothing: a test holds the
# two together.
_SIGNALS = ("signal", "array", "data", "ecg", "p_signal", "samples", "signals", "val", "values")
_RATES = ("sampling_rate", "fs", "freq", "frequency", "rate", "sample_rate", "sampling_frequency", "sfreq")
_LEADS = (
    "lead_names", "ch_names", "channel_names", "channels", "lead_name", "leads", "names", "sig_name", "sig_names",
)  # fmt: skip
_UNITS = ("units", "unit")
_COUNTS = ("counts", "count", "adu", "adc", "raw", "lsb")  # no units


def read_npy(path: Path) -> ECGRecord:
    """Read a NumPy array.

    Raises:
        ValueError: it is too large, damaged, or not an array of numbers of one or two axes.
    """
    check_size(path)
    return record_of({"signal": _array(path.read_bytes(), str(path))}, path)


def read_npz(path: Path) -> ECGRecord:
    """Read an archive of NumPy arrays; arguments and errors as `read_npy`."""
    check_size(path)
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
            if unpacked > MAX_BYTES:
                large = f"{unpacked / 1e6:.0f} MB, more than {MAX_BYTES / 1e6:.0f} MB are read"
                raise ValueError(f"{path} unpacks to {large}")
            held = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, NotImplementedError) as error:
        raise ValueError(f"{path} is damaged, or not a .npz file of numbers ({error})") from error
    arrays = {name.removesuffix(".npy"): _array(data, f"{path}, {name}") for name, data in held.items()}
    return record_of(arrays, path)


def _array(data: bytes, label: str) -> np.ndarray:
    """Return the array of a `.npy` file's bytes. Its size is checked first: a header can promise any shape."""
    file = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(file)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read_header(file)
        count = math.prod(shape)
        if dtype.hasobject or count * dtype.itemsize != len(data) - file.tell():
            raise ValueError("objects, or another size than its header says")
        values = np.frombuffer(data, dtype=dtype, count=count, offset=file.tell())
        return values.reshape(shape[::-1]).T if fortran else values.reshape(shape)
    except (ValueError, TypeError, SyntaxError, OverflowError, EOFError, tokenize.TokenError) as error:  # of the header
        raise ValueError(f"{label} is damaged, or not a .npy file of numbers ({error})") from error


def read_mat(path: Path) -> ECGRecord:
    """Read a MATLAB file, of versions 4 to 7.2; those of 7.3 are HDF5. Arguments and errors as `read_npy`."""
    check_size(path)
    from scipy.io import loadmat

    try:
        loaded = loadmat(path, squeeze_me=False, struct_as_record=True)
    except Exception as error:  # SciPy's reader raises whatever a damaged file makes it stumble over
        raise ValueError(f"{path} is damaged, or not a MATLAB file ({error})") from error
    return record_of({name: values for name, values in loaded.items() if not name.startswith("__")}, path)


def read_hdf5_array(path: Path) -> ECGRecord:
    """Read an HDF5 file, its groups included; arguments and errors as `read_npy`.

    Raises:
        ImportError: h5py is not installed.
    """
    check_size(path)
    arrays: dict[str, np.ndarray] = {}
    said: dict[str, np.ndarray] = {}

    def keep(name: str, item) -> None:
        if getattr(item, "shape", None) is not None:
            if item.size * item.dtype.itemsize > MAX_BYTES:
                raise ValueError(f"{path}: {name} unpacks to more than the {MAX_BYTES / 1e6:.0f} MB that are read")
            arrays[name] = np.asarray(item[()])
        said.update({f"{name}/{key}": np.asarray(value) for key, value in item.attrs.items()})

    with open_hdf5(path) as file:
        try:
            keep("", file)
            file.visititems(keep)
        except (OSError, RuntimeError, KeyError, TypeError) as error:
            raise ValueError(f"{path} is damaged ({error})") from error
    return record_of(arrays, path, said)


def check_size(path: Path, limit: int | None = None) -> None:
    """Refuse a file that is larger than what is read, in bytes.

    Raises:
        ValueError: it is.
    """
    size, limit = path.stat().st_size, MAX_BYTES if limit is None else limit
    if size > limit:
        raise ValueError(
            f"{path} has {size / 1e6:.0f} MB, more than the {limit / 1e6:.0f} MB that are read: cut it into parts"
        )


def as_read(signal: np.ndarray) -> np.ndarray:
    """Return samples as integers if all are whole and not alike, and so a converter's, or else as float32."""
    missing = ~np.isfinite(signal)
    known = signal[~missing]
    if signal.dtype.kind in "iu" or not known.size or not np.ptp(known) or not (known == np.rint(known)).all():
        return np.ascontiguousarray(signal if signal.dtype.kind in "iu" else signal.astype(np.float32))
    return np.where(missing, INVALID_SAMPLE, signal).astype(np.int64)


def record_of(
    arrays: Mapping[str, np.ndarray], path: Path, attributes: Mapping[str, np.ndarray] | None = None
) -> ECGRecord:
    """Return the recording among arrays, with what these and attributes say of it.

    Of names with slashes the last part counts. Names and units that do not fit the recording are not its own.
    """
    said = {**arrays, **(attributes or {})}
    called = {name: name.rpartition("/")[2].lower() for name in said}
    numbers = {name: np.asarray(values) for name, values in said.items() if np.asarray(values).dtype.kind in "iuf"}
    signals = {name: values for name, values in numbers.items() if name in arrays}
    shaped = {name: values for name, values in signals.items() if values.ndim == 2 and min(values.shape) > 1}
    if not shaped:
        shaped = {name: values.reshape(1, -1) for name, values in signals.items() if values.ndim and values.size > 1
                  and max(values.shape) == values.size}  # fmt: skip
    if len(shaped) > 1:
        shaped = {name: values for name, values in shaped.items() if called[name] in _SIGNALS} or shaped
    if len(shaped) != 1:
        found = ", ".join(f"{name} {np.shape(values)}" for name, values in arrays.items()) or "nothing"
        raise ValueError(
            f"{path} has {found}: one array of numbers (leads, samples) is expected"
            + (", or one of them called signal" if shaped else "")
        )
    (signal,) = shaped.values()
    rates = {float(values.item()) for name, values in numbers.items() if called[name] in _RATES and values.size == 1}
    rate = rates.pop() if len(rates) == 1 else None
    texts = {name: _texts(values) for name, values in said.items() if called[name] in (*_LEADS, *_UNITS)}
    leads = _only([own for name, own in texts.items() if called[name] in _LEADS and len(own) in signal.shape])
    if len(signal) > signal.shape[1] or (leads and len(leads) == signal.shape[1] != len(signal)):
        signal = signal.T
    leads = leads if leads and len(leads) == len(signal) else None
    units = _only([own for name, own in texts.items() if called[name] in _UNITS and len(own) in (1, len(signal))])
    units = units and tuple(None if unit.lower() in _COUNTS else unit for unit in units)
    return ECGRecord(
        signal=as_read(signal),
        sampling_rate=rate if rate is not None and math.isfinite(rate) and rate > 0 else None,
        lead_names=leads,
        units=(units[0] if len(units) == 1 else units) if units and any(units) else None,
        record_id=path.stem,
    )


def _only(found: list[tuple[str, ...]]) -> tuple[str, ...] | None:
    return found[0] if len(set(found)) == 1 else None


def _texts(values) -> tuple[str, ...]:
    """Return an array of texts, MATLAB's cells of them, or one text of words, as texts; none if there are others."""
    found = []
    for one in np.atleast_1d(values).ravel():
        while isinstance(one, np.ndarray) and one.size == 1:
            one = one.ravel()[0]
        if isinstance(one, bytes):
            one = one.decode("utf-8", errors="replace")
        if not isinstance(one, str):
            return ()
        found.append(one.strip())
    return tuple(re.split(r"[\s,;]+", found[0])) if len(found) == 1 else tuple(found)
