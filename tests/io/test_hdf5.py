"""Opening and reading HDF5 files, whole and damaged."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from mets_ecg.io.hdf5 import open_dataset, read_hdf5

h5py = pytest.importorskip("h5py")


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "a.h5"
    values = np.random.default_rng(0).normal(size=(4, 12, 2000)).astype(np.float16)
    with h5py.File(path, "w") as file:
        file.create_dataset("ecg", data=values, chunks=(1, 12, 2000), compression="gzip", fletcher32=True)
        file.create_group("group")
    return path


def test_a_part_or_all_is_read_as_float64(path):
    dataset = open_dataset(path, "ecg")
    with dataset.file:
        published = dataset[()].astype(np.float64)
        assert read_hdf5(dataset).dtype == np.float64
        np.testing.assert_array_equal(read_hdf5(dataset), published)
        np.testing.assert_array_equal(read_hdf5(dataset, 2), published[2])
        np.testing.assert_array_equal(read_hdf5(dataset, slice(1, 3)), published[1:3])


@pytest.mark.parametrize("keep", [0, 10, 0.5, 0.99])
def test_a_file_that_is_cut_short_is_refused(path, keep):
    data = path.read_bytes()
    path.write_bytes(data[: keep if isinstance(keep, int) else int(keep * len(data))])
    with pytest.raises(ValueError, match="a.h5 is cut short or no HDF5 file .*: download it again"):
        open_dataset(path, "ecg")


def test_a_file_of_another_kind_and_a_folder_are_refused(tmp_path):
    (tmp_path / "a.txt").write_text("x" * 5000)
    for place in (tmp_path / "a.txt", tmp_path):
        with pytest.raises(ValueError, match="is cut short or no HDF5 file"):
            open_dataset(place, "ecg")


def test_a_file_that_is_not_there_is_said_to_be_so(tmp_path):
    with pytest.raises(FileNotFoundError, match="none.h5"):
        open_dataset(tmp_path / "none.h5", "ecg")


@pytest.mark.parametrize("name", ["tracings", "group"])
def test_a_data_set_that_is_not_there_is_refused_with_what_is_and_the_file_closed(path, name):
    with pytest.raises(ValueError, match=f"has no dataset '{name}', it has ecg, group: give the file as published"):
        open_dataset(path, name)
    h5py.File(path, "r+").close()  # it could not be opened so if it were open


def test_samples_that_are_damaged_are_refused(path):
    dataset = open_dataset(path, "ecg")
    with dataset.file:
        place = dataset.id.get_chunk_info(1)
    data = bytearray(path.read_bytes())
    data[place.byte_offset + place.size // 2] ^= 0xFF
    path.write_bytes(data)
    dataset = open_dataset(path, "ecg")
    with dataset.file:
        assert read_hdf5(dataset, 0).shape == (12, 2000)
        with pytest.raises(ValueError, match="a.h5 is damaged .*: download it again"):
            read_hdf5(dataset, 1)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_counted_and_refused(path, value):
    with h5py.File(path, "r+") as file:
        file["ecg"][2, 3, 5:7] = value
    dataset = open_dataset(path, "ecg")
    with dataset.file:
        with pytest.raises(ValueError, match="a.h5, recording 2: 2 of 24000 values are not finite.*or leave it out"):
            read_hdf5(dataset, 2)
        with pytest.raises(ValueError, match="a.h5: 2 of 96000 values are not finite"):
            read_hdf5(dataset)


def test_without_h5py_it_is_said_what_to_install(path, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ImportError, match="a.h5 is an HDF5 file, and h5py is missing: pip install h5py"):
        open_dataset(path, "ecg")
