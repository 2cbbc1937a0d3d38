"""PTB-XL's layout to corpus rows: every column by hand, partial copies, the cache, and errors."""

from __future__ import annotations

import logging
import os
import shutil
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
import wfdb

from mets_ecg.data.ptb_xl import load_ptb_xl
from mets_ecg.data.statements import SUPERCLASSES
from mets_ecg.signals import decode_signal

PTB_XL = Path(__file__).parents[1] / "fixtures" / "ptb-xl"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return load_ptb_xl(PTB_XL, cache_dir=tmp_path_factory.mktemp("corpus"))


@pytest.fixture
def source(tmp_path):
    """A copy that a test may damage."""
    return Path(shutil.copytree(PTB_XL, tmp_path / "ptb-xl"))


def row_of(corpus, record_id: str) -> dict:
    return corpus[corpus["record_id"][:].index(record_id)]


def labels_of(corpus, record_id: str) -> list[str]:
    return [SUPERCLASSES[label] for label in row_of(corpus, record_id)["labels_super"]]


def test_every_recording_is_a_row_in_the_table_s_order(corpus):
    assert len(corpus) == 33
    assert corpus["record_id"][:5] == ["1", "2", "3", "11", "12"]
    assert corpus["record_id"][-1] == "18767"


def test_the_columns_of_one_recording_by_hand(corpus):
    row = row_of(corpus, "269")
    assert row["patient_id"] == "2282"
    assert row["report"].startswith("premature atrial contraction(s). sinus rhythm. prolonged pr interval.")
    assert row["statements"][:2] == [
        {"code": "IMI", "likelihood": 100.0},
        {"code": "CRBBB", "likelihood": 100.0},
    ]
    assert row["statements"][-1] == {"code": "SR", "likelihood": 0.0}
    assert labels_of(corpus, "269") == ["MI", "CD"]
    assert row["fold"] == 8
    assert row["sampling_rate"] == 100.0 and row["num_samples"] == 1000
    assert row["lead_names"][:6] == ["I", "II", "III", "AVR", "AVL", "AVF"]
    assert set(row["gain"]) == {1000.0} and set(row["baseline"]) == {0}


def test_age_sex_device_and_time_by_hand(corpus):
    first = row_of(corpus, "1")
    assert (first["age"], first["age_over_89"], first["sex"]) == (56.0, False, "female")
    assert first["device"] == "CS-12   E"
    assert first["start_time"] == datetime(1984, 11, 9, 9, 17, 34)
    assert row_of(corpus, "2")["sex"] == "male"


def test_an_age_of_300_is_over_89_and_no_number(corpus):
    for record_id in ("108", "256"):
        row = row_of(corpus, record_id)
        assert row["age"] is None and row["age_over_89"] is True
    assert max(age for age in corpus["age"] if age is not None) <= 89


def test_an_age_and_a_sex_that_are_not_given_are_null(source, tmp_path):
    table = source / "ptbxl_database.csv"
    table.write_text(table.read_text().replace("1,15709.0,56.0,1,,", "1,15709.0,,,,"))
    row = row_of(load_ptb_xl(source, folds=[3], cache_dir=tmp_path / "cache"), "1")
    assert row["age"] is None and row["age_over_89"] is None and row["sex"] is None


def test_reports_are_the_untouched_original(corpus):
    assert "Edit: ASMI 100, CRBBB, Infarkt sicher(ASMI 100, CRBBB)" in row_of(corpus, "310")["report"]
    assert row_of(corpus, "138")["report"] == "sinusrytm vÄnster kammarhypertrofi"
    assert row_of(corpus, "443")["report"].strip() == ""  # kept: a report that is empty is no reason to drop an ECG


def test_superclasses_by_hand(corpus):
    assert corpus.features["labels_super"].feature.names == list(SUPERCLASSES)
    assert labels_of(corpus, "96") == ["HYP"]
    assert labels_of(corpus, "330") == ["NORM"]  # atrial fibrillation is a rhythm, and beside the superclasses
    assert labels_of(corpus, "337") == ["MI", "STTC"]  # infarction with likelihood 15
    assert labels_of(corpus, "351") == ["STTC"]  # NST_ with likelihood 0
    assert labels_of(corpus, "4401") == []


@pytest.mark.parametrize("sampling_rate", [100, 500])
def test_signals_agree_with_wfdb_to_a_microvolt(sampling_rate, tmp_path):
    corpus = load_ptb_xl(PTB_XL, sampling_rate=sampling_rate, cache_dir=tmp_path)
    suffix = {100: "lr", 500: "hr"}[sampling_rate]
    for row in corpus:
        number = int(row["record_id"])
        path = PTB_XL / f"records{sampling_rate}" / f"{number // 1000 * 1000:05d}" / f"{number:05d}_{suffix}"
        expected = wfdb.rdrecord(str(path)).p_signal.T
        assert row["sampling_rate"] == sampling_rate and row["num_samples"] == 10 * sampling_rate
        np.testing.assert_allclose(decode_signal(row), expected, rtol=0, atol=1e-3, err_msg=path.name)


def test_a_recording_that_breaks_einthoven_s_law_stays_as_it_is(corpus):
    lead_i, lead_ii, lead_iii = decode_signal(row_of(corpus, "18767"))[:3]
    assert np.abs(lead_iii - (lead_ii - lead_i)).max() == pytest.approx(5.872, abs=1e-3)
    lead_i, lead_ii, lead_iii = decode_signal(row_of(corpus, "1"))[:3]
    assert np.abs(lead_iii - (lead_ii - lead_i)).max() < 0.0021


def test_folds_choose_rows(tmp_path):
    corpus = load_ptb_xl(PTB_XL, folds=[2, 7], cache_dir=tmp_path)
    assert sorted(corpus["record_id"][:], key=int) == ["2", "168", "256", "315", "18767"]
    assert set(corpus["fold"]) == {2, 7}


def test_patients_do_not_cross_folds(corpus):
    folds = {}
    for patient, fold in zip(corpus["patient_id"], corpus["fold"], strict=True):
        folds.setdefault(patient, set()).add(fold)
    assert row_of(corpus, "12")["patient_id"] == row_of(corpus, "200")["patient_id"]
    assert all(len(seen) == 1 for seen in folds.values())


def test_recordings_that_are_not_on_disk_are_left_out_with_one_warning(source, tmp_path, caplog):
    (source / "records100" / "00000" / "00003_lr.dat").unlink()
    (source / "records100" / "00000" / "00096_lr.hea").unlink()
    with caplog.at_level(logging.WARNING, logger="mets_ecg"):
        corpus = load_ptb_xl(source, cache_dir=tmp_path / "cache")
    assert len(corpus) == 31
    assert not {"3", "96"} & set(corpus["record_id"])
    (message,) = [record.getMessage() for record in caplog.records if record.name.startswith("mets_ecg")]
    assert "2 of 33 recordings at 100 Hz" in message and message.endswith("left out: 00003_lr, 00096_lr")


def test_the_warning_names_a_few_of_many_and_only_of_the_folds_asked_for(tmp_path, caplog):
    with caplog.at_level(logging.WARNING, logger="mets_ecg"):
        corpus = load_ptb_xl(PTB_XL, sampling_rate=500, folds=[8], cache_dir=tmp_path)
    assert corpus["record_id"][:] == ["12", "338"]
    (message,) = [record.getMessage() for record in caplog.records if record.name.startswith("mets_ecg")]
    assert "9 of 11 recordings at 500 Hz" in message
    assert message.endswith("00108_hr, 00131_hr, 00138_hr, 00200_hr, 00259_hr, ...")


def test_a_complete_source_warns_of_nothing(tmp_path, caplog):
    with caplog.at_level(logging.WARNING, logger="mets_ecg"):
        load_ptb_xl(PTB_XL, folds=[6], cache_dir=tmp_path)
    assert not [record for record in caplog.records if record.name.startswith("mets_ecg")]


def test_the_cache_gives_no_stale_rows_when_a_signal_file_changes(source, tmp_path):
    before = load_ptb_xl(source, folds=[3], cache_dir=tmp_path / "cache")
    path = source / "records100" / "00000" / "00001_lr.dat"
    samples = np.fromfile(path, dtype="<i2")
    samples[0] += 7
    samples.tofile(path)
    stat = path.stat()
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1_000_000_000))  # a coarse clock must not hide the change
    after = load_ptb_xl(source, folds=[3], cache_dir=tmp_path / "cache")
    assert after[0]["signal"][0][0] - before[0]["signal"][0][0] == 7


def test_the_cache_gives_no_stale_rows_when_the_table_changes(source, tmp_path):
    load_ptb_xl(source, folds=[3], cache_dir=tmp_path / "cache")
    table = source / "ptbxl_database.csv"
    table.write_text(table.read_text().replace("sinusrhythmus periphere niederspannung", "another report"))
    assert load_ptb_xl(source, folds=[3], cache_dir=tmp_path / "cache")[0]["report"] == "another report"


def test_the_cache_is_used_when_nothing_changed(tmp_path):
    first = load_ptb_xl(PTB_XL, folds=[3], cache_dir=tmp_path)
    second = load_ptb_xl(PTB_XL, folds=[3], cache_dir=tmp_path)
    assert first.cache_files == second.cache_files
    assert len(list(tmp_path.rglob("*.arrow"))) == 1


def test_two_processes_give_the_rows_of_one(corpus, tmp_path, monkeypatch):
    monkeypatch.setattr("mets_ecg.data.ptb_xl._RECORDS_PER_SHARD", 10)
    parallel = load_ptb_xl(PTB_XL, num_proc=2, cache_dir=tmp_path)
    assert parallel[:] == corpus[:]
    assert len(parallel.cache_files) == 2


@pytest.mark.parametrize("num_proc", [None, 2])
def test_a_truncated_recording_is_named(source, tmp_path, num_proc, monkeypatch):
    monkeypatch.setattr("mets_ecg.data.ptb_xl._RECORDS_PER_SHARD", 10)
    path = source / "records100" / "00000" / "00259_lr.dat"
    path.write_bytes(path.read_bytes()[:-24])
    with pytest.raises(ValueError, match="PTB-XL record 00259_lr cannot be read .*shorter than its header says"):
        load_ptb_xl(source, num_proc=num_proc, cache_dir=tmp_path / "cache")


def test_a_recording_in_another_unit_is_refused(source, tmp_path):
    header = source / "records100" / "00000" / "00001_lr.hea"
    header.write_text(header.read_text().replace("/mV", "/uV"))
    with pytest.raises(ValueError, match=r"PTB-XL record 00001_lr .*\['uV'\].*mV is expected"):
        load_ptb_xl(source, folds=[3], cache_dir=tmp_path / "cache")


def test_a_folder_without_the_table_says_what_is_there_and_what_is_expected(tmp_path):
    (tmp_path / "records100").mkdir()
    with pytest.raises(FileNotFoundError, match="no ptbxl_database.csv in .*holds records100; give PTB-XL's folder"):
        load_ptb_xl(tmp_path)
    with pytest.raises(FileNotFoundError, match="is empty or not a folder"):
        load_ptb_xl(tmp_path / "nowhere")


def test_a_rate_without_recordings_says_which_there_are(source):
    shutil.rmtree(source / "records500")
    with pytest.raises(
        FileNotFoundError, match="none of 33 recordings at 500 Hz is in .*, which has records100; choose"
    ):
        load_ptb_xl(source, sampling_rate=500)


def test_a_fold_without_recordings_is_an_error():
    with pytest.raises(FileNotFoundError, match="none of 0 recordings at 100 Hz"):
        load_ptb_xl(PTB_XL, folds=[10])


def test_another_table_is_refused_with_the_columns_that_it_lacks(source):
    (source / "ptbxl_database.csv").write_text("ecg_id,age\n1,56\n")
    with pytest.raises(ValueError, match="lacks the columns patient_id, sex, .*filename_lr, filename_hr"):
        load_ptb_xl(source)


def test_impossible_rates_and_folds_are_refused():
    with pytest.raises(ValueError, match="sampling_rate is 250; PTB-XL has 100 and 500 Hz"):
        load_ptb_xl(PTB_XL, sampling_rate=250)
    with pytest.raises(ValueError, match=r"folds are \[0, 3\]; PTB-XL has folds 1 to 10"):
        load_ptb_xl(PTB_XL, folds=[3, 0])
    with pytest.raises(ValueError, match="at least one"):
        load_ptb_xl(PTB_XL, folds=[])
    with pytest.raises(TypeError, match=r"write \[8\]"):
        load_ptb_xl(PTB_XL, folds=8)
