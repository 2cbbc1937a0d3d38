"""`read_ecg`: a file of any format to a record, told by its content; its extension decides only where that cannot.

A new format is a module beside this one, and a line in `FORMATS`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .arrays import read_hdf5_array, read_mat, read_npy, read_npz
from .clinical import read_bdf, read_clinical
from .record import ECGRecord
from .tables import UTF_16, read_text_table
from .wfdb import read_wfdb
from .wfdb_header import read_header

_SNIFFED = 4096


@dataclass(frozen=True)
class FileFormat:
    """A file format.

    Attributes:
        name: as messages call it.
        suffixes: by which a folder's files are known to be recordings.
        matches: whether a file is of it, by its first bytes and its suffix.
        read: its reader; None where there is none yet.
    """

    name: str
    suffixes: tuple[str, ...]
    matches: Callable[[bytes, str], bool]
    read: Callable[[Path], ECGRecord] | None = None


FORMATS = (
    FileFormat("NumPy array", (".npy",), lambda head, suffix: head.startswith(b"\x93NUMPY"), read_npy),
    FileFormat("NumPy archive", (".npz",), lambda head, suffix: head.startswith(b"PK") and suffix == ".npz", read_npz),
    FileFormat("HDF5", (".h5", ".hdf5"), lambda head, suffix: b"\x89HDF\r\n" in head[:600], read_hdf5_array),
    FileFormat("MATLAB", (), lambda head, suffix: head.startswith(b"MATLAB 5.0") or suffix == ".mat", read_mat),
    FileFormat("DICOM", (".dcm", ".dicom"), lambda head, suffix: head[128:132] == b"DICM", read_clinical),
    FileFormat("EDF", (".edf",), lambda head, suffix: head.startswith(b"0       "), read_clinical),
    FileFormat("BDF", (".bdf",), lambda head, suffix: head.startswith(b"\xffBIOSEMI"), read_bdf),
    FileFormat(
        "XML (HL7 aECG, GE MUSE, Philips)", (".xml",),
        lambda head, suffix: head.lstrip(b"\xef\xbb\xbf\xff\xfe \r\n\t\0").startswith(b"<"), read_clinical,
    ),
    FileFormat("SCP-ECG", (".scp",), lambda head, suffix: suffix == ".scp" or head[16:22] == b"SCPECG", read_clinical),
    FileFormat("ISHNE", (".ecg",), lambda head, suffix: head.startswith(b"ISHNE1.0"), read_clinical),
    FileFormat("Excel", (), lambda head, suffix: suffix in (".xlsx", ".xls", ".ods")),
    FileFormat("PDF", (), lambda head, suffix: head.startswith(b"%PDF")),
    FileFormat("picture", (), lambda head, suffix: head.startswith((b"\x89PNG", b"\xff\xd8\xff", b"II*\0", b"MM\0*"))),
    FileFormat(
        "text table", (".csv", ".tsv"),
        lambda head, suffix: suffix in (".csv", ".tsv", ".txt") and (head[:2] in UTF_16 or b"\0" not in head),
        read_text_table,
    ),
)  # fmt: skip


def read_ecg(path: str | os.PathLike[str]) -> ECGRecord:
    """Read one recording.

    Args:
        path: a WFDB record, with or without its extension, or a file of one of `FORMATS`.

    Returns:
        The recording as its file has it. `sampling_rate`, `lead_names` and `units` are None where the file does not
        say: `mets_ecg.recordings.read_recording` takes them from its caller.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is empty, damaged, or of a format that is not read; the message names the format and a way out.
        ImportError: its format needs an extra that is not installed.
    """
    path = Path(path)
    if _header_of(path).is_file():
        return read_wfdb(path)
    if not path.exists():
        raise FileNotFoundError(f"there is no file {path}, and no WFDB header {_header_of(path)}")
    if path.is_dir():
        raise ValueError(f"{path} is a folder: name a recording in it")
    head, suffix = _head(path), path.suffix.lower()
    if not head:
        raise ValueError(f"{path} is empty")
    for own in FORMATS:
        if own.matches(head, suffix):
            if own.read is None:
                raise ValueError(
                    f"{path} is a {own.name} file, a format that is not read: read it with a library for it, and pass "
                    "the array, or write it as CSV"
                )
            return own.read(path)
    known = ", ".join(own.name for own in FORMATS if own.read)
    raise ValueError(
        f"{path} is of no format that is read (WFDB, {known}), and has no WFDB header {_header_of(path).name}"
    )


def recordings_in_folder(folder: str | os.PathLike[str]) -> list[Path]:
    """Return the recordings in a folder and the folders in it, in order, by their suffixes.

    Of WFDB the headers, and not those of a record's segments.
    """
    found = sorted(path for path in Path(folder).rglob("*") if path.is_file())
    headers = {path.with_suffix("") for path in found if path.suffix == ".hea"}
    segments = {header.with_name(name) for header in headers for name in _segments(header)}
    suffixes = {suffix for own in FORMATS if own.read for suffix in own.suffixes} | {".mat"}
    return [
        path
        for path in found
        if (path.suffix == ".hea" and path.with_suffix("") not in segments)
        or (path.suffix.lower() in suffixes and path.with_suffix("") not in headers)
    ]


def _segments(header: Path) -> list[str]:
    try:
        return [name for name, _ in read_header(header).segments or ()]
    except (ValueError, OSError):
        return []  # it is told when it is read


def _header_of(path: Path) -> Path:
    """Where the WFDB header of a record lies that is named with or without an extension."""
    base = path.with_suffix("") if path.suffix.lower() in (".hea", ".dat", ".mat") else path
    return base.with_name(f"{base.name}.hea")


def _head(path: Path) -> bytes:
    with open(path, "rb") as file:
        return file.read(_SNIFFED)
