"""Simulate, prepare, pre-train and evaluate: what is streamed is what is memory-mapped."""

import dataclasses
import json
from pathlib import Path

import datasets
import pytest
import yaml

from mets_ecg.data import prepared_rows
from mets_ecg.data.prepare import run_prepare
from mets_ecg.data.simulator.simulate import run_simulate
from mets_ecg.evaluation.evaluate import run_evaluate
from mets_ecg.training.pretrain import run_pretrain
from mets_ecg_cli.evaluate import EvaluateArguments
from mets_ecg_cli.parser import parse_arguments
from mets_ecg_cli.prepare import PrepareArguments
from mets_ecg_cli.simulate import SimulateArguments


@pytest.fixture
def prepared(pretrain_arguments, tmp_path, monkeypatch) -> str:
    """A simulated corpus as the recipe's feature extractor prepares it, by the commands."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    run_simulate(SimulateArguments(output=str(tmp_path / "corpus"), num_records=120, seed=2, num_proc=1))
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump({"feature_extractor": pretrain_arguments.feature_extractor}))
    words = [str(tmp_path / "corpus"), "--output", str(tmp_path / "prepared"), "--config", str(recipe)]
    run_prepare(parse_arguments(PrepareArguments, [*words, "--num-proc", "1"]))
    return str(tmp_path / "prepared")


def test_a_run_on_streamed_rows_is_evaluated_alike_streamed_and_memory_mapped(
    pretrain_arguments, prepared, tmp_path, monkeypatch
):
    arguments = dataclasses.replace(pretrain_arguments, data=[prepared], streaming=True)
    with monkeypatch.context() as patch:
        patch.setattr(prepared_rows.MemoryMappedRows, "take", None)  # a use of it would stop the run
        metrics = run_pretrain(arguments)
    assert metrics["counts"]["train"] == 96
    assert len(metrics["epochs"]) == 2
    assert metrics["parts"]["simulated"]["test"] == ["10"]

    documents = []
    for streaming in (False, True):
        output = tmp_path / f"report-{streaming}"
        where = {"data": [prepared], "train": ["none"], "streaming": streaming}
        fields = {"model": arguments.output, "task": "simulated", "num_resamples": 20, "output": str(output)}
        run_evaluate(EvaluateArguments(**where, **fields))
        documents.append(json.loads((output / "report.json").read_text()))
        assert documents[-1].pop("settings")["streaming"] == streaming
    assert documents[0] == documents[1]
    aurocs = [table["lines"]["phrases"]["auroc"]["per_class"] for table in (documents[0], metrics["test"])]
    assert aurocs[0] == aurocs[1]


def test_rows_prepared_for_another_model_are_refused_before_training(pretrain_arguments, prepared):
    other = {**pretrain_arguments.feature_extractor, "max_duration": 8.0}
    arguments = dataclasses.replace(pretrain_arguments, data=[prepared], streaming=True, feature_extractor=other)
    with pytest.raises(ValueError, match=r"max_duration is 10\.0 there and 8\.0 in the model's"):
        run_pretrain(arguments)
    assert not Path(arguments.output).exists()
