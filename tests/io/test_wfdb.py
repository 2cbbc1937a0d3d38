"""Reading WFDB records: values, units and names as in the file, and errors that name the record."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import wfdb

from mets_ecg.io import read_wfdb

PTB_XL = Path(__file__).parents[1] / "fixtures" / "ptb-xl"
RECORDS_100_HZ = PTB_XL / "records100" / "00000"


def copy_record(folder: Path, name: str = "00267_lr") -> Path:
    for suffix in (".hea", ".dat"):
        shutil.copyfile(RECORDS_100_HZ / f"{name}{suffix}", folder / f"{name}{suffix}")
    return folder / name


def write_record(folder: Path, header_lines: list[str], samples: list[list[int]]) -> Path:
    """Write a record "hand" with samples `(samples, leads)` in format 16."""
    (folder / "hand.hea").write_text("\n".join(header_lines) + "\n")
    (folder / "hand.dat").write_bytes(np.array(samples, dtype="<i2").tobytes())
    return folder / "hand"


@pytest.mark.parametrize(
    ("folder", "name", "rate", "samples"),
    [
        ("records100/00000", "00267_lr", 100.0, 1000),
        ("records100/18000", "18767_lr", 100.0, 1000),
        ("records500/00000", "00267_hr", 500.0, 5000),
    ],
)
def test_a_real_record_agrees_with_wfdb_to_a_microvolt(folder, name, rate, samples):
    record = read_wfdb(PTB_XL / folder / name)
    expected = wfdb.rdrecord(str(PTB_XL / folder / name)).p_signal.T
    assert record.signal.shape == (len(record.lead_names), samples)
    assert record.signal.dtype == np.float32
    assert np.abs(record.signal - expected).max() < 1e-3
    assert record.sampling_rate == rate
    assert record.lead_names[:4] == ("I", "II", "III", "AVR")
    assert set(record.units) == {"mV"} and len(record.units) == len(record.lead_names)
    assert record.record_id == name


@pytest.mark.parametrize("suffix", ["", ".hea", ".dat", ".mat"])
def test_a_path_may_end_in_any_of_the_record_s_files(suffix):
    path = f"{RECORDS_100_HZ / '00267_lr'}{suffix}"
    np.testing.assert_array_equal(read_wfdb(path).signal, read_wfdb(RECORDS_100_HZ / "00267_lr").signal)


def test_a_dot_in_a_record_s_name_is_no_suffix(tmp_path):
    source = copy_record(tmp_path)
    (tmp_path / "a.b.hea").write_text((tmp_path / "00267_lr.hea").read_text())
    assert read_wfdb(tmp_path / "a.b").signal.shape == read_wfdb(source).signal.shape


def test_gain_baseline_units_and_invalid_samples_of_a_hand_written_record(tmp_path):
    path = write_record(
        tmp_path,
        [
            "hand 4 250 2",
            "hand.dat 16 200(100)/mv 16 0 0 0 0 ii",
            "hand.dat 16 2(0)/uV 16 0 0 0 0 V1",
            "hand.dat 16 1000(0)/V 16 0 0 0 0 V2",
            "hand.dat 16 10(0)/mmHg 16 0 0 0 0 ABP",
        ],
        [[300, 3, 1000, 50], [-32768, -8, 0, 1200]],
    )
    record = read_wfdb(path)
    np.testing.assert_allclose(record.signal, [[1.0, np.nan], [1.5, -4.0], [1.0, 0.0], [5.0, 120.0]])
    assert record.units == ("mV", "uV", "V", "mmHg")
    assert record.lead_names == ("ii", "V1", "V2", "ABP")
    assert record.sampling_rate == 250.0


def test_a_missing_header_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"WFDB record 'absent': no header .*absent\.hea"):
        read_wfdb(tmp_path / "absent.dat")


def test_a_missing_signal_file_is_named(tmp_path):
    path = copy_record(tmp_path)
    path.with_suffix(".dat").unlink()
    with pytest.raises(
        FileNotFoundError, match=r"WFDB record '00267_lr': its header names 00267_lr\.dat, which is not"
    ):
        read_wfdb(path)


@pytest.mark.parametrize("kept_bytes", [0, 100, 23_976])
def test_a_truncated_signal_file_is_refused_by_name(tmp_path, kept_bytes):
    path = copy_record(tmp_path)
    content = path.with_suffix(".dat").read_bytes()
    path.with_suffix(".dat").write_bytes(content[:kept_bytes])
    with pytest.raises(ValueError, match="WFDB record '00267_lr' cannot be read .*shorter than the header says"):
        read_wfdb(path)


def test_a_header_that_breaks_the_format_is_refused_by_name(tmp_path):
    path = write_record(tmp_path, ["hand one 100 2", "hand.dat 16 1000/mV 16 0 0 0 0 I"], [[1], [2]])
    with pytest.raises(ValueError, match="WFDB record 'hand' cannot be read .*breaks the WFDB format"):
        read_wfdb(path)


def test_a_header_without_signals_is_refused(tmp_path):
    (tmp_path / "empty.hea").write_text("empty 0 100 1000\n")
    with pytest.raises(ValueError, match="WFDB record 'empty'.*no signals"):
        read_wfdb(tmp_path / "empty")
