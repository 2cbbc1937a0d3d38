import json

import pytest

from mets_ecg.evaluation.evaluate import run_evaluate
from mets_ecg_cli.evaluate import EvaluateArguments


def test_a_checkpoint_is_measured_on_real_recordings(tiny_checkpoint, ptb_xl_source, tmp_path, capsys):
    run_evaluate(
        EvaluateArguments(
            model=str(tiny_checkpoint),
            source=str(ptb_xl_source),
            test_folds=["8"],
            probe_folds=["1-7"],
            num_resamples=20,
            output=str(tmp_path / "table.json"),
        )
    )
    assert "ptbxl-super: 11 records of 10 patients" in capsys.readouterr().out
    document = json.loads((tmp_path / "table.json").read_text())
    assert document["test_folds"] == [8]
    assert document["classes"] == ["NORM", "CD", "MI", "HYP", "STTC"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"test_folds": ["8"], "probe_folds": ["1-8"]}, r"folds \[8\] are both for testing and for the probe"),
        ({"test_folds": ["none"]}, "names no fold to measure on"),
        ({"task": "ptbxl-all"}, "unknown task"),
    ],
)
def test_what_would_mislead_is_refused(tiny_checkpoint, ptb_xl_source, changes, message):
    with pytest.raises(ValueError, match=message):
        run_evaluate(EvaluateArguments(model=str(tiny_checkpoint), source=str(ptb_xl_source), **changes))


def test_a_fold_that_was_trained_on_is_warned_of(tiny_checkpoint, ptb_xl_source, capsys):
    (tiny_checkpoint / "training_args.yaml").write_text("train_folds: [1-8]\n")
    run_evaluate(
        EvaluateArguments(
            model=str(tiny_checkpoint),
            source=str(ptb_xl_source),
            test_folds=["8"],
            probe_folds=["none"],
            num_resamples=5,
        )
    )
    assert "folds [8] are among those that this checkpoint was trained on" in capsys.readouterr().err
