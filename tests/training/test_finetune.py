import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from transformers import AutoModelForSequenceClassification, pipeline

from mets_ecg.training.finetune import run_finetune
from mets_ecg_cli.finetune import FinetuneArguments

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_a_run_leaves_a_classifier_that_loads_with_its_figures(finetune_arguments, simulated_corpus):
    metrics = run_finetune(dataclasses.replace(finetune_arguments, epochs=6), corpus=simulated_corpus)

    output = Path(finetune_arguments.output)
    model = AutoModelForSequenceClassification.from_pretrained(output)
    assert list(model.config.id2label.values()) == metrics["test"]["classes"]
    assert len(model.config.thresholds) == len(model.config.id2label)
    losses = [epoch["train_loss"] for epoch in metrics["epochs"]]
    assert losses[-1] < losses[0] - 0.02
    best = max(metrics["epochs"], key=lambda epoch: epoch["validation_macro_auroc"])
    assert metrics["best_epoch"] == best["epoch"]
    assert json.loads((output / "metrics.json").read_text())["test"]["task"] == "simulated"
    answers = pipeline("ecg-classification", model=str(output), device="cpu")(simulated_corpus[0])
    assert {entry["label"] for entry in answers} == set(metrics["test"]["classes"])


def test_the_encoder_of_a_checkpoint_is_where_it_starts(
    finetune_arguments, simulated_corpus, tiny_checkpoint, tiny_model
):
    arguments = dataclasses.replace(
        finetune_arguments,
        model=str(tiny_checkpoint),
        ecg_config={},
        feature_extractor={},
        learning_rate=1e-7,
        max_steps=1,
        validation=["none"],
        test=["none"],
    )
    run_finetune(arguments, corpus=simulated_corpus)
    model = AutoModelForSequenceClassification.from_pretrained(arguments.output)
    for name, values in tiny_model.ecg_model.named_parameters():
        torch.testing.assert_close(dict(model.ecg_model.named_parameters())[name], values, atol=1e-5, rtol=0)


def test_the_example_runs_under_accelerate_launch(finetune_arguments, ptb_xl_source, tiny_checkpoint, tmp_path):
    launch = "-m accelerate.commands.launch --cpu --num_processes 1 --num_machines 1".split()
    flags = "--max-steps 2 --batch-size 4 --train 1-6 --validation 7 --test 8 --task ptbxl-super".split()
    where = ["--model", str(tiny_checkpoint), "--source", str(ptb_xl_source), "--output", str(tmp_path / "out")]
    command = [sys.executable, *launch, str(EXAMPLES / "finetune.py"), *where, *flags]
    run = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert run.returncode == 0, run.stderr[-3000:]
    assert "validation macro AUROC" in run.stdout and "ptbxl-super: 11 records of 10 patients" in run.stdout
    AutoModelForSequenceClassification.from_pretrained(tmp_path / "out")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"label_fraction": 0.0}, "--label-fraction must be above 0 and at most 1"),
        ({"layer_decay": 1.5}, "--layer-decay must be above 0 and at most 1"),
        ({"task": "ptbxl-axis"}, "--task ptbxl-axis: there are"),
        ({"model": "mets-small"}, "--model brings its encoder and feature extractor"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(finetune_arguments, changes, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(finetune_arguments, **changes)


def test_an_empty_part_and_labels_of_another_set_are_refused(finetune_arguments, simulated_corpus):
    with pytest.raises(ValueError, match="there is nothing to train on"):
        run_finetune(dataclasses.replace(finetune_arguments, train=["none"]), corpus=simulated_corpus)
    with pytest.raises(ValueError, match="needs the column labels_super"):
        run_finetune(dataclasses.replace(finetune_arguments, task="ptbxl-super"), corpus=simulated_corpus)
    assert not Path(finetune_arguments.output).exists()


def test_a_recipe_is_read(tmp_path):
    from mets_ecg_cli.parser import parse_arguments

    (tmp_path / "r.yaml").write_text(yaml.safe_dump({"task": "ptbxl-super", "epochs": 3, "class_weights": "balanced"}))
    arguments = parse_arguments(
        FinetuneArguments, ["--config", str(tmp_path / "r.yaml"), "--output", "o", "--epochs", "4"]
    )
    assert (arguments.epochs, arguments.class_weights, arguments.optimizer) == (4, "balanced", "adamw")
