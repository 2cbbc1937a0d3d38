"""What devices and archives write: EDF / EDF+, BDF, DICOM, SCP-ECG, HL7 aECG, GE MUSE, Philips XML and ISHNE.

The formats are read by `ecgdatakit` (BDF by `pyedflib`), of the extra `formats`; here is what is made of its records:
the exact rate in place of a rounded one, and errors where it warns of something that would change a signal (cut files,
gaps, checksums). Formats that it knows and that are not tested here are refused: another one is a line in `_READ`, one
in `FORMATS`, and a writer in the tests.
"""

from __future__ import annotations

import binascii
import logging
import os
import re
import tempfile
import warnings
from pathlib import Path

import numpy as np

from .arrays import check_size
from .header_fields import parse_age, parse_sex
from .record import ECGRecord

_logger = logging.getLogger(__name__)

# These are read whole, in ten times their size of memory: a day of three leads at 500 Hz in 16 bit.
MAX_BYTES = 300_000_000

_READ = {
    "EDFParser": "EDF",
    "DICOMWaveformParser": "DICOM",
    "SCPECGParser": "SCP-ECG",
    "HL7aECGParser": "HL7 aECG",
    "GEMuseXMLParser": "GE MUSE XML",
    "SierraXMLParser": "Philips XML",
    "ISHNEHolterParser": "ISHNE",
}
# What of a warning says that the signal is not the one that was recorded.
_FATAL = re.compile(
    r"truncat|not closed|has gaps|checksum|CRC|uncalibrated|unscaled|not applied|ignored in|only the first is read|"
    r"incomplete|not loaded",
    re.IGNORECASE,
)
# And what says it of parts that are not the rhythm recording.
_HARMLESS = re.compile(
    r"median|reference beat|QRS subtraction|Section (1|7|8|10|11) |representative beat", re.IGNORECASE
)
# Channels of an ECG, by the names that sleep studies and archives give them.
_ECG_CHANNEL = re.compile(r"\b(ECG|EKG)|^(M?L?D?I{1,3}|aV[RLF]|V[1-6])$", re.IGNORECASE)
_VOLTAGES = ("mV", "uV", "µV", "nV", "V")
# Of SCP-ECG: sections of statements and measurements, without which the signal is whole.
_STATEMENTS = (7, 8, 9, 10, 11)


def read_clinical(path: Path) -> ECGRecord:
    """Read a recording by `ecgdatakit`.

    Raises:
        ImportError: `ecgdatakit`, or `pydicom` for DICOM, is not installed.
        ValueError: the file is too large, of a kind that is not read, damaged, cut short, or fails a checksum; its
            channels differ in rate or length, or began at different times.
    """
    check_size(path, MAX_BYTES)
    try:
        from ecgdatakit.exceptions import ECGDataKitError, UnsupportedFormatError
        from ecgdatakit.parsing.parser import FileParser
    except ImportError as error:
        raise _missing(path, error) from error
    known = FileParser.detect_format(path)
    if known is None or known["parser"] not in _READ:
        what = "of a kind that is not known" if known is None else f"{known['name']}, which is not read"
        raise ValueError(f"{path} is {what}: {', '.join(_READ.values())} are; write it as one of them, or as CSV")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            record = _parse(path, FileParser, ECGDataKitError)
        except UnsupportedFormatError as error:
            raise ValueError(f"{path} is {known['name']} of a kind that is not read ({error})") from error
        except ImportError as error:
            raise _missing(path, error) from error
    for message in dict.fromkeys(str(warning.message) for warning in caught):
        words = message.replace(path.name, "")
        if _FATAL.search(words) and ("(rhythm)" in words or not _HARMLESS.search(words)):
            raise ValueError(f"{path}: {message}: export it again, or mend it first")
        if "not an integer" not in message:  # the exact rate is taken below
            _logger.info("%s: %s", path, message)
    return _record(record, path)


def read_bdf(path: Path) -> ECGRecord:
    """Read a BDF file (EDF of 24 bits) by `pyedflib`; errors as `read_clinical`."""
    check_size(path, MAX_BYTES)
    try:
        import pyedflib
    except ImportError as error:
        raise _missing(path, error) from error
    try:
        _check_bdf_size(path)
        with pyedflib.EdfReader(str(path)) as reader:
            channels = range(reader.signals_in_file)
            found = [
                (
                    reader.getLabel(i).strip(),
                    reader.getSampleFrequency(i),
                    reader.getPhysicalDimension(i).strip(),
                    reader.readSignal(i),
                )
                for i in channels
            ]
            start = reader.getStartdatetime()
            sex, age = reader.getSex(), None
    except (OSError, ValueError, RuntimeError) as error:
        raise ValueError(f"{path} is damaged, or no BDF file ({error})") from error
    return _joined(found, path, sex=sex, age=age, start=start)


def _check_bdf_size(path: Path) -> None:
    """Refuse a file that was cut; `pyedflib` would print of it where the answers go."""
    with open(path, "rb") as file:
        head = file.read(256)
        channels = int(head[252:256])
        file.seek(256 + 216 * channels)
        samples = sum(int(file.read(8)) for _ in range(channels))
    wanted, size = int(head[184:192]) + 3 * int(head[236:244]) * samples, path.stat().st_size
    if size < wanted:
        raise ValueError(f"{size} bytes where its header says {wanted}")


def _missing(path: Path, error: ImportError) -> ImportError:
    return ImportError(f'{path}: reading it needs the extra "formats", pip install "mets-ecg[formats]" ({error})')


def _parse(path: Path, parser, failure: type[Exception]):
    try:
        return parser.parse(path, units="mV")
    except failure as error:
        if isinstance(error, ValueError):  # not damaged: of a kind that is not read
            raise
        section = re.search(r"Section (\d+) is too short", str(error))
        if section is None or int(section[1]) not in _STATEMENTS:
            raise ValueError(f"{path} is damaged ({error})") from error
    except (ValueError, OSError) as error:
        raise ValueError(f"{path} is damaged ({error})") from error
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / path.name
        copy.write_bytes(_without_statements(path.read_bytes(), path))
        try:
            return parser.parse(copy, units="mV")
        except failure as error:
            raise ValueError(f"{path} is damaged ({error})") from error


def _without_statements(data: bytes, path: Path) -> bytes:
    """Return an SCP-ECG file whose sections of statements are said to be absent, with its checksums right again."""
    if binascii.crc_hqx(data[2:], 0xFFFF) != int.from_bytes(data[:2], "little"):
        raise ValueError(f"{path} is damaged: its checksum does not fit its content")
    changed, table = bytearray(data), 6 + 16
    size = int.from_bytes(data[6 + 4 : 6 + 8], "little")
    for place in range(table, 6 + size - 9, 10):
        if int.from_bytes(data[place : place + 2], "little") in _STATEMENTS:
            changed[place + 2 : place + 10] = bytes(8)
    changed[6:8] = binascii.crc_hqx(bytes(changed[8 : 6 + size]), 0xFFFF).to_bytes(2, "little")
    changed[:2] = binascii.crc_hqx(bytes(changed[2:]), 0xFFFF).to_bytes(2, "little")
    return bytes(changed)


def _record(record, path: Path) -> ECGRecord:
    _check_beginnings(record, path)
    exact = _exact_rates(record)
    samples = [_samples(lead, record) for lead in record.leads]
    if record.source_format == "sierra_xml":
        samples = _without_pulse(samples)
    channels = [
        (
            lead.label,
            exact.get(lead.label, exact.get("", float(lead.sampling_rate))),
            None if lead.is_raw else lead.units,
            own,
        )
        for lead, own in zip(record.leads, samples, strict=True)
    ]
    stated, found = (record.raw_metadata.get(name, 0) for name in ("ecg_size", "samples_per_lead"))  # of ISHNE
    if stated > found:
        _logger.warning("%s: its header says %d samples a lead, and there are %d: is it whole?", path, stated, found)
    age, start = record.patient.age, record.recording.date
    if start is not None and record.source_format.startswith("edf") and start.timetuple()[:3] == (1985, 1, 1):
        age, start = None, None  # EDF's date of a recording that was made anonymous
    return _joined(channels, path, sex=record.patient.sex, age=age, start=start)


def _check_beginnings(record, path: Path) -> None:
    """Refuse leads that were recorded one after another: their samples are not of the same moments."""
    for name, tolerance in (("start_sample", 0), ("LeadTimeOffset", 0), ("sample_skew_ms", 1)):
        began = [float(lead.annotations.get(name, 0)) for lead in record.leads]
        if began and max(began) - min(began) > tolerance:
            raise ValueError(
                f"{path}: its leads began at different times ({name} from {min(began):g} to {max(began):g}), and what "
                "is read are leads of the same moments: export it as a simultaneous recording"
            )


def _without_pulse(samples: list[np.ndarray]) -> list[np.ndarray]:
    """Return Philips' leads without the calibration pulse after them, in which all are alike."""
    if len(samples) < 2 or len({len(own) for own in samples}) > 1:
        return samples
    alike = np.ptp(np.stack(samples), axis=0) == 0
    last = len(alike) - int(np.argmin(alike[::-1])) if not alike.all() else len(alike)
    return [own[:last] for own in samples]


def _samples(lead, record) -> np.ndarray:
    if record.source_format != "ishne_holter":
        return lead.samples
    fault = -32768 * (1 if lead.is_raw else lead.adc_resolution * 1e-6)  # nV; such samples say that the lead was off
    return np.where(np.isclose(lead.samples, fault, rtol=1e-9), np.nan, lead.samples)


def _exact_rates(record) -> dict[str, float]:
    """Return the rates that `ecgdatakit` has rounded, by lead or, under an empty name, of all."""
    known = record.raw_metadata
    if "exact_sampling_rates" in known:
        return dict(known["exact_sampling_rates"])
    if known.get("rhythm_time", {}).get("sampling_rate_exact"):
        rate = known["rhythm_time"]["sampling_rate_exact"]
        return {"": float(round(rate)) if abs(rate - round(rate)) < 1e-6 * rate else rate}
    for group in known.get("multiplex_groups", ()):
        same_length = record.leads and group["samples"] == len(record.leads[0].samples)
        if same_length and round(group["sampling_frequency"]) == record.leads[0].sampling_rate:
            return {"": float(group["sampling_frequency"])}
    return {}


def _joined(channels: list[tuple], path: Path, *, sex: str, age, start) -> ECGRecord:
    """Return channels, each a name, a rate, a unit and samples, as one record; of several rates those of voltages."""
    rates = {rate for _, rate, _, _ in channels}
    if len(rates) > 1:
        rates = {rate for _, rate, unit, _ in channels if unit in _VOLTAGES}
    if len(rates) > 1:
        rates = {rate for name, rate, unit, _ in channels if unit in _VOLTAGES and _ECG_CHANNEL.search(name)}
    if len(rates) != 1 or min(rates) <= 0:
        said = ", ".join(f"{name} {rate:g} Hz" for name, rate, _, _ in channels)
        raise ValueError(
            f"{path}: its channels have no one rate ({said}), and no one of them is called an ECG's: write the leads "
            "of the ECG to a file of their own"
        )
    others = tuple(f"{name} ({rate:g} Hz)" for name, rate, _, _ in channels if rate not in rates)
    channels = [channel for channel in channels if channel[1] in rates]
    lengths = {len(samples) for _, _, _, samples in channels}
    if len(lengths) != 1 or 0 in lengths:
        raise ValueError(f"{path}: its channels differ in length, {', '.join(map(str, sorted(lengths)))} samples")
    return ECGRecord(
        signal=np.stack([np.asarray(samples, dtype=np.float32) for _, _, _, samples in channels]),
        sampling_rate=rates.pop(),
        lead_names=tuple(name for name, _, _, _ in channels),
        units=tuple(unit or None for _, _, unit, _ in channels),
        record_id=os.path.splitext(path.name)[0],
        left_out=others,
        **parse_age("" if age is None else str(age)),
        sex=parse_sex(sex or ""),
        start_time=None if start is None else start.isoformat(),
    )
