"""The run of a method whatever it is; what the commands make of it is tested in theirs."""

import pytest

from mets_ecg.data.loading import LoadedParts
from mets_ecg.training.run import run_training


def test_a_run_calls_its_parts_and_leaves_metrics(regression, arguments, prepared, capsys):
    asked = []

    def load(rows_needed):
        asked.append(rows_needed)
        return LoadedParts(train=prepared.select(range(50)), words={"simulated": {"train": ["all"]}})

    method = regression()
    method.counts = {"left_out": 3}
    metrics = run_training(
        method,
        arguments,
        load=load,
        announce=lambda counts: f"training on {counts['train']} rows",
        measure=lambda run, accelerator, parts: {"measured": run.output.name},
    )
    assert asked == [None]
    assert metrics["measured"] == "model" and metrics["counts"]["left_out"] == 3 and len(metrics["epochs"]) == 3
    assert "training on 50 rows, cpu" in capsys.readouterr().out


def test_steps_say_how_many_rows_are_needed(regression, arguments, prepared):
    import dataclasses

    asked = []

    def load(rows_needed):
        asked.append(rows_needed)
        return LoadedParts(words={"simulated": {}})

    arguments = dataclasses.replace(arguments, max_steps=4, gradient_accumulation_steps=3)
    with pytest.raises(ValueError, match="there is nothing to train on, simulated has no part for it"):
        run_training(regression(), arguments, load=load, announce=str, measure=None)
    assert asked == [4 * 3 * 8]
