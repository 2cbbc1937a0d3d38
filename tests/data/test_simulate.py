import pytest
from datasets import load_from_disk

from mets_ecg.data.simulate import SimulateArguments, run_simulate


def test_a_corpus_is_written_and_said_so(tmp_path, capsys):
    run_simulate(SimulateArguments(output=str(tmp_path / "corpus"), num_records=30, seed=5))
    corpus = load_from_disk(tmp_path / "corpus")
    assert len(corpus) == 30
    assert "30 simulated recordings at 100 Hz" in capsys.readouterr().out


def test_a_folder_that_is_there_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(FileExistsError, match="is there already"):
        run_simulate(SimulateArguments(output=str(tmp_path), num_records=3))
