"""CPSC2018's MATLAB structs and table to rows, and its labels against MERL's files."""

import csv
import os
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from mets_ecg.data.corpora.cpsc2018 import CPSC2018, LABELS
from mets_ecg.leads import STANDARD_LEADS
from mets_ecg.signals import decode_signal

REFERENCE = os.environ.get("METS_ECG_LABELS")
needs_labels = pytest.mark.skipif(not REFERENCE, reason="METS_ECG_LABELS names no folder of reference labels")

SIGNAL = np.random.default_rng(0).normal(0.0, 0.7, (12, 600))  # millivolts

# Lines of REFERENCE.csv, and the label columns that are 1 in MERL's icbeb_{train,val,test}.csv
# (https://github.com/cheliu-computation/MERL-ICML2024, MIT).
ROWS = [
    ("A0512,1,,", "NORM"),
    ("A1236,9,5,6", "CRBBB STE PAC"),
    ("A1338,5,,", "CRBBB"),
    ("A1652,8,,", "STD"),
    ("A1666,5,6,9", "CRBBB STE PAC"),
    ("A1997,5,,", "CRBBB"),
    ("A2176,2,4,", "AFIB CLBBB"),
    ("A2514,7,3,", "VPC 1AVB"),
    ("A2878,5,7,", "VPC CRBBB"),
    ("A3073,3,,", "1AVB"),
    ("A3264,5,2,", "AFIB CRBBB"),
    ("A3309,2,4,", "AFIB CLBBB"),
    ("A3595,6,5,9", "CRBBB STE PAC"),
    ("A3740,5,3,", "1AVB CRBBB"),
    ("A3837,8,2,4", "AFIB CLBBB STD"),
    ("A4429,1,,", "NORM"),
    ("A4581,5,,", "CRBBB"),
    ("A4615,2,5,", "AFIB CRBBB"),
    ("A4785,1,,", "NORM"),
    ("A4850,6,,", "PAC"),
    ("A4961,1,,", "NORM"),
    ("A4990,2,4,8", "AFIB CLBBB STD"),
    ("A5029,2,5,", "AFIB CRBBB"),
    ("A5129,7,5,", "VPC CRBBB"),
    ("A5181,2,5,", "AFIB CRBBB"),
    ("A5188,4,2,", "AFIB CLBBB"),
    ("A5843,6,4,", "PAC CLBBB"),
    ("A6328,5,3,", "1AVB CRBBB"),
    ("A6407,7,,", "VPC"),
    ("A6446,4,,", "CLBBB"),
    ("A6769,8,,", "STD"),
    ("A6807,4,2,8", "AFIB CLBBB STD"),
]


def write_source(folder, lines=("A0001,5,,", "A0002,1,,"), place="TrainingSet", **struct):
    """Write the table and, for its first recording, a struct."""
    (folder / place).mkdir(parents=True, exist_ok=True)
    (folder / "REFERENCE.csv").write_text("\n".join(["Recording,First_label,Second_label,Third_label", *lines]) + "\n")
    name = lines[0].split(",")[0]
    savemat(folder / place / f"{name}.mat", {"ECG": {"sex": "Male", "age": 74.0, "data": SIGNAL, **struct}})
    return CPSC2018(folder)


def read_first(folder, **struct) -> dict:
    builder = write_source(folder, **struct)
    return next(builder.read(builder.recordings()[0]))


def test_the_row_of_a_recording_by_hand(tmp_path):
    row = read_first(tmp_path)
    assert (row["record_id"], row["age"], row["age_over_89"], row["sex"]) == ("A0001", 74.0, False, "male")
    assert row["labels_cpsc2018"] == ["CRBBB"]
    assert row["statements"] == [{"code": "5", "likelihood": None}]
    assert (row["sampling_rate"], row["num_samples"], row["lead_names"]) == (500.0, 600, list(STANDARD_LEADS))
    assert row.get("patient_id") is None
    assert set(row["gain"]) == {1000.0}
    np.testing.assert_allclose(decode_signal(row), SIGNAL, rtol=0, atol=5.01e-4)


def test_the_built_corpus_has_the_labels_and_signals_of_the_files(tmp_path, round_trip):
    (row,) = round_trip(write_source(tmp_path))
    assert row["labels_cpsc2018"] == [LABELS.index("CRBBB")]
    np.testing.assert_allclose(decode_signal(row), SIGNAL, rtol=0, atol=5.01e-4)


def test_recordings_are_listed_in_the_table_s_order_and_missing_ones_told(tmp_path):
    there, missing = write_source(tmp_path, lines=("A0002,1,,", "A0001,5,6,", "A0009,9,,")).find()
    assert [recording.record_id for recording in there] == ["A0002"]
    assert [(one.record_id, one.files) for one in missing] == [
        ("A0001", ("TrainingSet/A0001.mat",)),
        ("A0009", ("TrainingSet/A0009.mat",)),
    ]


def test_files_that_macos_keeps_beside_others_are_not_recordings(tmp_path):
    builder = write_source(tmp_path)
    before = builder.recordings()
    (tmp_path / "TrainingSet" / "._A0001.mat").write_bytes(b"\0\5\x16\7")
    (tmp_path / "._TrainingSet").write_bytes(b"\0\5\x16\7")
    assert builder.recordings() == before


@pytest.mark.parametrize("place", ["TrainingSet2", "."])
def test_other_places_of_the_structs(tmp_path, place):
    builder = write_source(tmp_path, place=place)
    there, missing = builder.find()
    assert [recording.record_id for recording in there] == ["A0001"] and len(missing) == 1
    assert next(builder.read(there[0]))["age"] == 74.0


def test_the_three_archives_beside_each_other(tmp_path):
    write_source(tmp_path, place="TrainingSet3")
    for number in (1, 2):
        (tmp_path / f"TrainingSet{number}").mkdir()
    shutil.move(tmp_path / "REFERENCE.csv", tmp_path / "TrainingSet1")
    there, missing = CPSC2018(tmp_path).find()
    assert there[0].files == ("TrainingSet3/A0001.mat",) and missing[0].files == ("TrainingSet1/A0002.mat",)


@pytest.mark.parametrize(("line", "labels"), ROWS)
def test_labels_of_rows_that_merl_published(tmp_path, line, labels):
    (recording,) = write_source(tmp_path, lines=(line,)).recordings()
    assert set(recording.fields["labels_cpsc2018"]) == set(labels.split())
    assert recording.fields["labels_cpsc2018"] == [label for label in LABELS if label in labels.split()]
    assert [one["code"] for one in recording.fields["statements"]] == [cell for cell in line.split(",")[1:] if cell]


@pytest.mark.parametrize(("sex", "expected"), [("Female", "female"), ("male", "male"), ("", None), ("x", None)])
def test_sexes(tmp_path, sex, expected):
    assert read_first(tmp_path, sex=sex)["sex"] == expected


@pytest.mark.parametrize(
    ("age", "expected"),
    [(92.0, (92.0, True)), (np.nan, (None, None)), (-1.0, (None, None)), ([], (None, None)), ("52", (52.0, False))],
)
def test_ages(tmp_path, age, expected):
    row = read_first(tmp_path, age=age)
    assert (row.get("age"), row.get("age_over_89")) == expected


def test_samples_that_are_not_recorded_stay_so(tmp_path):
    signal = SIGNAL.copy()
    signal[3, 10:20] = np.nan
    decoded = decode_signal(read_first(tmp_path, data=signal))
    np.testing.assert_array_equal(np.isnan(decoded), np.isnan(signal))


def test_without_the_table_nothing_is_read(tmp_path):
    write_source(tmp_path)
    (tmp_path / "REFERENCE.csv").unlink()
    with pytest.raises(FileNotFoundError, match="no REFERENCE.csv in .*, which holds TrainingSet"):
        CPSC2018(tmp_path).recordings()


@pytest.mark.parametrize("line", ["A0001,10,,", "A0001,,,", "A0001,0,,", "A0001,AF,,", "A0001"])
def test_labels_that_cannot_be_are_refused(tmp_path, line):
    with pytest.raises(ValueError, match=r"REFERENCE.csv: recording 'A0001' has the labels .*; one to three of 1 to 9"):
        write_source(tmp_path, lines=(line,)).recordings()


def test_a_recording_twice_in_the_table_is_refused(tmp_path):
    with pytest.raises(ValueError, match="cpsc2018: 1 record ids occur more than once"):
        write_source(tmp_path, lines=("A0001,5,,", "A0001,6,,")).find()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"Recording,First_label\nA0001,5\n", "lacks the columns Second_label, Third_label"),
        (b"Recording,First_label,Second_label,Third_label\nA\xe9001,5,,\n", "is not UTF-8"),
    ],
)
def test_a_damaged_table_is_refused(tmp_path, content, message):
    builder = write_source(tmp_path)
    (tmp_path / "REFERENCE.csv").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        builder.recordings()


@pytest.mark.parametrize("keep", [0, 60, 128, 200, 3000])
def test_a_truncated_struct_is_refused_by_name(tmp_path, keep):
    builder = write_source(tmp_path)
    path = tmp_path / "TrainingSet" / "A0001.mat"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match="CPSC2018 recording A0001"):
        next(builder.read(builder.recordings()[0]))


def test_a_file_that_is_no_matlab_file_is_refused_by_name(tmp_path):
    builder = write_source(tmp_path)
    (tmp_path / "TrainingSet" / "A0001.mat").write_bytes(b"<html>not found</html>" * 50)
    with pytest.raises(
        ValueError, match="A0001 cannot be read .*: .* is no MATLAB file or truncated; download it again"
    ):
        next(builder.read(builder.recordings()[0]))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"val": SIGNAL}, "A0001.* lacks a struct ECG with sex, age, data, and has val: .*build cinc"),
        ({"ECG": {"sex": "Male", "data": SIGNAL}}, "A0001.* lacks a struct ECG with age, and has sex, data"),
        ({"ECG": 1.0}, "A0001.* lacks a struct ECG with sex, age, data, and has ECG"),
    ],
)
def test_a_struct_without_its_fields_is_refused_by_name(tmp_path, content, message):
    builder = write_source(tmp_path)
    savemat(tmp_path / "TrainingSet" / "A0001.mat", content)
    with pytest.raises(ValueError, match=message):
        next(builder.read(builder.recordings()[0]))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (SIGNAL.T, r"A0001: ECG.data in .* has the shape \(600, 12\)"),
        (SIGNAL[:8], r"A0001: ECG.data in .* has the shape \(8, 600\)"),
        (np.zeros((12, 0)), r"A0001: ECG.data in .* has the shape"),
        ("abc", "A0001: ECG.data in .* has the shape"),
        (SIGNAL * 1000, "A0001: an amplitude of .* mV does not fit 16 bits .*leave it out"),
        (np.full((12, 5), np.inf), "A0001: an amplitude of inf mV"),
    ],
)
def test_data_that_cannot_be_an_ecg_are_refused_by_name(tmp_path, data, message):
    with pytest.raises(ValueError, match=message):
        read_first(tmp_path, data=data)


def test_the_data_are_not_to_be_fetched_from_the_publisher():
    assert CPSC2018.info.download_url is None


@needs_labels
def test_labels_of_all_recordings_equal_merl_s(tmp_path):
    shutil.copy(Path(REFERENCE) / "cpsc2018" / "REFERENCE.csv", tmp_path)
    published = {}
    for split in ("train", "val", "test"):
        path = Path(REFERENCE) / "merl" / "finetune" / "data_split" / "icbeb" / f"icbeb_{split}.csv"
        with path.open(newline="") as file:
            published |= {
                row["filename"]: {name for name in LABELS if row[name] == "1"} for row in csv.DictReader(file)
            }
    own = {one.record_id: set(one.fields["labels_cpsc2018"]) for one in CPSC2018(tmp_path).recordings()}
    assert len(own) == 6877 and own == published
    counts = Counter(label for labels in own.values() for label in labels)
    assert [counts[label] for label in LABELS] == [918, 1221, 722, 236, 1857, 616, 700, 869, 220]
