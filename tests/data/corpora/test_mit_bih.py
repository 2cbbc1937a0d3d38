"""MIT-BIH in its own layout, written by `wfdb`, to rows: windows of beats and of rhythms, by hand, and errors."""

from __future__ import annotations

import os
from collections import Counter

import numpy as np
import pytest
import wfdb

from mets_ecg.data.corpora.mit_bih import AAMI_CLASSES, BEATS, MITBIH, RHYTHMS, read_annotation
from mets_ecg.signals import decode_signal

NUM_SAMPLES = 12_000  # 33 s
# Sample, symbol and note of each annotation.
ANNOTATIONS = [
    (18, "+", "(N\0"),
    (77, "N", ""),
    (400, "N", ""),
    (700, "~", ""),
    (1900, "L", ""),
    (2300, "a", ""),
    (3000, "x", ""),
    (3705, "V", ""),
    (4000, "+", "(AFIB"),
    (4100, "N", ""),
    (8500, "N", ""),
    (8600, "+", "(VFL\0"),
    (8700, "!", ""),
    (9100, "F", ""),
    (11950, "Q", ""),
]


def write_record(folder, name, lead_names=("MLII", "V1"), comments=("69 M 1085 1629 x1", "Aldomet"), annotations=None):
    rng = np.random.default_rng(int(name))
    samples = rng.integers(600, 1500, (NUM_SAMPLES, 2))
    wfdb.wrsamp(
        name,
        fs=360,
        units=["mV", "mV"],
        sig_name=list(lead_names),
        d_signal=samples,
        fmt=["212", "212"],
        adc_gain=[200.0, 200.0],
        baseline=[1024, 1024],
        comments=list(comments),
        write_dir=str(folder),
    )
    at, symbols, notes = zip(*(annotations or ANNOTATIONS), strict=True)
    wfdb.wrann(name, "atr", np.array(at), list(symbols), aux_note=list(notes), write_dir=str(folder))
    return samples.T


@pytest.fixture
def source(tmp_path):
    """Three records; 114 has its leads in the other order."""
    folder = tmp_path / "mit-bih"
    folder.mkdir()
    write_record(folder, "101")
    write_record(folder, "114", lead_names=("V5", "MLII"))
    write_record(folder, "202")
    return folder


def recording_of(builder, record_id: str):
    (found,) = [one for one in builder.recordings() if one.record_id == record_id]
    return found


def rows_of(builder, record_id: str) -> list[dict]:
    return list(builder.read(recording_of(builder, record_id)))


def test_the_records_are_those_of_the_customary_split(source):
    recordings = MITBIH(source).recordings()
    assert len({one.record_id for one in recordings}) == 48
    assert Counter(one.split for one in recordings) == {"ds1": 22, "ds2": 22, "paced": 4}
    assert {one.fields["fold"] for one in recordings if one.split == "paced"} == {3}
    assert recording_of(MITBIH(source), "101").split == "ds1"
    assert recording_of(MITBIH(source), "100").split == "ds2"
    assert len({one.fields["patient_id"] for one in recordings}) == 47


def test_records_that_are_not_on_disk_are_told_apart(source):
    (source / "101.atr").unlink()
    there, missing = MITBIH(source).find()
    assert [one.record_id for one in there] == ["114", "202"]
    assert len(missing) == 46 and "101" in {one.record_id for one in missing}


def test_201_and_202_are_one_patient_on_both_sides(source):
    first, second = (recording_of(MITBIH(source), name) for name in ("201", "202"))
    assert first.fields["patient_id"] == second.fields["patient_id"] == "201"
    assert (first.split, second.split) == ("ds1", "ds2")
    assert {row["patient_id"] for row in rows_of(MITBIH(source), "202")} == {"201"}


def test_every_beat_is_a_row(source):
    rows = rows_of(MITBIH(source), "101")
    assert [row["record_id"] for row in rows] == [
        f"101_{sample:06d}" for sample, symbol, _ in ANNOTATIONS if symbol in BEATS
    ]
    assert [row["labels_aami"] for row in rows] == [["N"], ["N"], ["N"], ["S"], ["V"], ["N"], ["N"], ["F"], ["Q"]]
    assert [row["labels_beat"][0] for row in rows][2:5] == [
        "left bundle branch block beat",
        "aberrated atrial premature beat",
        "premature ventricular contraction",
    ]
    assert rows[3]["statements"] == [{"code": "a", "likelihood": None}]


def test_a_beat_is_in_the_middle_of_its_window_but_at_the_record_s_ends(source):
    samples = wfdb.rdrecord(str(source / "101"), physical=False).d_signal.T
    rows = {row["record_id"]: row for row in rows_of(MITBIH(source), "101")}
    for record_id, start, symbols in [
        ("101_000077", 0, "NNLa"),
        ("101_002300", 500, "LaV"),  # the blocked P wave is no beat
        ("101_003705", 1905, "aVN"),  # the window begins behind the beat at 1900
        ("101_009100", 7300, "NF"),  # nor is a flutter wave
        ("101_011950", 8400, "NFQ"),
    ]:
        row = rows[record_id]
        assert row["beat_sample"] == int(record_id[4:]) - start
        assert row["window_symbols"] == list(symbols)
        assert row["num_samples"] == 3600
        np.testing.assert_array_equal(row["signal"], samples[:, start : start + 3600])
    assert [row["beat_sample"] for row in rows.values()].count(1800) == 6


def test_channels_keep_the_names_and_the_order_of_the_file(source):
    assert rows_of(MITBIH(source), "101")[0]["lead_names"] == ["MLII", "V1"]
    assert rows_of(MITBIH(source), "114")[0]["lead_names"] == ["V5", "MLII"]


def test_signals_agree_with_wfdb_in_millivolt(source):
    expected = wfdb.rdrecord(str(source / "114")).p_signal.T
    for row in rows_of(MITBIH(source), "114"):
        start = int(row["record_id"][4:]) - row["beat_sample"]
        np.testing.assert_allclose(decode_signal(row), expected[:, start : start + 3600], rtol=0, atol=1e-6)


def test_windows_lie_inside_one_rhythm_from_where_it_begins(source):
    rows = rows_of(MITBIH(source, "rhythm"), "101")
    # 18 to 4000: one window; 4000 to 8600: one; 8600 to the end at 12000: none, it lasts less than 10 s.
    assert [row["record_id"] for row in rows] == ["101_000018", "101_004000"]
    assert [row["labels_rhythm"] for row in rows] == [["normal sinus rhythm"], ["atrial fibrillation"]]
    assert rows[1]["statements"] == [{"code": "(AFIB", "likelihood": None}]
    samples = wfdb.rdrecord(str(source / "101"), physical=False).d_signal.T
    np.testing.assert_array_equal(rows[1]["signal"], samples[:, 4000:7600])


def test_windows_of_a_long_rhythm_follow_each_other_to_the_last_sample(source):
    write_record(source, "106", annotations=[(1200, "+", "(B\0"), (1300, "V", "")])
    rows = rows_of(MITBIH(source, "rhythm"), "106")
    assert [row["record_id"] for row in rows] == ["106_001200", "106_004800", "106_008400"]  # 8400 + 3600 = 12000


def test_runs_of_rhythms(source):
    annotation = read_annotation(source / "101.atr", NUM_SAMPLES)
    assert annotation.rhythm_runs() == [("(N", 18, 4000), ("(AFIB", 4000, 8600), ("(VFL", 8600, 12_000)]


@pytest.mark.parametrize("config", ["beats", "rhythm"])
def test_every_row_of_the_built_corpus_has_one_class(source, config, round_trip):
    builder = MITBIH(source, config)
    rows = round_trip(builder)
    assert len(rows) == 3 * len(rows_of(builder, "101"))
    assert all(len(labels) == 1 for column in builder.label_columns for labels in rows[column])
    assert ("beat_sample" in rows.features) == (config == "beats")


def test_classes_are_the_annotation_codes_and_the_aami_s(source):
    columns = MITBIH(source).label_columns
    assert len(set(columns["labels_beat"])) == len(BEATS) == 15
    assert columns["labels_aami"] == ("N", "S", "V", "F", "Q")
    assert {aami_class for _, aami_class in BEATS.values()} == set(AAMI_CLASSES)
    assert set(MITBIH(source, "rhythm").label_columns["labels_rhythm"]) == set(RHYTHMS.values())
    assert len(set(RHYTHMS.values())) == 15


@pytest.mark.parametrize(
    ("comments", "age", "over_89", "sex"),
    [
        (("75 F 1011 654 x1", "Diapres"), 75.0, False, "female"),
        (("-1 M 2141 2156 x1",), None, None, "male"),
        (("95 M 1 1 x1",), 95.0, True, "male"),
        (("The PVCs are uniform.",), None, None, None),
        ((), None, None, None),
    ],
)
def test_age_and_sex_are_in_the_first_comment(source, comments, age, over_89, sex):
    write_record(source, "106", comments=comments)
    row = rows_of(MITBIH(source), "106")[0]
    assert (row["age"], row["age_over_89"], row["sex"]) == (age, over_89, sex)


def test_a_truncated_recording_is_named(source):
    path = source / "101.dat"
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(ValueError, match="'101'.*truncated"):
        rows_of(MITBIH(source), "101")


def test_an_annotation_of_another_record_is_refused(source):
    write_record(source, "106", annotations=[(18, "+", "(N\0"), (NUM_SAMPLES, "N", "")])
    with pytest.raises(
        ValueError, match="annotation 106.atr is damaged: .* within the record's 12000 samples; download"
    ):
        rows_of(MITBIH(source), "106")


@pytest.mark.parametrize("content", [b"", b"\0\0", b"\0"])
def test_an_empty_annotation_is_refused(source, content):
    (source / "101.atr").write_bytes(content)
    with pytest.raises(ValueError, match="annotation 101.atr (is damaged|cannot be read).*download .*101.atr again"):
        rows_of(MITBIH(source), "101")


def test_an_unknown_rhythm_is_named(source):
    write_record(source, "106", annotations=[(18, "+", "(N\0"), (500, "+", "(XYZ\0")])
    with pytest.raises(ValueError, match=r"106.atr has the rhythm '\(XYZ' at sample 500: known ones are \(N, "):
        rows_of(MITBIH(source, "rhythm"), "106")


def test_a_record_shorter_than_a_window_is_refused(source, monkeypatch):
    monkeypatch.setattr("mets_ecg.data.corpora.mit_bih.WINDOW_SECONDS", 40)
    with pytest.raises(ValueError, match="MIT-BIH record 101 has 12000 samples, less than a window of 40 s"):
        rows_of(MITBIH(source), "101")


def test_an_unknown_config_is_refused(source):
    with pytest.raises(ValueError, match="mit-bih has no config 'rhythms': there are beats, rhythm"):
        MITBIH(source, "rhythms")


def test_a_folder_without_records_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="none of 48 recordings .*for example 101.hea"):
        MITBIH(tmp_path).find()


@pytest.mark.skipif("METS_ECG_MIT_BIH" not in os.environ, reason="METS_ECG_MIT_BIH does not name MIT-BIH's folder")
def test_the_counts_of_ds1():
    """Counts of the literature for beats; minutes to one decimal."""
    builder = MITBIH(os.environ["METS_ECG_MIT_BIH"])
    counts, minutes = Counter(), Counter()
    for recording in builder.find()[0]:
        if recording.split == "ds1":
            counts.update(row["labels_aami"][0] for row in builder.read(recording))
            for code, begin, end in read_annotation(builder.source / recording.files[2], 650_000).rhythm_runs():
                minutes[code] += (end - begin) / 360 / 60
    assert counts == {"N": 45_866, "S": 944, "V": 3_788, "F": 415, "Q": 8}
    assert {code: round(value, 1) for code, value in minutes.items()} == {
        **{"(N": 563.6, "(AFIB": 34.3, "(B": 18.1, "(T": 16.8, "(PREX": 12.3, "(AFL": 5.2},
        **{"(SVTA": 2.9, "(VT": 2.8, "(IVR": 2.4, "(VFL": 2.4, "(NOD": 0.9},
    }
