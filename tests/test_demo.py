import json

import pytest
from transformers import AutoModel, AutoProcessor

from mets_ecg.demo import HELD_OUT, QUESTIONS, run_demo
from mets_ecg_cli.demo import DemoArguments


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    pytest.importorskip("sklearn")
    output = tmp_path_factory.mktemp("demo") / "out"
    return output, run_demo(DemoArguments(output=str(output), num_records=240, epochs=1))


def test_the_demo_leaves_a_checkpoint_figures_and_a_picture(finished):
    output, metrics = finished
    assert sorted(path.name for path in output.iterdir()) == ["checkpoint", "ecg.png", "metrics.json"]
    assert json.loads((output / "metrics.json").read_text()) == metrics
    assert {"zero_shot_macro_auroc", "random_encoder_macro_auroc", "seconds"} <= set(metrics)
    assert (output / "ecg.png").read_bytes().startswith(b"\x89PNG")
    assert [entry["label"] for entry in metrics["recording"]["scores"]] != []
    assert {entry["label"] for entry in metrics["recording"]["scores"]} == set(QUESTIONS)
    AutoModel.from_pretrained(output / "checkpoint")
    AutoProcessor.from_pretrained(output / "checkpoint")


def test_the_held_out_finding_is_measured_and_was_not_trained_on(finished):
    output, metrics = finished
    assert metrics["held_out"]["finding"] == HELD_OUT
    assert metrics["held_out"]["num_positives"] > 0
    document = json.loads((output / "checkpoint" / "metrics.json").read_text())
    assert HELD_OUT not in document["test"]["classes"]


def test_an_output_folder_is_not_replaced_unasked(finished):
    output, _ = finished
    with pytest.raises(FileExistsError, match="is there already"):
        run_demo(DemoArguments(output=str(output)))


def test_strangers_in_the_output_folder_are_never_removed(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(FileExistsError, match="is there already"):
        run_demo(DemoArguments(output=str(tmp_path), overwrite=True))
    assert (tmp_path / "thesis.tex").is_file()


def test_the_demo_runs_on_a_part_of_ptb_xl(tmp_path, ptb_xl_source, capsys):
    output = tmp_path / "out"
    metrics = run_demo(DemoArguments(output=str(output), source=str(ptb_xl_source), epochs=1))
    assert "training on folds 1 2 3 4 5 6, choosing on 7, testing on 8" in capsys.readouterr().out
    assert "held_out" not in metrics
    document = json.loads((output / "checkpoint" / "metrics.json").read_text())
    assert document["test"]["task"] == "ptbxl-super"
    assert document["parts"]["ptb-xl"]["test"] == ["8"]
