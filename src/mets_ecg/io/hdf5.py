"""HDF5: opening a file and reading a part of it. Files name no leads and no unit: who reads must know them."""

from __future__ import annotations

from pathlib import Path

import numpy as np


def open_hdf5(path: Path):
    """Return the `h5py.File`, which is to be closed.

    Raises:
        ImportError: `h5py` is not installed.
        ValueError: the file is cut short or no HDF5 file.
    """
    try:
        import h5py  # an optional dependency
    except ImportError as error:
        raise ImportError(f"{path.name} is an HDF5 file, and h5py is missing: pip install h5py") from error
    try:
        return h5py.File(path, "r")
    except (FileNotFoundError, PermissionError):
        raise
    except OSError as error:
        raise ValueError(f"{path} is cut short or no HDF5 file ({error}): download it again") from error


def open_dataset(path: Path, name: str):
    """Return the `h5py.Dataset` of this name; its `file` is to be closed.

    Raises:
        ImportError, ValueError: as `open_hdf5`; or the file has no such dataset.
    """
    file = open_hdf5(path)
    if not hasattr(file.get(name), "shape"):  # a group has none
        names = ", ".join(file) or "nothing"
        file.close()
        raise ValueError(f"{path} has no dataset {name!r}, it has {names}: give the file as published")
    return file[name]


def read_hdf5(dataset, index=()) -> np.ndarray:
    """Return a part of an `h5py.Dataset`, all of it by default, as float64.

    Raises:
        ValueError: it is damaged, or a value is not a finite number.
    """
    try:
        values = np.asarray(dataset[index], dtype=np.float64)
    except OSError as error:
        raise ValueError(f"{dataset.file.filename} is damaged ({error}): download it again") from error
    bad = int((~np.isfinite(values)).sum())
    if bad:
        where = f", recording {index}" if index != () else ""
        raise ValueError(
            f"{dataset.file.filename}{where}: {bad} of {values.size} values are not finite, as none is in the "
            "published file: download it again, or leave it out"
        )
    return values
