"""CODE-test in its publisher's layout, on files that the tests write from real recordings."""

import csv
import multiprocessing
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from scipy.signal import resample_poly

from mets_ecg.data.corpora.code_test import CLASSES, CodeTest
from mets_ecg.io import read_wfdb
from mets_ecg.leads import STANDARD_LEADS
from mets_ecg.signals import decode_signal

h5py = pytest.importorskip("h5py")

# Rows of the standard order, as the two published orders have them.
ORDERS = {"AVR AVL AVF": list(range(12)), "AVL AVF AVR": [0, 1, 2, 4, 5, 3, *range(6, 12)]}
# The first lines of the publisher's gold_standard.csv and attributes.csv but for the third label.
GOLD = ["0,0,0,0,0,0", "0,0,1,0,0,0", "1,0,0,1,0,0", "0,0,0,0,0,0"]
HEADER = "1dAVb,RBBB,LBBB,SB,AF,ST"
ATTRIBUTES = ["34,M", "70,F", "90,F", ",M"]


@pytest.fixture(scope="module")
def signals(ptb_xl_source):
    """Four recordings at 400 Hz in millivolts, standard order: three of 10 s, one of 7 s."""
    paths = sorted((ptb_xl_source / "records500").glob("*/*.hea"))
    signals = [resample_poly(read_wfdb(path).signal, 4, 5, axis=1) for path in paths]
    return [*signals[:3], signals[3][:, :2800]]


def write_tracings(source, signals, order="AVR AVL AVF", scale=1.0, dtype=np.float32, dataset="tracings"):
    rows = order if isinstance(order, list) else ORDERS[order]
    tracings = np.zeros((len(signals), 4096, 12), dtype=dtype)
    for tracing, signal in zip(tracings, signals, strict=True):
        padding = (4096 - signal.shape[1]) // 2
        tracing[padding : 4096 - padding] = signal[rows].T * scale
    path = source / "ecg_tracings.hdf5"
    path.unlink(missing_ok=True)
    with h5py.File(path, "w") as file:
        file[dataset] = tracings
    return path


def write_tables(source, gold=GOLD, attributes=ATTRIBUTES, header=HEADER):
    (source / "annotations").mkdir(exist_ok=True)
    (source / "annotations" / "gold_standard.csv").write_text("\n".join([header, *gold, ""]))
    (source / "attributes.csv").write_text("\n".join(["age,sex", *attributes, ""]))


@pytest.fixture
def source(tmp_path, signals):
    write_tables(tmp_path)
    write_tracings(tmp_path, signals)
    return tmp_path


def read_all(source):
    builder = CodeTest(source)
    return [row for recording in builder.find()[0] for row in builder.read(recording)]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("scale", [1.0, 10.0], ids=["mV", "1e-4 V"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_finds_lead_order_and_unit_in_the_file(tmp_path, signals, order, scale, dtype):
    write_tables(tmp_path)
    path = write_tracings(tmp_path, signals, order, scale, dtype)
    rows = read_all(tmp_path)
    with h5py.File(path) as file:
        published = file["tracings"][()].astype(float)
    names = [STANDARD_LEADS[i] for i in ORDERS[order]]
    for i, (row, signal) in enumerate(zip(rows, signals, strict=True)):
        assert row["lead_names"] == names and row["sampling_rate"] == 400
        decoded = decode_signal(row)
        padding = (4096 - signal.shape[1]) // 2
        assert np.abs(decoded - published[i, padding : 4096 - padding].T / scale).max() <= 0.00051  # mV
        for name, lead in zip(STANDARD_LEADS, signal, strict=True):
            assert np.abs(decoded[names.index(name)] - lead).max() <= 0.00051


def test_reads_the_tables(source):
    rows = read_all(source)
    assert [row["record_id"] for row in rows] == ["0", "1", "2", "3"]
    assert [row["labels_code_test"] for row in rows] == [[], ["LBBB"], ["1dAVb", "SB"], []]
    assert [row["age"] for row in rows] == [34, 70, 90, None]
    assert [row["age_over_89"] for row in rows] == [False, False, True, None]
    assert [row["sex"] for row in rows] == ["male", "female", "female", "male"]
    builder = CodeTest(source)
    assert {recording.split for recording in builder.recordings()} == {"test"}
    assert builder.features.encode_example({name: rows[1].get(name) for name in builder.features})


def test_recordings_without_a_diagnosis_are_true_negatives_once_the_corpus_is_built(source, round_trip):
    rows = round_trip(CodeTest(source))
    assert rows["labels_code_test"][:] == [[], [2], [0, 3], []]


def test_cuts_the_padding_at_both_ends_alike(source, signals):
    assert [row["num_samples"] for row in read_all(source)] == [4000, 4000, 4000, 2800]
    late = signals[0].copy()
    late[:, :100] = 0  # true zeros
    write_tracings(source, [late, *signals[1:]])
    assert read_all(source)[0]["num_samples"] == 4000


def test_one_recording_with_broken_leads_does_not_decide(source, signals):
    broken = signals[1].copy()
    broken[2] += np.random.default_rng(1).normal(size=4000)
    good = [signals[0], signals[2]] * 6
    write_tables(source, ["0,0,0,0,0,0"] * 13, ["50,F"] * 13)
    write_tracings(source, [broken, *good])
    assert len(read_all(source)) == 13


@pytest.mark.parametrize("rows", [[0, 1, 2, 3, 5, 4], [3, 4, 5, 0, 1, 2], [1, 0, 2, 3, 4, 5]])
def test_refuses_another_order(source, signals, rows):
    write_tracings(source, signals, [*rows, *range(6, 12)])
    with pytest.raises(ValueError, match="neither published lead order fits .* DI DII DIII AVR AVL AVF in 0%"):
        read_all(source)


@pytest.mark.parametrize("scale", [1000.0, 0.001, 0.2, 100.0])
def test_refuses_another_unit(source, signals, scale):
    write_tracings(source, signals, scale=scale)
    with pytest.raises(ValueError, match=r"in neither published unit \(1e-4 V or mV\)"):
        read_all(source)


def test_refuses_values_that_are_not_finite(source, signals):
    damaged = [signal.copy() for signal in signals]
    damaged[1][3, 50:52] = np.nan
    path = write_tracings(source, damaged)
    builder = CodeTest(source)
    recordings, _ = builder.find()
    with pytest.raises(ValueError, match=f"{path.name}, recording 1: 2 of 49152 values are not finite"):
        list(builder.read(recordings[1]))
    assert next(builder.read(recordings[2]))["num_samples"] == 4000  # so that it may be left out


def test_refuses_a_recording_of_zeros(source, signals):
    write_tracings(source, [*signals[:3], np.zeros((12, 4000))])
    with pytest.raises(ValueError, match="recording 3 holds nothing but zeros"):
        read_all(source)


def test_refuses_an_amplitude_that_cannot_be(source, signals):
    spike = signals[2].copy()
    spike[8, 7] = 40
    write_tracings(source, [*signals[:2], spike, signals[3]])
    with pytest.raises(ValueError, match=r"recording 2: an amplitude of 40.0 mV"):
        read_all(source)


def test_refuses_a_file_without_the_dataset(source, signals):
    write_tracings(source, signals, dataset="signals")
    with pytest.raises(ValueError, match="no dataset 'tracings', it has signals"):
        CodeTest(source).find()  # before anything is read


@pytest.mark.parametrize(("shape", "dtype"), [((4, 4096, 8), "f4"), ((4, 4096), "f4"), ((4, 4096, 12), "i2")])
def test_refuses_another_shape_or_type(source, shape, dtype):
    (source / "ecg_tracings.hdf5").unlink()
    with h5py.File(source / "ecg_tracings.hdf5", "w") as file:
        file["tracings"] = np.zeros(shape, dtype=dtype)
    with pytest.raises(ValueError, match=r"floats of shape \(recordings, samples, 12\) are expected"):
        read_all(source)


def test_refuses_a_truncated_file(source):
    path = source / "ecg_tracings.hdf5"
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content[:100_000])
    with pytest.raises(ValueError, match="is cut short or no HDF5 file"):
        read_all(source)


def test_refuses_tables_and_tracings_of_different_length(source, signals):
    write_tracings(source, signals[:3])
    with pytest.raises(ValueError, match=r"has 3 tracings, but annotations/gold_standard.csv has 4 lines"):
        read_all(source)
    write_tables(source, attributes=ATTRIBUTES[:3])
    with pytest.raises(ValueError, match=r"attributes.csv has 3 lines and .* has 4"):
        CodeTest(source).recordings()


def test_refuses_a_missing_table_or_column(source):
    write_tables(source, header="1dAVb,RBBB,LBBB,SB,AF,STACH")
    with pytest.raises(ValueError, match="lacks the columns ST:"):
        CodeTest(source).recordings()
    (source / "annotations" / "gold_standard.csv").unlink()
    with pytest.raises(FileNotFoundError, match=r"no gold_standard.csv"):
        CodeTest(source).recordings()


def test_refuses_cells_that_cannot_be(source):
    write_tables(source, gold=[*GOLD[:3], "0,0,0.7,0,0,0"])
    with pytest.raises(ValueError, match=r"recording 3: LBBB is '0.7', neither 0 nor 1"):
        CodeTest(source).recordings()
    write_tables(source, attributes=[*ATTRIBUTES[:3], "34,male"])
    with pytest.raises(ValueError, match="recording 3: age '34' or sex 'male' cannot be"):
        CodeTest(source).recordings()


def test_lists_recordings_without_the_tracings(source):
    (source / "ecg_tracings.hdf5").unlink()
    builder = CodeTest(source)
    assert len(builder.recordings()) == 4
    with pytest.raises(FileNotFoundError, match="ecg_tracings.hdf5"):
        builder.find()


def _read_one(pickled):
    builder, recording = pickle.loads(pickled)
    return next(builder.read(recording))["record_id"], os.getpid()


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork here")
def test_reads_in_forked_processes_after_the_file_was_opened(source):
    builder = CodeTest(source)
    recordings = builder.recordings()
    next(builder.read(recordings[0]))
    with multiprocessing.get_context("fork").Pool(2) as pool:
        done = pool.map(_read_one, [pickle.dumps((builder, recording)) for recording in recordings], chunksize=1)
    assert [name for name, _ in done] == ["0", "1", "2", "3"]


@pytest.mark.skipif("METS_ECG_LABELS" not in os.environ, reason="METS_ECG_LABELS is not set")
def test_counts_of_the_published_gold_standard(tmp_path):
    data = Path(os.environ["METS_ECG_LABELS"]) / "code_test" / "data"
    recordings = CodeTest(data).recordings()
    labels = [recording.fields["labels_code_test"] for recording in recordings]
    assert len(labels) == 827
    assert [sum(name in one for one in labels) for name in CLASSES] == [28, 34, 30, 16, 13, 37]
    assert sum(not one for one in labels) == 681
    with (data / "annotations" / "gold_standard.csv").open() as file:
        for line, one in zip(csv.DictReader(file), labels, strict=True):
            assert {name for name in CLASSES if line[name] == "1"} == set(one)
