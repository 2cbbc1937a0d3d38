import json
import shutil

import datasets
import numpy as np
import pytest

from mets_ecg.data.building.shards import shard_names, write_parquet
from mets_ecg.data.rows import ROW_FORMAT_VERSION, corpus_features
from mets_ecg.data.saved_corpus import SavedCorpus
from mets_ecg.data.simulator.simulate import run_simulate
from mets_ecg.signals import decode_signal
from mets_ecg_cli.simulate import SimulateArguments


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def write_config(folder, splits: dict[str, list[str]], shards: int = 1, **summary):
    """A config's folder whose rows have these record ids."""
    folder.mkdir(parents=True)
    features = corpus_features({"labels_super": ["NORM", "MI"]})
    for split, records in splits.items():
        for name, own in zip(shard_names(split, shards), np.array_split(records, shards), strict=True):
            rows = [{"record_id": str(record), "signal": np.ones((2, 5), np.int16)} for record in own]
            write_parquet(rows, folder / f"{name}.parquet", features)
    counted = {split: {"num_rows": len(records)} for split, records in splits.items()}
    versions = {"row_format_version": ROW_FORMAT_VERSION}
    (folder / "build.json").write_text(json.dumps({"key": "k", "splits": counted, **versions, **summary}))
    return folder


def test_rows_and_streams_of_a_folder_are_the_same(tmp_path):
    run_simulate(SimulateArguments(output=str(tmp_path / "corpus"), num_records=25, seed=5))
    corpus = SavedCorpus(tmp_path / "corpus")
    streams = corpus.streams()
    assert list(streams) == ["train", "validation", "test"]
    assert corpus.num_rows == {"train": 21, "validation": 2, "test": 2}
    streamed = [row for split in streams.values() for row in split]
    rows = corpus.dataset()
    assert rows["split"][:] == ["train"] * 21 + ["validation"] * 2 + ["test"] * 2 and set(rows["corpus"]) == {
        "simulated"
    }
    columns = [name for name in rows.column_names if name not in ("corpus", "split")]
    assert rows.select_columns(columns)[:] == {name: [row[name] for row in streamed] for name in columns}
    assert decode_signal(streamed[0]).shape == (12, 1000)


def test_splits_keep_their_order_and_shards_theirs(tmp_path):
    ids = {split: [f"{split}{i}" for i in range(13)] for split in ("train", "validation", "ab", "ab_more")}
    corpus = SavedCorpus(write_config(tmp_path / "corpus", ids, shards=11))
    assert corpus.dataset()["record_id"][:] == sum(ids.values(), [])
    assert [row["record_id"] for row in corpus.streams()["ab"]] == ids["ab"]
    assert {split: stream.num_shards for split, stream in corpus.streams().items()} == dict.fromkeys(ids, 11)


def test_a_corpus_that_was_built_again_is_not_taken_from_the_cache(tmp_path):
    for name in ("one", "two"):
        folder = write_config(tmp_path / "corpus", {"test": [name]})
        assert SavedCorpus(folder).dataset()["record_id"][:] == [name]
        shutil.rmtree(folder)


@pytest.mark.parametrize(
    ("rate", "config"),
    [(50, "100hz"), (100, "100hz"), (100.0, "100hz"), (250, "500hz"), (500, "500hz"), (1000, "500hz")],
)
def test_the_config_that_has_the_models_rate_is_chosen(tmp_path, rate, config):
    for name in ("500hz", "100hz"):
        write_config(tmp_path / "corpus" / name, {"test": [name]})
    corpus = SavedCorpus(tmp_path / "corpus", sampling_rate=rate)
    assert corpus.config == config
    assert corpus.dataset()["record_id"][:] == [config]
    assert SavedCorpus(tmp_path / "corpus", config="100hz", sampling_rate=rate).config == "100hz"
    assert SavedCorpus(tmp_path / "corpus" / "500hz", sampling_rate=rate).config == "500hz"


def test_a_config_must_be_named_where_nothing_chooses_it(tmp_path):
    for name in ("beats", "rhythm"):
        write_config(tmp_path / "corpus" / name, {"test": [name]})
    assert SavedCorpus(tmp_path / "corpus", config="rhythm").config == "rhythm"
    with pytest.raises(ValueError, match="has the configs beats, rhythm: name one of them"):
        SavedCorpus(tmp_path / "corpus", sampling_rate=100)
    with pytest.raises(ValueError, match="has no config '100hz': there are beats, rhythm"):
        SavedCorpus(tmp_path / "corpus", config="100hz")


def test_only_prepared_rows_name_a_feature_extractor(tmp_path):
    assert SavedCorpus(write_config(tmp_path / "a", {"test": ["1"]})).feature_extractor is None
    prepared = write_config(tmp_path / "b", {"test": ["1"]}, feature_extractor={"clip": 2}, config="beats")
    assert SavedCorpus(prepared, config="beats").feature_extractor == {"clip": 2}
    with pytest.raises(ValueError, match="is the config beats"):
        SavedCorpus(prepared, config="rhythm")


@pytest.mark.parametrize("version", [None, ROW_FORMAT_VERSION - 1, ROW_FORMAT_VERSION + 1])
def test_rows_of_another_format_are_refused_with_the_way_out(tmp_path, version):
    folder = write_config(tmp_path / "corpus" / "100hz", {"test": ["1"]}, row_format_version=version or 1)
    if version is None:  # before there were versions
        summary = json.loads((folder / "build.json").read_text())
        del summary["row_format_version"]
        (folder / "build.json").write_text(json.dumps(summary))
    way_out = "install a newer mets-ecg" if version == ROW_FORMAT_VERSION + 1 else "build again: remove it, and run"
    with pytest.raises(ValueError, match=f"100hz' has row format {version or 1}, this mets-ecg has .*: {way_out}"):
        SavedCorpus(tmp_path / "corpus")


def test_a_lost_shard_is_noticed(tmp_path):
    folder = write_config(tmp_path / "corpus", {"test": ["1", "2", "3"]}, shards=3)
    (folder / "test-00001-of-00003.parquet").unlink()
    with pytest.raises(FileNotFoundError, match="has 2 of 3 shards of split test"):
        SavedCorpus(folder)
    for path in folder.glob("*.parquet"):
        path.unlink()
    with pytest.raises(FileNotFoundError, match="has no shards of split test"):
        SavedCorpus(folder)


def test_what_is_no_corpus_is_said(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no corpus folder .*nowhere"):
        SavedCorpus(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="has no corpus that mets-ecg wrote"):
        SavedCorpus(tmp_path)
    (tmp_path / ".100hz.building").mkdir()
    with pytest.raises(FileNotFoundError, match="its build was stopped; run it again"):
        SavedCorpus(tmp_path)


def test_a_folder_may_have_any_name(tmp_path):
    folder = write_config(tmp_path / "a [1] *b" / "c?", {"test": ["1", "2"]})
    corpus = SavedCorpus(folder)
    assert len(corpus.dataset()) == 2
    assert [row["record_id"] for row in corpus.streams()["test"]] == ["1", "2"]


def test_a_folder_here_wins_over_a_repository_of_the_same_name(tmp_path, monkeypatch):
    write_config(tmp_path / "user" / "corpus", {"test": ["1"]})
    monkeypatch.chdir(tmp_path)
    assert SavedCorpus("user/corpus").num_rows == {"test": 1}


def test_a_repository_without_a_network_is_said(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConnectionError, match="offline"):
        SavedCorpus("user/ptb-xl")


def test_the_folder_of_one_config_is_no_other(tmp_path):
    folder = write_config(tmp_path / "corpus" / "100hz", {"train": ["1"]})
    assert SavedCorpus(folder, config="100hz").config == "100hz"
    with pytest.raises(ValueError, match="is the config 100hz: name the folder of the config 500hz"):
        SavedCorpus(folder, config="500hz")
