"""PTB-XL's layout to rows: every column by hand, partial copies, the published counts, and errors."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import wfdb

from mets_ecg.data.corpora.ptb_xl import PTBXL
from mets_ecg.data.statements import STATEMENTS, SUPERCLASSES
from mets_ecg.signals import decode_signal

FIRST = "'NORM': 100.0, 'LVOLT': 0.0, 'SR': 0.0"  # of the table's first line, ecg_id 1


@pytest.fixture(scope="module")
def builder(ptb_xl_source):
    return PTBXL(ptb_xl_source)


@pytest.fixture
def source(tmp_path, ptb_xl_source):
    """A copy that a test may damage."""
    return Path(shutil.copytree(ptb_xl_source, tmp_path / "ptb-xl"))


def recording_of(builder, record_id: str):
    (found,) = [one for one in builder.recordings() if one.record_id == record_id]
    return found


def row_of(builder, record_id: str) -> dict:
    (row,) = builder.read(recording_of(builder, record_id))
    return row


def edit_table(source, old: str, new: str) -> None:
    table = source / "ptbxl_database.csv"
    text = table.read_text()
    assert old in text
    table.write_text(text.replace(old, new))


def test_every_line_of_the_table_is_a_recording_in_its_order(builder):
    there, missing = builder.find()
    assert [one.record_id for one in there][:5] == ["1", "2", "3", "11", "12"]
    assert len(there) == 33 and there[-1].record_id == "18767" and not missing
    assert there[0].files == ("records100/00000/00001_lr.hea", "records100/00000/00001_lr.dat")


def test_the_columns_of_one_recording_by_hand(builder):
    row = row_of(builder, "269")
    assert row["patient_id"] == "2282"
    assert row["report"].startswith("premature atrial contraction(s). sinus rhythm. prolonged pr interval.")
    assert row["statements"] == [
        {"code": "IMI", "likelihood": 100.0},
        {"code": "CRBBB", "likelihood": 100.0},
        {"code": "PAC", "likelihood": 0.0},
        {"code": "LPR", "likelihood": 0.0},
        {"code": "QWAVE", "likelihood": 0.0},
        {"code": "SR", "likelihood": 0.0},
    ]
    assert row["labels_super"] == ["MI", "CD"]
    assert row["labels_sub"] == ["IMI", "CRBBB"]
    assert row["labels_diagnostic"] == ["IMI", "CRBBB"]
    assert sorted(row["labels_form"]) == ["LPR", "PAC", "QWAVE"]
    assert row["labels_rhythm"] == ["SR"]
    assert set(row["labels_all"]) == {"IMI", "CRBBB", "PAC", "LPR", "QWAVE", "SR"}
    assert row["fold"] == 8
    assert row["sampling_rate"] == 100.0 and row["num_samples"] == 1000
    assert row["lead_names"][:6] == ["I", "II", "III", "AVR", "AVL", "AVF"]
    assert set(row["gain"]) == {1000.0} and set(row["baseline"]) == {0}


def test_the_built_corpus_has_null_where_no_statement_of_a_kind_was_made(source, round_trip):
    edit_table(source, f'"{{{FIRST}}}"', "{}")
    rows = round_trip(PTBXL(source))
    assert all(rows[column][0] is None for column in PTBXL(source).label_columns) and rows["statements"][0] == []
    (second,) = (row for row in rows if row["record_id"] == "4401")  # a rhythm, and nothing else
    rhythm = rows.features["labels_rhythm"].feature
    assert (
        rhythm.int2str(second["labels_rhythm"]) == ["AFIB"] and second["labels_super"] is second["labels_form"] is None
    )
    assert rows.features["labels_all"].feature.names == list(STATEMENTS)
    assert rows["start_time"][0] == "1984-11-09T09:17:34"


def test_age_sex_device_and_time_by_hand(builder):
    first = row_of(builder, "1")
    assert (first["age"], first["age_over_89"], first["sex"]) == (56.0, False, "female")
    assert first["device"] == "CS-12   E"
    assert first["start_time"] == "1984-11-09T09:17:34"
    assert row_of(builder, "2")["sex"] == "male"


def test_an_age_of_300_is_over_89_and_no_number_and_others_above_89_are_kept(builder, source):
    for record_id in ("108", "256"):
        row = row_of(builder, record_id)
        assert row["age"] is None and row["age_over_89"] is True
    edit_table(source, "1,15709.0,56.0,1,,", "1,15709.0,93.0,1,,")
    row = row_of(PTBXL(source), "1")
    assert row["age"] == 93.0 and row["age_over_89"] is True


def test_what_is_not_given_is_null(source):
    edit_table(source, "1,15709.0,56.0,1,,63.0,2.0,0.0,CS-12   E,1984-11-09 09:17:34,", "1,,,,,,,,,,")
    row = row_of(PTBXL(source), "1")
    for column in ("patient_id", "age", "age_over_89", "sex", "device", "start_time"):
        assert row[column] is None, column


def test_reports_are_the_untouched_original(builder):
    assert "Edit: ASMI 100, CRBBB, Infarkt sicher(ASMI 100, CRBBB)" in row_of(builder, "310")["report"]
    assert row_of(builder, "138")["report"] == "sinusrytm vÄnster kammarhypertrofi"
    assert row_of(builder, "443")["report"] is None  # kept: a report that is empty is no reason to drop an ECG


@pytest.mark.parametrize(
    ("record_id", "super_", "sub", "form", "rhythm"),
    [
        ("96", ["HYP"], ["LVH"], None, ["SR"]),
        ("330", ["NORM"], ["NORM"], None, ["AFIB"]),  # a rhythm is beside the superclasses
        ("337", ["MI", "STTC"], ["STTC", "IMI"], ["NDT", "STD_", "LOWT"], ["AFIB"]),  # infarction of likelihood 15
        ("351", ["STTC"], ["NST_"], ["NST_"], ["AFIB"]),  # NST_ of likelihood 0
        ("4401", None, None, None, ["AFIB"]),
        ("4561", ["MI"], ["IMI", "AMI"], ["ABQRS"], ["AFIB"]),
        ("292", ["NORM"], ["NORM"], None, None),
    ],
)
def test_labels_by_hand(builder, record_id, super_, sub, form, rhythm):
    fields = recording_of(builder, record_id).fields
    assert fields["labels_super"] == super_
    assert fields["labels_sub"] == sub
    assert fields["labels_form"] == form
    assert fields["labels_rhythm"] == rhythm


def test_label_columns_have_the_published_numbers_of_classes(builder):
    numbers = {column: len(names) for column, names in builder.label_columns.items()}
    assert numbers == {
        "labels_super": 5,
        "labels_sub": 23,
        "labels_form": 19,
        "labels_rhythm": 12,
        "labels_diagnostic": 44,
        "labels_all": 71,
    }
    assert builder.label_columns["labels_super"] == SUPERCLASSES


@pytest.mark.parametrize(("config", "number"), [("100hz", 33), ("500hz", 4)])
def test_signals_agree_with_wfdb_to_a_microvolt(ptb_xl_source, config, number):
    builder = PTBXL(ptb_xl_source, config)
    rate = int(config.removesuffix("hz"))
    there, missing = builder.find()
    assert len(there) == number and len(there) + len(missing) == 33
    for recording in there:
        (row,) = builder.read(recording)
        expected = wfdb.rdrecord(str(ptb_xl_source / recording.files[0].removesuffix(".hea"))).p_signal.T
        assert row["sampling_rate"] == rate and row["num_samples"] == 10 * rate
        np.testing.assert_allclose(decode_signal(row), expected, rtol=0, atol=1e-3, err_msg=recording.record_id)


def test_a_recording_that_breaks_einthoven_s_law_stays_as_it_is(builder):
    lead_i, lead_ii, lead_iii = decode_signal(row_of(builder, "18767"))[:3]
    assert np.abs(lead_iii - (lead_ii - lead_i)).max() == pytest.approx(5.872, abs=1e-3)
    lead_i, lead_ii, lead_iii = decode_signal(row_of(builder, "1"))[:3]
    assert np.abs(lead_iii - (lead_ii - lead_i)).max() < 0.0021


@pytest.mark.parametrize(("fold", "split"), [(1, "train"), (8, "train"), (9, "validation"), (10, "test")])
def test_folds_are_splits(source, fold, split):
    edit_table(source, ",3,records100/00000/00001_lr", f",{fold},records100/00000/00001_lr")
    recording = recording_of(PTBXL(source), "1")
    assert (recording.split, recording.fields["fold"]) == (split, fold)


def test_patients_do_not_cross_folds(builder):
    fields = {one.record_id: one.fields for one in builder.recordings()}
    assert fields["12"]["patient_id"] == fields["200"]["patient_id"]
    assert len({(one["patient_id"], one["fold"]) for one in fields.values()}) == len(
        {one["patient_id"] for one in fields.values()}
    )


def test_recordings_that_are_not_on_disk_are_told_apart(source):
    (source / "records100" / "00000" / "00003_lr.dat").unlink()
    (source / "records100" / "00000" / "00096_lr.hea").unlink()
    there, missing = PTBXL(source).find()
    assert len(there) == 31
    assert [one.record_id for one in missing] == ["3", "96"]


def test_nothing_on_disk_is_an_error(source):
    shutil.rmtree(source / "records500")
    with pytest.raises(FileNotFoundError, match="none of 33 recordings of config 500hz is in .*choose another config"):
        PTBXL(source, "500hz").find()


def test_what_is_downloaded_is_what_a_config_needs():
    assert PTBXL.download_patterns("100hz") == ("ptbxl_database.csv", "records100/*/*")
    assert PTBXL.download_patterns("500hz") == ("ptbxl_database.csv", "records500/*/*")


def test_a_truncated_recording_is_named(source):
    path = source / "records100" / "00000" / "00259_lr.dat"
    path.write_bytes(path.read_bytes()[:-24])
    with pytest.raises(ValueError, match="00259_lr.*truncated"):
        row_of(PTBXL(source), "259")


def test_a_recording_in_another_unit_or_at_another_rate_is_refused(source):
    header = source / "records100" / "00000" / "00001_lr.hea"
    text = header.read_text()
    header.write_text(text.replace("/mV", "/uV"))
    with pytest.raises(ValueError, match=r"PTB-XL record 1 .* 1000 per mV are expected: give PTB-XL as published"):
        row_of(PTBXL(source), "1")
    header.write_text(text.replace("00001_lr 12 100 ", "00001_lr 12 500 "))
    with pytest.raises(ValueError, match=r"PTB-XL record 1 .* has 500 Hz .* 100 Hz"):
        row_of(PTBXL(source), "1")


def test_a_folder_without_the_table_says_what_is_there(tmp_path):
    (tmp_path / "records100").mkdir()
    with pytest.raises(FileNotFoundError, match="no ptbxl_database.csv in .*holds records100"):
        PTBXL(tmp_path).recordings()


def test_another_table_is_refused_with_the_columns_that_it_lacks(source):
    (source / "ptbxl_database.csv").write_text("ecg_id,age\n1,56\n")
    with pytest.raises(ValueError, match="lacks the columns patient_id, sex, .*filename_lr, filename_hr"):
        PTBXL(source).recordings()


def test_two_rows_of_one_file_are_refused(source):
    edit_table(source, "records100/00000/00002_lr", "records100/00000/00001_lr")
    with pytest.raises(ValueError, match=r"records '1' and '2' both name the file .*00001_lr\.hea"):
        PTBXL(source).find()


def test_an_ecg_id_that_comes_twice_is_an_error(source):
    edit_table(source, "\n2,13243.0,", "\n1,13243.0,")
    with pytest.raises(ValueError, match="1 record ids occur more than once in .*'1' among them"):
        PTBXL(source).find()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (FIRST, "'NORM': 100.0, 'LVOLT', 0.0", r"ecg_id 1: scp_codes is \"\{'NORM'.*download the table again"),
        (FIRST, "'NORM', 'SR'", "ecg_id 1: scp_codes is .*which cannot be"),
        (f'"{{{FIRST}}}"', "7", "ecg_id 1: scp_codes is '7'"),
        (f'"{{{FIRST}}}"', "", "ecg_id 1: scp_codes is ''"),
        (FIRST, "'NORM': 'sure'", "ecg_id 1: scp_codes is .*sure"),
        (FIRST, "'NST': 0.0", "ecg_id 1: unknown statement 'NST'.*did you mean 'NST_'"),
        (",56.0,1,", ",middle-aged,1,", "ecg_id 1: age is 'middle-aged', which cannot be"),
        (",56.0,1,", ",-3,1,", "ecg_id 1: age is '-3'"),
        (",56.0,1,", ",-nan,1,", "ecg_id 1: age is '-nan'"),
        (",56.0,1,", ",200,1,", "ecg_id 1: age is '200'"),  # neither an age nor 300, which hides one
        (",56.0,1,", ",56.0,F,", "ecg_id 1: sex is 'F'"),
        ("1984-11-09", "09.11.84", "ecg_id 1: recording_date is '09.11.84 09:17:34'"),
        (",3,records100/00000/00001_lr", ",11,records100/00000/00001_lr", "ecg_id 1: strat_fold is '11'"),
        (",records500/00000/00001_hr", ",", "ecg_id 1: filename_hr is ''"),
        ("\n1,15709.0", "\nfirst,15709.0", "ecg_id first: ecg_id is 'first'"),
        ("\n1,15709.0", "\n1,nobody", "ecg_id 1: patient_id is 'nobody'"),
    ],
)
def test_a_cell_that_cannot_be_is_named(source, old, new, message):
    edit_table(source, old, new)
    with pytest.raises(ValueError, match=message):
        PTBXL(source).recordings()


def test_a_table_that_breaks_off_is_an_error(source):
    table = source / "ptbxl_database.csv"
    table.write_text(table.read_text()[:-60])
    with pytest.raises(ValueError, match="is not CSV from line 34 on .unexpected end of data.: download it again"):
        PTBXL(source).recordings()


@pytest.mark.skipif("METS_ECG_PTB_XL" not in os.environ, reason="METS_ECG_PTB_XL does not name PTB-XL's folder")
def test_the_counts_of_the_whole_of_version_1_0_3():
    """Counts of the literature (METS and MERL split files give the same)."""
    recordings = PTBXL(os.environ["METS_ECG_PTB_XL"]).recordings()
    assert len(recordings) == 21799
    assert len({one.fields["patient_id"] for one in recordings}) == 18869
    folds = Counter(one.fields["fold"] for one in recordings)
    assert [folds[fold] for fold in range(1, 11)] == [2175, 2181, 2192, 2174, 2174, 2173, 2176, 2173, 2183, 2198]
    by_task = {
        task: [
            sum(one.split == split and bool(one.fields[f"labels_{task}"]) for one in recordings)
            for split in PTBXL.splits
        ]
        for task in ("super", "sub", "diagnostic", "form", "rhythm", "all")
    }
    assert by_task == {
        **dict.fromkeys(("super", "sub", "diagnostic"), [17084, 2146, 2158]),
        "form": [7197, 901, 880],
        "rhythm": [16832, 2100, 2098],
        "all": [17418, 2183, 2198],
    }

    def counts(task, split=None):
        return Counter(
            name for one in recordings if split in (None, one.split) for name in one.fields[f"labels_{task}"] or ()
        )

    assert counts("super") == {"NORM": 9514, "MI": 5469, "STTC": 5235, "CD": 4898, "HYP": 2649}
    assert counts("super", "test") == {"NORM": 963, "MI": 550, "STTC": 521, "CD": 496, "HYP": 262}
    assert counts("rhythm", "test")["SR"] == 1674 and counts("form", "test")["ABQRS"] == 322
    assert counts("sub", "test")["IMI"] == 327 and len(counts("all", "test")) == 71
