"""LUDB in its own layout, written by the tests, to rows: units, labels and errors."""

from __future__ import annotations

import os
from collections import Counter

import numpy as np
import pytest
import wfdb

from mets_ecg.data.corpora.ludb import LUDB
from mets_ecg.signals import decode_signal

LEADS = ["i", "ii", "iii", "avr", "avl", "avf", "v1", "v2", "v3", "v4", "v5", "v6"]
HEADER = (
    "ID,Sex,Age,Rhythms,Electric axis of the heart,Conduction abnormalities,Extrasystolies,Hypertrophies,"
    "Cardiac pacing,Ischemia,Non-specific repolarization abnormalities,Other states\n"
)
# As in the publisher's table: a line break after every age and sex, and between statements.
ROWS = {
    1: (
        '1,"F\n","51\n",Sinus bradycardia,Electric axis of the heart: left axis deviation,,,'
        '"Left ventricular overload\nLeft ventricular hypertrophy",,,,\n'
    ),
    8: '8,"M\n",">89\n","Atrial fibrillation\nAberrant conduction",,,,,"Pacemaker presence, undefined",,,\n',
    10: '10,"F\n","79\n","Atrial flutter, typical",,,,,,,,Early repolarization syndrome\n',
}


def write_record(source, name):
    """Write leads that obey Einthoven's law in the integers, and gains and baselines that hide it."""
    rng = np.random.default_rng(name)
    one, two = rng.integers(-400, 400, (2, 5000)) * 2
    chest = rng.integers(-800, 800, (6, 5000))
    samples = np.stack([one, two, two - one, -(one + two) // 2, one - two // 2, two - one // 2, *chest])
    (source / "data").mkdir(exist_ok=True)
    wfdb.wrsamp(
        str(name),
        fs=500,
        units=["mV"] * 12,
        sig_name=LEADS,
        d_signal=samples.T,
        fmt=["16"] * 12,
        adc_gain=[float(np.ptp(lead)) for lead in samples],
        baseline=list(range(-6, 6)),
        comments=["<age>: 51", "<sex>: F", "<diagnoses>:", "Rhythm: Sinus bradycardia."],
        write_dir=str(source / "data"),
    )
    return samples


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "ludb"
    folder.mkdir()
    (folder / "ludb.csv").write_text(HEADER + "".join(ROWS.values()), newline="")
    for name in ROWS:
        write_record(folder, name)
    return folder


def fields_of(source) -> dict[str, dict]:
    return {one.record_id: one.fields for one in LUDB(source).recordings()}


def row_of(source, record_id: str) -> dict:
    builder = LUDB(source)
    ((row,),) = [list(builder.read(one)) for one in builder.recordings() if one.record_id == record_id]
    return row


def edit_table(source, old: str, new: str) -> None:
    text = (source / "ludb.csv").read_bytes().decode()
    assert old in text
    (source / "ludb.csv").write_text(text.replace(old, new), newline="")


def test_every_line_of_the_table_is_a_recording(source):
    there, missing = LUDB(source).find()
    assert [one.record_id for one in there] == ["1", "8", "10"] and not missing
    assert {one.split for one in there} == {"full"}
    assert there[0].files == ("data/1.hea", "data/1.dat")


def test_units_are_microvolts_whatever_the_header_says(source):
    expected = wfdb.rdrecord(str(source / "data" / "8"), physical=False).d_signal.T
    row = row_of(source, "8")
    np.testing.assert_array_equal(row["signal"], expected)
    assert set(row["gain"]) == {1000.0} and set(row["baseline"]) == {0}
    assert row["lead_names"] == LEADS and row["sampling_rate"] == 500.0 and row["num_samples"] == 5000
    lead_i, lead_ii, lead_iii, avr = decode_signal(row)[:4]
    np.testing.assert_allclose(lead_iii, lead_ii - lead_i, atol=1e-6)
    np.testing.assert_allclose(avr, -(lead_i + lead_ii) / 2, atol=1e-3)


def test_labels_and_statements_by_hand(source):
    fields = fields_of(source)
    assert fields["1"]["labels_rhythm"] == ["sinus bradycardia"]
    assert [one["code"] for one in fields["1"]["statements"]] == [
        "Sinus bradycardia",
        "Electric axis of the heart: left axis deviation",
        "Left ventricular overload",
        "Left ventricular hypertrophy",
    ]
    assert all(one["likelihood"] is None for one in fields["1"]["statements"])
    assert fields["8"]["labels_rhythm"] == ["atrial fibrillation"]
    assert [one["code"] for one in fields["8"]["statements"]] == [
        "Atrial fibrillation",
        "Aberrant conduction",
        "Pacemaker presence, undefined",
    ]
    assert fields["10"]["labels_rhythm"] == ["atrial flutter"]
    assert fields["10"]["statements"][-1]["code"] == "Early repolarization syndrome"


def test_age_and_sex_lose_their_line_breaks(source):
    fields = fields_of(source)
    assert [(one["age"], one["age_over_89"], one["sex"]) for one in fields.values()] == [
        (51.0, False, "female"),
        (None, True, "male"),
        (79.0, False, "female"),
    ]
    assert [one["patient_id"] for one in fields.values()] == ["1", "8", "10"]
    edit_table(source, '"F\n","51\n"', '"F\n","93\n"')
    first = fields_of(source)["1"]
    assert (first["age"], first["age_over_89"]) == (93.0, True)  # what the publisher does not hide is kept
    edit_table(source, '"F\n","93\n"', ",")
    first = fields_of(source)["1"]
    assert (first["age"], first["age_over_89"], first["sex"]) == (None, None, None)


def test_a_table_with_other_line_ends_is_read_alike(source):
    expected = fields_of(source)
    text = (source / "ludb.csv").read_text()
    (source / "ludb.csv").write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    assert fields_of(source) == expected


def test_the_rhythm_is_known_for_every_row_of_the_built_corpus(source, round_trip):
    rows = round_trip(LUDB(source))
    labels = rows.features["labels_rhythm"].feature
    assert [labels.int2str(own) for own in rows["labels_rhythm"]] == [
        ["sinus bradycardia"],
        ["atrial fibrillation"],
        ["atrial flutter"],
    ]
    assert labels.num_classes == 7


def test_an_empty_line_of_a_cell_is_not_a_statement(source):
    before = fields_of(source)
    edit_table(source, ",Early repolarization syndrome", ',"Early repolarization syndrome\nnan"')
    edit_table(source, "left axis deviation,,", "left axis deviation,NaN,None")
    assert fields_of(source) == before


def test_recordings_that_are_not_on_disk_are_told_apart(source):
    (source / "data" / "8.dat").unlink()
    there, missing = LUDB(source).find()
    assert [one.record_id for one in there] == ["1", "10"] and [one.record_id for one in missing] == ["8"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"51\n"', '"fifty\n"', r"ID '1': Age is 'fifty\\n'; a number or '>89' is expected: download the table again"),
        ('"51\n"', '"-5\n"', "ID '1': Age is '-5"),
        ('"F\n","51\n"', '"X\n","51\n"', r"ID '1': Sex is 'X\\n'; M or F is expected"),
        ("Sinus bradycardia", "Sinus something", "ID '1': Rhythms is 'Sinus something'; one of 'Sinus rhythm'"),
        ("Sinus bradycardia", "", "ID '1': Rhythms is ''"),
        ("Sinus bradycardia", '"Sinus bradycardia\nSinus rhythm"', "ID '1': Rhythms is"),
        ('1,"F\n","51', 'one,"F\n","51', "ID 'one': ID is 'one'; a number is expected"),
    ],
)
def test_a_cell_that_cannot_be_is_named(source, old, new, message):
    edit_table(source, old, new)
    with pytest.raises(ValueError, match=message):
        LUDB(source).recordings()


def test_a_table_that_is_missing_or_another_is_refused(source):
    edit_table(source, "Ischemia,", "Ischaemia,")
    with pytest.raises(ValueError, match="ludb.csv lacks the columns Ischemia: it has ID, Sex"):
        LUDB(source).recordings()
    (source / "ludb.csv").unlink()
    with pytest.raises(FileNotFoundError, match="no ludb.csv in .*holds data"):
        LUDB(source).recordings()


def test_an_id_that_comes_twice_is_an_error(source):
    edit_table(source, '\n8,"M', '\n1,"M')
    with pytest.raises(ValueError, match="1 record ids occur more than once .*'1' among them"):
        LUDB(source).find()


def test_a_truncated_recording_is_named(source):
    path = source / "data" / "8.dat"
    path.write_bytes(path.read_bytes()[:-24])
    with pytest.raises(ValueError, match="'8'.*truncated"):
        row_of(source, "8")


@pytest.mark.skipif("METS_ECG_LUDB" not in os.environ, reason="METS_ECG_LUDB does not name LUDB's folder")
def test_the_counts_of_the_publisher_and_einthoven_s_law():
    builder = LUDB(os.environ["METS_ECG_LUDB"])
    there, missing = builder.find()
    assert len(there) + len(missing) == 200
    assert Counter(name for one in [*there, *missing] for name in one.fields["labels_rhythm"]) == {
        "sinus rhythm": 143,
        "sinus bradycardia": 25,
        "atrial fibrillation": 15,
        "sinus arrhythmia": 8,
        "sinus tachycardia": 4,
        "atrial flutter": 3,
        "irregular sinus rhythm": 2,
    }
    assert Counter(one.fields["sex"] for one in [*there, *missing]) == {"male": 115, "female": 85}
    for recording in there:
        (row,) = builder.read(recording)
        one, two, three = row["signal"][:3].astype(int)
        assert (three == two - one).all(), recording.record_id
