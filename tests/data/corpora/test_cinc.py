"""CinC 2021 in PhysioNet's layout to rows: places, header comments, gains, labels, and what is damaged or missing."""

import numpy as np
import pytest
import wfdb
from scipy.io import savemat

from mets_ecg.data.corpora.cinc import CinC
from mets_ecg.leads import STANDARD_LEADS
from mets_ecg.signals import decode_signal

SIGNAL = np.random.default_rng(0).integers(-2000, 2000, (12, 700)).astype(np.int16)
COMMENTS = ("#Age: 74", "#Sex: Male", "#Dx: 59118001", "#Rx: Unknown", "#Hx: Unknown", "#Sx: Unknown")

# `Dx` of published headers, and the classes that they belong to by the Challenge's tables.
DIAGNOSES = [
    ("59118001", "CRBBB|RBBB"),  # A0001
    ("251146004,284470004,284470004", "LQRSV PAC|SVPB"),  # E00015
    ("67741000119109,426177001", "SB"),  # E07500
    ("251146004,426783006", "LQRSV NSR"),  # HR00001
    ("164934002,426783006", "NSR TAb"),  # HR06000
    ("164889003,59118001,164934002", "AF CRBBB|RBBB TAb"),  # JS00001
    ("426177001,164934002", "SB TAb"),  # JS00002
]


def write_record(folder, name, signal=SIGNAL, *, line=None, gain="1000/mV", leads=STANDARD_LEADS, comments=COMMENTS):
    """Write a header and `.mat` as the Challenge does: samples after a MATLAB 4 header of 24 bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    savemat(folder / f"{name}.mat", {"val": signal}, format="4")
    sums = signal.sum(axis=1, dtype=np.int64).astype(np.int16)
    lines = [line or f"{name} {len(signal)} 500 {signal.shape[1]} 12-May-2020 12:33:59"]
    lines += [
        f"{name}.mat 16+24 {gain} 16 0 {row[0]} {total} 0 {lead}"
        for row, total, lead in zip(signal, sums, leads, strict=True)
    ]
    (folder / f"{name}.hea").write_text("\n".join([*lines, *comments]) + "\n")


@pytest.fixture
def source(tmp_path):
    """Four databases, two of them in groups."""
    write_record(tmp_path / "training" / "georgia" / "g10", "E09000")
    write_record(tmp_path / "training" / "georgia" / "g1", "E00001")
    write_record(tmp_path / "training" / "georgia" / "g2", "E01000")
    write_record(tmp_path / "training" / "cpsc_2018" / "g1", "A0001")
    write_record(tmp_path / "training" / "ptb-xl", "HR00001")
    write_record(tmp_path / "training" / "ningbo", "JS20000")
    return tmp_path


def read_one(folder, name="A0001", database="cpsc_2018", **record) -> dict:
    write_record(folder / "training" / database / "g1", name, **record)
    builder = CinC(folder)
    (recording,) = builder.find()[0]
    (row,) = builder.read(recording)
    return row


def names_of(source) -> list[str]:
    return [recording.record_id for recording in CinC(source).recordings()]


def test_recordings_are_listed_by_database_and_name(source):
    there, missing = CinC(source).find()
    assert [(recording.split, recording.record_id) for recording in there] == [
        ("cpsc_2018", "A0001"),
        ("ptb_xl", "HR00001"),
        ("georgia", "E00001"),
        ("georgia", "E01000"),
        ("georgia", "E09000"),
        ("ningbo", "JS20000"),
    ]
    assert missing == []
    assert there[0].files == ("training/cpsc_2018/g1/A0001.hea", "training/cpsc_2018/g1/A0001.mat")
    assert set(CinC.splits) >= {recording.split for recording in there} and len(CinC.splits) == 8


def test_the_source_may_be_training_or_one_database(source, monkeypatch):
    everything = names_of(source)
    assert names_of(source / "training") == everything
    builder = CinC(source / "training" / "ptb-xl")
    (recording,) = builder.recordings()
    assert (recording.split, recording.files) == ("ptb_xl", ("HR00001.hea", "HR00001.mat"))
    assert next(builder.read(recording))["record_id"] == "HR00001"
    monkeypatch.chdir(source / "training" / "georgia")
    assert names_of(".") == ["E00001", "E01000", "E09000"]


def test_a_source_without_a_database_is_refused(tmp_path):
    (tmp_path / "records100").mkdir()
    with pytest.raises(FileNotFoundError, match=r"but records100: give .* one of cpsc_2018, .*, ningbo"):
        CinC(tmp_path).recordings()


def test_the_row_of_a_recording_by_hand(source):
    builder = CinC(source)
    (row,) = builder.read(builder.recordings()[0])
    np.testing.assert_array_equal(row["signal"], SIGNAL)
    assert row["signal"].dtype == np.int16
    assert set(row["gain"]) == {1000.0} and set(row["baseline"]) == {0}
    assert (row["num_samples"], row["sampling_rate"], row["lead_names"]) == (700, 500.0, list(STANDARD_LEADS))
    assert row["statements"] == [{"code": "59118001", "likelihood": None}]
    assert row["labels_cinc2021"] == ["CRBBB|RBBB"]
    assert (row["age"], row["age_over_89"], row["sex"]) == (74.0, False, "male")
    assert row.get("patient_id") is None
    assert row.get("start_time") is None  # the header's time is that of its conversion


def test_none_of_the_classes_is_not_the_same_as_not_known_once_the_corpus_is_built(tmp_path, round_trip):
    supraventricular_tachycardia, no_labels = ("#Dx: 426761007",), ("#Dx:",)  # the first is not scored
    write_record(tmp_path / "cpsc_2018", "A0001")
    write_record(tmp_path / "cpsc_2018", "A0002", comments=supraventricular_tachycardia)
    write_record(tmp_path / "ningbo", "JS20000", comments=supraventricular_tachycardia)
    write_record(tmp_path / "ningbo", "JS20001", comments=no_labels)
    rows = round_trip(CinC(tmp_path))
    labels = rows.features["labels_cinc2021"].feature
    assert labels.int2str(rows[0]["labels_cinc2021"]) == ["CRBBB|RBBB"]
    # In Ningbo, lists of diagnoses name every finding; in CPSC2018, nine.
    assert rows["labels_cinc2021"][1:] == [None, [], None]
    assert [own and len(own) for own in rows["statements"]] == [1, 1, 1, None]
    np.testing.assert_allclose(decode_signal(rows[0]), SIGNAL / 1000, atol=1e-6)


@pytest.mark.parametrize(("diagnoses", "classes"), DIAGNOSES)
def test_labels_of_published_headers(tmp_path, diagnoses, classes):
    row = read_one(tmp_path, comments=("#Age: 60", "#Sex: Female", f"#Dx: {diagnoses}"))
    assert row["labels_cinc2021"] == classes.split()
    assert [statement["code"] for statement in row["statements"]] == list(dict.fromkeys(diagnoses.split(",")))


def test_a_code_that_no_table_knows_is_a_statement(tmp_path):
    row = read_one(tmp_path, comments=("# Age: 6", "# Sex: F", "# Dx: 999999999, 164890007 ,"))
    assert [statement["code"] for statement in row["statements"]] == ["999999999", "164890007"]
    assert row["labels_cinc2021"] == ["AFL"]
    assert (row["age"], row["sex"]) == (6.0, "female")


@pytest.mark.parametrize(
    ("diagnoses", "classes"), [("RBBB", "CRBBB|RBBB"), ("AF,RBBB", "AF CRBBB|RBBB"), ("I-AVB", "IAVB")]
)
def test_abbreviations_of_early_headers_are_not_an_ecg_without_diagnoses(tmp_path, diagnoses, classes):
    assert read_one(tmp_path, comments=(f"#Dx: {diagnoses}",))["labels_cinc2021"] == classes.split()


def test_a_word_that_is_no_diagnosis_is_refused_with_the_record(tmp_path):
    with pytest.raises(ValueError, match="record A0001: its header has 'AFF' in 'Dx'"):
        read_one(tmp_path, comments=("#Dx: RBBB,AFF",))


@pytest.mark.parametrize("line", ["#Dx:", "#Dx: ", "# Dx: Unknown", "# Rx: Unknown"])
def test_labels_that_were_taken_out_are_unknown_and_not_absent(tmp_path, line):
    row = read_one(tmp_path, comments=("#Age: 74", "#Sex: Male", line))
    assert row["statements"] is None and row["labels_cinc2021"] is None


@pytest.mark.parametrize(("text", "expected"), [("92", (92.0, True)), ("300", (None, True)), ("NaN", (None, None))])
def test_ages_above_89_are_kept_and_300_hides_one(tmp_path, text, expected):
    row = read_one(tmp_path, comments=(f"#Age: {text}", "#Sex: Male", "#Dx: 426783006"))
    assert (row["age"], row["age_over_89"]) == expected


@pytest.mark.parametrize(
    ("text", "sex"),
    [("Male", "male"), ("female", "female"), ("M", "male"), ("F", "female"), ("Unknown", None), ("NaN", None)],
)
def test_sexes(tmp_path, text, sex):
    assert read_one(tmp_path, comments=("#Age: 1", f"#Sex: {text}", "#Dx: 426783006"))["sex"] == sex


def test_incart_s_integers_are_microvolts_whatever_its_headers_say(tmp_path):
    signal = np.random.default_rng(1).integers(-9000, 9000, (12, 462_600)).astype(np.int16)
    # The first samples of I0001; INCART's own I01 begins with 1161 units of 306 per mV in lead I.
    signal[:, 0] = [3794, 1493, -304, -2778, 1526, 585, -3438, -3333, -3415, -4072, 1654, 6444]
    row = read_one(
        tmp_path,
        "I0001",
        "st_petersburg_incart",
        signal=signal,
        line="I0001 12 257 462600 15-May-2020 15:42:19",
        gain="306000/mV",
    )
    assert (row["sampling_rate"], row["num_samples"]) == (257.0, 462_600)
    assert decode_signal(row)[0, 0] == pytest.approx(1161 / 306, abs=5e-4)
    np.testing.assert_array_equal(row["signal"], signal)


def test_a_clipped_sample_at_wfdb_s_marker_is_not_recorded(tmp_path):
    signal = SIGNAL.copy()
    signal[11, 0] = -32768  # as V6 of I0002 begins
    row = read_one(tmp_path, "I0002", "st_petersburg_incart", signal=signal, gain="306000/mV")
    decoded = decode_signal(row)
    assert np.isnan(decoded[11, 0]) and np.isfinite(decoded).sum() == decoded.size - 1


@pytest.mark.parametrize(
    ("name", "database", "gain"),
    [
        ("HR00599", "ptb-xl", "200/mV"),
        ("HR00001", "ptb-xl", "1000/mv"),
        ("E00001", "georgia", "4880/mV"),
        ("E07500", "georgia", "1000.0(0)/mV"),
        ("S0001", "ptb", "2000000/mV"),
        ("I0003", "st_petersburg_incart", "1041000/mV"),
    ],
)
def test_gains_that_headers_misstate_are_put_right(tmp_path, name, database, gain):
    row = read_one(tmp_path, name, database, gain=gain)
    assert set(row["gain"]) == {1000.0}
    np.testing.assert_array_equal(row["signal"], SIGNAL)


@pytest.mark.parametrize(("database", "gain"), [("cpsc_2018", 200.0), ("ptb", 2000.0), ("georgia", 200.0)])
def test_other_gains_are_the_header_s(tmp_path, database, gain):
    row = read_one(tmp_path, "S0001", database, line="S0001 12 1000 700 15-May-2020 15:22:05", gain=f"{gain:g}/mV")
    assert set(row["gain"]) == {gain} and row["sampling_rate"] == 1000.0


def test_georgia_s_record_lines_may_name_the_mat_file(tmp_path):
    row = read_one(tmp_path, "E00015", "georgia", line="E00015.mat 12 500 700 05-May-2020 14:50:55")
    assert row["record_id"] == "E00015"
    np.testing.assert_array_equal(row["signal"], SIGNAL)


def test_a_dat_file_is_read_as_well(tmp_path):
    folder = tmp_path / "training" / "ptb"
    folder.mkdir(parents=True)
    wfdb.wrsamp(
        "S0002",
        fs=1000,
        units=["mV"] * 12,
        sig_name=list(STANDARD_LEADS),
        d_signal=SIGNAL.T,
        fmt=["16"] * 12,
        adc_gain=[2000.0] * 12,
        baseline=[5] * 12,
        comments=["Age: 20", "Sex: Female", "Dx: 426783006"],
        write_dir=str(folder),
    )
    builder = CinC(tmp_path)
    (recording,) = builder.find()[0]
    assert recording.files == ("training/ptb/S0002.hea", "training/ptb/S0002.dat")
    (row,) = builder.read(recording)
    np.testing.assert_allclose(decode_signal(row), wfdb.rdrecord(str(folder / "S0002")).p_signal.T, atol=1e-6)
    assert row["labels_cinc2021"] == ["NSR"]


def test_what_is_not_on_disk_is_listed_as_missing(source):
    (source / "training" / "georgia" / "g1" / "E00001.mat").unlink()
    (source / "training" / "georgia" / "g2" / "E01000.hea").unlink()
    (source / "training" / "cpsc_2018" / "g1" / "RECORDS").write_text("A0001\nA0002\n")
    (source / "training" / "cpsc_2018" / "RECORDS").write_text("training/cpsc_2018/g1/\n")
    (source / "training" / "cpsc_2018" / "g1" / "index.html").write_text("")
    there, missing = CinC(source).find()
    assert [recording.record_id for recording in there] == ["A0001", "HR00001", "E09000", "JS20000"]
    assert [recording.record_id for recording in missing] == ["A0002", "E00001", "E01000"]


def test_a_signal_file_of_another_name_is_found_by_the_header(tmp_path):
    folder = tmp_path / "training" / "ningbo" / "g13"
    write_record(folder, "JS23074", line="S23074 12 500 700")
    (folder / "JS23074.hea").rename(folder / "S23074.hea")
    builder = CinC(tmp_path)
    there, missing = builder.find()
    assert [recording.record_id for recording in there] == ["S23074"] and missing == []
    np.testing.assert_array_equal(next(builder.read(there[0]))["signal"], SIGNAL)


@pytest.mark.parametrize("content", ["", "A0002 12 500 700\n", "#\n\n\n", "A0002 12 500 700\nnowhere.mat 16 1\n"])
def test_a_broken_header_without_signal_file_is_missing(source, content):
    (source / "training" / "cpsc_2018" / "g1" / "A0002.hea").write_text(content)
    assert [recording.record_id for recording in CinC(source).find()[1]] == ["A0002"]


def test_one_recording_in_two_places_is_refused(source):
    write_record(source / "training" / "georgia", "E00001")
    with pytest.raises(ValueError, match="cinc: 1 record ids occur more than once .*'E00001'"):
        CinC(source).find()


def test_a_truncated_file_is_refused_by_name(source):
    path = source / "training" / "cpsc_2018" / "g1" / "A0001.mat"
    path.write_bytes(path.read_bytes()[:-100])
    builder = CinC(source)
    with pytest.raises(ValueError, match="A0001.*truncated.*download it again"):
        next(builder.read(builder.recordings()[0]))


def test_a_file_of_another_length_than_its_header_says_is_refused(source):
    folder = source / "training" / "cpsc_2018" / "g1"
    savemat(folder / "A0001.mat", {"val": np.tile(SIGNAL, 2)}, format="4")
    builder = CinC(source)
    with pytest.raises(ValueError, match="A0001.*header disagrees with the data"):
        next(builder.read(builder.recordings()[0]))


def test_another_record_s_samples_are_refused(source):
    folder = source / "training" / "cpsc_2018" / "g1"
    savemat(folder / "A0001.mat", {"val": SIGNAL[::-1]}, format="4")
    builder = CinC(source)
    with pytest.raises(ValueError, match="A0001.*checksum"):
        next(builder.read(builder.recordings()[0]))


@pytest.mark.parametrize(
    ("leads", "message"),
    [
        ((*STANDARD_LEADS[:11], "RESP"), r"record A0001: unknown lead 'RESP'.*mend the names in .*A0001\.hea"),
        ((*STANDARD_LEADS[:11], "v1"), r"record A0001: duplicate lead V1"),
    ],
)
def test_leads_that_are_unknown_or_there_twice_are_refused(tmp_path, leads, message):
    with pytest.raises(ValueError, match=message):
        read_one(tmp_path, leads=leads)


def test_a_header_of_rubbish_is_refused_by_name(source):
    (source / "training" / "cpsc_2018" / "g1" / "A0001.hea").write_bytes(bytes(range(128, 256)) * 3)
    builder = CinC(source)
    with pytest.raises(ValueError, match="A0001"):
        next(builder.read(builder.recordings()[0]))


def test_where_the_files_are_to_be_had():
    assert CinC.info.download_url == "https://physionet.org/files/challenge-2021/1.0.3/"
    assert CinC.download_patterns("default") == ("training/*",)
