"""WFDB headers: the text of a `.hea` file as signals or segments, or an error that says what is wrong with it.

They are parsed here, because the `wfdb` package refuses headers of public corpora (Georgia's name the record
`E00015.mat`), guesses a rate or gain that is not stated, and drops letters that are not ASCII (microvolts become
volts). What is not stated is None. No signal file is looked at.

Format: https://physionet.org/physiotools/wag/header-5.htm.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import NamedTuple

from .header_fields import parse_start_time
from .wfdb_formats import COMPRESSED, FORMATS

_MAX_HEADER_BYTES = 10_000_000

_SUFFIXES = (".hea", ".dat", ".mat")
# Spellings of devices, in lower case; the second u is the micro sign and the third the Greek letter. Another unit is
# passed on as it is spelled, for the caller to refuse by name.
_UNITS = {"mv": "mV", "uv": "uV", "\N{MICRO SIGN}v": "uV", "\N{GREEK SMALL LETTER MU}v": "uV", "v": "V"}
PER_MILLIVOLT = {"mV": 1.0, "uV": 1e3, "V": 1e-3}

# Bounded, because Python neither parses nor prints integers of thousands of digits.
_INTEGER = r"\d{1,15}"
_NUMBER = r"(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?"
# NAME[/SEGMENTS] SIGNALS [RATE[/COUNTER[(BASE)]] [SAMPLES [time and date, in whatever form]]]
_RECORD_LINE = re.compile(
    rf"([!-~]+)\s+({_INTEGER})(?:\s+({_NUMBER})(?:/-?[\d.]+(?:\(-?[\d.]+\))?)?(?:\s+({_INTEGER})(?:\s+(.*))?)?)?",
    re.ASCII,
)
# FILE FORMAT[xFRAME][:SKEW][+OFFSET] [GAIN[(BASELINE)][/UNIT] [BITS [ZERO [INITIAL [CHECKSUM [BLOCK [NAME]]]]]]]
_SIGNAL_LINE = re.compile(
    rf"(?P<file>[!-~]+)\s+(?P<form>{_INTEGER})(?:x(?P<frame>{_INTEGER}))?(?::(?P<skew>{_INTEGER}))?"
    rf"(?:\+(?P<offset>{_INTEGER}))?(?:\s+(?P<gain>-?{_NUMBER})(?:\((?P<baseline>-?{_INTEGER})\))?(?:/(?P<unit>\S+))?"
    rf"(?:\s+\d+(?:\s+(?P<zero>-?{_INTEGER})(?:\s+(?P<initial>-?{_INTEGER})(?:\s+(?P<checksum>-?{_INTEGER})"
    r"(?:\s+-?\d+(?:\s+(?P<name>\S.*))?)?)?)?)?)?)?",
    re.ASCII,
)
_SEGMENT_LINE = re.compile(rf"([!-~]+)\s+({_INTEGER})", re.ASCII)


class Signal(NamedTuple):
    """One signal line of a header."""

    file_name: str
    format: int
    samples_per_frame: int
    skew: int  # frames
    byte_offset: int
    gain: float | None  # per unit; None where the header states none
    baseline: int
    unit: str | None  # as spelled; None where the header states no gain
    known_unit: str | None  # "mV", "uV", "V", or another unit as it is spelled
    initial_value: int | None
    checksum: int | None
    name: str

    @property
    def gain_per_millivolt(self) -> float:
        """Units of the converter per mV, where the unit is a voltage."""
        return self.gain * PER_MILLIVOLT[self.known_unit]


@dataclass(frozen=True)
class Header:
    """A header as it was read, and where."""

    path: str  # of the record, without suffix
    label: str  # of the record, in messages
    record_id: str
    segments: tuple[tuple[str, int], ...] | None  # names and frames; None for a record of one segment
    num_signals: int
    frame_rate: float | None  # Hz; None where the header does not state it
    num_frames: int | None  # None where the header leaves it to the size of the file
    start_time: str | None
    signals: tuple[Signal, ...]  # empty for a record of several segments
    comments: tuple[str, ...]

    @property
    def folder(self) -> str:
        """Where the files it names are."""
        return os.path.dirname(self.path)


def read_header(path: str | os.PathLike[str], label: str | None = None) -> Header:
    """Read the header of a record.

    Args:
        path: the record, with or without `.hea`, `.dat` or `.mat` at its end.
        label: what messages name it by; by its own name by default.

    Raises:
        FileNotFoundError: there is none.
        ValueError: the path is that of another file, or the header cannot be parsed or has no signals.
    """
    path = os.fspath(path)
    stem, suffix = os.path.splitext(path)
    record_path = stem if suffix in _SUFFIXES else path
    label = label or f"WFDB record {os.path.basename(record_path)!r}"
    header_path = f"{record_path}.hea"
    if not os.path.isfile(header_path):
        if suffix not in _SUFFIXES and os.path.isfile(path):
            raise ValueError(
                f"{os.path.basename(record_path)} is not a WFDB record: what is read is a WFDB header (.hea) beside "
                "its .dat or .mat file. Convert the recording, or pass its samples as an array with sampling_rate=, "
                "lead_names= and units="
            )
        raise FileNotFoundError(f"{label}: no header {header_path}; give the path of a record with a header")
    if os.path.getsize(header_path) > _MAX_HEADER_BYTES:
        raise broken_header(label, record_path, f"it has more than {_MAX_HEADER_BYTES} bytes")
    with open(header_path, "rb") as file:
        return _parse_header(file.read(), record_path, label)


def broken_header(label: str, record_path: str, what: str) -> ValueError:
    """Return the error that a header breaks the format."""
    return ValueError(
        f"{label} cannot be read ({what}): its header breaks the WFDB format; download it again, or correct "
        f"{record_path}.hea"
    )


def _parse_header(content: bytes, record_path: str, label: str) -> Header:
    def broken(what: str) -> ValueError:
        return broken_header(label, record_path, what)

    lines, comments = [], []
    for line in content.removeprefix(b"\xef\xbb\xbf").splitlines():  # bytes: in latin-1, 0x85 would end a line
        line = line.strip()
        if line.startswith(b"#"):
            comments.append(_decode(line).lstrip("#").strip())
        elif line:
            lines.append(_decode(line))
    if not lines:
        raise broken("it is empty")
    match = _RECORD_LINE.fullmatch(lines[0])
    if match is None:
        raise broken(f"its first line is {lines[0][:100]!r}")
    name, num_signals, rate, num_frames, start = match.groups()
    # A folder (`records500/00000/00001_hr`) or a number of segments (`041s/2`) may be there.
    name, _, last = name.rpartition("/")
    if not last:
        raise broken(f"its first line is {lines[0][:100]!r}")
    num_segments = None
    if name and last.isdecimal() and last != os.path.basename(record_path):
        num_segments, last = int(last[:15]), name.rpartition("/")[2]
    num_signals = int(num_signals)
    rate = None if rate is None else float(rate)
    if rate is not None and not 0 < rate < 1e9:
        raise broken(f"the sampling rate is {rate:g} Hz")
    if num_signals == 0:
        raise ValueError(f"{label}: the header has no signals; give one with ECG leads")
    if num_segments is None and num_signals != len(lines) - 1:
        raise broken(f"it promises {num_signals} signals and describes {len(lines) - 1}")
    if num_segments is not None and num_segments != len(lines) - 1:
        raise broken(f"it promises {num_segments} segments and names {len(lines) - 1}")
    try:
        parsed = tuple((_parse_signal if num_segments is None else _parse_segment)(line) for line in lines[1:])
        for file_name in {one[0] for one in parsed}:
            _check_file_name(file_name)
    except ValueError as error:
        raise broken(str(error)) from error
    return Header(
        path=record_path,
        label=label,
        record_id=last.removesuffix(".mat"),
        segments=None if num_segments is None else parsed,
        num_signals=num_signals,
        frame_rate=rate,
        num_frames=None if num_frames is None else int(num_frames),
        start_time=parse_start_time(start or ""),
        signals=parsed if num_segments is None else (),
        comments=tuple(comments),
    )


def _decode(line: bytes) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError:
        return line.decode("latin-1")


def _parse_segment(line: str) -> tuple[str, int]:
    """Parse a segment line; a `ValueError` says what is wrong with it."""
    match = _SEGMENT_LINE.fullmatch(line)
    if match is None:
        raise ValueError(f"a segment line is {line[:100]!r}")
    return match[1], int(match[2])


def _parse_signal(line: str) -> Signal:
    """Parse a signal line; a `ValueError` says what is wrong with it."""
    match = _SIGNAL_LINE.fullmatch(line)
    if match is None:
        raise ValueError(f"a signal line is {line[:100]!r}")
    file, form, frame, skew, offset, gain, baseline, unit, zero, initial, checksum, name = match.groups()
    gain = float(gain or 0) or None  # 0 states none, too
    if not line.isascii():
        rest = line.replace(f"/{unit}", "", 1)
        if not rest.isascii() or (unit or "").lower() not in _UNITS:
            raise ValueError(f"the line {line[:100]!r} has letters that are not ASCII (microvolts are written uV)")
    unit = (unit or "mV") if gain else None
    signal = Signal(
        file_name=file,
        format=int(form),
        samples_per_frame=int(frame or 1),
        skew=int(skew or 0),
        byte_offset=int(offset or 0),
        gain=gain,
        baseline=int(baseline or zero or 0),
        unit=unit,
        known_unit=_UNITS.get((unit or "").lower(), unit),
        initial_value=None if initial is None else int(initial),
        checksum=None if checksum is None else int(checksum),
        name=name or "",
    )
    if signal.format not in FORMATS and signal.format not in COMPRESSED and signal.file_name != "~":
        raise ValueError(f"there is no sample format {signal.format}")
    lowest, highest = -(2**31), 2**31 - 1
    fits = lowest <= signal.baseline <= highest and lowest <= (signal.initial_value or 0) <= highest
    if signal.samples_per_frame < 1 or not fits:
        raise ValueError(f"the signal line of {signal.name!r} has an impossible frame, baseline or initial value")
    if gain is not None and not 1e-25 < abs(gain) < 1e25:  # float32 could not represent the samples
        raise ValueError(f"the gain of {signal.name!r} is {gain:g}")
    return signal


def _check_file_name(name: str) -> None:
    if os.path.basename(name) != name or name in (".", ".."):
        raise ValueError(f"it names {name!r}, which is not a file beside it")
