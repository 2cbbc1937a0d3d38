import json

import datasets
import numpy as np
import pytest
import yaml
from datasets import Dataset

from mets_ecg import ECGFeatureExtractor
from mets_ecg.data import prepare as prepare_module
from mets_ecg.data.building.shards import Shard, shard_names, summarize_splits, write_parquet, write_shards
from mets_ecg.data.loading import load_prepared_rows
from mets_ecg.data.prepare import prepare, prepare_folder, run_prepare
from mets_ecg.data.prepared_rows import MemoryMappedRows
from mets_ecg.data.rows import corpus_features, encode_signal
from mets_ecg.data.saved_corpus import SavedCorpus
from mets_ecg.feature_extraction_ecg import PROCESSING_VERSION
from mets_ecg.hub.folders import read_corpus_folder
from mets_ecg_cli.parser import parse_arguments
from mets_ecg_cli.prepare import PrepareArguments

RAGGED = [(100, 10.0, 12), (500, 4.0, 12), (257, 12.0, 12), (1000, 10.0, 3), (128, 30.0, 2), (100, 10.0, 12)]
LEADS = ["I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6"]


def ragged_rows() -> list[dict]:
    """Recordings of different lengths, rates and leads, with and without what a row may lack."""
    rng = np.random.default_rng(0)
    rows = []
    for i, (rate, duration, leads) in enumerate(RAGGED):
        times = np.arange(round(rate * duration)) / rate
        signal = np.sin(2 * np.pi * 1.2 * times) * rng.uniform(0.3, 1.5, (leads, 1))
        rows.append(
            {
                "record_id": f"ragged-{i}",
                "patient_id": f"p{i}" if i else None,
                **encode_signal(signal),
                "sampling_rate": rate,
                "lead_names": LEADS[12 - leads :] if leads < 12 else LEADS,
                "report": "sinusrhythmus" if i % 2 else None,
                "statements": [{"code": "SR", "likelihood": 0.0}] if i % 2 else [],
                "labels_super": [["MI"], None, [], ["NORM", "MI"]][i % 4],
                "fold": i + 1 if i % 2 else None,
                "start_time": f"1999-01-{i + 1:02}T12:00:00" if i % 2 else None,
            }
        )
    return rows


def write_rows(rows: list[dict], path) -> dict:
    return {"num_rows": write_parquet(rows, path, corpus_features({"labels_super": ["NORM", "MI"]}))}


def write_corpus(folder, *, splits=None, key="first") -> SavedCorpus:
    """A folder as `mets-ecg build` leaves it, of the ragged rows; one shard a row."""
    rows = ragged_rows()
    splits = {"train": rows[:4], "test": rows[4:]} if splits is None else splits
    plan = [
        Shard(name, [row], 1)
        for split, own in splits.items()
        for name, row in zip(shard_names(split, len(own)), own, strict=True)
    ]
    write_shards(
        folder,
        plan,
        write_rows,
        key=key,
        summarize=lambda summaries: summarize_splits(plan, summaries),
        num_proc=1,
    )
    return SavedCorpus(folder)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.fixture(scope="module")
def extractor():
    return ECGFeatureExtractor(sampling_rate=100, bandpass=(0.5, 40.0), max_duration=12.0)


@pytest.fixture(scope="module")
def prepared(simulated_corpus, extractor):
    return prepare(simulated_corpus, extractor)


def assert_is_what_the_extractor_gives(batch: dict, i: int, direct: dict) -> None:
    assert np.array_equal(batch["input_values"][i].numpy(), direct["input_values"][0])
    assert np.array_equal(batch["ecg_attention_mask"][i].numpy(), direct["ecg_attention_mask"][0] != 0)
    assert np.array_equal(batch["lead_mask"][i].numpy(), direct["lead_mask"][0] != 0)


def test_prepared_rows_are_what_the_feature_extractor_gives(simulated_corpus, prepared, extractor):
    batch = MemoryMappedRows(prepared).take([0, 7, 159])
    for i, row in enumerate((0, 7, 159)):
        assert_is_what_the_extractor_gives(batch, i, extractor(simulated_corpus[row]))
    assert prepared["report"][:] == simulated_corpus["report"][:]
    assert "signal" not in prepared.column_names


def test_a_batch_without_padding_has_no_mask(simulated_corpus):
    rows = MemoryMappedRows(prepare(simulated_corpus, ECGFeatureExtractor(sampling_rate=100, bandpass=None)))
    assert "ecg_attention_mask" not in rows.take([0, 1])


@pytest.mark.parametrize("fields", [{"max_duration": None}, {"crop": "windows"}, {"crop": "random"}])
def test_rows_of_any_length_are_refused(simulated_corpus, tmp_path, fields):
    extractor = ECGFeatureExtractor(sampling_rate=100, bandpass=None, **fields)
    with pytest.raises(ValueError, match="prepared rows have one length"):
        prepare(simulated_corpus, extractor)
    with pytest.raises(ValueError, match="prepared rows have one length"):
        prepare_folder(write_corpus(tmp_path / "corpus"), extractor, tmp_path / "prepared")


def test_rows_of_another_version_do_not_come_back_from_the_cache(simulated_corpus, extractor, monkeypatch):
    first, again = (prepare(simulated_corpus, extractor) for _ in range(2))
    monkeypatch.setattr(prepare_module, "PROCESSING_VERSION", PROCESSING_VERSION + 1)
    other = prepare(simulated_corpus, extractor)
    assert first._fingerprint == again._fingerprint != other._fingerprint


def test_an_extractor_that_was_saved_and_read_finds_the_same_rows_in_the_cache(simulated_corpus, extractor, tmp_path):
    extractor.save_pretrained(tmp_path)
    again = prepare(simulated_corpus, ECGFeatureExtractor.from_pretrained(tmp_path))
    assert again._fingerprint == prepare(simulated_corpus, extractor)._fingerprint
    other = prepare(simulated_corpus, ECGFeatureExtractor(**{**extractor.to_dict(), "clip": 3.0}))
    assert other._fingerprint != again._fingerprint


def test_recordings_of_any_length_and_rate_become_rows_of_one_length(extractor, tmp_path):
    corpus = write_corpus(tmp_path / "corpus")
    prepare_folder(corpus, extractor, tmp_path / "prepared", num_proc=1)
    cached = load_prepared_rows(extractor, corpus=corpus.dataset())
    folder = load_prepared_rows(extractor, data=str(tmp_path / "prepared"))
    streamed = load_prepared_rows(extractor, data=str(tmp_path / "prepared"), streaming=True)
    for rows in (cached, folder, streamed):
        batch = next(rows.in_order(6))
        for i, row in enumerate(ragged_rows()):
            assert_is_what_the_extractor_gives(batch, i, extractor(row))
        assert batch["ecg_attention_mask"].sum(dim=1).tolist() == [1000, 400, 1200, 1000, 1200, 1000]
        assert batch["lead_mask"].sum(dim=1).tolist() == [12, 12, 12, 3, 2, 12]
        assert rows["record_id"][:] == [f"ragged-{i}" for i in range(6)]
        assert rows["labels_super"][:] == [[1], None, [], [0, 1], [1], None]
        assert rows.features["labels_super"].feature.names == ["NORM", "MI"]
        assert [len(own) for own in rows["statements"]] == [0, 1] * 3
        assert rows["statements"][1] == [{"code": "SR", "likelihood": 0.0}]
        assert rows["start_time"][:] == [row["start_time"] for row in ragged_rows()]
        assert rows["fold"][:] == [None, 2, None, 4, None, 6]
        assert rows["age"][:] == [None] * 6


def test_a_corpus_of_one_split_is_prepared(extractor, tmp_path):
    corpus = write_corpus(tmp_path / "corpus", splits={"test": ragged_rows()[:2]})
    summary = prepare_folder(corpus, extractor, tmp_path / "prepared", num_proc=1)
    assert {split: own["num_rows"] for split, own in summary["splits"].items()} == {"test": 2}
    assert len(load_prepared_rows(extractor, data=str(tmp_path / "prepared"), streaming=True)) == 2


def test_shards_are_those_of_the_corpus_and_do_not_depend_on_the_processes(extractor, tmp_path):
    corpus = write_corpus(tmp_path / "corpus")
    for num_proc in (1, 3):
        prepare_folder(corpus, extractor, tmp_path / f"by-{num_proc}", num_proc=num_proc)
    names = {path.name for path in (tmp_path / "corpus").glob("*.parquet")}
    for name in names:
        assert (tmp_path / "by-1" / name).read_bytes() == (tmp_path / "by-3" / name).read_bytes()
    assert {path.name for path in (tmp_path / "by-3").iterdir()} == names | {"build.json", "README.md"}


def test_a_stopped_prepare_goes_on_where_it_stopped(extractor, tmp_path, monkeypatch):
    corpus = write_corpus(tmp_path / "corpus")
    real, log = prepare_module._prepare_rows, tmp_path / "log"

    def stop_at_fourth(recordings, extractor):
        with log.open("a") as file:
            file.write("x")
        if log.stat().st_size == 4:
            raise OSError(5, "stopped")
        return real(recordings, extractor)

    monkeypatch.setattr(prepare_module, "_prepare_rows", stop_at_fourth)
    with pytest.raises(OSError, match="stopped"):
        prepare_folder(corpus, extractor, tmp_path / "prepared", num_proc=1)
    assert not (tmp_path / "prepared").exists()
    tried = log.stat().st_size
    prepare_folder(corpus, extractor, tmp_path / "prepared", num_proc=1)
    assert log.stat().st_size == 6 + 1  # each shard once, and the one that failed twice
    assert tried >= 4
    prepare_folder(corpus, extractor, tmp_path / "prepared", num_proc=1)
    assert log.stat().st_size == 6 + 1
    assert len(load_prepared_rows(extractor, data=str(tmp_path / "prepared"), streaming=True)) == 6


def test_a_folder_of_another_corpus_extractor_or_version_is_left_alone(extractor, tmp_path, monkeypatch):
    corpus = write_corpus(tmp_path / "corpus")
    folder = tmp_path / "prepared"
    summary = prepare_folder(corpus, extractor, folder, num_proc=1)
    assert prepare_folder(corpus, extractor, folder, num_proc=1) == summary
    other = write_corpus(tmp_path / "other", key="second")
    clipped = ECGFeatureExtractor(**{**extractor.to_dict(), "clip": 3.0})
    for arguments in ((other, extractor), (corpus, clipped)):
        with pytest.raises(FileExistsError, match="is there already, from other files, arguments or versions"):
            prepare_folder(*arguments, folder, num_proc=1)
    monkeypatch.setattr(prepare_module, "PROCESSING_VERSION", PROCESSING_VERSION + 1)
    with pytest.raises(FileExistsError, match="is there already"):
        prepare_folder(corpus, extractor, folder, num_proc=1)


def test_rows_that_another_version_prepared_are_refused(extractor, tmp_path, monkeypatch):
    prepare_folder(write_corpus(tmp_path / "corpus"), extractor, tmp_path / "prepared", num_proc=1)
    monkeypatch.setattr("mets_ecg.data.saved_corpus.PROCESSING_VERSION", PROCESSING_VERSION + 1)
    with pytest.raises(ValueError, match="prepared' was prepared by version 1 of the processing.*: prepare again"):
        load_prepared_rows(extractor, data=str(tmp_path / "prepared"))


def test_the_processing_does_not_change_without_a_new_version():
    """If this fails, raise `PROCESSING_VERSION` in `feature_extraction_ecg.py` and write the new numbers."""
    extractor = ECGFeatureExtractor(sampling_rate=100, bandpass=(0.5, 40.0), max_duration=12.0, scaling="z-score")
    rows = ragged_rows()
    given = [extractor(row)["input_values"][0] for row in (rows[1], rows[2], rows[3])]
    numbers = [[float(values[9, i]) for i in (3, 250)] + [float(np.abs(values).sum())] for values in given]
    assert PROCESSING_VERSION == 1
    expected = [[0.045216, -0.092891, 3881.894], [0.250537, -0.021579, 12387.90], [0.183117, 0.009385, 2646.709]]
    np.testing.assert_allclose(numbers, expected, rtol=1e-3, atol=1e-5)


def test_what_is_prepared_is_not_prepared_again(extractor, tmp_path):
    prepare_folder(write_corpus(tmp_path / "corpus"), extractor, tmp_path / "prepared", num_proc=1)
    with pytest.raises(ValueError, match="is prepared already"):
        prepare_folder(SavedCorpus(tmp_path / "prepared"), extractor, tmp_path / "twice")


def test_the_folder_has_a_card_by_which_it_can_be_pushed_and_loaded(extractor, tmp_path):
    write_corpus(tmp_path / "ragged")
    prepare_folder(SavedCorpus(tmp_path / "ragged"), extractor, tmp_path / "prepared", num_proc=1)
    pushed = read_corpus_folder(tmp_path / "prepared")
    assert pushed.described == ["ragged: train 4, test 2 rows"]
    assert "build.json" in pushed.files
    assert pushed.others == []
    card = (tmp_path / "prepared" / "README.md").read_text()
    assert "# ragged (ragged), prepared" in card
    assert str(tmp_path) not in card + (tmp_path / "prepared" / "build.json").read_text()
    loaded = datasets.load_dataset(str(tmp_path / "prepared"), split="test")
    assert loaded["record_id"][:] == ["ragged-4", "ragged-5"]
    assert loaded.features["input_values"].shape == (12, 1200)


def test_the_command_takes_the_extractor_of_a_checkpoint_or_of_a_recipe(tiny_checkpoint, tmp_path, capsys):
    write_corpus(tmp_path / "corpus")
    recipe = tmp_path / "recipe.yaml"
    fields = json.loads((tiny_checkpoint / "processor_config.json").read_text())["feature_extractor"]
    fields.pop("feature_extractor_type")
    recipe.write_text(yaml.safe_dump({"feature_extractor": fields}))
    for flag, value in (("--model", tiny_checkpoint), ("--config", recipe)):
        output = tmp_path / flag.strip("-")
        words = [str(tmp_path / "corpus"), "--output", str(output), flag, str(value), "--num-proc", "1"]
        run_prepare(parse_arguments(PrepareArguments, words))
        assert "prepared rows of" in capsys.readouterr().out
        rows = load_prepared_rows(ECGFeatureExtractor.from_pretrained(tiny_checkpoint), data=str(output))
        assert rows["record_id"][:] == [f"ragged-{i}" for i in range(6)]


@pytest.mark.parametrize("given", [{}, {"model": "a", "config": "b"}])
def test_the_command_needs_one_extractor(given, tmp_path):
    with pytest.raises(ValueError, match="--model CHECKPOINT or by --config RECIPE"):
        run_prepare(PrepareArguments(data=str(tmp_path), output=str(tmp_path / "o"), **given))


def test_rows_of_a_selection_are_prepared_as_those_of_the_whole(simulated_corpus, prepared, extractor):
    some = prepare(simulated_corpus.select([150, 3]), extractor)
    assert isinstance(some, Dataset)
    chosen, whole = MemoryMappedRows(some).take([0, 1]), MemoryMappedRows(prepared).take([150, 3])
    assert np.array_equal(chosen["input_values"], whole["input_values"])


def with_a_flat_one() -> list[dict]:
    rows = ragged_rows()
    flat = rows[2] | {"record_id": "flat", **encode_signal(np.zeros((12, 1000))), "sampling_rate": 100.0}
    return [*rows[:2], flat, *rows[2:]]


def test_recordings_that_the_model_cannot_use_are_left_out_and_named(tmp_path, caplog, capsys):
    extractor = ECGFeatureExtractor(sampling_rate=100, bandpass=None)
    corpus = write_corpus(tmp_path / "corpus", splits={"train": with_a_flat_one()})
    expected = [row["record_id"] for row in ragged_rows()]

    mapped = prepare(corpus.dataset(), extractor)
    assert mapped["record_id"][:] == expected
    assert "1 recordings cannot be used and are left out: flat; the first because flat" in caplog.text

    summary = prepare_folder(corpus, extractor, tmp_path / "prepared", num_proc=1)
    written = load_prepared_rows(extractor, data=str(tmp_path / "prepared"))
    assert written["record_id"][:] == expected
    assert summary["unusable"]["count"] == 1 and summary["unusable"]["records"][0][0] == "flat"
    first, second = (MemoryMappedRows(mapped).take(range(6)), written.take(range(6)))
    np.testing.assert_array_equal(first["input_values"], second["input_values"])


def test_a_corpus_of_which_nothing_can_be_used_is_refused(tmp_path):
    extractor = ECGFeatureExtractor(sampling_rate=100, bandpass=None)
    corpus = write_corpus(tmp_path / "corpus", splits={"train": with_a_flat_one()[2:3]})
    for attempt in (
        lambda: prepare(corpus.dataset(), extractor),
        lambda: prepare_folder(corpus, extractor, tmp_path / "prepared", num_proc=1),
    ):
        with pytest.raises(ValueError, match="none of 1 recordings can be used, and the first because flat"):
            attempt()
    assert not (tmp_path / "prepared").exists()
