"""Tables of samples as text: names, units, times, separators, and lines that do not fit."""

import numpy as np
import pytest

from mets_ecg.io import read_ecg
from mets_ecg.recordings import read_recording

LEADS = ["I", "II", "V1"]
SIGNAL = np.round(np.random.default_rng(0).normal(size=(3, 60)), 3)


def write(path, header=None, *, separator=",", time=None, end="", comma=False, signal=SIGNAL):
    rows = [list(row) for row in signal.T]
    if time is not None:
        rows = [[t, *row] for t, row in zip(time, rows, strict=True)]
    lines = [separator.join(f"{value:.6g}" for value in row) + end for row in rows]
    if comma:
        lines = [line.replace(".", ",") for line in lines]
    path.write_text("\n".join([*([separator.join(header)] if header else []), *lines]) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("separator", [",", ";", "\t", " ", "|"])
def test_names_and_samples_are_read_with_any_separator(tmp_path, separator):
    record = read_ecg(write(tmp_path / "mine.csv", LEADS, separator=separator))
    np.testing.assert_allclose(record.signal, SIGNAL, atol=1e-6)
    assert record.lead_names == tuple(LEADS)
    assert (record.sampling_rate, record.units, record.record_id) == (None, None, "mine")


def test_a_decimal_comma_is_understood(tmp_path):
    record = read_ecg(write(tmp_path / "german.csv", LEADS, separator=";", comma=True))
    np.testing.assert_allclose(record.signal, SIGNAL, atol=1e-6)
    path = write(tmp_path / "gap.csv", LEADS, separator=";", comma=True)  # a cell that is no number takes another way
    path.write_text(path.read_text().replace("\n", "\nNA;0,25;0,5\n", 1))
    assert read_ecg(path).signal[1:, 0].tolist() == [0.25, 0.5]
    later = "\n".join([";".join(LEADS), *["0;0;0"] * 30, "0,125;0,25;0,5"])
    path.write_text(later)
    assert read_ecg(path).signal[:, -1].tolist() == [0.125, 0.25, 0.5]


@pytest.mark.parametrize(
    ("name", "step", "rate"),
    [
        ("time", 0.002, 500),
        ("Time (ms)", 4, 250),
        ("t [s]", 1 / 360, 360),
        ("time_ms", 1000 / 257, 257),
        ("us", 2000, 500),
    ],
)
def test_a_column_of_times_gives_the_rate_and_is_no_lead(tmp_path, name, step, rate):
    record = read_ecg(write(tmp_path / "timed.csv", [name, *LEADS], time=np.arange(60) * step))
    assert record.sampling_rate == pytest.approx(rate, rel=1e-3)
    assert record.lead_names == tuple(LEADS)


def test_times_without_a_name_give_the_rate_too_and_numbers_of_samples_do_not(tmp_path):
    assert read_ecg(write(tmp_path / "a.csv", time=np.arange(60) * 0.004)).sampling_rate == 250
    counted = read_ecg(write(tmp_path / "b.csv", time=np.arange(60)))
    assert counted.sampling_rate is None and counted.signal.shape == (3, 60)
    named = read_ecg(write(tmp_path / "c.csv", ["sample", *LEADS], time=np.arange(60)))
    assert named.lead_names == tuple(LEADS)
    indexed = read_ecg(write(tmp_path / "d.csv", ["", *LEADS], time=np.arange(60) * 0.004))  # of pandas' to_csv
    assert (indexed.sampling_rate, indexed.lead_names) == (250, tuple(LEADS))


def test_times_that_are_rounded_rise_evenly_and_a_missing_sample_is_found(tmp_path):
    signal = np.random.default_rng(0).normal(size=(3, 3000))
    time = np.arange(3000) / 360
    record = read_ecg(write(tmp_path / "rounded.csv", ["time", *LEADS], time=np.round(time, 3), signal=signal))
    assert record.sampling_rate == pytest.approx(360, rel=1e-4)
    drift = np.cumsum(np.linspace(0.004, 0.0040001, 3000))  # a clock that is not quite even
    record = read_ecg(write(tmp_path / "drift.csv", ["time", *LEADS], time=drift, signal=signal))
    assert record.sampling_rate == pytest.approx(250, rel=1e-4)
    coarse = read_ecg(write(tmp_path / "coarse.csv", ["time", *LEADS], time=np.round(time * 0.45, 3), signal=signal))
    assert coarse.sampling_rate == pytest.approx(800, rel=1e-3)
    late = time + (np.arange(3000) >= 1500) / 360
    with pytest.raises(ValueError, match="'time' does not rise evenly, from sample 1499 to the next by"):
        read_ecg(write(tmp_path / "gap.csv", ["time", *LEADS], time=np.round(late, 3), signal=signal))


def test_columns_in_no_unit_or_another_one_are_no_leads(tmp_path):
    signal = np.vstack([SIGNAL[:2] * 1000, SIGNAL[2:]])
    path = write(tmp_path / "resp.csv", ["I (uV)", "II (uV)", "Resp (Ohm)"], signal=signal)
    recording = read_recording(str(path), 500)
    assert recording.lead_names == ("I", "II") and not recording.assumed
    np.testing.assert_allclose(recording.signal_mv, SIGNAL[:2], atol=1e-4)


@pytest.mark.parametrize("header", [["I (mV)", "II [mV]", "V1 (MV)"], ["I_mV", "II_mV", "V1_mV"]])
def test_units_in_names_are_taken(tmp_path, header):
    record = read_ecg(write(tmp_path / "units.csv", header))
    assert record.lead_names == tuple(LEADS)
    np.testing.assert_allclose(read_recording(str(tmp_path / "units.csv"), 500).signal_mv, SIGNAL, atol=1e-4)


def test_a_line_of_column_numbers_is_no_sample(tmp_path):
    record = read_ecg(write(tmp_path / "pandas.csv", ["0", "1", "2"]))
    np.testing.assert_allclose(record.signal, SIGNAL, atol=1e-6)


def test_what_spreadsheets_and_archives_write_around_names_is_left_out(tmp_path):
    path = write(tmp_path / "excel.csv", [f"'{name}'" for name in LEADS], separator=";")
    path.write_text("sep=;\n" + path.read_text())
    assert read_ecg(path).lead_names == tuple(LEADS)


def test_a_line_a_lead_is_turned(tmp_path):
    record = read_ecg(write(tmp_path / "turned.csv", signal=SIGNAL.T))
    np.testing.assert_allclose(record.signal, SIGNAL, atol=1e-6)


def test_a_table_in_utf_16_is_read(tmp_path):
    path = write(tmp_path / "excel.csv", LEADS, separator="\t")
    path.write_text(path.read_text(), encoding="utf-16")
    np.testing.assert_allclose(read_ecg(path).signal, SIGNAL, atol=1e-6)


def test_microvolts_are_known_by_any_of_their_letters(tmp_path):
    path = write(tmp_path / "micro.csv", ["I (\u00b5V)", "II (\u03bcV)", "V1 (uV)"], signal=SIGNAL * 1000)
    np.testing.assert_allclose(read_recording(str(path), 500).signal_mv, SIGNAL, atol=1e-4)
    path.write_bytes(path.read_text("utf-8").replace("\u03bcV", "uV").encode("latin-1"))
    np.testing.assert_allclose(read_recording(str(path), 500).signal_mv, SIGNAL, atol=1e-4)


def test_gaps_comments_a_mark_of_the_encoding_and_separators_at_the_end(tmp_path):
    path = write(tmp_path / "odd.csv", LEADS, end=",")
    lines = path.read_text().splitlines()
    lines[3] = ",nan,NA,"
    path.write_bytes(b"\xef\xbb\xbf# exported\n" + "\r\n".join([*lines, "", ""]).encode())
    record = read_ecg(path)
    assert record.lead_names == tuple(LEADS) and np.isnan(record.signal[:, 2]).all()
    np.testing.assert_allclose(record.signal[:, 3:], SIGNAL[:, 3:], atol=1e-6)


def test_whole_numbers_stay_whole(tmp_path):
    path = write(tmp_path / "counts.csv", LEADS, signal=np.rint(SIGNAL * 1000))
    assert read_ecg(path).signal.dtype.kind == "i"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:3], ",1,2", *lines[4:]]))  # an empty cell changes nothing of that
    with pytest.raises(ValueError, match="its samples are numbers of a converter"):
        read_recording(str(path), 500)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            "I,II\n1.5,2\n3,x\n",
            r"line 3, column 2: 'x' is not a number: a table has a line a sample and a column a lead",
        ),
        ("Device,X\nI,II,V1\n1,2,3\n", r"line 2: 3 columns, the first line has 2: remove lines that are not of the ta"),
        ("time,I\n0,1.5\n2,2\n4,1\n", r"'time' rises by 2 from sample to sample, .* in ms, call it 'time \(ms\)'"),
        ('I,II\n"1,138",0.5\n2,3\n', "line 2, column 1: '1,138' is not a number"),
        ('"I,II\n1.5,2\n3,4\n', "has a quotation mark that is not closed"),
        ('"' + "0.1234,2\n" * 40000, "cannot be read as a table .*: is a quotation mark not closed"),
        ("I,II\n1.5,2\n3\n", r"line 3: 1 columns, the first line has 2"),
        ("I,II\n", "a line of names and no samples"),
        ("# nothing\n\n", "is empty"),
        ("time\n0\n0.01\n0.02\n", "no column of samples beside the time"),
        ("time,I\n0,1.5\n0.1,2\n0.1,3\n", "'time' does not rise from sample to sample"),
        ("ms,I\n0,1.5\n1,2\n2,3\n3,1\n7,1\n", "'ms' does not rise evenly, from sample 3 to the next by 4"),
    ],
)
def test_what_is_no_table_of_samples_is_refused_by_its_line(tmp_path, text, reason):
    (tmp_path / "bad.csv").write_text(text)
    with pytest.raises(ValueError, match=rf"bad.csv.*{reason}"):
        read_ecg(tmp_path / "bad.csv")
