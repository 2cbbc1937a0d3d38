import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from transformers import AutoModel, AutoProcessor

from mets_ecg.data.reports.cleaning import clean_report
from mets_ecg.training.mets import METS
from mets_ecg.training.pretrain import METHODS, run_pretrain

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_a_run_leaves_a_checkpoint_that_loads_with_its_figures(pretrain_arguments, simulated_corpus):
    metrics = run_pretrain(pretrain_arguments, corpus=simulated_corpus)

    output = Path(pretrain_arguments.output)
    model, processor = AutoModel.from_pretrained(output), AutoProcessor.from_pretrained(output)
    assert not any(parameter.requires_grad for parameter in model.text_model.parameters())
    assert processor.feature_extractor.sampling_rate == model.config.ecg_config.sampling_rate == 100
    assert json.loads((output / "metrics.json").read_text()) == json.loads(json.dumps(metrics))
    assert yaml.safe_load((output / "training_args.yaml").read_text())["batch_size"] == 16
    assert metrics["counts"]["train"] + metrics["counts"]["validation"] + metrics["counts"]["test"] == 160
    losses = [epoch["validation_loss"] for epoch in metrics["epochs"]]
    assert metrics["best_epoch"] == 1 + losses.index(min(losses))
    assert [line for line in (output / "log.jsonl").open() if "validation_loss" in line]
    assert sorted(path.name for path in output.parent.iterdir() if path.name != "texts") == ["checkpoint"]
    assert set(metrics["test"]["lines"]) == {"phrases", "template", "random_encoder"}


def test_without_validation_folds_the_last_epoch_is_kept(pretrain_arguments, simulated_corpus):
    arguments = dataclasses.replace(pretrain_arguments, validation=["none"], test=["none"])
    metrics = run_pretrain(arguments, corpus=simulated_corpus)
    assert metrics["best_epoch"] == 2
    assert "test" not in metrics
    assert "validation_loss" not in metrics["epochs"][0]


def test_the_text_is_centred_by_the_mean_over_records(pretrain_arguments, simulated_corpus):
    arguments = dataclasses.replace(pretrain_arguments, epochs=1, validation=["none"], test=["none"])
    run_pretrain(arguments, corpus=simulated_corpus)
    model, processor = AutoModel.from_pretrained(arguments.output), AutoProcessor.from_pretrained(arguments.output)

    reports = [
        clean_report(row["report"]) for row in simulated_corpus.select_columns(["report", "fold"]) if row["fold"] <= 8
    ]
    pooled = []
    for report in reports:
        inputs = processor(text=report, return_tensors="pt")
        pooled.append(model.encode_text(inputs["input_ids"], inputs["attention_mask"])[0])
    assert torch.allclose(model.text_mean, torch.stack(pooled).mean(dim=0), atol=1e-5)


def test_records_without_a_report_are_left_out_counted_and_printed(pretrain_arguments, ptb_xl_source, capsys):
    arguments = dataclasses.replace(
        pretrain_arguments,
        source=str(ptb_xl_source),
        task="ptbxl-super",
        batch_size=4,
        epochs=1,
        train=["2-8"],
        validation=["none"],
        test=["none"],
    )
    metrics = run_pretrain(arguments)
    # Record 292 says "trace only requested.", record 443 is blank.
    assert metrics["counts"]["without_text"] == 2
    assert "2 records whose report says nothing" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"validation": ["8", "9"]}, "patients have rows both for train and for validation"),
        ({"train": ["none"]}, "there is nothing to train on, simulated has no part for it"),
        ({"test": ["12"]}, "--test 12: simulated has .* the folds 1, 2, 3"),
        (
            {"feature_extractor": {"sampling_rate": 100, "crop": "random", "bandpass": None}},
            "prepared rows have one length",
        ),
        ({"model": {"ecg_config": {"num_leads": 3}}}, "num_leads=3"),
        ({"processor": {"max_length": 41}}, "above the text model's 40 positions"),
        ({"task": "ptbxl-super"}, "needs the column labels_super; the corpus has labels_findings"),
    ],
)
def test_what_does_not_fit_is_refused_before_training(pretrain_arguments, simulated_corpus, changes, message):
    with pytest.raises(ValueError, match=message):
        run_pretrain(dataclasses.replace(pretrain_arguments, **changes), corpus=simulated_corpus)
    assert not list(Path(pretrain_arguments.output).parent.iterdir())


def test_a_misspelt_field_of_a_recipe_is_named(pretrain_arguments):
    with pytest.raises(TypeError, match="did you mean 'projection_dim'"):
        METS(dataclasses.replace(pretrain_arguments, model={"projection_dims": 4})).build()


def test_the_example_runs_under_accelerate_launch(pretrain_arguments, ptb_xl_source, tmp_path):
    recipe = tmp_path / "recipe.yaml"
    fields = dataclasses.asdict(pretrain_arguments) | {"source": str(ptb_xl_source), "task": "ptbxl-super"}
    recipe.write_text(yaml.safe_dump(fields))
    launch = "-m accelerate.commands.launch --cpu --num_processes 1 --num_machines 1".split()
    flags = "--max-steps 2 --batch-size 4 --train 1-6 --validation 8 --test none".split()
    command = [sys.executable, *launch, str(EXAMPLES / "pretrain.py"), "--config", str(recipe), *flags]

    run = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)

    assert run.returncode == 0, run.stderr[-3000:]
    assert "validation loss" in run.stdout
    AutoModel.from_pretrained(pretrain_arguments.output)


@pytest.mark.parametrize("recipe", sorted((EXAMPLES / "configs").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_recipes_describe_a_model_and_a_processor(recipe, pretrain_arguments, tmp_path):
    from mets_ecg_cli.parser import parse_arguments
    from mets_ecg_cli.pretrain import PretrainArguments

    arguments = parse_arguments(
        PretrainArguments,
        ["--config", str(recipe), "--output", str(tmp_path / "o"), "--text-model", pretrain_arguments.text_model],
    )
    arguments.processor["max_length"] = 40  # the tiny text model has no more positions
    if arguments.method == "c-melt" and not arguments.text_config:  # nor a mask token
        arguments.text_config = {"model_type": "bert", "hidden_size": 20, "num_hidden_layers": 1}
        arguments.text_config |= {"num_attention_heads": 2, "intermediate_size": 28}
    model, processor = METHODS[arguments.method](arguments).build()
    assert model.config.ecg_config.sampling_rate == processor.feature_extractor.sampling_rate


def test_mets_trains_a_transformer_by_the_fields_of_its_encoder_alone(
    pretrain_arguments, c_melt_arguments, simulated_corpus
):
    encoder = c_melt_arguments.model["ecg_config"]
    model = {**pretrain_arguments.model, "ecg_config": encoder}
    metrics = run_pretrain(dataclasses.replace(pretrain_arguments, model=model, epochs=1), corpus=simulated_corpus)
    assert metrics["epochs"][0]["train_loss"] > 0
    loaded = AutoModel.from_pretrained(pretrain_arguments.output)
    assert loaded.ecg_model.config.model_type == "ecg_transformer"
