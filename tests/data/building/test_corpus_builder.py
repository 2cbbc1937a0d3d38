"""What all corpora share: finding recordings, reading one, and reading a publisher's table."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from mets_ecg.data.building.corpus_builder import CorpusBuilder, Recording, read_table
from mets_ecg.io import read_wfdb_digital


class Two(CorpusBuilder):
    """Two recordings, of which one has two files."""

    name = "two"
    configs = ("first", "second")
    ids = ("a", "b")

    def recordings(self):
        return [Recording(name, (f"{name}.hea", f"{name}.dat")[: 2 - i], "all") for i, name in enumerate(self.ids)]


def test_recordings_are_there_with_all_of_their_files_or_missing(tmp_path):
    for name in ("a.hea", "b.hea"):
        (tmp_path / name).touch()
    there, missing = Two(tmp_path).find()
    assert [one.record_id for one in there] == ["b"] and [one.record_id for one in missing] == ["a"]
    (tmp_path / "a.dat").touch()
    there, missing = Two(tmp_path).find()
    assert [one.record_id for one in there] == ["a", "b"] and not missing


def test_a_folder_is_no_file_of_a_recording(tmp_path):
    (tmp_path / "a.hea").touch()
    (tmp_path / "a.dat").touch()
    (tmp_path / "b.hea").mkdir()
    assert [one.record_id for one in Two(tmp_path).find()[1]] == ["b"]


def test_a_source_without_any_recording_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="two: none of 2 recordings of config second.*for example a.hea: give"):
        Two(tmp_path, "second").find()


def test_one_id_for_two_recordings_is_refused(tmp_path):
    builder = Two(tmp_path)
    builder.ids = ("a", "b", "a")
    with pytest.raises(
        ValueError, match="1 record ids occur more than once in .*, 'a' among them: give every recording"
    ):
        builder.find()


def test_one_file_for_two_recordings_is_refused(tmp_path, monkeypatch):
    recordings = [Recording("a", ("a.hea",), "all"), Recording("b", ("./a.hea",), "all")]
    monkeypatch.setattr(Two, "recordings", lambda self: recordings)
    with pytest.raises(ValueError, match=r"two: records 'a' and 'b' both name the file \./a\.hea: give every"):
        Two(tmp_path).find()


def test_a_config_that_is_not_there_and_a_source_that_is_no_folder_are_refused(tmp_path):
    assert Two(tmp_path).config == "first" and Two(tmp_path, "second").config == "second"
    with pytest.raises(ValueError, match="two has no config 'third': there are first, second"):
        Two(tmp_path, "third")
    (tmp_path / "file").touch()
    with pytest.raises(FileNotFoundError, match="there is no folder .*: give two's, as it was published"):
        Two(tmp_path / "file")


def test_a_recording_is_read_as_the_integers_of_its_file_beside_its_fields(ptb_xl_source, tmp_path):
    for suffix in ("hea", "dat"):
        shutil.copy(ptb_xl_source / "records500" / "00000" / f"00338_hr.{suffix}", tmp_path)
    recording = Recording("338", ("00338_hr.hea", "00338_hr.dat"), "all", {"report": "x", "age": 50.0})
    (row,) = Two(tmp_path).read(recording)
    digital = read_wfdb_digital(tmp_path / "00338_hr")
    np.testing.assert_array_equal(row["signal"], digital.signal)
    assert row["record_id"] == "338" and row["report"] == "x" and row["age"] == 50.0
    assert row["num_samples"] == 5000 and row["sampling_rate"] == 500
    assert row["lead_names"] == list(digital.lead_names) and set(row["gain"]) == {1000.0}
    assert set(row) <= set(Two(tmp_path).features)


def table(tmp_path, text: str | bytes):
    path = tmp_path / "table.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_a_table_is_read_with_its_byte_order_mark_and_line_breaks_in_cells(tmp_path):
    path = table(tmp_path, '\ufeffid,text\r\n1,"two\nlines, ä"\r\n2,""\r\n')
    assert read_table(path, ["id"]) == [{"id": "1", "text": "two\nlines, ä"}, {"id": "2", "text": ""}]
    assert read_table(table(tmp_path, "id;text\n1;a,b\n"), ["id", "text"], delimiter=";") == [
        {"id": "1", "text": "a,b"}
    ]


def test_an_empty_cell_of_a_table_is_empty_whatever_the_table_writes(tmp_path):
    (row,) = read_table(table(tmp_path, 'a,b,c,d,e,f,g\nnan,None,NULL,<NA>," ",no,\n'), ["a"])
    assert row == {"a": "", "b": "", "c": "", "d": "", "e": "", "f": "no", "g": ""}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("id,text\n1,a\n", "lacks the columns fold, age: it has id, text"),
        ("", "lacks the columns id, fold, age: it has "),
        ("id,fold,age\n1,2,3\n4,5,6,7\n", "line 3 has more cells than columns: download it again"),
        (
            'id,fold,age\n1,2,3\n1,2,"a\n4,5,b\n6,7,c\n',
            "is not CSV from line 3 on .unexpected end of data.: download it",
        ),
        ('id,fold,age\n1,2,"a"b\n', "is not CSV from line 2 on .*expected after"),
        (b"id,fold,age\n" + b"1,2,3\n" * 9000 + b"1,2,\xe4\n", "line 9002 is not UTF-8: download it again"),
        ("id,fold,age\n1,2," + "x" * 200_000 + "\n", "is not CSV from line 2 on .field larger"),
    ],
)
def test_a_table_that_is_damaged_is_refused_with_its_line(tmp_path, text, reason):
    path = table(tmp_path, text)
    with pytest.raises(ValueError, match=reason) as raised:
        read_table(path, ["id", "fold", "age"])
    assert str(raised.value).startswith(str(path))


def test_a_table_that_is_not_there_is_told_with_what_is(tmp_path):
    with pytest.raises(FileNotFoundError, match="no table.csv in .*, which is empty or not a folder"):
        read_table(tmp_path / "none" / "table.csv", ["id"])
    (tmp_path / "tables.csv").touch()
    with pytest.raises(FileNotFoundError, match="no table.csv in .*, which holds tables.csv: give the folder as its"):
        read_table(tmp_path / "table.csv", ["id"])
