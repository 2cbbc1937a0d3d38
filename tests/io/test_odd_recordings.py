"""Odd and damaged WFDB records, written here: read right, or refused with record, cause and way out."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import wfdb

from mets_ecg.io import INVALID_SAMPLE, read_wfdb, read_wfdb_digital, record
from mets_ecg.io.wfdb import MAX_SAMPLES
from mets_ecg.signals import INVALID_SAMPLE as INVALID_SAMPLE_OF_ROWS
from mets_ecg.signals import decode_signal

SAMPLES = np.array([[10, -20], [30, 40], [-50, 60], [70, INVALID_SAMPLE]])  # (samples, leads)


def checks(channel) -> str:
    """The header's fields from ADC zero to checksum, for the samples of a lead."""
    return f"0 {channel[0]} {int(np.sum(channel)) & 0xFFFF}"


def write(folder: Path, lines: list[str], data: bytes = b"", name: str = "odd", suffix: str = "dat") -> Path:
    (folder / f"{name}.hea").write_bytes("\n".join(lines).encode("latin-1") + b"\n")
    (folder / f"{name}.{suffix}").write_bytes(data)
    return folder / name


def write_good(folder: Path, *, first_line="odd 2 500 4", lines=None, comments=(), data=None) -> Path:
    lines = lines or [f"odd.dat 16 1000/mV 16 {checks(SAMPLES[:, i])} 0 {name}" for i, name in enumerate(("I", "II"))]
    return write(folder, [first_line, *lines, *comments], SAMPLES.astype("<i2").tobytes() if data is None else data)


def refused_by_both(path: Path, match: str, kind: type[Exception] = ValueError) -> None:
    for read in (read_wfdb, read_wfdb_digital):
        with pytest.raises(kind, match=match):
            read(path)


def test_the_marker_is_that_of_corpus_rows():
    assert record.INVALID_SAMPLE == INVALID_SAMPLE_OF_ROWS


# Read right.


def test_a_digital_record_decodes_to_the_physical_one(tmp_path):
    path = write_good(tmp_path, comments=["#Age: 59", "# Dx: 426783006", "#"])
    digital = read_wfdb_digital(path)
    np.testing.assert_array_equal(digital.signal, SAMPLES.T)
    assert digital.signal.dtype == np.int16 and digital.signal.flags.c_contiguous
    assert digital.gain.dtype == np.float64 and digital.baseline.dtype == np.int32
    assert (digital.sampling_rate, digital.lead_names, digital.record_id) == (500.0, ("I", "II"), "odd")
    assert digital.comments == ("Age: 59", "Dx: 426783006", "")
    row = {"signal": digital.signal, "gain": digital.gain, "baseline": digital.baseline, "lead_names": ["I", "II"]}
    np.testing.assert_array_equal(decode_signal(row), read_wfdb(path).signal)


@pytest.mark.parametrize(
    "first_line", ["odd.mat 2 500 4 05-May-2020 14:50:55", "odd 2 500.0/1000(0) 4 10:36:00 22/8/61"]
)
def test_record_lines_of_public_corpora(tmp_path, first_line):
    path = write_good(tmp_path, first_line=first_line)
    for read in (read_wfdb, read_wfdb_digital):
        assert (read(path).record_id, read(path).sampling_rate, read(path).signal.shape) == ("odd", 500.0, (2, 4))


@pytest.mark.parametrize(
    ("field", "gain", "baseline", "unit"),
    [
        (" 1000/mV", 1000.0, 0, "mV"),
        (" 1000(0)/mV", 1000.0, 0, "mV"),
        (" 1000.0(-7)/mv", 1000.0, -7, "mv"),
        (" 1.5e3", 1500.0, 0, "mV"),
        (" 2(5)/uV", 2000.0, 5, "uV"),
        (" 1e6/V", 1000.0, 0, "V"),
    ],
)
def test_gains_are_per_millivolt_whatever_the_header_writes(tmp_path, field, gain, baseline, unit):
    path = write(tmp_path, ["odd 1 100 2", f"odd.dat 16{field} 16 0 0 0 0 I"], np.array([500, 7], "<i2").tobytes())
    digital = read_wfdb_digital(path)
    assert (digital.gain[0], digital.baseline[0], digital.units) == (pytest.approx(gain), baseline, (unit,))
    physical = read_wfdb(path)
    scale = {"mV": 1, "uV": 1e-3, "V": 1e3}[physical.units[0]]
    np.testing.assert_allclose(physical.signal[0] * scale, (np.array([500, 7]) - baseline) / gain, rtol=1e-6)


def test_a_gain_without_unit_is_per_millivolt_and_the_baseline_adc_zero(tmp_path):
    data = np.array([1034, 1224], "<i2").tobytes()
    physical = read_wfdb(write(tmp_path, ["odd 1 100 2", "odd.dat 16 200 11 1024 1034 2258 0 I"], data))
    np.testing.assert_allclose(physical.signal, [[0.05, 1.0]])
    assert physical.units == ("mV",)


def test_a_matlab_file_is_read_behind_its_offset(tmp_path):
    lines = [f"odd.mat 16+24 1000/mV 16 {checks(SAMPLES[:, i])} 0 {name}" for i, name in enumerate(("I", "II"))]
    path = write(tmp_path, ["odd.mat 2 500 4", *lines], b"\xff" * 24 + SAMPLES.astype("<i2").tobytes(), suffix="mat")
    for given in (path, f"{path}.mat", f"{path}.hea"):
        np.testing.assert_array_equal(read_wfdb_digital(given).signal, SAMPLES.T)


def test_a_length_that_is_not_stated_follows_from_the_file(tmp_path):
    path = write_good(tmp_path, first_line="odd 2 500")
    np.testing.assert_array_equal(read_wfdb_digital(path).signal, SAMPLES.T)
    path.with_suffix(".dat").write_bytes(b"")
    refused_by_both(path, r"'odd' cannot be read \(odd\.dat has 0 bytes of 1\)")


def test_a_record_in_two_signal_files(tmp_path):
    one, two = SAMPLES[:, 0], SAMPLES[:, 1]
    (tmp_path / "odd.xyz").write_bytes(two.astype("<i2").tobytes())
    lines = [f"odd.dat 16 1000 16 {checks(one)} 0 i", f"odd.xyz 16 1000 16 {checks(two)} 0 vx"]
    path = write(tmp_path, ["odd 2 500 4", *lines], one.astype("<i2").tobytes())
    np.testing.assert_array_equal(read_wfdb_digital(path).signal, SAMPLES.T)
    (tmp_path / "odd.xyz").unlink()
    refused_by_both(path, r"'odd': its header names odd\.xyz, which is not", FileNotFoundError)


def packed_212(channel) -> bytes:
    a, b = (np.array(channel[i::2]) & 0xFFF for i in (0, 1))
    return np.stack([a & 0xFF, (a >> 8) | ((b >> 8) << 4), b & 0xFF], axis=1).astype(np.uint8).tobytes()


@pytest.mark.parametrize(
    ("form", "lowest", "encode"),
    [
        (212, -(2**11), packed_212),
        (80, -(2**7), lambda channel: (np.array(channel) + 128).astype(np.uint8).tobytes()),
        (24, -(2**23), lambda channel: b"".join(int(x).to_bytes(3, "little", signed=True) for x in channel)),
        (32, -(2**31), lambda channel: np.array(channel, "<i4").tobytes()),
        (61, -(2**15), lambda channel: np.array(channel, ">i2").tobytes()),
        (160, -(2**15), lambda channel: (np.array(channel) + 2**15).astype("<u2").tobytes()),
    ],
)
def test_the_marker_of_every_format_becomes_one(tmp_path, form, lowest, encode):
    channel = [5, lowest, -7, lowest + 1 if lowest > -(2**16) else 9]
    path = write(tmp_path, ["odd 1 500 4", f"odd.dat {form} 100/mV 12 {checks(channel)} 0 II"], encode(channel))
    np.testing.assert_array_equal(read_wfdb_digital(path).signal, [[5, INVALID_SAMPLE, -7, channel[3]]])
    np.testing.assert_allclose(read_wfdb(path).signal, [[0.05, np.nan, -0.07, channel[3] / 100]], rtol=1e-6)


@pytest.mark.parametrize("value", [40_000, -32_768])
def test_samples_that_do_not_fit_16_bits_are_refused_by_lead(tmp_path, value):
    path = write(tmp_path, ["odd 1 500 2", "odd.dat 32 100/mV 24 0 0 0 0 II"], np.array([value, 1], "<i4").tobytes())
    with pytest.raises(ValueError, match=f"'odd': samples of lead 'II' do not fit 16 bits .*{value}"):
        read_wfdb_digital(path)
    assert read_wfdb(path).signal[0, 0] == pytest.approx(value / 100)


def test_channels_of_several_samples_a_frame_keep_them_all(tmp_path):
    fast, slow = [1, 2, INVALID_SAMPLE, 4], [10, 20]
    frames = np.array([[1, 2, 10], [INVALID_SAMPLE, 4, 20]], "<i2")
    lines = [f"odd.dat 16x2 100/mV 16 {checks(fast)} 0 II", f"odd.dat 16 100/mV 16 {checks(slow)} 0 V1"]
    digital = read_wfdb_digital(write(tmp_path, ["odd 2 125 2", *lines], frames.tobytes()))
    np.testing.assert_array_equal(digital.signal, [fast, [10, 10, 20, 20]])
    assert digital.sampling_rate == 250.0


def test_skew_is_undone_and_what_it_cuts_off_is_not_recorded(tmp_path):
    lines = [f"odd.dat 16{skew} 100/mV 16 {checks(SAMPLES[:, i])} 0 V{i}" for i, skew in enumerate(("", ":1"))]
    path = write_good(tmp_path, lines=lines)
    np.testing.assert_array_equal(
        read_wfdb_digital(path).signal, [[10, 30, -50, 70], [40, 60, INVALID_SAMPLE, INVALID_SAMPLE]]
    )
    np.testing.assert_allclose(read_wfdb(path).signal, wfdb.rdrecord(str(path)).p_signal.T, rtol=1e-6)


def test_segments_are_joined_by_lead_with_gaps_between_them(tmp_path):
    write(tmp_path, ["one 1 500 2", "one.dat 16 1000/mV 16 0 1 3 0 II"], np.array([1, 2], "<i2").tobytes(), "one")
    write(
        tmp_path,
        ["two 2 500 2", "two.dat 16 1000/mV 16 0 3 7 0 I", "two.dat 16 1000/mV 16 0 5 11 0 II"],
        np.array([3, 5, 4, 6], "<i2").tobytes(),
        "two",
    )
    write(tmp_path, ["layout 2 500 0", "~ 0 1000/mV 16 0 0 0 0 I", "~ 0 1000/mV 16 0 0 0 0 II"], name="layout")
    path = write(tmp_path, ["odd/4 2 500 5", "layout 0", "one 2", "~ 1", "two 2"])
    no = INVALID_SAMPLE
    digital = read_wfdb_digital(path)
    np.testing.assert_array_equal(digital.signal, [[no, no, no, 3, 4], [1, 2, no, 5, 6]])
    np.testing.assert_array_equal(digital.gain, [1000, 1000])
    nan = np.nan
    np.testing.assert_allclose(
        read_wfdb(path).signal, [[nan, nan, nan, 0.003, 0.004], [0.001, 0.002, nan, 0.005, 0.006]], rtol=1e-6
    )
    refused_by_both(tmp_path / "layout", "'layout': its header only lays out another record's signals")
    (tmp_path / "two.hea").unlink()
    refused_by_both(path, r"'odd': its header names two\.hea, which is not", FileNotFoundError)


@pytest.mark.parametrize(
    ("comment", "text"),
    [(b"# M\xfcller, sinus", "Müller, sinus"), ("# Müller".encode(), "Müller"), (b"# a\x85b", "a\x85b")],
)
def test_comments_in_any_encoding_do_not_hide_the_record(tmp_path, comment, text):
    path = write_good(tmp_path)
    header = path.with_suffix(".hea")
    header.write_bytes(b"\xef\xbb\xbf# first\r\n\r\n" + header.read_bytes().replace(b"\n", b"\r\n") + comment)
    assert read_wfdb_digital(path).comments == ("first", text)
    assert read_wfdb(path).signal.shape == (2, 4)


# Refused clearly.


@pytest.mark.parametrize("first_line", ["odd 2 500 4", "odd 2 500"])
def test_a_truncated_file_is_refused(tmp_path, first_line):
    match = r"'odd' cannot be read \(odd\.dat has 14 bytes of 16\): the file is truncated"
    if first_line == "odd 2 500":  # only the checksums can tell
        match = "'odd': the samples of lead 'I' add up to the checksum"
    data = SAMPLES.astype("<i2").tobytes()
    keep = 14 if "4" in first_line else 12
    refused_by_both(write_good(tmp_path, first_line=first_line, data=data[:keep]), match)


def test_a_truncated_file_in_a_packed_format_is_refused(tmp_path):
    path = write(tmp_path, ["odd 1 500 4", "odd.dat 212 100/mV 12 0 0 0 0 II"], packed_212([1, 2, 3, 4])[:5])
    refused_by_both(path, r"'odd' cannot be read \(odd\.dat has 5 bytes of 6\): the file is truncated")


@pytest.mark.parametrize("first_line", ["odd 2 500 3", "odd 2 500 4"])
def test_a_header_that_disagrees_with_its_data_is_refused(tmp_path, first_line):
    data = SAMPLES.astype("<i2").tobytes() + (b"" if "3" in first_line else b"\0\0")
    refused_by_both(
        write_good(tmp_path, first_line=first_line, data=data),
        rf"odd\.dat has {len(data)} bytes where the header says \d+\): the header disagrees with the data; download",
    )


@pytest.mark.parametrize("form", [16, 32])
def test_a_damaged_sample_is_found_by_the_checksum_and_named_by_lead(tmp_path, form):
    lines = [f"odd.dat {form} 1000/mV 16 {checks([1, 2])} 0 I", f"odd.dat {form} 1000/mV 16 {checks([3, 4])} 0 II"]
    path = write(tmp_path, ["odd 2 500 2", *lines], np.array([1, 3, 2, 5], f"<i{form // 8}").tobytes())
    refused_by_both(path, "'odd': the samples of lead 'II' add up to the checksum 8 and not to 7.*download both again")


def test_signed_checksums_are_the_same_sums(tmp_path):
    lines = ["odd.dat 16 1000/mV 16 0 -5 -11 0 I"]
    assert read_wfdb(write(tmp_path, ["odd 1 500 2", *lines], np.array([-5, -6], "<i2").tobytes())).signal.shape == (
        1,
        2,
    )


def test_a_wrong_initial_value_is_named_where_no_checksum_is_stated(tmp_path):
    path = write(tmp_path, ["odd 1 500 2", "odd.dat 16 1000/mV 16 0 3 0 0 I"], np.array([-20, 6], "<i2").tobytes())
    refused_by_both(path, "'odd': the samples of lead 'I' begin with -20 and not with 3")


def test_zeros_in_the_place_of_checksums_state_nothing(tmp_path):
    path = write(tmp_path, ["odd 1 500 2", "odd.dat 16 1000/mV 16 0 0 0 0 I"], np.array([-20, 6], "<i2").tobytes())
    np.testing.assert_array_equal(read_wfdb_digital(path).signal, [[-20, 6]])


def test_missing_files_are_named(tmp_path):
    path = write_good(tmp_path)
    path.with_suffix(".dat").unlink()
    refused_by_both(path, r"'odd': its header names odd\.dat, which is not in", FileNotFoundError)
    refused_by_both(tmp_path / "absent", r"'absent': no header .*absent\.hea", FileNotFoundError)
    (tmp_path / "struct.mat").write_bytes(b"MATLAB 5.0")
    refused_by_both(tmp_path / "struct.mat", r"'struct': no header .*struct\.hea", FileNotFoundError)


@pytest.mark.parametrize("name", ["ecg.dcm", "ecg.edf", "ecg.scp", "ecg.xml", "ecg"])
def test_a_file_in_another_format_is_refused_with_what_is_read(tmp_path, name):
    (tmp_path / name).write_bytes(b"0       ")
    refused_by_both(tmp_path / name, rf"{name} is not a WFDB record: what is read is a WFDB header \(\.hea\)")


@pytest.mark.parametrize(
    ("first_line", "line", "match"),
    [
        (
            "odd 1 500",
            "odd.dat 16 1000/mmHg 16 0 0 0 0 ABP",
            "lead 'ABP' is in 'mmHg', which is not a known unit of voltage",
        ),
        ("odd 1 500", "odd.dat 16 1000/mV 16 0 0 0 0", "signal 0 has no name"),
        ("odd 1 500", "odd.dat 16 -1000/mV 16 0 0 0 0 I", "lead 'I' has the gain -1000"),
        ("odd 2 500", "odd.dat 16 9/mV 16 0 0 0 0 V1 \nodd.dat 16 9/mV 16 0 0 0 0 V1", "two leads are named 'V1'"),
    ],
)
def test_what_makes_no_corpus_row_is_refused_for_corpora_only(tmp_path, first_line, line, match):
    path = write(tmp_path, [first_line, line], np.zeros(4, "<i2").tobytes())
    with pytest.raises(ValueError, match=f"WFDB record 'odd': {match}"):
        read_wfdb_digital(path)
    assert np.isfinite(read_wfdb(path).signal).all()


@pytest.mark.parametrize(
    ("lines", "match"),
    [
        (["odd one 500 4"], "its first line is 'odd one 500 4'"),
        (["odd 2 500 4.5"], "its first line is"),
        (["\0" * 40], "its first line is"),
        (["odd 1 0 4", "odd.dat 16 1000/mV"], "the sampling rate is 0 Hz"),
        (["odd 1 1e999 4", "odd.dat 16 1000/mV"], "the sampling rate is inf Hz"),
        (["odd 2 500 4", "odd.dat 16 1000/mV"], "it promises 2 signals and describes 1"),
        (["odd 1000000000 500 4", "odd.dat 16 1000/mV"], "it promises 1000000000 signals and describes 1"),
        (["odd/1000000000 1 500 4", "a 4"], "it promises 1000000000 segments and names 1"),
        ([f"odd {'9' * 5000} 500 4"], "its first line is"),
        (["odd 1 500 4", "odd.dat 16 10x0/mV 16 0 0 0 0 I"], "a signal line is 'odd.dat 16 10x0/mV"),
        (["odd 1 500 4", "odd.dat 16 1000/mV 16 0 I"], "a signal line is"),
        (["odd 1 500 4", f"odd.dat 16 1000({'9' * 5000})/mV"], "a signal line is"),
        (["odd 1 500 4", "odd.dat 16 1000(9999999999)/mV"], "an impossible frame, baseline or initial value"),
        (["odd 1 500 4", "odd.dat 16 1e999/mV 16 0 0 0 0 I"], "the gain of 'I' is inf"),
        (["odd 1 500 4", "odd.dat 7 1000/mV"], "there is no sample format 7"),
        (["odd 1 500 4", "../odd.dat 16 1000/mV"], "it names '../odd.dat', which is not a file beside it"),
        (["odd 1 500 4", "odd.dat 16 1/\xb0V 16 0 0 0 0 I"], r"letters that are not ASCII \(microvolts are written uV"),
        (["odd 2 500 2", "odd.dat 16 1 16 0 0 0 0 I", "odd.dat 80 1 16 0 0 0 0 II"], "odd.dat has two formats"),
    ],
)
def test_a_damaged_header_is_refused_with_the_damage(tmp_path, lines, match):
    path = write(tmp_path, lines, bytes(8))
    refused_by_both(path, rf"^WFDB record 'odd' cannot be read \(.*{match}.*breaks the WFDB format; .*odd\.hea")


def test_an_empty_header_is_refused(tmp_path):
    path = write(tmp_path, ["# nothing but a comment"])
    refused_by_both(path, r"'odd' cannot be read \(it is empty\)")


def test_a_record_without_signals_or_samples_is_refused(tmp_path):
    refused_by_both(write(tmp_path, ["odd 0 500 1000"]), "'odd': the header has no signals")
    path = write_good(tmp_path, first_line="odd 2 500 0")
    refused_by_both(path, r"'odd': its header says that it has 0 samples.*write their number into the first line of")


@pytest.mark.parametrize(
    ("lines", "match"),
    [
        (["odd 1 250 100000000000", "odd.dat 516 200 8 0 0 0 0 I"], "promises 100000000000 samples of 1 leads"),
        (["odd 1 250 1000", "odd.dat 516x1000000 200 8 0 0 0 0 I"], "promises 1000000000 samples of 1 leads"),
        (["odd/1 9 250 99999999", "a 99999999"], "promises 99999999 samples of 9 leads"),
    ],
)
def test_a_header_that_promises_too_much_is_refused_before_memory_is_taken(tmp_path, lines, match):
    path = write(tmp_path, lines, b"fLaC")
    tracemalloc.start()
    try:
        refused_by_both(path, f"'odd': its header {match}, more than the {MAX_SAMPLES}")
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_the_limit_of_a_corpus_holds_also_where_the_file_gives_the_length(tmp_path):
    path = write_good(tmp_path, first_line="odd 2 500")
    assert read_wfdb_digital(path, max_samples=8).signal.shape == (2, 4)
    with pytest.raises(ValueError, match="'odd': its header promises 4 samples of 2 leads, more than the 7"):
        read_wfdb_digital(path, max_samples=7)


def test_a_compressed_file_needs_a_stated_length_and_must_keep_it(tmp_path):
    line = "odd.dat 516 200 8 0 0 0 0 I"
    refused_by_both(write(tmp_path, ["odd 1 250", line], b"fLaC"), "odd.dat is compressed and its header does not say")
    refused_by_both(write(tmp_path, ["odd 1 250 4", line], b"nothing"), r"'odd' cannot be read \(.*not a FLAC file\)")


def test_a_record_that_is_its_own_segment_ends_in_an_error(tmp_path):
    refused_by_both(write(tmp_path, ["odd/1 1 250 4", "odd 4"]), "record 'odd', segment 'odd' has segments itself")
