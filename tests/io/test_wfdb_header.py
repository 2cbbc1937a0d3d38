"""WFDB headers as devices and corpora write them, read as they say or refused with what they lack."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mets_ecg.io import read_wfdb, read_wfdb_digital


def write(folder: Path, lines: list[str | bytes], samples=((500, 7),), name: str = "one") -> Path:
    lines = [line if isinstance(line, bytes) else line.encode() for line in lines]
    (folder / f"{name}.hea").write_bytes(b"\n".join(lines) + b"\n")
    (folder / "one.dat").write_bytes(np.array(samples).T.astype("<i2").tobytes())
    return folder / name


@pytest.mark.parametrize(
    ("form", "data"), [(16, b"\1\0\2\0"), (212, b"\1\0\2"), (80, b"\x81\x82"), (24, b"\1\0\0\2\0\0")]
)
@pytest.mark.parametrize("start", ["2006", "24:00:00", "24:00:00 31/12/2019", "10:00 2006-1-1", "noon"])
def test_a_date_that_cannot_be_is_not_damage_in_any_format(tmp_path, form, data, start):
    path = write(tmp_path, [f"one 1 500 2 {start}", f"one.dat {form} 1000/mV 16 0 1 3 0 I"])
    (tmp_path / "one.dat").write_bytes(data)
    for read in (read_wfdb, read_wfdb_digital):
        assert read(path).signal.shape == (1, 2)
    assert read_wfdb(path).start_time is None


def test_a_record_says_who_it_is_of_and_when_but_not_the_name(tmp_path):
    lines = [
        "one 1 500 2 08:44:00 23/07/2180",
        "one.dat 16 1000/mV 16 0 0 0 0 I",
        "# Name: Doe",
        "# Age: 92",
        "# Sex: F",
    ]
    record = read_wfdb(write(tmp_path, lines))
    assert (record.age, record.age_over_89, record.sex) == (92.0, True, "female")
    assert record.start_time == "2180-07-23T08:44:00"
    assert "Doe" not in repr(record)
    record = read_wfdb(write(tmp_path, lines[:2]))
    assert (record.age, record.age_over_89, record.sex) == (None, None, None)


def test_a_header_without_rate_is_not_taken_for_250_hz(tmp_path):
    path = write(tmp_path, ["one 1", "one.dat 16 1000/mV 16 0 500 507 0 I"])
    assert read_wfdb(path).sampling_rate is None
    with pytest.raises(
        ValueError, match=r"'one': its header does not state the sampling rate; write it.*first line of .*one\.hea"
    ):
        read_wfdb_digital(path)


@pytest.mark.parametrize("gain", ["", " 0", " 0/mV", " 0(100) 16 0 500 507 0 II", " 0 16 100 500 507 0 II"])
def test_a_line_without_gain_is_not_taken_for_200_per_millivolt(tmp_path, gain):
    lines = ["one 2 100 2", "one.dat 16 10/mV 16 0 3 7 0 I", f"one.dat 16{gain}"]
    path = write(tmp_path, lines, [[3, 4], [500, 7]])
    record = read_wfdb(path)
    baseline = 100 if "100" in gain else 0
    assert record.units == ("mV", None)
    np.testing.assert_allclose(record.signal, [[0.3, 0.4], [500 - baseline, 7 - baseline]])
    if "II" in gain:
        with pytest.raises(ValueError, match=r"'one': its header states no gain for lead 'II'; write .*one\.hea"):
            read_wfdb_digital(path)


@pytest.mark.parametrize("folder", ["records500/00000/", "./", "2/"])
def test_a_folder_before_the_record_s_name(tmp_path, folder):
    path = write(tmp_path, [f"{folder}one 1 500 2", "one.dat 16 1000/mV 16 0 500 507 0 I"])
    for read in (read_wfdb, read_wfdb_digital):
        assert (read(path).record_id, read(path).sampling_rate) == ("one", 500.0)


def test_a_folder_before_a_name_of_digits_is_not_a_number_of_segments(tmp_path):
    lines = ["p1000/40689238 1 500 2", "one.dat 16 1000/mV 16 0 500 507 0 I"]
    assert read_wfdb(write(tmp_path, lines, name="40689238")).record_id == "40689238"
    with pytest.raises(ValueError, match="'other' cannot be read .it promises 40689238 segments and names 1"):
        read_wfdb(write(tmp_path, lines, name="other"))


@pytest.mark.parametrize(
    ("unit", "known"),
    [
        ("\N{MICRO SIGN}V".encode(), "uV"),
        ("\N{MICRO SIGN}V".encode("latin-1"), "uV"),
        ("\N{GREEK SMALL LETTER MU}V".encode(), "uV"),
        ("\N{MICRO SIGN}v".encode(), "uV"),
        *[(b"uv", "uV"), (b"UV", "uV"), (b"mv", "mV"), (b"MV", "mV"), (b"v", "V"), (b"nV", "nV"), (b"NU", "NU")],
    ],
)
def test_units_as_devices_print_them(tmp_path, unit, known):
    path = write(tmp_path, ["one 1 500 2", b"one.dat 16 10/" + unit + b" 16 0 500 507 0 I"])
    record = read_wfdb(path)
    assert record.units == (known,)
    np.testing.assert_allclose(record.signal, [[50, 0.7]])
    if known in ("mV", "uV", "V"):
        assert read_wfdb_digital(path).gain[0] == pytest.approx(10 * {"mV": 1, "uV": 1e3, "V": 1e-3}[known])


@pytest.mark.parametrize("line", ["one.dat 16 10/\xb0C 16 0 0 0 0 I", "one.dat 16 10/\xb5V 16 0 0 0 0 \xc4"])
def test_other_letters_that_are_not_ascii_are_refused_by_line(tmp_path, line):
    path = write(tmp_path, ["one 1 500 2", line.encode("latin-1")])
    with pytest.raises(
        ValueError, match=r"'one' cannot be read \(the line 'one.dat 16 10/.*letters that are not ASCII"
    ):
        read_wfdb(path)


def test_a_header_of_many_megabytes_is_refused(tmp_path):
    path = write(tmp_path, ["one 1 500 2", "one.dat 16 10/mV 16 0 0 0 0 I", "#" + "x" * 10_000_000])
    with pytest.raises(ValueError, match="'one' cannot be read .it has more than 10000000 bytes"):
        read_wfdb(path)


@pytest.mark.parametrize("name", ["..", ".", "x" * 300, "folder"])
def test_a_header_that_names_what_is_not_a_file(tmp_path, name):
    (tmp_path / "folder").mkdir()
    path = write(tmp_path, ["one 1 500 2", f"{name} 16 10/mV 16 0 0 0 0 I"])
    with pytest.raises((ValueError, FileNotFoundError), match="WFDB record 'one'.* names '?(x{300}|folder|[.]+)"):
        read_wfdb(path)
