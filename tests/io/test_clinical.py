"""Clinical formats: files of known content are read right; what is damaged, hostile or of another kind is refused."""

import binascii
import copy
import ctypes
import struct
import sys
from datetime import datetime

import clinical_files as files
import numpy as np
import pytest
from transformers import pipeline

from mets_ecg.io import clinical, read_ecg
from mets_ecg.recordings import read_recording

pytest.importorskip("ecgdatakit")
pydicom, pyedflib = pytest.importorskip("pydicom"), pytest.importorskip("pyedflib")

LEADS = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")
RATE = 500
SIGNAL = np.round(np.random.default_rng(0).normal(size=(8, 2 * RATE)).cumsum(axis=1) * 0.02, 3)


@pytest.mark.parametrize("kind", files.WRITERS)
def test_samples_leads_rate_and_patient_are_those_that_were_written(tmp_path, kind):
    record = read_ecg(files.WRITERS[kind](tmp_path, SIGNAL, LEADS, RATE))
    np.testing.assert_allclose(record.signal, SIGNAL, atol=1e-4)
    assert record.signal.dtype == np.float32
    assert (record.lead_names, record.sampling_rate, set(record.units)) == (LEADS, RATE, {"mV"})
    assert record.start_time == "2021-03-04T05:06:07"
    assert record.sex == "male"
    assert record.age == (None if kind == "bdf" else 61)


def test_one_recording_in_every_format_has_the_same_scores(tmp_path, ptb_xl_source, tiny_checkpoint):
    source = ptb_xl_source / "records500" / "00000" / "00338_hr"
    record = read_ecg(source)
    paths = [write(tmp_path, record.signal, files.STANDARD_LEADS, 500) for write in files.WRITERS.values()]
    pipe = pipeline("zero-shot-classification", model=str(tiny_checkpoint), device="cpu")
    labels = ["left bundle branch block", "atrial fibrillation", "normal ecg"]
    expected, *answers = pipe([str(source), *map(str, paths)], candidate_labels=labels)
    assert len({path.name for path in paths}) == len(files.WRITERS) == 9
    for path, answer in zip(paths, answers, strict=True):
        assert [one["label"] for one in answer] == [one["label"] for one in expected], path
        scores = [one["score"] for one in answer]
        np.testing.assert_allclose(scores, [one["score"] for one in expected], atol=1e-3, err_msg=str(path))


def test_the_limb_leads_of_a_philips_file_are_put_together(tmp_path):
    """Four of the six are stored as what the other two do not say of them."""
    signal = np.round(np.random.default_rng(1).normal(size=(12, 1000)).cumsum(axis=1) * 0.02, 3)
    record = read_ecg(files.write_philips(tmp_path, signal, files.STANDARD_LEADS, 500))
    np.testing.assert_allclose(record.signal, signal, atol=1e-4)
    assert record.lead_names == files.STANDARD_LEADS


def test_the_calibration_pulse_at_the_end_of_a_philips_file_is_no_ecg(tmp_path):
    pulse = np.repeat(np.r_[np.zeros(50), np.ones(100), np.zeros(50)][None], 12, axis=0)
    signal = np.round(np.random.default_rng(1).normal(size=(12, 1000)).cumsum(axis=1) * 0.02, 3)
    path = files.write_philips(tmp_path, np.concatenate([signal, pulse], axis=1), files.STANDARD_LEADS, 500)
    np.testing.assert_allclose(read_ecg(path).signal, signal, atol=1e-4)


def test_samples_of_a_lead_that_was_off_are_missing(tmp_path):
    path = files.write_ishne(tmp_path, SIGNAL, LEADS, RATE)
    data = bytearray(path.read_bytes())
    data[522 + 2 * 8 * 300 + 2 : 522 + 2 * 8 * 300 + 4] = b"\0\x80"
    path.write_bytes(bytes(data))
    assert np.argwhere(np.isnan(read_ecg(path).signal)).tolist() == [[1, 300]]


def test_an_ishne_file_without_a_resolution_is_in_counts(tmp_path):
    path = files.write_ishne(tmp_path, SIGNAL, LEADS, RATE)
    data = bytearray(path.read_bytes())
    data[206:222], data[8:10] = bytes(16), b"\0\0"  # no resolution, and no checksum
    path.write_bytes(bytes(data))
    with pytest.raises(ValueError, match="the unit of I is not stated, its samples are numbers of a converter"):
        read_recording(str(path))
    np.testing.assert_allclose(read_recording(str(path), units="uV").signal_mv, SIGNAL, atol=1e-4)


def test_a_recording_that_is_shorter_than_its_header_says_is_warned_of(tmp_path, caplog):
    """Some recorders state the longest that they can, so that it is no error."""
    path = files.write_ishne(tmp_path, SIGNAL, LEADS, RATE)
    path.write_bytes(path.read_bytes()[: -16 * 400])
    assert read_ecg(path).signal.shape == (8, 600)
    assert "its header says 1000 samples a lead, and there are 600" in caplog.text


@pytest.mark.parametrize("kind", ["edf", "bdf", "dicom", "aecg"])
def test_rates_are_exact(tmp_path, kind):
    """`ecgdatakit` rounds them: 128.5 Hz would be 128, and every interval wrong by 0.4 %."""
    record = read_ecg(
        files.WRITERS[kind](tmp_path, SIGNAL[:, :514], LEADS, 128.5 if kind in ("dicom", "aecg") else 257)
    )
    assert record.sampling_rate == pytest.approx(128.5 if kind in ("dicom", "aecg") else 257, rel=1e-9)


def test_the_rate_of_an_edf_with_records_of_another_length_is_exact(tmp_path):
    path = files.write_edf(tmp_path, SIGNAL, LEADS, RATE, plain=True)
    data = bytearray(path.read_bytes())
    assert data[244:252].split() == [b"1"]
    data[244:252] = b"1.5     "  # seconds of a data record of 500 samples
    path.write_bytes(bytes(data))
    assert read_ecg(path).sampling_rate == pytest.approx(500 / 1.5)


def write_edf_channels(path, channels, *, start=files.START, birth=datetime(1960, 1, 2)):
    """Channels are names with units, rates and samples."""
    with pyedflib.EdfWriter(str(path), len(channels), file_type=pyedflib.FILETYPE_EDFPLUS) as writer:
        writer.setStartdatetime(start)
        writer.setBirthdate(birth)
        for i, (name, unit, rate, _) in enumerate(channels):
            header = {"label": name, "dimension": unit, "sample_frequency": rate, "transducer": "", "prefilter": ""}
            limits = {"physical_min": -5, "physical_max": 5, "digital_min": -32768, "digital_max": 32767}
            writer.setSignalHeader(i, header | limits)
        writer.writeSamples([samples for *_, samples in channels])
    return path


def test_channels_that_are_no_leads_are_left_out(tmp_path, caplog):
    noise = SIGNAL[0]
    channels = [("II", "mV", 500, SIGNAL[0]), ("Marker", "", 500, noise), ("V1", "mV", 500, SIGNAL[1])]
    channels += [("HR", "bpm", 500, noise), ("EMG", "mV", 500, noise), ("Resp", "Ohm", 25, noise[:50])]
    path = write_edf_channels(tmp_path / "a.edf", channels)
    recording = read_recording(str(path))
    assert recording.lead_names == ("II", "V1")
    assert recording.dropped_channels == ("Marker", "HR", "EMG", "Resp (25 Hz)")
    assert "channels of another rate are left out: Resp (25 Hz)" in caplog.text
    named = read_recording(str(path), lead_names=["II", None, None, None, None])
    assert named.lead_names == ("II",)
    path = write_edf_channels(tmp_path / "b.edf", [("ECG II", "mV", 500, SIGNAL[0]), ("C3", "mV", 25, noise[:50])])
    sleep = read_recording(str(path))
    assert (sleep.lead_names, sleep.sampling_rate, sleep.dropped_channels) == (("II",), 500, ("C3 (25 Hz)",))
    path = write_edf_channels(tmp_path / "c.edf", [("one", "mV", 500, SIGNAL[0]), ("two", "mV", 25, noise[:50])])
    with pytest.raises(ValueError, match=r"c.edf: its channels have no one rate \(one 500 Hz, two 25 Hz\), and no one"):
        read_ecg(path)


def test_two_channels_of_one_name_are_refused(tmp_path):
    for kind in ("edf", "bdf", "dicom", "aecg"):
        path = files.WRITERS[kind](tmp_path, SIGNAL[:2], ("II", "II"), RATE)
        with pytest.raises(ValueError, match="unknown lead 'II_2'|duplicate lead II"):
            read_recording(str(path))
        both = read_recording(str(path), lead_names=["II", None])
        np.testing.assert_allclose(both.signal_mv, SIGNAL[:1], atol=1e-3)


@pytest.mark.parametrize(
    ("birth", "start", "age", "over_89"),
    [
        (datetime(1960, 1, 2), files.START, 61, False),
        (datetime(1925, 1, 2), files.START, 96, True),
        (datetime(2030, 1, 2), files.START, None, None),
        (datetime(1850, 1, 2), files.START, None, None),
        (datetime(1960, 1, 2), datetime(1985, 1, 1, 0, 0, 0), None, None),
    ],
)
def test_an_age_is_one_or_none(tmp_path, birth, start, age, over_89):
    """EDF hides the date of an anonymous recording by 1 January 1985."""
    channels = [("II", "mV", 500, SIGNAL[0])]
    record = read_ecg(write_edf_channels(tmp_path / "a.edf", channels, start=start, birth=birth))
    assert (record.age, record.age_over_89) == (age, over_89)
    assert record.start_time == (None if start.year == 1985 else start.isoformat())


def test_leads_that_were_recorded_one_after_another_are_refused(tmp_path):
    path = files.write_scp(tmp_path, SIGNAL, LEADS, RATE, starts=[1] * 4 + [1001] * 4)
    with pytest.raises(ValueError, match=r"recording.scp: its leads began at different times \(start_sample from 0"):
        read_ecg(path)
    path = files.write_muse(tmp_path, SIGNAL, LEADS, RATE)
    text = path.read_text(encoding="latin-1")
    path.write_text(text.replace("<LeadTimeOffset>0<", "<LeadTimeOffset>1250<", 1), encoding="latin-1")
    with pytest.raises(ValueError, match="began at different times"):
        read_ecg(path)
    dataset = pydicom.dcmread(files.write_dicom(tmp_path, SIGNAL, LEADS, RATE))
    dataset.WaveformSequence[0].ChannelDefinitionSequence[3].ChannelSampleSkew = "625"
    dataset.save_as(tmp_path / "skew.dcm")
    with pytest.raises(ValueError, match="skew.dcm: its leads began at different times"):
        read_ecg(tmp_path / "skew.dcm")


def test_a_median_beat_is_not_taken_for_the_recording(tmp_path):
    """Of DICOM: a group that comes first, of as many samples at another rate."""
    path = files.write_dicom(tmp_path, SIGNAL, LEADS, RATE)
    dataset = pydicom.dcmread(path)
    beat = copy.deepcopy(dataset.WaveformSequence[0])
    beat.MultiplexGroupLabel, beat.WaveformOriginality, beat.SamplingFrequency = "MEDIAN BEAT", "DERIVED", "1000"
    dataset.WaveformSequence = [beat, dataset.WaveformSequence[0]]
    dataset.save_as(path)
    assert read_ecg(path).sampling_rate == RATE


def test_a_cut_file_is_refused(tmp_path):
    for write in files.WRITERS.values():
        path = write(tmp_path, SIGNAL, LEADS, RATE)
        data = path.read_bytes()
        path.write_bytes(data[: len(data) * 2 // 3])
        with pytest.raises(ValueError, match=path.name):
            read_ecg(path)
        path.write_bytes(data[:140])
        with pytest.raises((ValueError, FileNotFoundError)):
            read_ecg(path)


def test_nothing_is_printed_of_a_damaged_file(tmp_path, capfd):
    """Answers go to standard output."""
    for write in files.WRITERS.values():
        path = write(tmp_path, SIGNAL, LEADS, RATE)
        path.write_bytes(path.read_bytes()[:-100])
        with pytest.raises(ValueError, match=path.name):
            read_ecg(path)
    ctypes.CDLL(None).fflush(None)  # of libraries in C
    assert capfd.readouterr().out == ""


def test_a_changed_sample_is_noticed_where_there_is_a_checksum(tmp_path):
    path = files.write_scp(tmp_path, SIGNAL, LEADS, RATE)
    data = bytearray(path.read_bytes())
    data[-100] ^= 4
    path.write_bytes(bytes(data))
    with pytest.raises(ValueError, match="CRC"):
        read_ecg(path)
    path = files.write_muse(tmp_path, SIGNAL, LEADS, RATE)
    text = path.read_text(encoding="latin-1")
    place = text.index("<WaveFormData>") + 40
    path.write_text(text[:place] + ("A" if text[place] != "A" else "B") + text[place + 1 :], encoding="latin-1")
    with pytest.raises(ValueError, match="(?i)crc|checksum"):
        read_ecg(path)
    path.rename(tmp_path / "median.xml")  # a word of warnings that may be passed over
    with pytest.raises(ValueError, match="(?i)crc|checksum"):
        read_ecg(tmp_path / "median.xml")
    path = files.write_ishne(tmp_path, SIGNAL, LEADS, RATE)
    data = bytearray(path.read_bytes())
    data[206] ^= 4  # the resolution: only the header has a checksum
    path.write_bytes(bytes(data))
    with pytest.raises(ValueError, match="checksum"):
        read_ecg(path)


def test_what_is_not_applied_to_the_recording_is_an_error_and_to_a_median_beat_is_not(tmp_path):
    path = files.write_muse(tmp_path, SIGNAL, LEADS, RATE)
    text = path.read_text(encoding="latin-1")
    start, end = text.index("<Waveform>"), text.index("</RestingECG>")
    rhythm = text[start:end]
    baseline = ("<FirstSampleBaseline>0<", "<FirstSampleBaseline>7<")
    median = rhythm.replace("Rhythm", "Median").replace(*baseline)
    path.write_text(text[:start] + median + rhythm + text[end:], encoding="latin-1")
    np.testing.assert_allclose(read_ecg(path).signal, SIGNAL, atol=1e-4)
    path.write_text(text[:start] + median + rhythm.replace(*baseline) + text[end:], encoding="latin-1")
    with pytest.raises(ValueError, match="FirstSampleBaseline is non-zero"):
        read_ecg(path)


def test_leads_of_different_lengths_are_refused(tmp_path):
    path = files.write_aecg(tmp_path, SIGNAL, LEADS, RATE)
    text = path.read_text()
    end = text.index("</digits>")
    path.write_text(text[: text.rindex(" ", 0, end)] + text[end:])
    with pytest.raises(ValueError, match="recording.xml: its channels differ in length, 999, 1000 samples"):
        read_ecg(path)


def test_statements_of_an_scp_that_cannot_be_read_do_not_lose_the_recording(tmp_path):
    """A section 11 of a byte, which some devices write."""
    whole = files.write_scp(tmp_path, SIGNAL, LEADS, RATE).read_bytes()
    body = whole[6:]
    section = files.scp_section(11, b"\1", b"\0" * 6)
    table = bytearray(body)
    entry = 16 + 11 * 10
    table[entry + 2 : entry + 10] = struct.pack("<II", len(section), len(whole) + 1)
    table[:2] = binascii.crc_hqx(bytes(table[2 : 16 + 12 * 10]), 0xFFFF).to_bytes(2, "little")
    data = struct.pack("<I", len(whole) + len(section)) + bytes(table) + section
    (tmp_path / "odd.scp").write_bytes(binascii.crc_hqx(data, 0xFFFF).to_bytes(2, "little") + data)
    np.testing.assert_allclose(read_ecg(tmp_path / "odd.scp").signal, SIGNAL, atol=1e-4)
    damaged = bytearray((tmp_path / "odd.scp").read_bytes())
    damaged[-len(section) - 50] ^= 1
    (tmp_path / "odd.scp").write_bytes(bytes(damaged))
    with pytest.raises(ValueError, match="odd.scp is damaged: its checksum does not fit"):
        read_ecg(tmp_path / "odd.scp")


def test_counts_without_a_gain_are_refused(tmp_path):
    path = files.write_muse(tmp_path, SIGNAL, LEADS, RATE)
    text = path.read_text(encoding="latin-1").replace("<LeadAmplitudeUnits>MICROVOLTS</LeadAmplitudeUnits>", "")
    path.write_text(text, encoding="latin-1")
    with pytest.raises(ValueError, match="the unit of I is not stated, its samples are numbers of a converter"):
        read_recording(str(path))
    np.testing.assert_allclose(read_recording(str(path), units="uV").signal_mv, SIGNAL, atol=1e-4)


@pytest.mark.parametrize(
    "text",
    [
        '<!DOCTYPE a [<!ENTITY b "bbbbbbbbbb"><!ENTITY c "&b;&b;&b;&b;">]><AnnotatedECG>&c;</AnnotatedECG>',
        '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><RestingECG>&x;</RestingECG>',
        "<AnnotatedECG>",
        "<?xml version='1.0'?><html/>",
    ],
)
def test_hostile_and_other_xml_is_refused(tmp_path, text):
    (tmp_path / "a.xml").write_text(text)
    with pytest.raises(ValueError, match="a.xml"):
        read_ecg(tmp_path / "a.xml")


def test_a_form_that_is_not_read_is_not_called_damaged(tmp_path):
    path = files.write_philips(tmp_path, SIGNAL, LEADS, RATE)
    path.write_text(path.read_text("utf-16").replace('compression="XLI"', 'compression="ZIP"'), encoding="utf-16")
    with pytest.raises(ValueError, match="is Philips Sierra XML of a kind that is not read .*ZIP"):
        read_ecg(path)
    (tmp_path / "a.xml").write_text('<?xml version="1.0"?><ECG><CHANNEL/></ECG>')
    with pytest.raises(ValueError, match="a.xml is .*: EDF, DICOM, .* are; write it as one of them, or as CSV"):
        read_ecg(tmp_path / "a.xml")


def test_a_file_that_is_too_large_is_refused_before_it_is_read(tmp_path, monkeypatch):
    path = files.write_edf(tmp_path, SIGNAL, LEADS, RATE)
    monkeypatch.setattr(clinical, "MAX_BYTES", 1000)
    with pytest.raises(ValueError, match="more than the 0 MB that are read: cut it into parts"):
        read_ecg(path)


def test_without_the_extra_the_way_out_is_said(tmp_path, monkeypatch):
    paths = [files.write_edf(tmp_path, SIGNAL, LEADS, RATE), files.write_bdf(tmp_path, SIGNAL, LEADS, RATE)]
    for name in ("ecgdatakit", "ecgdatakit.exceptions", "pyedflib"):
        monkeypatch.setitem(sys.modules, name, None)
    for path in paths:
        with pytest.raises(ImportError, match=r'the extra "formats", pip install "mets-ecg\[formats\]"'):
            read_ecg(path)
