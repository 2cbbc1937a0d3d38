"""Corpora that are published as HDF5: opening a file, reading a part of it, and testing the order of its leads.

HDF5 files of recordings name no leads; the limb leads' laws tell a wrong order.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..leads import LIMB_LEADS_FROM_I_AND_II


def open_hdf5(path: Path, name: str):
    """Return the `h5py.Dataset` of this name; its `file` is to be closed.

    Raises:
        ImportError: `h5py` is not installed.
        ValueError: the file is cut short or no HDF5 file, or it has no such dataset.
    """
    try:
        import h5py  # an optional dependency
    except ImportError as error:
        raise ImportError(f"{path.name} is an HDF5 file, and h5py is missing: pip install mets-ecg[formats]") from error
    try:
        file = h5py.File(path, "r")
    except (FileNotFoundError, PermissionError):
        raise
    except OSError as error:
        raise ValueError(f"{path} is cut short or no HDF5 file ({error}): fetch it again") from error
    if not isinstance(file.get(name), h5py.Dataset):
        held = ", ".join(file) or "nothing"
        file.close()
        raise ValueError(f"{path} has no dataset {name!r}, it holds {held}: give the file as published")
    return file[name]


def read_hdf5(dataset, index=()) -> np.ndarray:
    """Return a part of an `h5py.Dataset`, all of it by default, as float64.

    Raises:
        ValueError: it is damaged, or holds what is no number or infinite.
    """
    try:
        values = np.asarray(dataset[index], dtype=np.float64)
    except OSError as error:
        raise ValueError(f"{dataset.file.filename} is damaged ({error}): fetch it again") from error
    bad = int((~np.isfinite(values)).sum())
    if bad:
        where = f", recording {index}" if index != () else ""
        raise ValueError(
            f"{dataset.file.filename}{where}: {bad} of {values.size} values are not finite, as none is in the "
            "published file: fetch it again, or leave it out"
        )
    return values


def limb_lead_error(signal: np.ndarray, lead_names: Sequence[str]) -> float | None:
    """Return how far the limb leads are from what Einthoven's and Goldberger's laws make of I and II.

    Args:
        signal: `(leads, samples)`, finite.
        lead_names: standard names of the rows.

    Returns:
        The largest root mean square of a lead's departure, as a part of that of all limb leads, means removed.
        Flat leads, which come off singly, are left out; None if they leave nothing to compare.
    """
    rows = {name: row - row.mean() for name, row in zip(lead_names, signal, strict=True) if np.ptp(row) > 0}
    if "I" not in rows or "II" not in rows:
        return None
    limbs = {name: rows[name] for name in LIMB_LEADS_FROM_I_AND_II if name in rows}
    amplitude = np.sqrt(np.mean([np.mean(row**2) for row in limbs.values()]))
    departures = [
        np.sqrt(np.mean((row - a * rows["I"] - b * rows["II"]) ** 2))
        for name, row in limbs.items()
        for a, b in [LIMB_LEADS_FROM_I_AND_II[name]]
        if name not in ("I", "II")
    ]
    return float(max(departures) / amplitude) if departures else None
