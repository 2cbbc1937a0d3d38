import json

import numpy as np
import pytest
import torch

from mets_ecg.evaluation.retrieval import rank_right_ones, run_retrieve
from mets_ecg_cli.retrieve import RetrieveArguments


def test_the_best_right_candidate_counts_and_ties_stand_in_the_middle():
    queries = torch.eye(3)
    candidates = torch.tensor([[1.0, 0, 0], [0.9, 0, 0], [0.8, 0.5, 0], [0, 0.5, 0], [0, 0, 1.0]])
    groups = np.array([7, 8, 7, 9, 8])
    found = rank_right_ones(queries, candidates, np.array([8, 9, 7]), groups)
    # The second candidate is behind the first; the fourth ties with the third; those of the last query's group are
    # behind one other and tie with two.
    assert found.ranks.tolist() == [2, 1.5, 3]
    assert found.num_right.tolist() == [2, 1, 2]


def test_blocks_of_queries_are_joined(monkeypatch):
    rng = torch.Generator().manual_seed(0)
    queries, candidates = torch.randn(10, 4, generator=rng), torch.randn(20, 4, generator=rng)
    whole = rank_right_ones(queries, candidates, np.arange(10), np.arange(20))
    monkeypatch.setattr("mets_ecg.evaluation.retrieval._BLOCK", 3)
    assert rank_right_ones(queries, candidates, np.arange(10), np.arange(20)).ranks.tolist() == whole.ranks.tolist()


@pytest.mark.parametrize("column", ["report", "findings"])
def test_the_command_counts_equal_reports_as_one(column, tiny_checkpoint, ptb_xl_source, tmp_path, capsys):
    output = tmp_path / "retrieval.json"
    where = {"model": str(tiny_checkpoint), "source": str(ptb_xl_source), "test": ["1-8"], "num_resamples": 10}
    document = run_retrieve(RetrieveArguments(**where, text_column=column, at=[1, 1000], output=str(output)))
    assert json.loads(output.read_text()) == document
    assert document["num_texts"] < document["num_recordings"]
    assert document["ecg_to_text"]["num_candidates"] == document["num_texts"]
    assert document["text_to_ecg"]["num_candidates"] == document["num_recordings"]
    for way in ("ecg_to_text", "text_to_ecg"):
        recall = document[way]["recall_at"]
        assert recall["1000"]["recall"] == 1 == pytest.approx(recall["1000"]["chance"])
        assert 0 < recall["1"]["chance"] < 0.3
    assert "recording of a text" in capsys.readouterr().out
