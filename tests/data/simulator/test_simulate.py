import pytest

from mets_ecg.data.loading import load_corpus
from mets_ecg.data.saved_corpus import SavedCorpus
from mets_ecg.data.simulator.corpus import simulate_corpus
from mets_ecg.data.simulator.simulate import run_simulate
from mets_ecg_cli.simulate import SimulateArguments


def test_a_corpus_is_written_and_said_so(tmp_path, capsys):
    run_simulate(SimulateArguments(output=str(tmp_path / "corpus"), num_records=30, seed=5))
    corpus = load_corpus(data=tmp_path / "corpus", sampling_rate=100)
    expected = {row["record_id"]: row for row in simulate_corpus(30, seed=5, cache_dir=tmp_path)}
    assert set(corpus["corpus"]) == {"simulated"} and set(corpus["split"]) == {"train", "validation", "test"}
    assert {row["record_id"]: row for row in corpus.remove_columns(["corpus", "split"])} == expected
    assert "30 simulated recordings at 100 Hz" in capsys.readouterr().out


def test_a_folder_that_is_there_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(FileExistsError, match="is there already"):
        run_simulate(SimulateArguments(output=str(tmp_path), num_records=3))


def test_a_few_recordings_make_no_empty_split(tmp_path):
    run_simulate(SimulateArguments(output=str(tmp_path / "few"), num_records=3))
    assert sorted(path.name for path in (tmp_path / "few").iterdir()) == ["build.json", "train-00000-of-00001.parquet"]
    assert len(load_corpus(data=tmp_path / "few", sampling_rate=100)) == 3


def test_the_same_command_again_leaves_the_folder_and_another_seed_is_refused(tmp_path):
    arguments = SimulateArguments(output=str(tmp_path / "corpus"), num_records=12, seed=1)
    run_simulate(arguments)
    written = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "corpus").iterdir()}
    run_simulate(arguments)
    assert {path.name: path.stat().st_mtime_ns for path in (tmp_path / "corpus").iterdir()} == written
    with pytest.raises(FileExistsError, match="is there already"):
        run_simulate(SimulateArguments(output=str(tmp_path / "corpus"), num_records=12, seed=2))


def test_folds_9_and_10_are_the_splits_that_training_does_not_read(tmp_path):
    run_simulate(SimulateArguments(output=str(tmp_path / "corpus"), num_records=40))
    folds = {split: {row["fold"] for row in rows} for split, rows in SavedCorpus(tmp_path / "corpus").streams().items()}
    assert folds == {"train": set(range(1, 9)), "validation": {9}, "test": {10}}
