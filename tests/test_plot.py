"""`mets-ecg plot`: recordings of one's own on paper."""

import numpy as np
import pytest

import mets_ecg_cli


def plot(*flags) -> int:
    return mets_ecg_cli.main(["plot", *map(str, flags)])


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_a_recording_is_drawn(ptb_xl_source, tmp_path, capsys, suffix):
    record, picture = ptb_xl_source / "records500" / "00000" / "00338_hr", tmp_path / f"ecg{suffix}"
    assert plot(record, "--output", picture) == 0
    assert capsys.readouterr().out == f"{record}: {picture}\n"
    assert picture.stat().st_size > 20_000


def test_a_page_begins_where_it_is_asked_to(tmp_path, capsys):
    signal = np.zeros((1, 3000))
    signal[0, 2500:] = 1.5
    np.save(tmp_path / "one.npy", signal.astype(np.float32))
    flags = [tmp_path / "one.npy", "--sampling-rate", 100, "--lead-names", "II", "--output", tmp_path / "one.svg"]
    assert plot(*flags, "--start", 20, "--title", "From the twentieth second") == 0
    later = (tmp_path / "one.svg").read_text()
    assert plot(*flags, "--title", "From the twentieth second") == 0
    assert "rhythm-II" in later and later != (tmp_path / "one.svg").read_text()  # flat until the 25th second
    assert plot(*flags, "--start", 31) == 1
    assert "the recording is 30.0 s long, and the page begins at 31 s" in capsys.readouterr().err


def test_several_recordings_go_into_a_folder(ptb_xl_source, tmp_path):
    folder = ptb_xl_source / "records500" / "00000"
    assert plot(folder / "00338_hr", folder / "00096_hr", "--output", tmp_path / "drawn") == 0
    assert {path.name for path in (tmp_path / "drawn").iterdir()} == {"00338_hr.png", "00096_hr.png"}


def test_a_bad_file_is_reported_and_passed_over(ptb_xl_source, tmp_path, capsys):
    (tmp_path / "bad.csv").write_text("no, table")
    record = ptb_xl_source / "records500" / "00000" / "00338_hr"
    assert plot(tmp_path / "bad.csv", record, "--output", tmp_path / "drawn") == 1
    said = capsys.readouterr()
    assert f"{tmp_path / 'bad.csv'} has a line of names" in said.err and "1 of 2 recordings failed" in said.err
    assert said.out == f"{record}: {tmp_path / 'drawn' / '00338_hr.png'}\n"


def test_what_cannot_be_read_or_written_is_said(ptb_xl_source, tmp_path, capsys):
    assert plot(tmp_path / "no.csv", "--output", tmp_path / "a.png") == 1
    assert "no.csv" in capsys.readouterr().err
    assert plot(ptb_xl_source / "records500" / "00000" / "00338_hr", "--output", tmp_path / "a.bmp") == 1
    assert "pictures are .png, .svg, .pdf files" in capsys.readouterr().err
