"""A file is told by its content; formats that are not read are named; folders are searched."""

import shutil

import clinical_files as files
import numpy as np
import pytest
import scipy.io

from mets_ecg.io import read_ecg, read_wfdb, recordings_in_folder
from mets_ecg.recordings import read_recording


@pytest.fixture
def record(ptb_xl_source, tmp_path):
    for suffix in (".hea", ".dat"):
        shutil.copy(ptb_xl_source / "records100" / "00000" / f"00012_lr{suffix}", tmp_path)
    return tmp_path / "00012_lr"


@pytest.mark.parametrize("suffix", ["", ".hea", ".dat"])
def test_wfdb_records_are_read_by_any_of_their_names(record, suffix):
    own = read_ecg(f"{record}{suffix}")
    np.testing.assert_array_equal(own.signal, read_wfdb(record).signal)


def test_the_content_decides_and_not_the_extension(record, tmp_path):
    np.save(tmp_path / "array.npy", np.ones((12, 100)))
    (tmp_path / "array.npy").rename(tmp_path / "array.bin")
    assert read_ecg(tmp_path / "array.bin").signal.shape == (12, 100)
    (tmp_path / "array.bin").rename(tmp_path / "array.edf")
    assert read_ecg(tmp_path / "array.edf").signal.shape == (12, 100)


@pytest.mark.parametrize(
    ("name", "content", "called"),
    [
        ("a.pdf", b"%PDF-1.7", "PDF"),
        ("a.csv", b"\x89PNG\r\n", "picture"),
        ("a.xlsx", b"PK\x03\x04", "Excel"),
    ],
)
def test_a_format_that_is_not_read_is_named_with_a_way_out(tmp_path, name, content, called):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=rf"{name} is a {called} file, a format that is not read: .* write it as CSV"):
        read_ecg(tmp_path / name)


def test_what_is_no_recording_is_refused(tmp_path):
    (tmp_path / "empty.csv").write_bytes(b"")
    (tmp_path / "letter.docx").write_bytes(b"PK\x03\x04 words")
    with pytest.raises(ValueError, match="empty.csv is empty"):
        read_ecg(tmp_path / "empty.csv")
    with pytest.raises(
        ValueError, match=r"letter.docx is of no format that is read \(WFDB, NumPy array, .*letter.docx.hea"
    ):
        read_ecg(tmp_path / "letter.docx")
    with pytest.raises(ValueError, match="is a folder: name a recording in it"):
        read_ecg(tmp_path)
    with pytest.raises(FileNotFoundError, match="there is no file .*nothing.csv, and no WFDB header .*nothing.csv.hea"):
        read_ecg(tmp_path / "nothing.csv")


def test_a_folder_s_recordings_are_found_once_each(record, tmp_path):
    (tmp_path / "inner").mkdir()
    np.save(tmp_path / "inner" / "a.npy", np.ones((12, 100)))
    (tmp_path / "b.csv").write_text("I\n0.5\n")
    (tmp_path / "notes.txt").write_text("no recording")
    (tmp_path / "00012_lr.mat").write_bytes(b"beside a header")
    found = [path.relative_to(tmp_path).as_posix() for path in recordings_in_folder(tmp_path)]
    assert found == ["00012_lr.hea", "b.csv", "inner/a.npy"]
    (tmp_path / "whole.hea").write_text("whole/2 12 100 2000\n00012_lr 1000\n00012_lr 1000\n")
    (tmp_path / "broken.hea").write_text("?\n")
    found = [path.relative_to(tmp_path).as_posix() for path in recordings_in_folder(tmp_path)]
    assert found == ["b.csv", "broken.hea", "inner/a.npy", "whole.hea"]  # and not the segments once more


def test_what_files_of_numbers_do_not_say_is_assumed_or_asked_for(tmp_path):
    np.save(tmp_path / "floats.npy", np.random.default_rng(0).normal(size=(12, 500)))
    np.save(tmp_path / "counts.npy", np.arange(6000, dtype=np.int16).reshape(12, 500) % 90 + 1)
    whole = np.arange(6000.0).reshape(12, 500) % 90 + 1  # a converter's, whatever they are stored as
    whole[3, :7] = np.nan
    np.save(tmp_path / "whole.npy", whole)
    read = read_recording(str(tmp_path / "floats.npy"), 250)
    assert set(read.assumed) == {"lead_names", "units"}
    with pytest.raises(ValueError, match="floats.npy: the sampling rate is not stated"):
        read_recording(str(tmp_path / "floats.npy"))
    for name in ("counts.npy", "whole.npy"):
        with pytest.raises(ValueError, match=rf"{name}: the unit of I is not stated, its samples are numbers of a con"):
            read_recording(str(tmp_path / name), 250)
        assert read_recording(str(tmp_path / name), 250, units="uV").signal_mv[0, 0] == pytest.approx(0.001)
    assert np.isnan(read_recording(str(tmp_path / "whole.npy"), 250, units="uV").signal_mv[3, :7]).all()


# Damaged files, over all readers (WFDB's have mutations of their own).

LEADS = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")
SIGNAL = np.round(np.random.default_rng(0).normal(size=(8, 500)).cumsum(axis=1) * 0.02, 3)


def _write_arrays(folder):
    np.save(folder / "a.npy", SIGNAL)
    np.savez_compressed(folder / "b.npz", ecg=SIGNAL, fs=500)
    scipy.io.savemat(folder / "c.mat", {"val": SIGNAL, "fs": 500})
    header = ",".join(["time", *LEADS])
    table = np.column_stack([np.arange(500) / 500, SIGNAL.T])
    np.savetxt(folder / "d.csv", table, delimiter=",", fmt="%.4f", header=header, comments="")
    return [folder / name for name in ("a.npy", "b.npz", "c.mat", "d.csv")]


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    changed = bytearray(data)
    for _ in range(int(rng.integers(1, 8))):
        place = int(rng.integers(len(changed)))
        kind = rng.integers(4)
        if kind == 0:
            changed[place] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            changed[place] = int(rng.integers(256))
        elif kind == 2:
            del changed[place : place + int(rng.integers(1, 200))]
        else:
            changed[place:place] = bytes(rng.integers(0, 256, int(rng.integers(1, 50)), dtype=np.uint8))
        if not changed:
            break
    return bytes(changed)


def check_mutations(folder, seeds) -> None:
    """Whatever a file holds it is read or refused in words; where it has a checksum nothing else is read."""
    for needed in ("ecgdatakit", "pydicom", "pyedflib"):
        pytest.importorskip(needed)
    paths = _write_arrays(folder) + [write(folder, SIGNAL, LEADS, 500) for write in files.WRITERS.values()]
    for number, path in enumerate(paths):
        whole = path.read_bytes()
        for seed in seeds:
            path.write_bytes(mutated(whole, np.random.default_rng([seed, number])))
            try:
                record = read_ecg(path)
            except (ValueError, FileNotFoundError) as error:
                assert str(error), (path.name, seed)
                continue
            assert record.signal.nbytes < 50_000_000, (path.name, seed)
            if path.suffix in (".scp", ".npz"):  # MUSE has a checksum of its samples, not of their gain
                assert np.allclose(record.signal, SIGNAL, atol=1e-4), (path.name, seed)
        path.write_bytes(whole)
        assert read_ecg(path).signal.shape == SIGNAL.shape


def test_damaged_files_are_read_or_refused_in_words(tmp_path):
    check_mutations(tmp_path, range(20))


@pytest.mark.slow
def test_ten_thousand_damaged_files_are_read_or_refused_in_words(tmp_path):
    check_mutations(tmp_path, range(20, 1020))
