"""WFDB records: a `.hea` header beside its `.dat` or `.mat` signal files, as PhysioNet publishes them.

The `wfdb` package parses header and samples; what is added is one array layout, unit names as the rest of the
package writes them, and errors that name the record. Nothing is resampled, reordered or dropped: channels
that are not ECG keep their names and units, and the caller decides about them.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from .record import ECGRecord

_SUFFIXES = (".hea", ".dat", ".mat")
# Spellings met in headers; another unit is passed on as it stands, for the caller to refuse by name.
_UNITS = {"mV": "mV", "mv": "mV", "uV": "uV", "uv": "uV", "\N{MICRO SIGN}V": "uV", "V": "V", "v": "V"}


def read_wfdb(path: str | os.PathLike[str]) -> ECGRecord:
    """Read one WFDB record in the physical units of its header.

    Args:
        path: the record, with or without `.hea`, `.dat` or `.mat` at its end.

    Returns:
        `signal` is `(leads, samples)` float32, NaN where the file marks a sample as invalid; `units` has one
        unit a lead; `record_id` is the name in the header.

    Raises:
        FileNotFoundError: the header, or a signal file it names, is missing.
        ValueError: the header has no signals or cannot be parsed, or a signal file is shorter than it says.
    """
    import wfdb  # costs most of a second, which importing the package must not

    path = Path(path)
    record_path = path.with_suffix("") if path.suffix in _SUFFIXES else path
    name = record_path.name
    header = record_path.with_name(f"{name}.hea")
    if not header.is_file():
        raise FileNotFoundError(f"WFDB record {name!r}: no header {header}; give the path of a record with a header")
    try:
        # 64 bit until the gain is applied: 24- and 32-bit samples do not fit the mantissa of float32.
        record = wfdb.rdrecord(str(record_path), return_res=64)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"WFDB record {name!r}: its header names {Path(error.filename or '?').name}, which is "
            f"not in {record_path.parent}; put that file beside the header"
        ) from error
    # What wfdb raises on files that it cannot parse.
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise ValueError(
            f"WFDB record {name!r} cannot be read ({error}): its header breaks the WFDB format, or "
            f"a signal file is shorter than the header says; fetch {record_path} again"
        ) from error
    if not record.n_sig or record.p_signal is None or not record.p_signal.size:
        raise ValueError(f"WFDB record {name!r}: the header holds no signals; give one with ECG leads")
    return ECGRecord(
        signal=np.ascontiguousarray(record.p_signal.T, dtype=np.float32),
        sampling_rate=float(record.fs),
        lead_names=tuple(record.sig_name),
        units=tuple(_UNITS.get(unit, unit) for unit in record.units),
        record_id=record.record_name,
    )
