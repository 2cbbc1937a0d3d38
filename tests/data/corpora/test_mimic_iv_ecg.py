"""MIMIC-IV-ECG in PhysioNet's layout, on files that the tests write from real recordings."""

import csv
import hashlib
import os
from datetime import date, datetime, time
from pathlib import Path

import numpy as np
import pytest
import wfdb

from mets_ecg.data.corpora.mimic_iv_ecg import MEASUREMENTS, MIMICIVECG
from mets_ecg.io import read_wfdb
from mets_ecg.leads import STANDARD_LEADS
from mets_ecg.signals import decode_signal

LEADS = ["I", "II", "III", "aVR", "aVF", "aVL", "V1", "V2", "V3", "V4", "V5", "V6"]
LIST_HEADER = ["subject_id", "study_id", "file_name", "ecg_time", "path"]
REPORT_LINES = [f"report_{i}" for i in range(18)]
TABLE_HEADER = [
    *["subject_id", "study_id", "cart_id", "ecg_time"],
    *REPORT_LINES,
    *["bandwidth", "filtering"],
    *MEASUREMENTS,
]
# The publisher's first study, and one whose machine made fewer measurements.
STUDIES = [("10000032", "40689238", "2180-07-23 08:44:00"), ("10000980", "46642833", "2137-05-21 15:50:00")]
REPORTS = [
    ["Sinus rhythm", "Possible right atrial abnormality", "", "Borderline ECG"],
    ["Atrial fibrillation with PVC(s) or aberrant ventricular conduction.", " Low QRS voltages, precordial leads "],
]
MEASURED = [[659, 40, 128, 170, 258, 518, 81, 77, 79], [769, 29999, 29999, 200, 302, 636, 29999, -18, -67]]


def path_of(subject, study):
    return f"files/p{subject[:4]}/p{subject}/s{study}/{study}"


def list_row(subject, study, moment):
    return [subject, study, study, moment, path_of(subject, study)]


def table_row(study, report, measured):
    lines = report + [""] * (18 - len(report))
    return [*study[:2], "6848296", study[2], *lines, "0.005-150 Hz", "60 Hz notch Baseline filter", *measured]


def write_csv(path, rows):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)


def write_tables(source, studies=STUDIES, reports=REPORTS, measured=MEASURED):
    write_csv(source / "record_list.csv", [LIST_HEADER, *(list_row(*study) for study in studies)])
    rows = [table_row(*one) for one in zip(studies, reports, measured, strict=False)]
    write_csv(source / "machine_measurements.csv", [TABLE_HEADER, *rows])


@pytest.fixture(scope="module")
def source(tmp_path_factory, ptb_xl_source):
    source = tmp_path_factory.mktemp("mimic-iv-ecg")
    names = ("00338_hr", "00096_hr")
    for (subject, study, moment), name in zip(STUDIES, names, strict=True):
        signal = read_wfdb(ptb_xl_source / "records500" / "00000" / name).signal
        digital = np.round(signal[[STANDARD_LEADS.index(lead) for lead in LEADS]] * 200).astype(int).T
        if study == "46642833":
            digital[100:150, 4] = -32768  # missing
        folder = (source / path_of(subject, study)).parent
        folder.mkdir(parents=True)
        moment = datetime.fromisoformat(moment)
        wfdb.wrsamp(
            study,
            fs=500,
            units=["mV"] * 12,
            sig_name=LEADS,
            d_signal=digital,
            fmt=["16"] * 12,
            adc_gain=[200.0] * 12,
            baseline=[0] * 12,
            comments=[f"<subject_id>: {subject}"],
            base_time=time(moment.hour, moment.minute),
            base_date=date(moment.year, moment.month, moment.day),
            write_dir=str(folder),
        )
    return source


@pytest.fixture
def tables(tmp_path):
    write_tables(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def rows(source):
    write_tables(source)
    builder = MIMICIVECG(source)
    return [row for recording in builder.find()[0] for row in builder.read(recording)]


def test_reads_the_integers_by_the_names_of_the_header(rows, source):
    for row, (subject, study, _) in zip(rows, STUDIES, strict=True):
        record = wfdb.rdrecord(str(source / path_of(subject, study)))
        assert (source / f"{path_of(subject, study)}.hea").read_text().split()[:6] == [
            *[study, "12", "500", "5000"],
            *reversed(datetime.fromisoformat(row["start_time"]).strftime("%d/%m/%Y %H:%M:%S").split()),
        ]
        assert row["lead_names"] == LEADS == record.sig_name
        assert row["sampling_rate"] == 500 and row["num_samples"] == 5000
        assert list(row["gain"]) == [200] * 12 and list(row["baseline"]) == [0] * 12
        assert np.allclose(decode_signal(row), record.p_signal.T, atol=1e-6, equal_nan=True)  # mV


def test_missing_samples_stay_missing(rows):
    missing = np.isnan(decode_signal(rows[1]))
    assert missing[4, 100:150].all() and missing.sum() == 50
    assert not np.isnan(decode_signal(rows[0])).any()


def test_avf_comes_before_avl(rows):
    signal = decode_signal(rows[0])
    assert np.abs(signal[4] - (signal[1] - signal[0] / 2)).max() < 0.02  # aVF, mV
    assert np.abs(signal[5] - (signal[0] - signal[1] / 2)).max() < 0.02  # aVL


def test_reads_the_tables(rows, source):
    first, second = rows
    assert first["record_id"] == "40689238" and first["patient_id"] == "10000032"
    assert first["start_time"] == "2180-07-23T08:44:00"
    assert first["report"] == "Sinus rhythm. Possible right atrial abnormality. Borderline ECG."
    assert second["report"] == (
        "Atrial fibrillation with PVC(s) or aberrant ventricular conduction. Low QRS voltages, precordial leads."
    )
    assert [first[name] for name in MEASUREMENTS] == MEASURED[0]
    assert [second[name] for name in MEASUREMENTS] == [769, None, None, 200, 302, 636, None, -18, -67]
    builder = MIMICIVECG(source)
    assert builder.features.encode_example({name: first.get(name) for name in builder.features})


def test_folds_are_a_hash_of_the_patient(tmp_path):
    studies = [(str(10_000_000 + i // 2), str(40_000_000 + i), "2180-07-23 08:44:00") for i in range(2000)]
    write_tables(tmp_path, studies)
    recordings = MIMICIVECG(tmp_path).recordings()
    folds = {}
    for recording in recordings:
        fold = recording.fields["fold"]
        assert folds.setdefault(recording.fields["patient_id"], fold) == fold
        assert recording.split == ("train" if fold <= 8 else "validation" if fold == 9 else "test")
    assert all(fold == int(hashlib.sha256(name.encode()).hexdigest(), 16) % 10 + 1 for name, fold in folds.items())
    assert np.bincount(list(folds.values()), minlength=11)[1:].min() > 70
    # Published folds may never change.
    assert [folds[str(10_000_000 + i)] for i in range(8)] == [4, 8, 9, 3, 5, 7, 2, 3]


def test_a_study_without_measurements_is_kept(tables, caplog):
    write_tables(tables, reports=REPORTS[:1])
    first, second = MIMICIVECG(tables).recordings()
    assert first.fields["report"] and "report" not in second.fields and "rr_interval" not in second.fields
    assert "1 of 2 studies" in caplog.text and "46642833" in caplog.text


def test_measurements_of_no_study_are_left_out(tables):
    write_csv(tables / "record_list.csv", [LIST_HEADER, list_row(*STUDIES[1])])
    (recording,) = MIMICIVECG(tables).recordings()
    assert recording.record_id == "46642833" and recording.fields["rr_interval"] == 769


def test_the_built_corpus_has_reports_and_gaps(source, round_trip):
    write_tables(source, reports=[["nan"] * 18, ["Sinus rhythm", "nan", "unbestÃ¤tigt"]])
    rows = round_trip(MIMICIVECG(source))
    by_id = dict(zip(rows["record_id"], rows, strict=True))
    silent, spoken = by_id["40689238"], by_id["46642833"]
    assert (silent["report"], silent["report_en"], silent["findings"]) == (None, None, None)
    assert spoken["report"] == "Sinus rhythm. unbestätigt." and spoken["findings"][0] == "sinus rhythm"
    assert np.isnan(decode_signal(spoken)).sum() == 50


def test_empty_lines_are_not_findings(tables):
    lines = ["Sinus rhythm", "nan", "None", "null", "<NA>", " NaN. ", "", "Borderline ECG"]
    write_tables(tables, reports=[lines, ["nan"] * 18])
    reports = [one.fields["report"] for one in MIMICIVECG(tables).recordings()]
    assert reports == ["Sinus rhythm. Borderline ECG.", None]


def test_ids_that_were_saved_as_decimals_keep_their_fold_and_measurements(tables):
    expected = MIMICIVECG(tables).recordings()
    decimals = [(f"{subject}.0", f"{study}.0", moment) for subject, study, moment in STUDIES]
    rows = [[f"{row[0]}.0", f"{row[1]}.0", *row[2:]] for row in (list_row(*study) for study in STUDIES)]
    write_csv(tables / "record_list.csv", [LIST_HEADER, *rows])
    assert MIMICIVECG(tables).recordings() == expected
    measured = [table_row(*one) for one in zip(decimals, REPORTS, MEASURED, strict=True)]
    write_csv(tables / "machine_measurements.csv", [TABLE_HEADER, *measured])
    assert MIMICIVECG(tables).recordings() == expected


@pytest.mark.parametrize("cell", ["p10000032", "1.0000032e7", "10000032.5"])
def test_an_id_that_is_no_number_is_refused(tables, cell):
    write_csv(tables / "record_list.csv", [LIST_HEADER, [cell, *list_row(*STUDIES[0])[1:]]])
    with pytest.raises(ValueError, match=f"has the subject_id '{cell}', which is not a whole number"):
        MIMICIVECG(tables).recordings()


def test_two_studies_of_one_file_are_refused(tables):
    first, second = (list_row(*study) for study in STUDIES)
    write_csv(tables / "record_list.csv", [LIST_HEADER, first, [*second[:4], f"./{first[4]}"]])
    with pytest.raises(ValueError, match=r"records '40689238' and '46642833' both name the file .*40689238\.hea"):
        MIMICIVECG(tables).find()


def test_a_report_without_words_is_null(tables):
    write_tables(tables, reports=[["", " "], ["."]])
    assert [one.fields["report"] for one in MIMICIVECG(tables).recordings()] == [None, None]


def test_equal_texts_share_one_object(tables):
    write_tables(tables, reports=[REPORTS[0], REPORTS[0]])
    first, second = MIMICIVECG(tables).recordings()
    assert first.fields["report"] is second.fields["report"]


def test_recordings_that_are_not_there_are_counted(source):
    write_tables(source, [*STUDIES, ("10000999", "46642999", "2137-05-21 15:50:00")])
    there, missing = MIMICIVECG(source).find()
    assert len(there) == 2 and [one.record_id for one in missing] == ["46642999"]


@pytest.mark.parametrize("name", ["record_list.csv", "machine_measurements.csv"])
def test_refuses_a_missing_table(tables, name):
    (tables / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"no {name} in "):
        MIMICIVECG(tables).recordings()


@pytest.mark.parametrize(("name", "column"), [("record_list.csv", "path"), ("machine_measurements.csv", "report_17")])
def test_refuses_a_missing_column(tables, name, column):
    path = tables / name
    path.write_text(path.read_text().replace(column, "other", 1))
    with pytest.raises(ValueError, match=f"{name} lacks the columns {column}: it has subject_id"):
        MIMICIVECG(tables).recordings()


def test_refuses_an_empty_table(tables):
    (tables / "record_list.csv").write_text("")
    with pytest.raises(ValueError, match="lacks the columns subject_id, study_id"):
        MIMICIVECG(tables).recordings()


def test_refuses_a_study_that_occurs_twice(tables):
    write_csv(tables / "record_list.csv", [LIST_HEADER, *[list_row(*STUDIES[0])] * 2])
    with pytest.raises(ValueError, match="'40689238' among them"):
        MIMICIVECG(tables).find()
    write_tables(tables)
    rows = [table_row(STUDIES[0], REPORTS[0], MEASURED[0])] * 2
    write_csv(tables / "machine_measurements.csv", [TABLE_HEADER, *rows])
    with pytest.raises(ValueError, match="two rows of study 40689238"):
        MIMICIVECG(tables).recordings()


@pytest.mark.parametrize("cell", ["wide", "-nan", "inf"])
def test_refuses_a_measurement_that_is_no_number(tables, cell):
    write_tables(tables, measured=[[cell, *MEASURED[0][1:]], MEASURED[1]])
    with pytest.raises(ValueError, match=f"study 40689238 has a measurement that is not a number .*{cell}"):
        MIMICIVECG(tables).recordings()


def test_refuses_rows_that_cannot_be(tables):
    write_tables(tables, studies=[("10000032", "40689238", "yesterday")])
    with pytest.raises(ValueError, match="study 40689238 has the ecg_time 'yesterday'"):
        MIMICIVECG(tables).recordings()
    write_tables(tables, studies=[("", "40689238", "2180-07-23 08:44:00")])
    with pytest.raises(ValueError, match="row without subject_id, study_id or path"):
        MIMICIVECG(tables).recordings()
    write_csv(tables / "record_list.csv", [LIST_HEADER, ["10000032", "40689238"]])
    with pytest.raises(ValueError, match=r"record_list.csv, line 2 has fewer cells than columns"):
        MIMICIVECG(tables).recordings()
    (tables / "record_list.csv").write_bytes(",".join(LIST_HEADER).encode() + b"\n1,2,\xff,,x\n")
    with pytest.raises(ValueError, match="is not UTF-8 at byte"):
        MIMICIVECG(tables).recordings()


def test_names_a_damaged_recording(source, tmp_path):
    subject, study, moment = STUDIES[0]
    write_tables(tmp_path, [STUDIES[0]])
    target = tmp_path / path_of(subject, study)
    target.parent.mkdir(parents=True)
    for suffix in (".hea", ".dat"):
        content = (source / f"{path_of(subject, study)}{suffix}").read_bytes()
        Path(f"{target}{suffix}").write_bytes(content if suffix == ".hea" else content[:50_000])
    builder = MIMICIVECG(tmp_path)
    with pytest.raises(ValueError, match="40689238"):
        list(builder.read(builder.find()[0][0]))


@pytest.mark.skipif("METS_ECG_LABELS" not in os.environ, reason="METS_ECG_LABELS is not set")
def test_reads_the_published_rows(tmp_path):
    for name in ("record_list", "machine_measurements"):
        published = Path(os.environ["METS_ECG_LABELS"]) / "mimic" / f"{name}_1row.csv"
        (tmp_path / f"{name}.csv").write_bytes(published.read_bytes())
    (recording,) = MIMICIVECG(tmp_path).recordings()
    assert recording.files[0] == "files/p1000/p10000032/s40689238/40689238.hea"
    assert recording.fields["report"] == "Sinus rhythm. Possible right atrial abnormality. Borderline ECG."
    assert [recording.fields[name] for name in MEASUREMENTS] == MEASURED[0]
