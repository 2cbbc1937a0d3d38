import json

import numpy as np
import pytest

from mets_ecg import ECGFeatureExtractor, ECGForSequenceClassification
from mets_ecg.evaluation.evaluate import run_evaluate
from mets_ecg_cli.evaluate import EvaluateArguments


def test_a_checkpoint_is_measured_on_real_recordings(tiny_checkpoint, ptb_xl_source, tmp_path, capsys):
    run_evaluate(
        EvaluateArguments(
            model=str(tiny_checkpoint),
            source=str(ptb_xl_source),
            test=["8"],
            train=["1-7"],
            num_resamples=20,
            output=str(tmp_path / "report"),
        )
    )
    assert "ptbxl-super: 11 records of 10 patients" in capsys.readouterr().out
    document = json.loads((tmp_path / "report" / "report.json").read_text())
    assert document["parts"] == {"ptb-xl": {"train": ["1-7"], "test": ["8"]}}
    assert document["classes"] == ["NORM", "CD", "MI", "HYP", "STTC"]


def test_a_classifier_is_measured_by_the_same_command(tiny_checkpoint, ptb_xl_source, tmp_path, capsys):
    classes = {0: "NORM", 1: "CD", 2: "MI", 3: "HYP", 4: "STTC"}
    ECGForSequenceClassification.from_pretrained(tiny_checkpoint, id2label=classes).save_pretrained(tmp_path / "c")
    ECGFeatureExtractor.from_pretrained(tiny_checkpoint).save_pretrained(tmp_path / "c")
    where = {"model": str(tmp_path / "c"), "source": str(ptb_xl_source), "test": ["8"]}
    run_evaluate(EvaluateArguments(**where, num_resamples=20, output=str(tmp_path / "report")))
    assert "ptbxl-super: 11 records of 10 patients" in capsys.readouterr().out
    assert list(json.loads((tmp_path / "report" / "report.json").read_text())["lines"]) == ["classifier"]
    with pytest.raises(ValueError, match="it cannot be measured on it"):
        run_evaluate(EvaluateArguments(**where, task="ptbxl-rhythm"))


def test_leads_that_are_not_asked_for_do_not_count(tiny_checkpoint, ptb_xl_source, tmp_path):
    tables = []
    for i, leads in enumerate((None, ["I", "II", "V1", "V2", "V3", "V4", "V5", "V6"], ["II"])):
        where = {"model": str(tiny_checkpoint), "source": str(ptb_xl_source), "test": ["8"], "train": ["none"]}
        run_evaluate(EvaluateArguments(**where, num_resamples=5, leads=leads, output=str(tmp_path / str(i))))
        document = json.loads((tmp_path / str(i) / "report.json").read_text())
        assert document["leads"] == leads
        tables.append(document["lines"]["phrases"]["auroc"]["per_class"])
    assert tables[0] == tables[1]  # the other limb leads follow from I and II
    assert tables[0] != tables[2]


def test_recordings_longer_than_the_model_s_window_are_read_whole_in_windows(tiny_checkpoint, ptb_xl_source):
    """The model reads 7 s: by default of the middle."""
    where = {"model": str(tiny_checkpoint), "source": str(ptb_xl_source), "test": ["8"], "train": ["none"]}
    tables = [run_evaluate(EvaluateArguments(**where, num_resamples=5, windows=own)) for own in (False, True)]
    middle, whole = (table.lines["phrases"].scores for table in tables)
    assert middle.shape == whole.shape and not np.allclose(middle, whole, atol=1e-3)
    assert np.corrcoef(middle.ravel(), whole.ravel())[0, 1] > 0.9


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"test": ["8"], "train": ["1-8"]}, "patients have rows both for train and for test"),
        ({"test": ["none"], "train": ["none"]}, "there is nothing to measure on: name a part by --test"),
        ({"task": "ptbxl-axis"}, "--task ptbxl-axis: there are .*ptbxl-super"),
        ({"task": "cpsc2018", "test": ["8"], "train": ["none"]}, "task cpsc2018 needs the column labels_cpsc2018"),
        (
            {"test": ["8"], "train": ["none"], "validation": ["none"], "thresholds": True},
            "--thresholds are chosen on a validation part, and there is none",
        ),
        ({"test": ["8"], "balanced_draws": -1}, "--balanced-draws must be at least 0, got -1"),
        ({"test": ["8"], "num_resamples": 0}, "--num-resamples must be at least 1, got 0"),
    ],
)
def test_what_would_mislead_is_refused(tiny_checkpoint, ptb_xl_source, changes, message):
    with pytest.raises(ValueError, match=message):
        run_evaluate(EvaluateArguments(model=str(tiny_checkpoint), source=str(ptb_xl_source), **changes))


def test_an_output_that_is_there_is_refused_before_the_work(tiny_checkpoint, tmp_path):
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "mine.txt").touch()
    with pytest.raises(FileExistsError, match="is there already: name another --output"):
        run_evaluate(EvaluateArguments(model=str(tiny_checkpoint), source="nowhere", output=str(tmp_path / "report")))


@pytest.mark.parametrize(("corpus", "warned"), [("ptb-xl", True), ("ludb", False)])
def test_a_part_that_was_trained_on_is_warned_of_or_refused(tiny_checkpoint, ptb_xl_source, caplog, corpus, warned):
    parts = {corpus: {"train": ["1-8"], "validation": ["9"]}}
    (tiny_checkpoint / "metrics.json").write_text(json.dumps({"parts": parts}))
    where = {"model": str(tiny_checkpoint), "source": str(ptb_xl_source), "test": ["8"], "train": ["none"]}
    run_evaluate(EvaluateArguments(**where, num_resamples=5))
    assert ("this checkpoint was trained or chosen on fold 8 of ptb-xl" in caplog.text) == warned
    if warned:
        with pytest.raises(ValueError, match="fold 8 of ptb-xl: measure on another part"):
            run_evaluate(EvaluateArguments(**where, refuse_seen=True))


def test_f_max_and_draws_come_with_their_flags(tiny_checkpoint, ptb_xl_source, capsys):
    where = {"model": str(tiny_checkpoint), "source": str(ptb_xl_source), "train": ["none"], "num_resamples": 5}
    flags = {"thresholds": True, "balanced_draws": 3, "draw_size": 1, "transductive": True}
    run_evaluate(EvaluateArguments(**where, validation=["1-7"], test=["8"], **flags))
    printed = capsys.readouterr().out
    for words in (
        "F-max",
        "chosen with the labels of",
        "mean of 3 draws of 1 records a class",
        "phrases, transductive",
    ):
        assert words in printed
