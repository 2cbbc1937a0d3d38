"""Files of clinical formats with known content, written for the tests: a signal in steps of 1 uV, a man of 61 years.

Each writer takes `signal (leads, samples)` in mV, `lead_names` and `rate`, and returns the path of its file.
"""

from __future__ import annotations

import base64
import binascii
import struct
import zlib
from datetime import datetime
from pathlib import Path

import numpy as np

STANDARD_LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
START = datetime(2021, 3, 4, 5, 6, 7)


def microvolts(signal) -> np.ndarray:
    return np.rint(np.asarray(signal) * 1000).astype(np.int64)


def write_edf(folder: Path, signal, lead_names, rate, *, suffix=".edf", plain=False) -> Path:
    import pyedflib

    path = folder / f"recording{suffix}"
    kind = pyedflib.FILETYPE_BDFPLUS if suffix == ".bdf" else pyedflib.FILETYPE_EDFPLUS - plain
    digital = (-8388600, 8388600) if suffix == ".bdf" else (-32768, 32767)
    physical = (-8388.6, 8388.6) if suffix == ".bdf" else (-32.768, 32.767)
    with pyedflib.EdfWriter(str(path), len(signal), file_type=kind) as writer:
        writer.setStartdatetime(START)
        writer.setBirthdate(datetime(1960, 1, 2))
        writer.setSex(1)
        for i, name in enumerate(lead_names):
            header = {"label": name, "dimension": "mV", "sample_frequency": rate, "prefilter": "", "transducer": ""}
            header |= {"physical_min": physical[0], "physical_max": physical[1]}
            writer.setSignalHeader(i, header | {"digital_min": digital[0], "digital_max": digital[1]})
        writer.writeSamples([own.astype(np.int32) for own in microvolts(signal)], digital=True)
    return path


def write_bdf(folder: Path, signal, lead_names, rate) -> Path:
    return write_edf(folder, signal, lead_names, rate, suffix=".bdf")


def write_dicom(folder: Path, signal, lead_names, rate) -> Path:
    from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, TwelveLeadECGWaveformStorage, generate_uid

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = TwelveLeadECGWaveformStorage, generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    path = folder / "recording.dcm"
    ds = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    ds.SOPClassUID, ds.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    ds.PatientAge, ds.PatientSex, ds.AcquisitionDateTime = "061Y", "M", START.strftime("%Y%m%d%H%M%S")
    group, channels = Dataset(), []
    for name in lead_names:
        channel, source, unit = Dataset(), Dataset(), Dataset()
        source.CodeValue, source.CodingSchemeDesignator, source.CodeMeaning = (
            f"MDC_ECG_LEAD_{name}",
            "MDC",
            f"Lead {name}",
        )
        unit.CodeValue, unit.CodingSchemeDesignator, unit.CodeMeaning = "uV", "UCUM", "microvolt"
        channel.ChannelSourceSequence, channel.ChannelSensitivityUnitsSequence = [source], [unit]
        channel.ChannelSensitivity, channel.ChannelSensitivityCorrectionFactor, channel.ChannelBaseline = "1", "1", "0"
        channel.WaveformBitsStored = 16
        channels.append(channel)
    group.MultiplexGroupLabel, group.WaveformOriginality = "RHYTHM", "ORIGINAL"
    group.NumberOfWaveformChannels, group.NumberOfWaveformSamples = np.shape(signal)
    group.SamplingFrequency, group.ChannelDefinitionSequence = str(rate), channels
    group.WaveformBitsAllocated, group.WaveformSampleInterpretation = 16, "SS"
    group.WaveformData = microvolts(signal).T.astype("<i2").tobytes()
    ds.WaveformSequence = [group]
    ds.save_as(path, enforce_file_format=True)
    return path


def write_aecg(folder: Path, signal, lead_names, rate) -> Path:
    sequences = "".join(
        f'<component><sequence><code code="MDC_ECG_LEAD_{name}"/><value xsi:type="SLIST_PQ">'
        '<origin value="0" unit="uV"/>'
        f'<scale value="1" unit="uV"/><digits>{" ".join(map(str, own))}</digits></value></sequence></component>'
        for name, own in zip(lead_names, microvolts(signal), strict=True)
    )
    text = (
        '<?xml version="1.0" encoding="UTF-8"?><AnnotatedECG xmlns="urn:hl7-org:v3" '
        'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><id root="1.2.3"/>'
        "<componentOf><timepointEvent><componentOf><subjectAssignment><subject><trialSubject><subjectDemographicPerson>"
        '<administrativeGenderCode code="M"/><birthTime value="19600102"/></subjectDemographicPerson></trialSubject>'
        "</subject></subjectAssignment></componentOf></timepointEvent></componentOf>"
        f'<effectiveTime><low value="{START:%Y%m%d%H%M%S}"/></effectiveTime>'
        f'<component><series><code code="RHYTHM"/><effectiveTime><low value="{START:%Y%m%d%H%M%S}"/></effectiveTime>'
        '<component><sequenceSet><component><sequence><code code="TIME_ABSOLUTE"/><value xsi:type="GLIST_TS">'
        f'<head value="{START:%Y%m%d%H%M%S}"/><increment value="{1 / rate:.12g}" unit="s"/></value></sequence>'
        "</component>"
        f"{sequences}</sequenceSet></component></series></component></AnnotatedECG>"
    )
    path = folder / "recording.xml"
    path.write_text(text, encoding="utf-8")
    return path


def write_muse(folder: Path, signal, lead_names, rate) -> Path:
    leads = ""
    for name, own in zip(lead_names, microvolts(signal), strict=True):
        data = own.astype("<i2").tobytes()
        leads += (
            f"<LeadData><LeadByteCountTotal>{len(data)}</LeadByteCountTotal><LeadTimeOffset>0</LeadTimeOffset>"
            f"<LeadSampleCountTotal>{len(own)}</LeadSampleCountTotal><LeadAmplitudeUnitsPerBit>1.0"
            "</LeadAmplitudeUnitsPerBit><LeadAmplitudeUnits>MICROVOLTS</LeadAmplitudeUnits><LeadHighLimit>32767"
            f"</LeadHighLimit><LeadLowLimit>-32768</LeadLowLimit><LeadID>{name}</LeadID><LeadOffsetFirstSample>0"
            "</LeadOffsetFirstSample><FirstSampleBaseline>0</FirstSampleBaseline><LeadSampleSize>2</LeadSampleSize>"
            f"<LeadOff>FALSE</LeadOff><BaselineSway>FALSE</BaselineSway><LeadDataCRC32>{zlib.crc32(data)}</LeadDataCRC32>"
            f"<WaveFormData>{base64.b64encode(data).decode()}</WaveFormData></LeadData>"
        )
    text = (
        '<?xml version="1.0" encoding="ISO-8859-1"?><RestingECG><MuseInfo><MuseVersion>8.0</MuseVersion></MuseInfo>'
        "<PatientDemographics><PatientAge>61</PatientAge><AgeUnits>YEARS</AgeUnits><Gender>MALE</Gender>"
        f"</PatientDemographics><TestDemographics><AcquisitionTime>{START:%H:%M:%S}</AcquisitionTime><AcquisitionDate>"
        f"{START:%m-%d-%Y}</AcquisitionDate></TestDemographics><Waveform><WaveformType>Rhythm</WaveformType><SampleBase>"
        f"{rate}</SampleBase><SampleExponent>0</SampleExponent>{leads}</Waveform></RestingECG>"
    )
    path = folder / "recording.muse.xml"
    path.write_text(text, encoding="latin-1")
    return path


def write_philips(folder: Path, signal, lead_names, rate) -> Path:
    """Compressed by XLI (second differences, LZW), in UTF-16, as carts write it."""
    own = list(microvolts(signal))
    if tuple(lead_names[:6]) == ("I", "II", "III", "aVR", "aVL", "aVF"):  # what two leads do not say of four
        one, two, three = own[:3]
        own[2:6] = (
            two - one - three,
            -own[3] - (one + two) // 2,
            (one - three) // 2 - own[4],
            (two + three) // 2 - own[5],
        )
    data = b"".join(_xli(samples) for samples in own)
    text = (
        '<?xml version="1.0" encoding="utf-16"?><restingecgdata xmlns="http://www3.medical.philips.com"><documentinfo>'
        "<documenttype>PhilipsECG</documenttype><documentversion>1.04.01</documentversion></documentinfo>"
        f'<dataacquisition date="{START:%Y-%m-%d}" time="{START:%H:%M:%S}"><signalcharacteristics>'
        f"<samplingrate>{rate}</samplingrate></signalcharacteristics></dataacquisition><patient><generalpatientdata>"
        "<age><years>61</years></age><sex>Male</sex></generalpatientdata></patient><waveforms>"
        f'<parsedwaveforms dataencoding="Base64" compression="XLI" numberofleads="{len(signal)}" '
        f'leadlabels="{" ".join(lead_names)}" durationperchannel="{1000 * np.shape(signal)[1] / rate:g}" '
        f'samplespersecond="{rate}" resolution="1" signaloffset="0" signalsigned="True" bitspersample="16">'
        f"{base64.b64encode(data).decode()}</parsedwaveforms></waveforms></restingecgdata>"
    )
    path = folder / "recording.philips.xml"
    path.write_text(text, encoding="utf-16")
    return path


def _xli(samples: np.ndarray) -> bytes:
    # A code is how far a sample lies from the line through the two before it; it counts for the sample after it.
    codes = np.append(2 * samples[1:-1] - samples[:-2] - samples[2:], 0)
    words = np.concatenate([samples[:2], codes[1:] + 64]).astype(">i2").tobytes()
    body = _lzw(words[::2] + words[1::2])
    return struct.pack("<IHh", len(body), 0, codes[0]) + body


def _lzw(data: bytes) -> bytes:
    known, bits, text = {bytes([i]): i for i in range(256)}, "", b""
    for byte in data:
        longer = text + bytes([byte])
        if longer in known:
            text = longer
            continue
        bits += f"{known[text]:010b}"
        if len(known) < 1023:
            known[longer] = len(known)
        text = bytes([byte])
    bits += f"{known[text]:010b}" + f"{1023:010b}"
    return _packed(bits)


def _packed(bits: str) -> bytes:
    bits += "0" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big")


def write_ishne(folder: Path, signal, lead_names, rate) -> Path:
    """Badilini, Ann Noninvasive Electrocardiol 1998;3(3):263-266. Its rates are whole; its resolution is 1 uV here."""
    samples, absent = microvolts(signal), [-9] * (12 - len(signal))
    codes = {name: 5 + i for i, name in enumerate(STANDARD_LEADS)}
    head = struct.pack("<iiiih", 0, samples.shape[1], 522, 522, 1) + b"\0" * 100
    head += struct.pack("<hh3h", 1, 0, 2, 1, 1960)
    head += struct.pack("<3h3h3h", *(START.day, START.month, START.year) * 2, START.hour, START.minute, START.second)
    head += struct.pack("<h12h", len(samples), *(codes[name] for name in lead_names), *absent)
    head += struct.pack("<12h12hh", *([1] * len(samples) + absent), *([1000] * len(samples) + absent), 0)
    head += b"digital".ljust(40, b"\0") + struct.pack("<h", rate)
    head = head.ljust(512, b"\0")
    path = folder / "recording.ecg"
    checksum = struct.pack("<H", binascii.crc_hqx(head, 0xFFFF))
    path.write_bytes(b"ISHNE1.0" + checksum + head + samples.T.astype("<i2").tobytes())
    return path


# Of SCP-ECG's leads, their codes.
_SCP_CODES = {
    "I": 1,
    "II": 2,
    "V1": 3,
    "V2": 4,
    "V3": 5,
    "V4": 6,
    "V5": 7,
    "V6": 8,
    "III": 61,
    "aVR": 62,
    "aVL": 63,
    "aVF": 64,
}


def write_scp(folder: Path, signal, lead_names, rate, *, huffman=False, starts=None) -> Path:
    """Sections 0 (pointers), 1 (patient), 3 (leads) and 6 (rhythm), and 2 (Huffman table) if it is compressed."""
    samples = microvolts(signal)
    tags = [(5, struct.pack("<HBB", 1960, 1, 2)), (8, b"\x01"), (4, struct.pack("<HB", 61, 1))]
    tags += [(25, struct.pack("<HBB", START.year, START.month, START.day))]
    tags += [(26, struct.pack("<BBB", START.hour, START.minute, START.second))]
    patient = b"".join(struct.pack("<BH", tag, len(value)) + value for tag, value in tags) + b"\xff\0\0"
    leads = struct.pack("<BB", len(samples), 4 | (len(samples) << 3))
    starts, count = starts or [1] * len(samples), samples.shape[1]
    leads += b"".join(
        struct.pack("<IIB", start, start + count - 1, _SCP_CODES[name])
        for start, name in zip(starts, lead_names, strict=True)
    )
    packed = [_scp_huffman(own) if huffman else own.astype("<i2").tobytes() for own in samples]
    rhythm = struct.pack("<HHBB", 1000, round(1e6 / rate), 2 * huffman, 0)
    rhythm += b"".join(struct.pack("<H", len(own)) for own in packed) + b"".join(packed)
    contents = {1: patient, **({2: struct.pack("<H", 19999)} if huffman else {}), 3: leads, 6: rhythm}
    contents = {number: data + b"\0" * (len(data) % 2) for number, data in contents.items()}
    numbers, place = range(12), 6 + 16 + 12 * 10
    pointers, body = b"", b""
    for number in numbers:
        size = 16 + len(contents[number]) if number in contents else 0
        at = place + len(body) + 1 if size else 0
        if number == 0:
            size, at = 16 + 12 * 10, 7
        pointers += struct.pack("<HII", number, size, at)
        if number in contents:
            body += scp_section(number, contents[number], b"\0" * 6)
    data = scp_section(0, pointers, b"SCPECG") + body
    data = struct.pack("<I", 6 + len(data)) + data
    path = folder / ("recording.huffman.scp" if huffman else "recording.scp")
    path.write_bytes(struct.pack("<H", binascii.crc_hqx(data, 0xFFFF)) + data)
    return path


def write_scp_huffman(folder: Path, signal, lead_names, rate) -> Path:
    return write_scp(folder, signal, lead_names, rate, huffman=True)


def _scp_huffman(samples: np.ndarray) -> bytes:
    """Second differences by the standard's default table."""
    bits = ""
    for value in [*samples[:2], *np.diff(samples, n=2)]:
        if abs(value) <= 8:
            bits += "1" * abs(value) + "0" + ("" if value == 0 else "1" if value < 0 else "0")
        else:
            width = 8 if -128 <= value < 128 else 16
            bits += "1" * 9 + ("0" if width == 8 else "1") + f"{value % 2**width:0{width}b}"
    return _packed(bits) + b"\0" * (len(_packed(bits)) % 2)


def scp_section(number: int, content: bytes, reserved: bytes) -> bytes:
    section = struct.pack("<HIBB", number, 16 + len(content), 20, 20) + reserved + content
    return struct.pack("<H", binascii.crc_hqx(section, 0xFFFF)) + section


WRITERS = {
    "edf": write_edf,
    "bdf": write_bdf,
    "dicom": write_dicom,
    "aecg": write_aecg,
    "muse": write_muse,
    "scp": write_scp,
    "scp-huffman": write_scp_huffman,
    "philips": write_philips,
    "ishne": write_ishne,
}
