"""WFDB records: a `.hea` header beside its `.dat` or `.mat` signal files, as PhysioNet publishes them.

The header is parsed here, because the `wfdb` package refuses headers of public corpora (Georgia's name the record
`E00015.mat`), drops letters that are not ASCII (microvolts become volts) and passes over checksums. Samples are read
here where a record is what all large corpora are: one file in format 16, one sample a frame, no skew. The other formats
and records of several segments are decoded by `wfdb`. Nothing is resampled, reordered or dropped: channels that are not
ECG keep their names and units, and the caller decides about them.

Format: https://physionet.org/physiotools/wag/header-5.htm and signal-5.htm.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from .record import INVALID_SAMPLE, DigitalRecord, ECGRecord

# Samples times leads of the largest record that is read: 24 h of three leads at 250 Hz. A header of a hundred bytes can
# promise any number, and a compressed file keep that promise in a few kilobytes.
MAX_SAMPLES = 24 * 3600 * 250 * 3

_SUFFIXES = (".hea", ".dat", ".mat")
# Spellings met in headers; another unit is passed on as it stands, for the caller to refuse by name.
_UNITS = {"mV": "mV", "mv": "mV", "uV": "uV", "uv": "uV", "V": "V", "v": "V"}
_PER_MILLIVOLT = {"mV": 1.0, "uV": 1e3, "V": 1e-3}

_DEFAULT_RATE, _DEFAULT_GAIN = 250.0, 200.0  # WFDB's, where the header states none

# Bytes a sample, and the value that marks a sample as not recorded, by format. Compressed files have no fixed size;
# format 8 stores differences and has no marker.
_SAMPLE_BYTES = {8: 1, 16: 2, 24: 3, 32: 4, 61: 2, 80: 1, 160: 2, 212: 3 / 2, 310: 4 / 3, 311: 4 / 3}
_COMPRESSED = (508, 516, 524)
_MARKERS = {
    **{16: -(2**15), 61: -(2**15), 160: -(2**15), 516: -(2**15)},
    **{80: -(2**7), 508: -(2**7), 212: -(2**11), 310: -(2**9), 311: -(2**9)},
    **{24: -(2**23), 524: -(2**23), 32: -(2**31)},
}
_NOT_RECORDED = np.iinfo(np.int32).min  # what stands for every marker in what `wfdb` decodes

_NUMBER = r"(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
# NAME[/SEGMENTS] SIGNALS [RATE[/COUNTER[(BASE)]] [SAMPLES [time and date, in whatever form]]]
_RECORD_LINE = re.compile(
    rf"([^\s/]+)(?:/(\d+))?\s+(\d+)(?:\s+({_NUMBER})(?:/-?[\d.]+(?:\(-?[\d.]+\))?)?(?:\s+(\d+)(?:\s.*)?)?)?", re.ASCII
)
# FILE FORMAT[xFRAME][:SKEW][+OFFSET] [GAIN[(BASELINE)][/UNIT] [BITS [ZERO [INITIAL [CHECKSUM [BLOCK [NAME]]]]]]]
_SIGNAL_LINE = re.compile(
    rf"(\S+)\s+(\d+)(?:x(\d+))?(?::(\d+))?(?:\+(\d+))?(?:\s+(-?{_NUMBER})(?:\((-?\d+)\))?(?:/(\S+))?"
    r"(?:\s+\d+(?:\s+(-?\d+)(?:\s+(-?\d+)(?:\s+(-?\d+)(?:\s+-?\d+(?:\s+(\S.*))?)?)?)?)?)?)?",
    re.ASCII,
)


class _Signal(NamedTuple):
    """One signal line of a header."""

    file_name: str
    format: int
    samples_per_frame: int
    skew: int  # frames
    byte_offset: int
    gain: float  # per unit
    baseline: int
    unit: str
    initial_value: int | None
    checksum: int | None
    name: str


@dataclass(frozen=True)
class _Header:
    """A header as it was read, and where."""

    path: str  # of the record, without suffix
    record_id: str
    num_segments: int | None  # None for a record of one segment, whose signals follow
    num_signals: int
    frame_rate: float  # Hz
    num_frames: int | None  # None where the header leaves it to the size of the file
    signals: tuple[_Signal, ...]
    comments: tuple[str, ...]

    @property
    def label(self) -> str:
        return f"WFDB record {os.path.basename(self.path)!r}"

    @property
    def folder(self) -> str:
        return os.path.dirname(self.path)


def read_wfdb(path: str | os.PathLike[str]) -> ECGRecord:
    """Read one WFDB record in the physical units of its header.

    Channels with several samples a frame keep them all: the record is as fast as its fastest channel, and the samples
    of slower ones are repeated, as WFDB's high-resolution mode has it. Skew is undone.

    Args:
        path: the record, with or without `.hea`, `.dat` or `.mat` at its end.

    Returns:
        `signal` is `(leads, samples)` float32, NaN where the file marks a sample as invalid; `units` has one
        unit a lead; `record_id` is the name in the header.

    Raises:
        FileNotFoundError: the header, or a signal file it names, is missing.
        ValueError: the file is no WFDB record, the header has no signals or cannot be parsed, a signal file is not as
            long as it says or fails its checksums, or the record has more than `MAX_SAMPLES` samples.
    """
    header = _read_header(path)
    _check_size(header, header.num_frames, MAX_SAMPLES)
    if header.num_segments is not None:
        header, signal = _read_segments(header, physical=True)
    else:
        signal = _to_physical(_read_samples(header, MAX_SAMPLES), header)
    return ECGRecord(
        signal=signal,
        sampling_rate=_sampling_rate(header),
        lead_names=tuple(signal.name for signal in header.signals),
        units=tuple(_UNITS.get(signal.unit, signal.unit) for signal in header.signals),
        record_id=header.record_id,
    )


def read_wfdb_digital(path: str | os.PathLike[str], max_samples: int = MAX_SAMPLES) -> DigitalRecord:
    """Read one WFDB record of ECG leads in the integers of its file, for building corpora.

    Frames and skew are treated as in `read_wfdb`. Checksums or initial values that are 0 in all leads of
    a header state nothing.

    Args:
        path: the record, with or without `.hea`, `.dat` or `.mat` at its end.
        max_samples: the largest number of samples, all leads together, that is read; a header that promises more is
            refused before anything is allocated.

    Raises:
        FileNotFoundError: the header, or a signal file it names, is missing.
        ValueError: what `read_wfdb` refuses; and a lead in a unit that is no voltage, without a name or with that of
            another, with a gain below 0, or with samples that do not fit 16 bits.
    """
    header = _read_header(path)
    _check_size(header, header.num_frames, max_samples)
    if header.num_segments is not None:
        header, samples = _read_segments(header, physical=False)
        _check_leads(header)
    else:
        _check_leads(header)  # first, because it costs no reading
        samples = _read_samples(header, max_samples)
    return DigitalRecord(
        signal=samples if samples.dtype == np.int16 else _to_int16(samples, header),
        gain=np.array([signal.gain * _PER_MILLIVOLT[_UNITS[signal.unit]] for signal in header.signals]),
        baseline=np.array([signal.baseline for signal in header.signals], dtype=np.int32),
        sampling_rate=_sampling_rate(header),
        lead_names=tuple(signal.name for signal in header.signals),
        record_id=header.record_id,
        comments=header.comments,
        units=tuple(signal.unit for signal in header.signals),
    )


def _read_header(path: str | os.PathLike[str]) -> _Header:
    path = os.fspath(path)
    stem, suffix = os.path.splitext(path)
    record_path = stem if suffix in _SUFFIXES else path
    try:
        with open(f"{record_path}.hea", "rb") as file:
            content = file.read()
    except (FileNotFoundError, NotADirectoryError) as error:
        name = os.path.basename(record_path)
        if suffix not in _SUFFIXES and os.path.isfile(path):
            raise ValueError(
                f"{name} is no WFDB record: what is read is a WFDB header (.hea) beside its .dat or .mat file. Convert "
                "the recording, or pass its samples as an array with sampling_rate=, lead_names= and units="
            ) from error
        raise FileNotFoundError(
            f"WFDB record {name!r}: no header {record_path}.hea; give the path of a record with a header"
        ) from error
    return _parse_header(content, record_path)


def _parse_header(content: bytes, record_path: str) -> _Header:
    label = f"WFDB record {os.path.basename(record_path)!r}"

    def broken(what: str) -> ValueError:
        return ValueError(
            f"{label} cannot be read ({what}): its header breaks the WFDB format; fetch or mend {record_path}.hea"
        )

    lines, comments = [], []
    for line in content.removeprefix(b"\xef\xbb\xbf").splitlines():  # bytes: in latin-1, 0x85 would end a line
        line = line.strip()
        if line.startswith(b"#"):
            comments.append(_decode(line).lstrip("#").strip())
        elif line:
            lines.append(line)
    if not lines:
        raise broken("it is empty")
    for line in lines:
        if not line.isascii():
            raise broken(f"the line {_decode(line)!r} has letters that are not ASCII (microvolts are written uV)")
    match = _RECORD_LINE.fullmatch(lines[0].decode())
    if match is None:
        raise broken(f"its first line is {lines[0].decode()[:100]!r}")
    name, num_segments, num_signals, rate, num_frames = match.groups()
    try:
        num_signals, rate = int(num_signals), float(rate or _DEFAULT_RATE)
        num_frames = None if num_frames is None else int(num_frames)
        num_segments = None if num_segments is None else int(num_segments)
    except ValueError as error:  # thousands of digits
        raise broken("a number in its first line is absurd") from error
    if not 0 < rate < math.inf:
        raise broken(f"the sampling rate is {rate:g} Hz")
    if num_signals == 0:
        raise ValueError(f"{label}: the header holds no signals; give one with ECG leads")
    if num_segments is None and num_signals != len(lines) - 1:
        raise broken(f"it promises {num_signals} signals and describes {len(lines) - 1}")
    if num_segments is not None and num_segments != len(lines) - 1:
        raise broken(f"it promises {num_segments} segments and names {len(lines) - 1}")
    signals = []
    if num_segments is None:
        for line in lines[1:]:
            try:
                signals.append(_parse_signal(line.decode()))
            except ValueError as error:
                raise broken(str(error)) from error
    if any(signal.file_name == "~" for signal in signals):
        raise ValueError(f"{label}: its header only lays out another record's signals; give that record")
    if num_frames == 0:
        raise ValueError(
            f"{label}: its header says that it has 0 samples, there is nothing to read; if there are, write their "
            f"number into the first line of {record_path}.hea"
        )
    return _Header(
        path=record_path,
        record_id=name.removesuffix(".mat"),
        num_segments=num_segments,
        num_signals=num_signals,
        frame_rate=rate,
        num_frames=num_frames,
        signals=tuple(signals),
        comments=tuple(comments),
    )


def _decode(line: bytes) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError:
        return line.decode("latin-1")


def _parse_signal(line: str) -> _Signal:
    """Parse a signal line; a `ValueError` says what is wrong with it."""
    match = _SIGNAL_LINE.fullmatch(line)
    if match is None:
        raise ValueError(f"a signal line is {line[:100]!r}")
    file_name, form, per_frame, skew, offset, gain, baseline, unit, zero, initial, checksum, name = match.groups()
    try:
        signal = _Signal(
            file_name=file_name,
            format=int(form),
            samples_per_frame=int(per_frame or 1),
            skew=int(skew or 0),
            byte_offset=int(offset or 0),
            gain=float(gain or 0) or _DEFAULT_GAIN,  # 0 stands for none, too
            baseline=int(baseline or zero or 0),
            unit=unit or "mV",
            initial_value=None if initial is None else int(initial),
            checksum=None if checksum is None else int(checksum),
            name=name or "",
        )
    except ValueError as error:  # thousands of digits
        raise ValueError(f"a number is absurd in the signal line {line[:100]!r}") from error
    if os.path.basename(signal.file_name) != signal.file_name:
        raise ValueError(f"it names {signal.file_name!r}, which is not a file beside it")
    if signal.format not in _SAMPLE_BYTES and signal.format not in _COMPRESSED and signal.file_name != "~":
        raise ValueError(f"it knows no sample format {signal.format}")
    if signal.samples_per_frame < 1 or not -(2**31) <= signal.baseline < 2**31:
        raise ValueError(f"the signal line of {signal.name!r} has a frame or a baseline that cannot be")
    if not abs(signal.gain) < math.inf:
        raise ValueError(f"the gain of {signal.name!r} is {signal.gain:g}")
    return signal


def _sampling_rate(header: _Header) -> float:
    return header.frame_rate * max(signal.samples_per_frame for signal in header.signals)


def _check_size(header: _Header, num_frames: int | None, max_samples: int) -> None:
    most = max((signal.samples_per_frame for signal in header.signals), default=1)
    if num_frames is not None and num_frames * header.num_signals * most > max_samples:
        raise ValueError(
            f"{header.label}: its header promises {num_frames * most} samples of {header.num_signals} leads, more than "
            f"the {max_samples} that are read at once; read a part of it with wfdb.rdrecord(..., sampfrom=, sampto=)"
        )


def _check_leads(header: _Header) -> None:
    names = [signal.name for signal in header.signals]
    for i, signal in enumerate(header.signals):
        if not signal.name:
            raise ValueError(f"{header.label}: signal {i} has no name; write the names of the leads into its header")
        if signal.name in names[:i]:
            raise ValueError(f"{header.label}: two leads are named {signal.name!r}; mend the names in its header")
        if signal.unit not in _UNITS:
            raise ValueError(
                f"{header.label}: lead {signal.name!r} is in {signal.unit!r}, which is no voltage that is known "
                f"({', '.join(_UNITS)}); leave the record out, or take that signal out of its header"
            )
        if signal.gain < 0:
            raise ValueError(f"{header.label}: lead {signal.name!r} has the gain {signal.gain:g}, which is below 0")


def _read_samples(header: _Header, max_samples: int) -> np.ndarray:
    """Return the samples of a record of one segment, checked against its header.

    Returns:
        `(leads, samples)`, int16 or int32: the lowest number of its type where no sample was recorded.
    """
    num_frames = _check_files(header)
    _check_size(header, num_frames, max_samples)
    first = header.signals[0]
    if all(signal[:5] == (first.file_name, 16, 1, 0, first.byte_offset) for signal in header.signals):
        flat = np.fromfile(
            os.path.join(header.folder, first.file_name),
            dtype="<i2",
            count=num_frames * len(header.signals),
            offset=first.byte_offset,
        )
        samples = flat.reshape(num_frames, len(header.signals)).T.astype(np.int16, order="C")
        sums = samples.view(np.uint16).sum(axis=1, dtype=np.uint16)  # wraps, as WFDB's sum of 16 bits does
        _check_sums(header, sums.tolist(), samples[:, 0].tolist())
        return samples
    one_a_frame = all(signal.samples_per_frame == 1 for signal in header.signals)
    # The simple form where it will do: in the other, wfdb 4.3.1 fails on format 61.
    record = _read_by_wfdb(header, physical=False, smooth_frames=one_a_frame, ignore_skew=True)
    decoded = list(record.d_signal.T) if one_a_frame else record.e_d_signal
    _check_sums(
        header,
        [int(channel.sum(dtype=np.int64)) & 0xFFFF for channel in decoded],
        [int(channel[0]) for channel in decoded],
    )
    channels = []
    for signal, channel in zip(header.signals, decoded, strict=True):
        channel = _mark(channel, signal.format)
        if signal.skew:
            late = signal.skew * signal.samples_per_frame
            channel = np.concatenate([channel[late:], np.full(min(late, len(channel)), _NOT_RECORDED, dtype=np.int32)])
        channels.append(channel)
    return _at_one_rate(channels, header)


def _check_files(header: _Header) -> int:
    """Check that the signal files are there and as long as the header says; return the frames in them."""
    num_frames = header.num_frames
    for file_name in dict.fromkeys(signal.file_name for signal in header.signals):
        signals = [signal for signal in header.signals if signal.file_name == file_name]
        path = os.path.join(header.folder, file_name)
        try:
            found = os.stat(path).st_size
        except FileNotFoundError as error:
            raise _missing(header, file_name) from error
        form, offset = signals[0].format, signals[0].byte_offset
        if any((signal.format, signal.byte_offset) != (form, offset) for signal in signals):
            raise ValueError(
                f"{header.label} cannot be read ({file_name} has two formats or offsets): its header breaks the WFDB "
                f"format; fetch or mend {header.path}.hea"
            )
        if form in _COMPRESSED:
            if num_frames is None:
                raise ValueError(
                    f"{header.label}: {file_name} is compressed and its header does not say how many samples it has; "
                    f"write their number into the first line of {header.path}.hea"
                )
            continue
        frame_bytes = _SAMPLE_BYTES[form] * sum(signal.samples_per_frame for signal in signals)
        if num_frames is None:
            num_frames = int((found - offset) / frame_bytes + 1e-9)
        expected = offset + math.ceil(num_frames * frame_bytes - 1e-9)
        if found < expected or num_frames < 1:
            raise ValueError(
                f"{header.label} cannot be read ({file_name} has {found} bytes of {max(expected, offset + 1)}): the "
                "file is truncated, shorter than the header says; fetch it again"
            )
        # Packed formats may fill their last block, of 4 bytes at most.
        if found > expected and (form not in (212, 310, 311) or found > expected + 3):
            raise ValueError(
                f"{header.label} cannot be read ({file_name} has {found} bytes where the header says {expected}): the "
                "header disagrees with the data; fetch both again"
            )
    return num_frames


def _missing(header: _Header, file_name: str) -> FileNotFoundError:
    return FileNotFoundError(
        f"{header.label}: its header names {file_name}, which is not in {header.folder or '.'}; put that file beside "
        "the header"
    )


def _check_sums(header: _Header, sums: Sequence[int], first_samples: Sequence[int]) -> None:
    """Compare 16-bit sums of all samples (0 to 65535), and the first samples, with those in the header."""
    # Zeros in every lead are a writer's placeholders: CinC 2017 states no checksums.
    sums_stated = any(signal.checksum for signal in header.signals)
    initials_stated = any(signal.initial_value for signal in header.signals)
    for signal, total, initial in zip(header.signals, sums, first_samples, strict=True):
        if sums_stated and signal.checksum is not None and signal.checksum & 0xFFFF != total:
            what = f"add up to the checksum {total} and not to {signal.checksum & 0xFFFF}"
        elif initials_stated and signal.initial_value not in (None, initial):
            what = f"begin with {initial} and not with {signal.initial_value}"
        else:
            continue
        raise ValueError(
            f"{header.label}: the samples of lead {signal.name!r} {what}, as its header says: {signal.file_name} or "
            "the header is damaged; fetch both again"
        )


def _read_by_wfdb(header: _Header, *, physical: bool, smooth_frames: bool = False, ignore_skew: bool = False):
    import wfdb  # costs most of a second, which importing the package must not

    try:
        return wfdb.rdrecord(
            header.path,
            physical=physical,
            smooth_frames=smooth_frames,
            ignore_skew=ignore_skew,
            return_res=64 if physical else 32,
        )
    except FileNotFoundError as error:
        raise _missing(header, os.path.basename(error.filename or "a file")) from error
    except Exception as error:  # it raises any kind, bare Exception and RecursionError among them
        raise ValueError(
            f"{header.label} cannot be read ({error}): its header breaks the WFDB format, or a signal file is damaged "
            f"or shorter than the header says; fetch {header.path} again"
        ) from error


def _read_segments(header: _Header, *, physical: bool) -> tuple[_Header, np.ndarray]:
    """Read a record of several segments, whose checksums are not checked; return the header with its signals.

    Returns:
        The header, and `(leads, samples)` float32, NaN where no sample was recorded, or, if not `physical`, int32 with
        the lowest number in those places.
    """
    record = _read_by_wfdb(header, physical=physical)
    signals, channels = [], []
    for i, name in enumerate(record.sig_name):
        signals.append(
            _Signal(
                file_name="",
                format=0 if physical else int(record.fmt[i]),
                samples_per_frame=record.samps_per_frame[i] or 1,
                skew=0,
                byte_offset=0,
                gain=1.0 if physical else record.adc_gain[i],
                baseline=0 if physical else record.baseline[i],
                unit=record.units[i],
                initial_value=None,
                checksum=None,
                name=(name or "").strip(),
            )
        )
        if physical:
            channels.append(record.e_p_signal[i].astype(np.float32))
        else:
            channels.append(_mark(record.e_d_signal[i], signals[i].format))
    header = replace(header, signals=tuple(signals))
    return header, _at_one_rate(channels, header)


def _mark(channel: np.ndarray, form: int) -> np.ndarray:
    channel = channel.astype(np.int32)
    if form in _MARKERS:
        channel[channel == _MARKERS[form]] = _NOT_RECORDED
    return channel


def _at_one_rate(channels: list[np.ndarray], header: _Header) -> np.ndarray:
    """Stack channels at the rate of the fastest, repeating the samples of the others."""
    most = max(signal.samples_per_frame for signal in header.signals)
    num_samples = len(channels[0]) // header.signals[0].samples_per_frame * most
    position = np.arange(num_samples)
    return np.stack(
        [
            channel if signal.samples_per_frame == most else channel[position * signal.samples_per_frame // most]
            for signal, channel in zip(header.signals, channels, strict=True)
        ]
    )


def _to_physical(samples: np.ndarray, header: _Header) -> np.ndarray:
    physical = np.empty(samples.shape, dtype=np.float32)
    for signal, row, out in zip(header.signals, samples, physical, strict=True):
        # 64 bit until the gain is applied: 24- and 32-bit samples do not fit the mantissa of float32.
        out[:] = (row - float(signal.baseline)) / signal.gain
        out[row == np.iinfo(samples.dtype).min] = np.nan
    return physical


def _to_int16(samples: np.ndarray, header: _Header) -> np.ndarray:
    recorded = samples != _NOT_RECORDED
    for signal, row, valid in zip(header.signals, samples, recorded, strict=True):
        # INVALID_SAMPLE itself is no value that could be stored.
        if valid.any() and (row[valid].max() > 32767 or row[valid].min() <= INVALID_SAMPLE):
            raise ValueError(
                f"{header.label}: samples of lead {signal.name!r} do not fit 16 bits ({row[valid].min()} to "
                f"{row[valid].max()}); write the record in format 16 with a smaller gain"
            )
    return np.where(recorded, samples, INVALID_SAMPLE).astype(np.int16)
