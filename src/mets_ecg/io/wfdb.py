"""WFDB records: a `.hea` header beside its `.dat` or `.mat` signal files, as PhysioNet publishes them.

A record is read in two steps: headers and sizes of files are checked first (`_open_record`), then samples are decoded
and compared with the header's checksums. The `wfdb` package does not check those, and joins segments by position.
Nothing is resampled, reordered or dropped: channels that are not ECG keep their names and units, and the caller decides
about them.

Headers are parsed in `wfdb_header.py`, signal files decoded in `wfdb_formats.py`.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from .header_fields import age_and_sex
from .record import INVALID_SAMPLE, DigitalRecord, ECGRecord
from .wfdb_formats import COMPRESSED, MARKERS, PACKED, bytes_of, check_flac_length, read_channels, samples_in
from .wfdb_header import PER_MILLIVOLT, Header, Signal, broken_header, read_header

# Samples times leads of the largest record that is read: 24 h of three leads at 250 Hz. A header of a hundred bytes can
# promise any number, and a compressed file keep that promise in a few kilobytes.
MAX_SAMPLES = 24 * 3600 * 250 * 3

# What samples that were not recorded are, by the type that the file's format decodes to.
_NOT_RECORDED = {np.dtype(kind): int(np.iinfo(kind).min) for kind in (np.int16, np.int32)}


class _Part(NamedTuple):
    """A segment and its place in the whole record."""

    header: Header  # whose number of frames is known
    start: int  # frame
    rows: Sequence[int]  # of the whole record, one a signal of the header


@dataclass(frozen=True)
class _Record:
    """What is to be read, checked as far as headers and the sizes of files go. A record of one segment has one part."""

    header: Header
    signals: tuple[Signal, ...]  # of each lead, as the first segment that has it describes it
    units: tuple[str | None, ...]
    frame_rate: float | None
    num_frames: int
    samples_per_frame: int  # of the fastest lead
    parts: tuple[_Part, ...]

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.signals), self.num_frames * self.samples_per_frame

    @property
    def sampling_rate(self) -> float | None:
        return None if self.frame_rate is None else self.frame_rate * self.samples_per_frame


def read_wfdb(path: str | os.PathLike[str]) -> ECGRecord:
    """Read one WFDB record in the physical units of its header.

    Channels with several samples a frame keep them all: the record is as fast as its fastest channel, and the samples
    of slower ones are repeated, as WFDB's high-resolution mode has it. Skew is undone. Segments are joined by lead
    name, in the units of the layout or of the first segment; gaps between them are NaN.

    Args:
        path: the record, with or without `.hea`, `.dat` or `.mat` at its end.

    Returns:
        `signal` is `(leads, samples)` float32, NaN where the file marks a sample as invalid; `units` has one unit a
        lead, None where the header states no gain; `record_id` is the name in the header.

    Raises:
        FileNotFoundError: the header, or a file it names, is missing.
        ValueError: the file is not a WFDB record, the header has no signals or cannot be parsed, a signal file is not
            as long as it says or fails its checksums, segments disagree in leads, units or rate, or the record has
            more than `MAX_SAMPLES` samples.
    """
    record = _open_record(path, MAX_SAMPLES)
    signal = np.full(record.shape, np.nan, dtype=np.float32)
    for part in record.parts:
        for row, lead, samples, columns in _read_part(part, record.samples_per_frame):
            # 64 bit until the gain is applied: 24- and 32-bit samples do not fit the mantissa of float32.
            values = (samples - float(lead.baseline)) / (lead.gain or 1.0)
            values *= _unit_scale(lead.known_unit, record.units[row])
            values[samples == _NOT_RECORDED[samples.dtype]] = np.nan
            signal[row, columns] = values
    return ECGRecord(
        signal=signal,
        sampling_rate=record.sampling_rate,
        lead_names=tuple(lead.name for lead in record.signals),
        units=record.units,
        record_id=record.header.record_id,
        start_time=record.header.start_time,
        **age_and_sex(record.header.comments),
    )


def read_wfdb_digital(path: str | os.PathLike[str], max_samples: int = MAX_SAMPLES) -> DigitalRecord:
    """Read one WFDB record of ECG leads in the integers of its file, for building corpora.

    Frames, skew and segments are treated as in `read_wfdb`. Checksums or initial values that are 0 in all leads of
    a header state nothing.

    Args:
        path: the record, with or without `.hea`, `.dat` or `.mat` at its end.
        max_samples: the largest number of samples, all leads together, that is read; a header that promises more is
            refused before anything is allocated.

    Raises:
        FileNotFoundError: the header, or a file it names, is missing.
        ValueError: what `read_wfdb` refuses; a header that does not state the sampling rate or a gain; a lead in a unit
            that is not a voltage, without a name or with that of another, with a gain below 0, with another gain or
            baseline in another segment, or with samples that do not fit 16 bits.
    """
    record = _open_record(path, max_samples)
    if record.sampling_rate is None:
        raise ValueError(
            f"{record.header.label}: its header does not state the sampling rate; write it, in Hz, after the number of "
            f"signals in the first line of {record.header.path}.hea"
        )
    _check_leads(record)
    signal = np.full(record.shape, INVALID_SAMPLE, dtype=np.int16)
    for part in record.parts:
        for row, lead, samples, columns in _read_part(part, record.samples_per_frame):
            signal[row, columns] = _to_int16(samples, lead, part.header)
    return DigitalRecord(
        signal=signal,
        gain=np.array([lead.gain_per_millivolt for lead in record.signals]),
        baseline=np.array([lead.baseline for lead in record.signals], dtype=np.int32),
        sampling_rate=record.sampling_rate,
        lead_names=tuple(lead.name for lead in record.signals),
        record_id=record.header.record_id,
        comments=record.header.comments,
        units=tuple(lead.unit for lead in record.signals),
    )


# What headers and the sizes of files tell, before a sample is read.


def _open_record(path: str | os.PathLike[str], max_samples: int) -> _Record:
    header = read_header(path)
    if header.segments is not None:
        return _open_segments(header, max_samples)
    samples_per_frame = max(signal.samples_per_frame for signal in header.signals)
    _check_size(header, header.num_frames, samples_per_frame, max_samples)
    header = _check_files(header)
    _check_size(header, header.num_frames, samples_per_frame, max_samples)
    return _Record(
        header=header,
        signals=header.signals,
        units=tuple(signal.known_unit for signal in header.signals),
        frame_rate=header.frame_rate,
        num_frames=header.num_frames,
        samples_per_frame=samples_per_frame,
        parts=(_Part(header, 0, range(header.num_signals)),),
    )


def _open_segments(header: Header, max_samples: int) -> _Record:
    """Read the headers of all segments, and check that they can be joined."""
    num_frames = sum(length for _, length in header.segments)
    if header.num_frames not in (None, num_frames):
        raise ValueError(
            f"{header.label}: its segments have {num_frames} samples together, and its first line says "
            f"{header.num_frames}; download {header.path}.hea again"
        )
    _check_size(header, num_frames, 1, max_samples)
    layout, segments, start = None, [], 0
    for i, (name, length) in enumerate(header.segments):
        if name != "~":
            segment = _read_segment(header, name)
            if i == 0 and length == 0:
                layout = segment
            else:
                if segment.num_frames not in (None, length):
                    raise ValueError(
                        f"{segment.label} has {segment.num_frames} samples, and {length} in the header of the record; "
                        "download the record again"
                    )
                segments.append((replace(segment, num_frames=length), start))
        start += length
    if not segments:
        raise ValueError(f"{header.label}: it has no segments with samples, there is nothing to read")
    described = layout or segments[0][0]
    if described.num_signals != header.num_signals:
        raise ValueError(
            f"{described.label} has {described.num_signals} signals, and the header of the record promises "
            f"{header.num_signals}; download the record again"
        )
    headers = [header, *([layout] if layout else []), *(segment for segment, _ in segments)]
    rate = next((one.frame_rate for one in headers if one.frame_rate is not None), None)
    for one in headers:
        if one.frame_rate is not None and not math.isclose(one.frame_rate, rate, rel_tol=1e-6):
            raise ValueError(
                f"{one.label} has {one.frame_rate:g} Hz, and the record {rate:g} Hz: segments of different rates are "
                "not joined; read them one by one"
            )
    parts = tuple(_Part(segment, first, _match_leads(segment, described, layout)) for segment, first in segments)
    first_of: list[Signal | None] = [None] * header.num_signals
    units = [signal.known_unit for signal in layout.signals] if layout else [None] * header.num_signals
    for part in parts:
        for row, signal in zip(part.rows, part.header.signals, strict=True):
            if first_of[row] is None:
                first_of[row], units[row] = signal, units[row] or signal.known_unit
            if signal.samples_per_frame != first_of[row].samples_per_frame:
                raise ValueError(
                    f"{part.header.label}: lead {signal.name!r} has {signal.samples_per_frame} samples a frame, and "
                    f"{first_of[row].samples_per_frame} before: segments of different rates are not joined; read them "
                    "one by one"
                )
            if _unit_scale(signal.known_unit, units[row]) is None:
                raise ValueError(
                    f"{part.header.label}: lead {signal.name!r} is in {signal.unit or 'no stated unit'}, and in "
                    f"{units[row] or 'no stated unit'} elsewhere in the record: these are not joined; correct the "
                    "units in the headers, or read the segments one by one"
                )
    signals = tuple(first or described.signals[row] for row, first in enumerate(first_of))
    samples_per_frame = max((signal.samples_per_frame for signal in first_of if signal), default=1)
    _check_size(header, num_frames, samples_per_frame, max_samples)
    for part in parts:
        _check_files(part.header)
    return _Record(header, signals, tuple(units), rate, num_frames, samples_per_frame, parts)


def _read_segment(header: Header, name: str) -> Header:
    path = os.path.join(header.folder, name)
    if not os.path.isfile(f"{path}.hea"):
        raise _missing(header, f"{name}.hea")
    segment = read_header(f"{path}.hea", f"{header.label}, segment {name!r}")
    if segment.segments is not None:
        raise ValueError(
            f"{segment.label} has segments itself, which WFDB does not allow; download {header.path}.hea again"
        )
    return segment


def _match_leads(segment: Header, described: Header, layout: Header | None) -> list[int]:
    """Return the row of the record for each signal of a segment."""
    names = [signal.name for signal in described.signals]
    own = [signal.name for signal in segment.signals]
    unique = len(set(names)) == len(names) and len(set(own)) == len(own)
    if layout is None and own == names:
        return list(range(len(names)))
    if unique and (set(own) <= set(names) if layout else set(own) == set(names)):
        return [names.index(name) for name in own]
    different = [name for name in own if name not in names] or [name for name in names if name not in own] or own
    raise ValueError(
        f"{segment.label} has the leads {', '.join(own)}, and {'the layout' if layout else 'the first segment'} "
        f"{', '.join(names)}: {different[0]!r} is in one only, or a name is not unique. Segments are joined by lead "
        "name; correct the names in the headers, or read the segments one by one"
    )


def _unit_scale(unit: str | None, wanted: str | None) -> float | None:
    """Return what turns a value in one unit into another; None where nothing does."""
    if unit == wanted:
        return 1.0
    if unit in PER_MILLIVOLT and wanted in PER_MILLIVOLT:
        return PER_MILLIVOLT[wanted] / PER_MILLIVOLT[unit]
    return None


def _check_size(header: Header, num_frames: int | None, samples_per_frame: int, max_samples: int) -> None:
    if num_frames is not None and num_frames * header.num_signals * samples_per_frame > max_samples:
        raise ValueError(
            f"{header.label}: its header promises {num_frames * samples_per_frame} samples of {header.num_signals} "
            f"leads, more than the {max_samples} that are read at once; read a part of it with "
            "wfdb.rdrecord(..., sampfrom=, sampto=)"
        )


def _files(header: Header) -> dict[str, list[int]]:
    """Return the signals in each file, by index."""
    files: dict[str, list[int]] = {}
    for i, signal in enumerate(header.signals):
        files.setdefault(signal.file_name, []).append(i)
    return files


def _check_files(header: Header) -> Header:
    """Check that the signal files are there and as long as the header says; return it with its number of frames."""
    if any(signal.file_name == "~" for signal in header.signals):
        raise ValueError(f"{header.label}: its header only lays out another record's signals; give that record")
    num_frames = header.num_frames
    if num_frames == 0:
        raise ValueError(
            f"{header.label}: its header says that it has 0 samples, there is nothing to read; if there are, write "
            f"their number into the first line of {header.path}.hea"
        )
    for file_name, indices in _files(header).items():
        signals = [header.signals[i] for i in indices]
        path = os.path.join(header.folder, file_name)
        if not os.path.isfile(path):
            raise _missing(header, file_name)
        form, offset = signals[0].format, signals[0].byte_offset
        if any((signal.format, signal.byte_offset) != (form, offset) for signal in signals):
            raise broken_header(header.label, header.path, f"{file_name} has two formats or offsets")
        if form in COMPRESSED:
            if num_frames is None:
                raise ValueError(
                    f"{header.label}: {file_name} is compressed and its header does not say how many samples it has; "
                    f"write their number into the first line of {header.path}.hea"
                )
            try:
                check_flac_length(path, offset + num_frames * signals[0].samples_per_frame)
            except ValueError as error:
                raise _damaged(header, file_name, error) from error
            continue
        found, per_frame = os.path.getsize(path), sum(signal.samples_per_frame for signal in signals)
        if num_frames is None:
            num_frames = samples_in(form, max(found - offset, 0)) // per_frame
        expected = offset + bytes_of(form, num_frames * per_frame)
        if found < expected or num_frames < 1:
            raise ValueError(
                f"{header.label} cannot be read ({file_name} has {found} bytes of {max(expected, offset + 1)}): the "
                "file is truncated, shorter than the header says; download it again"
            )
        # Packed formats may fill their last block, of 4 bytes at most.
        if found > expected and (form not in PACKED or found > expected + 3):
            raise ValueError(
                f"{header.label} cannot be read ({file_name} has {found} bytes where the header says {expected}): the "
                "header disagrees with the data; download both again"
            )
    return header if num_frames == header.num_frames else replace(header, num_frames=num_frames)


def _missing(header: Header, file_name: str) -> FileNotFoundError:
    return FileNotFoundError(
        f"{header.label}: its header names {file_name}, which is not in {header.folder or '.'}; put that file beside "
        "the header"
    )


def _damaged(header: Header, file_name: str, error: ValueError) -> ValueError:
    return ValueError(f"{header.label} cannot be read ({error}); download {file_name} again")


def _check_leads(record: _Record) -> None:
    """Check that leads can be rows of a corpus."""
    described = [(part.header, part.header.signals, part.rows) for part in record.parts]
    if record.header.segments is not None:  # a layout may list a lead that no segment has
        described.append((record.header, record.signals, range(len(record.signals))))
    for header, signals, rows in described:
        names = [signal.name for signal in signals]
        for i, (row, signal) in enumerate(zip(rows, signals, strict=True)):
            if signal.name in names[:i]:
                raise ValueError(
                    f"{header.label}: two leads are named {signal.name!r}; correct the names in its header"
                )
            if not signal.name:
                raise ValueError(
                    f"{header.label}: signal {i} has no name; write the names of the leads into its header"
                )
            _check_lead(header, signal, record.signals[row])


def _check_lead(header: Header, signal: Signal, first: Signal) -> None:
    lead = f"lead {signal.name!r}"
    if signal.gain is None:
        raise ValueError(
            f"{header.label}: its header states no gain for {lead}; write the units per mV, such as 1000/mV, after the "
            f"format in that lead's line of {header.path}.hea"
        )
    if signal.known_unit not in PER_MILLIVOLT:
        raise ValueError(
            f"{header.label}: {lead} is in {signal.unit!r}, which is not a known unit of voltage "
            f"({', '.join(PER_MILLIVOLT)}); leave the record out, or take that signal out of its header"
        )
    if signal.gain < 0:
        raise ValueError(f"{header.label}: {lead} has the gain {signal.gain:g}, which is below 0")
    if signal is first:
        return
    if not math.isclose(signal.gain_per_millivolt, first.gain_per_millivolt) or signal.baseline != first.baseline:
        raise ValueError(
            f"{header.label}: {lead} has a gain of {signal.gain:g} and a baseline of {signal.baseline}, and of "
            f"{first.gain:g} and {first.baseline} in an earlier segment: integers of different scales are not joined; "
            "read the segments one by one, or the record with read_wfdb"
        )


# Samples.


def _read_part(part: _Part, samples_per_frame: int) -> Iterator[tuple[int, Signal, np.ndarray, slice]]:
    """Yield row, header line, samples and columns of each lead of a segment, checked against its header.

    Samples that were not recorded have the lowest number of their type, int16 or int32.
    """
    header = part.header
    start, stop = (frame * samples_per_frame for frame in (part.start, part.start + header.num_frames))
    channels = _read_samples(header)
    for row, signal, channel in zip(part.rows, header.signals, channels, strict=True):
        not_recorded = _NOT_RECORDED[channel.dtype]
        marker = MARKERS.get(signal.format, not_recorded)
        if marker != not_recorded:
            channel[channel == marker] = not_recorded
        if signal.skew:
            late = min(signal.skew * signal.samples_per_frame, len(channel))
            channel = np.concatenate([channel[late:], np.full(late, not_recorded, dtype=channel.dtype)])
        if signal.samples_per_frame != samples_per_frame:
            channel = channel[np.arange(stop - start) * signal.samples_per_frame // samples_per_frame]
        yield row, signal, channel, slice(start, stop)


def _read_samples(header: Header) -> list[np.ndarray]:
    channels: dict[int, np.ndarray] = {}
    for file_name, indices in _files(header).items():
        signals = [header.signals[i] for i in indices]
        try:
            decoded = read_channels(
                os.path.join(header.folder, file_name),
                signals[0].format,
                offset=signals[0].byte_offset,
                num_frames=header.num_frames,
                samples_per_frame=[signal.samples_per_frame for signal in signals],
                initial_values=[signal.initial_value or 0 for signal in signals],
            )
        except ValueError as error:
            raise _damaged(header, file_name, error) from error
        channels.update(zip(indices, decoded, strict=True))
    ordered = [channels[i] for i in range(len(header.signals))]
    _check_sums(header, ordered)
    return ordered


def _check_sums(header: Header, channels: Sequence[np.ndarray]) -> None:
    """Compare the 16-bit sums of all samples, and the first samples, with those in the header."""
    # Zeros in every lead are a writer's placeholders: CinC 2017 states no checksums.
    sums_stated = any(signal.checksum for signal in header.signals)
    initials_stated = any(signal.initial_value for signal in header.signals)
    for signal, channel in zip(header.signals, channels, strict=True):
        total = int(channel.sum(dtype=np.int64)) & 0xFFFF
        if sums_stated and signal.checksum is not None and signal.checksum & 0xFFFF != total:
            what = f"add up to the checksum {total} and not to {signal.checksum & 0xFFFF}"
        elif sums_stated and signal.checksum is not None:
            continue  # which says more than the first sample
        elif initials_stated and signal.initial_value not in (None, int(channel[0])):
            what = f"begin with {channel[0]} and not with {signal.initial_value}"
        else:
            continue
        raise ValueError(
            f"{header.label}: the samples of lead {signal.name!r} {what}, as its header says: {signal.file_name} or "
            "the header is damaged; download both again"
        )


def _to_int16(samples: np.ndarray, signal: Signal, header: Header) -> np.ndarray:
    if samples.dtype == np.int16:
        return samples
    recorded = samples != _NOT_RECORDED[samples.dtype]
    # INVALID_SAMPLE itself is not a value that could be stored.
    if recorded.any() and (samples[recorded].max() > 32767 or samples[recorded].min() <= INVALID_SAMPLE):
        raise ValueError(
            f"{header.label}: samples of lead {signal.name!r} do not fit 16 bits ({samples[recorded].min()} to "
            f"{samples[recorded].max()}); write the record in format 16 with a smaller gain"
        )
    return np.where(recorded, samples, INVALID_SAMPLE).astype(np.int16)
