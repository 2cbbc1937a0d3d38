"""Files of arrays: which of them is the recording, its rate where one stands beside it, and what is refused."""

import io
import zipfile

import numpy as np
import pytest
import scipy.io

from mets_ecg.io import arrays, read_ecg
from mets_ecg.recordings import read_recording

SIGNAL = np.random.default_rng(0).normal(size=(12, 500)).astype(np.float32)
h5py = pytest.importorskip("h5py")


def write_npy(path, signal, **beside):
    np.save(path.with_suffix(".npy"), signal)
    return path.with_suffix(".npy")


def write_npz(path, signal, **beside):
    np.savez_compressed(path.with_suffix(".npz"), ecg=signal, **beside)
    return path.with_suffix(".npz")


def write_mat(path, signal, **beside):
    scipy.io.savemat(path.with_suffix(".mat"), {"val": signal, **beside})
    return path.with_suffix(".mat")


def write_hdf5(path, signal, **beside):
    with h5py.File(path.with_suffix(".h5"), "w") as file:
        group = file.create_group("recording")
        group["signal"] = signal
        for name, value in beside.items():
            group[name] = value
    return path.with_suffix(".h5")


WRITERS = [write_npy, write_npz, write_mat, write_hdf5]


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("turned", [False, True])
def test_an_array_is_read_whichever_way_it_lies(tmp_path, write, turned):
    record = read_ecg(write(tmp_path / "mine", SIGNAL.T if turned else SIGNAL))
    np.testing.assert_array_equal(record.signal, SIGNAL)
    assert (record.sampling_rate, record.lead_names, record.units, record.record_id) == (None, None, None, "mine")


@pytest.mark.parametrize("write", WRITERS)
def test_a_single_lead_is_a_row(tmp_path, write):
    assert read_ecg(write(tmp_path / "one", SIGNAL[3])).signal.shape == (1, 500)


@pytest.mark.parametrize("write", WRITERS[1:])
def test_a_rate_beside_the_array_is_taken_and_other_numbers_are_not(tmp_path, write):
    record = read_ecg(write(tmp_path / "mine", SIGNAL, fs=250.0, age=61.0, gains=np.ones(12)))
    assert record.sampling_rate == 250 and record.signal.shape == (12, 500)


LEADS = ["V6", "V5", "V4", "V3", "V2", "V1", "aVF", "aVL", "aVR", "III", "II", "I"]


@pytest.mark.parametrize("write", WRITERS[1:])
def test_names_and_units_beside_the_array_are_taken(tmp_path, write):
    names, units = (np.array(LEADS), np.array("uV")) if write is not write_mat else (np.array(LEADS, object), "uV")
    if write is write_hdf5:
        names, units = np.array(LEADS, "S"), "uV"
    path = write(tmp_path / "named", SIGNAL * 1000, lead_names=names, units=units, fs=500)
    record = read_ecg(path)
    assert (record.lead_names, record.units, record.sampling_rate) == (tuple(LEADS), "uV", 500)
    read = read_recording(str(path))
    assert not read.assumed
    np.testing.assert_allclose(read.signal_mv, SIGNAL, rtol=1e-5)
    path = write(tmp_path / "words", SIGNAL, leads=" ".join(LEADS), units="counts")
    assert (read_ecg(path).lead_names, read_ecg(path).units) == (tuple(LEADS), None)


@pytest.mark.parametrize("write", WRITERS[1:])
def test_texts_that_do_not_fit_the_array_are_not_its_own(tmp_path, write):
    names = np.array(["Jane", "Doe"], "S" if write is write_hdf5 else object if write is write_mat else None)
    record = read_ecg(write(tmp_path / "other", SIGNAL, names=names, unit="m", fs=500))
    assert (record.lead_names, record.units, record.sampling_rate) == (None, "m", 500)
    leads = np.array(LEADS, "S" if write is write_hdf5 else object if write is write_mat else None)
    record = read_ecg(write(tmp_path / "other", SIGNAL, names=names, lead_names=leads, units=names, fs=500))
    assert (record.lead_names, record.units) == (tuple(LEADS), None)


def test_names_say_which_axis_is_which(tmp_path):
    np.savez(tmp_path / "short.npz", ecg=SIGNAL[:, :5].T, lead_names=LEADS)
    np.testing.assert_array_equal(read_ecg(tmp_path / "short.npz").signal, SIGNAL[:, :5])


def test_what_hdf5_says_of_its_array_is_taken(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["mine/ecg"] = SIGNAL
        file["mine/ecg"].attrs["fs"] = 500
        file["mine"].attrs["ch_names"] = LEADS
        file.attrs["units"] = "mV"
        file["mine/ecg"].attrs["matrix"] = np.ones((3, 3))
        file["mine"]["nothing"] = h5py.Empty("f")
    record = read_ecg(tmp_path / "a.h5")
    assert (record.lead_names, record.units, record.sampling_rate) == (tuple(LEADS), "mV", 500)
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["patient 7"] = SIGNAL
        file["patient 7"].attrs["matrix"] = np.ones((3, 3))
    np.testing.assert_array_equal(read_ecg(tmp_path / "b.h5").signal, SIGNAL)


def test_several_recordings_in_a_file_are_not_taken_for_one(tmp_path):
    with h5py.File(tmp_path / "two.h5", "w") as file:
        file["first/ecg"], file["second/ecg"] = SIGNAL, SIGNAL * 2
    with pytest.raises(ValueError, match=r"two.h5 has first/ecg \(12, 500\), second/ecg \(12, 500\): one array"):
        read_ecg(tmp_path / "two.h5")


def test_two_rates_say_nothing(tmp_path):
    np.savez(tmp_path / "a.npz", ecg=SIGNAL, fs=500, sampling_rate=250)
    assert read_ecg(tmp_path / "a.npz").sampling_rate is None


@pytest.mark.parametrize(
    ("key", "names"),
    [
        ("sampling_rate", "fs freq frequency rate sample_rate sampling_frequency sfreq"),
        ("lead_names", "ch_names channel_names channels lead_name leads names sig_name sig_names"),
        ("units", "unit"),
        ("signal", "array data ecg p_signal samples signals val values"),
    ],
)
def test_files_and_dicts_know_the_same_names(tmp_path, key, names):
    said = {"signal": SIGNAL, "sampling_rate": 500, "lead_names": LEADS, "units": "mV"}
    for name in names.split():
        np.savez(
            tmp_path / "a.npz", **{name if own == key else own: value for own, value in said.items()}, other=SIGNAL
        )
        record = read_ecg(tmp_path / "a.npz")
        assert (record.sampling_rate, record.lead_names, record.units) == (500, tuple(LEADS), "mV"), name
        with pytest.raises(ValueError, match=rf"'{name}' \(write '{key}'\)"):
            read_recording({own: value for own, value in said.items() if own != key} | {name: said[key]})


@pytest.mark.parametrize("write", WRITERS)
def test_whole_numbers_stay_whole(tmp_path, write):
    assert read_ecg(write(tmp_path / "counts", (SIGNAL * 1000).astype(np.int16))).signal.dtype.kind == "i"


def test_of_several_arrays_the_one_called_signal_is_taken_or_none(tmp_path):
    np.savez(tmp_path / "a.npz", signal=SIGNAL, filtered=SIGNAL * 2)
    np.testing.assert_array_equal(read_ecg(tmp_path / "a.npz").signal, SIGNAL)
    np.savez(tmp_path / "b.npz", raw=SIGNAL, filtered=SIGNAL * 2)
    with pytest.raises(
        ValueError, match=r"b.npz has raw \(12, 500\), filtered \(12, 500\): one array .* called signal"
    ):
        read_ecg(tmp_path / "b.npz")
    np.savez(tmp_path / "c.npz", names=np.array(["I", "II"]), rate=500)
    with pytest.raises(ValueError, match=r"c.npz has names \(2,\), rate \(\): one array of numbers"):
        read_ecg(tmp_path / "c.npz")


@pytest.mark.parametrize("write", WRITERS)
def test_a_file_that_is_cut_short_is_refused(tmp_path, write):
    path = write(tmp_path / "cut", SIGNAL)
    whole = path.read_bytes()
    for keep in (len(whole) // 2, 130):
        path.write_bytes(whole[:keep])
        with pytest.raises(
            ValueError, match="cut[.](npy|npz|mat).* is damaged, or|cut.h5 is (cut short or no HDF5|damaged)"
        ):
            read_ecg(path)


def test_code_in_an_array_is_not_run(tmp_path):
    np.save(tmp_path / "objects.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match=r"damaged, or not a .npy file of numbers \(objects, or another size"):
        read_ecg(tmp_path / "objects.npy")
    np.save(tmp_path / "long.npy", SIGNAL)
    with open(tmp_path / "long.npy", "ab") as file:
        file.write(b"more")
    with pytest.raises(ValueError, match=r"long.npy is damaged, .* \(objects, or another size than its header says"):
        read_ecg(tmp_path / "long.npy")


def test_what_unpacks_to_more_than_is_read_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(arrays, "MAX_BYTES", 100_000)
    np.savez_compressed(tmp_path / "bomb.npz", ecg=np.zeros((12, 5000)))
    assert (tmp_path / "bomb.npz").stat().st_size < 10_000
    with pytest.raises(ValueError, match=r"bomb.npz unpacks to 0 MB, more than"):
        read_ecg(tmp_path / "bomb.npz")
    with h5py.File(tmp_path / "bomb.h5", "w") as file:
        file.create_dataset("signal", data=np.zeros((12, 5000)), compression="gzip")
    with pytest.raises(ValueError, match="unpacks to more than"):
        read_ecg(tmp_path / "bomb.h5")
    np.save(tmp_path / "large.npy", np.zeros((12, 5000)))
    with pytest.raises(ValueError, match="more than the 0 MB that are read: cut it into parts"):
        read_ecg(tmp_path / "large.npy")


def test_an_archive_of_something_else_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "other.npz", "w") as archive:
        archive.writestr("readme.txt", "no array")
    with pytest.raises(ValueError, match="other.npz"):
        read_ecg(tmp_path / "other.npz")
    held = io.BytesIO()
    np.save(held, SIGNAL)
    with zipfile.ZipFile(tmp_path / "cut.npz", "w") as archive:
        archive.writestr("ecg.npy", held.getvalue()[:300])
    with pytest.raises(ValueError, match="cut.npz, ecg.npy is damaged"):
        read_ecg(tmp_path / "cut.npz")
