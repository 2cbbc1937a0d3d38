"""Chapman-Shaoxing-Ningbo in PhysioNet's layout to rows, and both kinds of labels against MERL's files."""

import csv
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from mets_ecg.data.corpora.csn import (
    ALL_ACRONYMS,
    CSN,
    MERL_LABELS,
    acronyms_of,
    exact_labels,
    kept_by_merl,
    labels_of,
    released_labels,
)
from mets_ecg.data.snomed import CODES
from mets_ecg.leads import STANDARD_LEADS
from mets_ecg.signals import decode_signal

LABELS = os.environ.get("METS_ECG_LABELS")
needs_labels = pytest.mark.skipif(not LABELS, reason="METS_ECG_LABELS names no folder of reference labels")

SIGNAL = np.random.default_rng(0).integers(-2000, 2000, (12, 500)).astype(np.int16)

# Rows of MERL's chapman_{train,val,test}.csv (https://github.com/cheliu-computation/MERL-ICML2024, MIT): record,
# `diagnose`, and the label columns that are 1. Each wrong column occurs at least twice, each acronym once.
MERL_ROWS = [
    ("JS01075", "SR,FQRS", "SR"),
    ("JS01127", "AFIB,RBBB,TWC,VPB", "VPB AF RBBB AFIB TWC"),
    ("JS01325", "ST,RAH,RVH", "RVH ST"),
    ("JS01351", "ST,VET", "ST"),
    ("JS01371", "AF,VPE", "AF"),
    ("JS01678", "SB,APB,JEB,TWC", "APB TWC JEB"),
    ("JS01944", "SB,VPE", ""),
    ("JS04328", "SB,VPE", ""),
    ("JS04401", "ST,ALS,CCR,STTC", "STTC ALS CCR CR ST"),
    ("JS04426", "ST,ABI,STTC", "STTC ST"),
    ("JS04805", "ST,ARS,CR", "ARS CR ST"),
    ("JS05469", "TWC,LVQRSAL,SR", "SR SA TWC"),
    ("JS06256", "ST,CCR", "CCR CR ST"),
    ("JS06319", "ST,LBBB", "LBBB ST"),
    ("JS06564", "SB,STDD,STTU,TWC", "STTU STDD TWC ST"),
    ("JS06886", "AFIB", "AF AFIB"),
    ("JS07415", "ST,PWC", "PWC ST"),
    ("JS07759", "AFIB,ALS,AQW,IDC,STTC", "AQW STTC ALS AF AFIB ST"),
    ("JS09065", "SB,AQW,RBBB,TWC,TWO,VB", "AQW VB TWO RBBB TWC"),
    ("JS09342", "AFIB,STTC,VEB", "STTC AF VEB AFIB ST"),
    ("JS09856", "AF,AVB,STTC", "VB STTC AF AVB ST"),
    ("JS09984", "AT,ALS,LVQRSAL,TWC", "AT SA ALS TWC"),
    ("JS10184", "AVRT,APB,CCR,TWC", "APB CCR CR TWC"),
    ("JS10623", "SVT,VFW", "SVT"),
    ("JS10728", "ARS,SVT,AQW", "AQW ARS SVT"),
    ("JS11019", "SA", "SA"),
    ("JS11611", "APB,1AVB,TWC,ST", "VB APB AVB 1AVB TWC ST"),
    ("JS12037", "SB,1AVB", "VB AVB 1AVB"),
    ("JS12237", "SB,1AVB", "VB AVB 1AVB"),
    ("JS12417", "APB,ST,2AVB1", "2AVB VB APB 2AVB1 AVB ST"),
    ("JS12434", "PRIE,ST,2AVB1", "2AVB VB 2AVB1 PRIE AVB ST"),
    ("JS12469", "SB,2AVB,ERV", "2AVB VB AVB ERV"),
    ("JS12919", "LVQRSAL,TWO,TWC,3AVB,AF", "VB SA TWO AF AVB TWC"),
    ("JS14899", "AF,TWC,ARS,UW", "UW ARS AF TWC"),
    ("JS15547", "AF,TWC,LVH", "AF TWC LVH"),
    ("JS15950", "AF,STDD,TWO", "TWO AF STDD ST"),
    ("JS17247", "STE,AF,TWO", "STE TWO AF ST"),
    ("JS17597", "RVH,AF", "AF RVH"),
    ("JS22401", "ST,ALS,JPT", "ALS ST"),
    ("JS23053", "STE,AQW,ST,MI", "AQW STE MI ST"),
    ("JS24654", "SB,ERV", "ERV"),
    ("JS30721", "SB,TWC,TWO", "TWO TWC"),
    ("JS31678", "SB,QTIE", "QTIE"),
    ("JS31689", "SB,LVQRSAL", "SA"),
    ("JS41180", "SR", "SR"),
    ("JS45372", "SVT,WPW", "WPW SVT"),
]
CODE_OF = {acronym: code for code, own in CODES.items() for acronym in own.acronyms}


def write_record(folder, name, *, line=None, diagnoses="164889003,59118001,164934002", comments=None):
    folder.mkdir(parents=True, exist_ok=True)
    savemat(folder / f"{name}.mat", {"val": SIGNAL}, format="4")
    sums = SIGNAL.sum(axis=1, dtype=np.int64).astype(np.int16)
    lines = [line or f"{name} 12 500 500"]
    lines += [
        f"{name}.mat 16+24 1000/mV 16 0 {row[0]} {total} 0 {lead}"
        for row, total, lead in zip(SIGNAL, sums, STANDARD_LEADS, strict=True)
    ]
    lines += ["#Age: 85", "#Sex: Male", f"#Dx: {diagnoses}"] if comments is None else comments
    (folder / f"{name}.hea").write_text("\n".join(lines) + "\n")


def read_one(source, **record) -> dict:
    write_record(source / "WFDBRecords" / "01" / "010", "JS00001", **record)
    builder = CSN(source)
    (recording,) = builder.find()[0]
    return next(builder.read(recording))


def merl_rows() -> list[dict[str, str]]:
    rows = []
    for split in ("train", "val", "test"):
        path = Path(LABELS) / "merl" / "finetune" / "data_split" / "chapman" / f"chapman_{split}.csv"
        with path.open(newline="") as file:
            rows += [{"split": split, **row} for row in csv.DictReader(file)]
    return rows


def test_recordings_are_listed_by_name(tmp_path):
    for folder, name in (("02/020", "JS01053"), ("01/019", "JS01051"), ("01/010", "JS00001")):
        write_record(tmp_path / "WFDBRecords" / folder, name)
    there, missing = CSN(tmp_path).find()
    assert [recording.record_id for recording in there] == ["JS00001", "JS01051", "JS01053"] and missing == []
    assert there[0].files == ("WFDBRecords/01/010/JS00001.hea", "WFDBRecords/01/010/JS00001.mat")


def test_the_two_damaged_headers_are_left_out(tmp_path):
    folder = tmp_path / "WFDBRecords" / "01" / "019"
    write_record(folder, "JS01051")
    write_record(folder, "JS01052", line="JS01052 12 500 500000/mV 16 0 15 31255 0 I")
    write_record(tmp_path / "WFDBRecords" / "23" / "236", "JS23074")
    there, missing = CSN(tmp_path).find()
    assert [recording.record_id for recording in there] == ["JS01051"] and missing == []


def test_what_is_not_on_disk_is_listed_as_missing(tmp_path):
    folder = tmp_path / "WFDBRecords" / "01" / "010"
    write_record(folder, "JS00001")
    write_record(folder, "JS00002")
    (folder / "JS00002.mat").unlink()
    (folder / "RECORDS").write_text("JS00001\nJS00002\nJS00004\n")
    there, missing = CSN(tmp_path).find()
    assert [recording.record_id for recording in there] == ["JS00001"]
    assert [recording.record_id for recording in missing] == ["JS00002", "JS00004"]


def test_another_folder_is_refused(tmp_path):
    (tmp_path / "training").mkdir()
    with pytest.raises(FileNotFoundError, match="no WFDBRecords in .*, which holds training: give the folder"):
        CSN(tmp_path).find()


def test_the_row_of_a_recording_by_hand(tmp_path):
    row = read_one(tmp_path)
    np.testing.assert_array_equal(row["signal"], SIGNAL)
    assert (row["sampling_rate"], row["num_samples"], row["lead_names"]) == (500.0, 500, list(STANDARD_LEADS))
    assert (row["record_id"], row["age"], row["sex"]) == ("JS00001", 85.0, "male")
    assert [statement["code"] for statement in row["statements"]] == ["164889003", "59118001", "164934002"]
    assert row["labels_csn"] == ["RBBB", "AFIB", "TWC"]
    assert row["labels_csn_as_released"] == ["AF", "RBBB", "AFIB", "TWC"]
    assert row["labels_all"] == [acronym for acronym in ALL_ACRONYMS if acronym in {"AFIB", "RBBB", "TWC"}]


def test_a_code_without_acronym_is_a_statement_and_merl_left_the_recording_out(tmp_path):
    row = read_one(tmp_path, diagnoses="426177001,55827005,164934002")
    assert [statement["code"] for statement in row["statements"]] == ["426177001", "55827005", "164934002"]
    assert row["labels_csn"] == ["TWC"] and row["labels_csn_as_released"] is None
    assert set(row["labels_all"]) == {"SB", "TWC"}


@pytest.mark.parametrize("comments", [["#Age: 85", "#Dx: "], ["#Age: 85"]])
def test_labels_that_were_taken_out_are_unknown(tmp_path, comments):
    row = read_one(tmp_path, comments=comments)
    assert row["statements"] is None
    assert all(row.get(column) is None for column in CSN(tmp_path).label_columns)


def test_none_of_the_classes_is_not_the_same_as_not_known_once_the_corpus_is_built(tmp_path, round_trip):
    folder = tmp_path / "WFDBRecords" / "01" / "010"
    for name, diagnoses in (("JS1", "426177001,164934002"), ("JS2", "426177001"), ("JS3", "10370003"), ("JS4", "")):
        write_record(folder, name, diagnoses=diagnoses)
    rows = round_trip(CSN(tmp_path))
    assert rows["labels_csn"][:] == [[MERL_LABELS.index("TWC")], [], [], None]
    bradycardia = ALL_ACRONYMS.index("SB")
    assert rows["labels_all"][1:] == [[bradycardia], [], None]
    assert rows["labels_csn_as_released"][1:] == [None, None, None]
    np.testing.assert_allclose(decode_signal(rows[0]), SIGNAL / 1000, atol=1e-6)


def test_abbreviations_in_headers_are_refused_because_they_mean_other_things_here(tmp_path):
    with pytest.raises(ValueError, match="record JS00001: its header has 'AF' in 'Dx'"):
        read_one(tmp_path, diagnoses="AF,59118001")


def test_damaged_recordings_are_refused_by_name(tmp_path):
    with pytest.raises(ValueError, match="JS00001.*describes 12|JS00001.*first line"):
        read_one(tmp_path, line="JS00001 12 500 500000/mV 16 0 15 31255 0 I")
    write_record(tmp_path / "WFDBRecords" / "01" / "010", "JS00001")
    path = tmp_path / "WFDBRecords" / "01" / "010" / "JS00001.mat"
    path.write_bytes(path.read_bytes()[:1000])
    builder = CSN(tmp_path)
    with pytest.raises(ValueError, match="JS00001.*truncated"):
        next(builder.read(builder.recordings()[0]))


def test_classes_are_those_of_merl_and_of_the_publisher_s_table():
    assert len(MERL_LABELS) == len(set(MERL_LABELS)) == 38
    assert MERL_LABELS[:6] == ("AQW", "UW", "SR", "WPW", "2AVB", "AT") and MERL_LABELS[-3:] == ("LVH", "ST", "JEB")
    assert len(ALL_ACRONYMS) == len(set(ALL_ACRONYMS)) == 55
    assert set(MERL_LABELS) < set(ALL_ACRONYMS) and "SB" in set(ALL_ACRONYMS) - set(MERL_LABELS)


@pytest.mark.parametrize(("record_id", "diagnose", "released"), MERL_ROWS)
def test_labels_of_rows_that_merl_published(record_id, diagnose, released):
    acronyms = diagnose.split(",")
    assert released_labels(acronyms) == released.split()
    assert set(exact_labels(acronyms)) == set(acronyms) & set(MERL_LABELS)
    codes = [CODE_OF[acronym] for acronym in acronyms]
    assert acronyms_of(codes) == acronyms
    assert kept_by_merl(codes)


def test_labels_by_hand():
    assert exact_labels(["AFIB", "2AVB1", "CCR", "LVQRSAL", "STE"]) == ["STE", "2AVB1", "CCR", "AFIB"]
    assert released_labels(["AFIB", "2AVB1", "CCR", "LVQRSAL", "STE"]) == (
        ["2AVB", "VB", "SA", "STE", "2AVB1", "CCR", "CR", "AF", "AVB", "AFIB", "ST"]
    )
    assert exact_labels([]) == released_labels([]) == acronyms_of([]) == []
    assert labels_of(["164909002"])["labels_csn"] == ["LBBB"]  # LBBB, LBBBB and LFBBB are one code


@pytest.mark.parametrize("codes", [["426177001"], ["426177001", "698252002"], ["426783006", "10370003"], []])
def test_recordings_that_merl_left_out(codes):
    assert not kept_by_merl(codes)  # of bradycardia alone, or with a code that the publisher's table lacks


@pytest.mark.parametrize("function", [exact_labels, released_labels])
def test_a_string_of_acronyms_is_refused(function):
    with pytest.raises(TypeError, match=r"write \['AFIB', 'TWC'\]"):
        function("AFIB,TWC")


@needs_labels
def test_both_kinds_of_labels_on_all_of_merl_s_files():
    rows = merl_rows()
    assert len(rows) == 23_026 and tuple(rows[0])[-38:] == MERL_LABELS
    released, exact, affected, test_cells, test_records = Counter(), Counter(), 0, 0, 0
    for row in rows:
        acronyms = row["diagnose"].split(",")
        published = [label for label in MERL_LABELS if row[label] == "1"]
        own = exact_labels(acronyms)
        assert released_labels(acronyms) == published, row["ecg_path"]
        assert own == [label for label in MERL_LABELS if label in acronyms], row["ecg_path"]
        released.update(published)
        exact.update(own)
        wrong = set(published) ^ set(own)
        affected += bool(wrong)
        if row["split"] == "test":
            test_cells += len(wrong)
            test_records += bool(wrong)
    assert (affected, test_cells, test_records) == (3817, 1027, 772)
    differing = {label: (released[label], exact[label]) for label in MERL_LABELS if released[label] != exact[label]}
    assert differing == {
        "VB": (916, 3),
        "AVB": (913, 176),
        "AF": (4753, 3340),
        "ST": (6338, 5154),
        "SA": (2828, 2107),
        "CR": (216, 75),
        "2AVB": (38, 22),
    }


@needs_labels
def test_codes_give_merl_s_diagnoses_and_its_choice_of_recordings():
    # Of every header's codes, by the last acronym of the publisher's table, or UNK_ and the code.
    with (Path(LABELS) / "chapman" / "REFERENCE_JS_short_labels.csv").open(newline="") as file:
        headers = {row["RecordID"]: row["Labels"].split(",") for row in csv.DictReader(file)}
    del headers["JS00001-checkpoint"]  # an editor's copy
    assert len(headers) == 45_152
    codes = {name: [CODE_OF.get(label, label.removeprefix("UNK_")) for label in own] for name, own in headers.items()}
    diagnoses = {Path(row["ecg_path"]).stem: row["diagnose"] for row in merl_rows()}
    assert {name for name, own in codes.items() if kept_by_merl(own)} == set(diagnoses)
    assert {name: ",".join(acronyms_of(codes[name])) for name in diagnoses} == diagnoses
    assert sum("SB" in labels_of(own)["labels_all"] for own in codes.values()) == 16_559
