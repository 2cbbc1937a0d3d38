"""SPH in its publisher's layout, on files that the tests write from real recordings."""

import csv
import sys

import numpy as np
import pytest

from mets_ecg.data.corpora.sph import SPH
from mets_ecg.io import read_wfdb
from mets_ecg.leads import STANDARD_LEADS
from mets_ecg.signals import decode_signal

h5py = pytest.importorskip("h5py")

HEADER = ("ECG_ID", "AHA_Code", "Patient_ID", "Age", "Sex", "N", "Date")
ROWS = [
    ("A00001", "22;23", "S00001", "55", "M", "5000", "2020-03-04"),
    ("A00002", "60+310; 30+308+340", "S00002", "90", "F", "5000", "2019-09-03"),
]


@pytest.fixture(scope="module")
def signals(ptb_xl_source):
    """Two recordings in millivolts, in steps of 0.8 uV."""
    paths = [ptb_xl_source / "records500" / "00000" / name for name in ("00338_hr", "00096_hr")]
    return [np.round(read_wfdb(path).signal.astype(float) / 8e-4) * 8e-4 for path in paths]


def write_table(path, rows, header=HEADER):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])


def write_signal(path, signal, dataset="ecg", dtype=np.float16):
    with h5py.File(path, "w") as file:
        file[dataset] = np.asarray(signal, dtype=dtype)


@pytest.fixture
def source(tmp_path, signals):
    (tmp_path / "records").mkdir()
    for row, signal in zip(ROWS, signals, strict=True):
        write_signal(tmp_path / "records" / f"{row[0]}.h5", signal)
    write_table(tmp_path / "metadata.csv", ROWS)
    return tmp_path


def read_all(source):
    builder = SPH(source)
    return [row for recording in builder.find()[0] for row in builder.read(recording)]


def test_reads_the_values_of_the_files(source, signals):
    rows = read_all(source)
    for row, signal in zip(rows, signals, strict=True):
        published = h5py.File(source / "records" / f"{row['record_id']}.h5")["ecg"][()].astype(float)
        decoded = decode_signal(row)
        assert np.abs(decoded - published).max() <= 0.0005  # mV
        low = np.abs(signal) < 1
        assert np.abs(decoded - signal)[low].max() < 1e-6  # the recorder's own integers
        assert row["lead_names"] == list(STANDARD_LEADS)
        assert row["sampling_rate"] == 500 and row["num_samples"] == 5000


def test_reads_the_table(source):
    first, second = read_all(source)
    assert first["record_id"] == "A00001" and first["patient_id"] == "S00001"
    assert first["age"] == 55 and first["age_over_89"] is False and first["sex"] == "male"
    assert first["start_time"] == "2020-03-04"  # no time of day is known
    assert [one["code"] for one in first["statements"]] == ["22", "23"]
    assert [one["code"] for one in second["statements"]] == ["60+310", "30+308+340"]
    assert second["age"] == 90 and second["age_over_89"] is True and second["sex"] == "female"
    assert SPH(source).features.encode_example({name: first.get(name) for name in SPH(source).features})


def test_what_the_table_does_not_say_is_null_once_the_corpus_is_built(source, round_trip):
    write_table(source / "metadata.csv", [ROWS[0], ("A00002", "nan", "None", "", "<NA>", "5000", " ")])
    rows = round_trip(SPH(source))
    assert [own and own[0]["code"] for own in rows["statements"]] == ["22", None]
    for column in ("patient_id", "age", "sex", "start_time"):
        assert rows[column][0] is not None and rows[column][1] is None


def test_reads_a_copy_with_file_names_and_more_columns_beside_the_table(tmp_path, signals):
    write_table(
        tmp_path / "metadata.csv",
        [("SPH00001.h5", *ROWS[0][1:], "500", "426177001,427393009", "0")],
        (*HEADER, "fs", "SNOMEDCTCode", "SR"),
    )
    write_signal(tmp_path / "SPH00001.h5", signals[0])
    (row,) = read_all(tmp_path)
    assert row["record_id"] == "SPH00001" and row["patient_id"] == "S00001"


def test_keeps_a_recording_without_a_row_and_says_so(source, signals, caplog):
    write_table(source / "metadata.csv", ROWS[:1])
    rows = read_all(source)
    assert [row["record_id"] for row in rows] == ["A00001", "A00002"]
    assert rows[1].get("patient_id") is None and rows[1].get("statements") is None
    assert rows[1]["num_samples"] == 5000
    assert "1 recordings" in caplog.text and "A00002" in caplog.text


def test_files_that_macos_keeps_beside_others_are_not_recordings(source):
    before = SPH(source).recordings()
    path = next(source.rglob("*.h5"))
    (path.parent / f"._{path.name}").write_bytes(b"\0\5\x16\7")
    assert SPH(source).recordings() == before


def test_counts_a_row_without_a_recording_as_missing(source):
    (source / "records" / "A00002.h5").unlink()
    there, missing = SPH(source).find()
    assert [one.record_id for one in there] == ["A00001"] and [one.record_id for one in missing] == ["A00002"]


def test_empty_cells_are_null(source):
    write_table(source / "metadata.csv", [("A00001", "", "", "", "", "5000", "")])
    fields = SPH(source).recordings()[0].fields
    assert {name for name, value in fields.items() if value is not None} == {"num_samples"}


def test_refuses_a_missing_table(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no metadata.csv in .*"):
        SPH(tmp_path).recordings()


def test_refuses_a_table_without_a_column(source):
    write_table(source / "metadata.csv", [row[:-1] for row in ROWS], HEADER[:-1])
    with pytest.raises(ValueError, match=r"lacks the columns Date"):
        SPH(source).recordings()


@pytest.mark.parametrize(("column", "cell"), [("Age", "old"), ("Sex", "X"), ("N", "many"), ("Date", "4 March")])
def test_names_the_cell_that_cannot_be(source, column, cell):
    row = dict(zip(HEADER, ROWS[0], strict=True)) | {column: cell}
    write_table(source / "metadata.csv", [tuple(row.values())])
    with pytest.raises(ValueError, match=f"A00001 has '{cell}' in column {column}"):
        SPH(source).recordings()


@pytest.mark.parametrize("column", ["ECG_ID", "N"])
def test_refuses_a_row_without_what_it_needs(source, column):
    row = dict(zip(HEADER, ROWS[0], strict=True)) | {column: ""}
    write_table(source / "metadata.csv", [tuple(row.values())])
    with pytest.raises(ValueError, match="row without ECG_ID or N"):
        SPH(source).recordings()


def test_refuses_an_id_that_occurs_twice(source):
    write_table(source / "metadata.csv", [ROWS[0], ROWS[0]])
    with pytest.raises(ValueError, match="'A00001' among them"):
        SPH(source).find()


def damage(change):
    """Return the error that reading a changed first recording gives."""

    def run(source, signals):
        path = source / "records" / "A00001.h5"
        change(path, signals[0].copy())
        with pytest.raises(ValueError, match="A00001.h5") as caught:
            read_all(source)
        return str(caught.value)

    return run


@damage
def without_dataset(path, signal):
    write_signal(path, signal, dataset="ECG_data")


@damage
def with_group(path, signal):
    write_signal(path, signal, dataset="ecg/data")


@damage
def transposed(path, signal):
    write_signal(path, signal.T)


@damage
def of_integers(path, signal):
    write_signal(path, signal * 1000, dtype=np.int16)


@damage
def shorter(path, signal):
    write_signal(path, signal[:, :4999])


@damage
def with_nan(path, signal):
    signal[7, 100] = np.nan
    write_signal(path, signal)


@damage
def with_infinity(path, signal):
    signal[7, 100:103] = np.inf
    write_signal(path, signal)


@damage
def cut_short(path, signal):
    path.write_bytes(path.read_bytes()[:20_000])


@damage
def no_hdf5(path, signal):
    path.write_text("version https://git-lfs.github.com/spec/v1")


@damage
def in_another_order(path, signal):
    write_signal(path, signal[[0, 1, 2, 4, 5, 3, *range(6, 12)]])


@damage
def in_microvolts(path, signal):
    write_signal(path, signal * 1000, dtype=np.float32)


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (without_dataset, "no dataset 'ecg', it has ECG_data"),
        (with_group, "no dataset 'ecg', it has ecg"),
        (transposed, r"float16 of shape (5000, 12)"),
        (of_integers, "holds int16"),
        (shorter, "has 4999 samples, but 5000 by metadata.csv"),
        (with_nan, "1 of 60000 values are not finite"),
        (with_infinity, "3 of 60000 values are not finite"),
        (cut_short, "is cut short or no HDF5 file"),
        (no_hdf5, "is cut short or no HDF5 file"),
        (in_another_order, "is not in the order I, II, III, aVR"),
        (in_microvolts, "is not in millivolts or damaged"),
    ],
)
def test_refuses_a_damaged_recording(source, signals, run, message):
    assert message in run(source, signals)


def test_keeps_a_recording_with_an_artefact_or_a_lead_off(source, signals):
    artefact, lead_off = signals[0].copy(), signals[1].copy()
    artefact[2, 1000:1010] += 0.4  # mV
    lead_off[4] = 0
    write_signal(source / "records" / "A00001.h5", artefact)
    write_signal(source / "records" / "A00002.h5", lead_off)
    assert len(read_all(source)) == 2


def test_says_how_to_install_h5py(source, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ImportError, match="pip install h5py"):
        read_all(source)
