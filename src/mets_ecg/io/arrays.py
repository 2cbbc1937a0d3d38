"""Files of arrays: `.npy`, `.npz`, MATLAB's `.mat` and HDF5. They hold numbers, and seldom say what these are.

The recording is the one array of two axes in the file, or of one axis where there is none; the longer axis is time. A
single number beside it that is called a rate, as `fs`, is its sampling rate. Numbers that are not whole are taken as
volts of some unit, which the caller states or assumes; whole ones are a converter's, whose unit must be stated.
"""

from __future__ import annotations

import io
import math
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from .record import ECGRecord

# The largest file that is read: an array of this size is 17 h of twelve leads at 500 Hz in 16 bit.
MAX_BYTES = 750_000_000

_SIGNALS = ("signal", "ecg", "val", "data", "p_signal", "signals", "samples", "values", "array")
_RATES = ("sampling_rate", "fs", "sfreq", "freq", "frequency", "rate", "sample_rate", "sampling_frequency")


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
    try:
        import h5py
    except ImportError as error:
        raise ImportError(f'{path} is an HDF5 file: reading it needs h5py, pip install "mets-ecg[formats]"') from error
    arrays: dict[str, np.ndarray] = {}

    def keep(name: str, item) -> None:
        if isinstance(item, h5py.Dataset) and item.dtype.kind in "iuf":
            if item.size * item.dtype.itemsize > MAX_BYTES:
                raise ValueError(f"{path}: {name} unpacks to more than the {MAX_BYTES / 1e6:.0f} MB that are read")
            arrays[name.rpartition("/")[2]] = item[()]

    try:
        with h5py.File(path, "r") as file:
            file.visititems(keep)
            arrays |= {name: np.asarray(value) for name, value in file.attrs.items() if name.lower() in _RATES}
    except (OSError, RuntimeError, KeyError) as error:
        raise ValueError(f"{path} is damaged, or no HDF5 file ({error})") from error
    return record_of(arrays, path)


def check_size(path: Path) -> None:
    """Refuse a file that is larger than what is read."""
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(
            f"{path} has {path.stat().st_size / 1e6:.0f} MB, more than the {MAX_BYTES / 1e6:.0f} MB that are read: "
            "cut it into parts"
        )


def record_of(arrays: Mapping[str, np.ndarray], path: Path) -> ECGRecord:
    """Return the recording among arrays."""
    numbers = {
        name: np.asarray(values)
        for name, values in arrays.items()
        if isinstance(values, (np.ndarray, int, float)) and np.asarray(values).dtype.kind in "iuf"
    }
    shaped = {name: values for name, values in numbers.items() if values.ndim == 2 and min(values.shape) > 1}
    if not shaped:
        shaped = {name: values.reshape(1, -1) for name, values in numbers.items() if values.ndim and values.size > 1
                  and max(values.shape) == values.size}  # fmt: skip
    if len(shaped) > 1:
        called = {name: values for name, values in shaped.items() if name.lower() in _SIGNALS}
        shaped = called if len(called) == 1 else shaped
    if len(shaped) != 1:
        held = ", ".join(f"{name} {np.shape(values)}" for name, values in arrays.items()) or "nothing"
        raise ValueError(
            f"{path} holds {held}: one array of numbers (leads, samples) is expected"
            + (", or one of them called signal" if shaped else "")
        )
    (signal,) = shaped.values()
    if len(signal) > signal.shape[1]:
        signal = signal.T
    rates = {float(values.item()) for name, values in numbers.items() if name.lower() in _RATES and values.size == 1}
    rate = rates.pop() if len(rates) == 1 else None
    whole = signal.dtype.kind in "iu"
    return ECGRecord(
        signal=np.ascontiguousarray(signal if whole else signal.astype(np.float32)),
        sampling_rate=rate if rate is not None and math.isfinite(rate) and rate > 0 else None,
        lead_names=None,
        units=None,
        record_id=path.stem,
    )
