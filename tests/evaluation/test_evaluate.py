import json

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
            output=str(tmp_path / "table.json"),
        )
    )
    assert "ptbxl-super: 11 records of 10 patients" in capsys.readouterr().out
    document = json.loads((tmp_path / "table.json").read_text())
    assert document["parts"] == {"ptb-xl": {"train": ["1-7"], "test": ["8"]}}
    assert document["classes"] == ["NORM", "CD", "MI", "HYP", "STTC"]


def test_a_classifier_is_measured_by_the_same_command(tiny_checkpoint, ptb_xl_source, tmp_path, capsys):
    classes = {0: "NORM", 1: "CD", 2: "MI", 3: "HYP", 4: "STTC"}
    ECGForSequenceClassification.from_pretrained(tiny_checkpoint, id2label=classes).save_pretrained(tmp_path / "c")
    ECGFeatureExtractor.from_pretrained(tiny_checkpoint).save_pretrained(tmp_path / "c")
    where = {"model": str(tmp_path / "c"), "source": str(ptb_xl_source), "test": ["8"]}
    run_evaluate(EvaluateArguments(**where, num_resamples=20, output=str(tmp_path / "table.json")))
    assert "ptbxl-super: 11 records of 10 patients" in capsys.readouterr().out
    assert list(json.loads((tmp_path / "table.json").read_text())["lines"]) == ["classifier"]
    with pytest.raises(ValueError, match="it cannot be measured on it"):
        run_evaluate(EvaluateArguments(**where, task="ptbxl-rhythm"))


def test_leads_that_are_not_asked_for_do_not_count(tiny_checkpoint, ptb_xl_source, tmp_path):
    tables = []
    for leads in (None, ["I", "II", "V1", "V2", "V3", "V4", "V5", "V6"], ["II"]):
        where = {"model": str(tiny_checkpoint), "source": str(ptb_xl_source), "test": ["8"], "train": ["none"]}
        run_evaluate(EvaluateArguments(**where, num_resamples=5, leads=leads, output=str(tmp_path / "table.json")))
        document = json.loads((tmp_path / "table.json").read_text())
        assert document["leads"] == leads
        tables.append(document["lines"]["phrases"]["auroc"]["per_class"])
    assert tables[0] == tables[1]  # the other limb leads follow from I and II
    assert tables[0] != tables[2]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"test": ["8"], "train": ["1-8"]}, "patients have rows both for train and for test"),
        ({"test": ["none"], "train": ["none"]}, "there is nothing to measure on: name a part by --test"),
        ({"task": "ptbxl-axis"}, "--task ptbxl-axis: there are .*ptbxl-super"),
    ],
)
def test_what_would_mislead_is_refused(tiny_checkpoint, ptb_xl_source, changes, message):
    with pytest.raises(ValueError, match=message):
        run_evaluate(EvaluateArguments(model=str(tiny_checkpoint), source=str(ptb_xl_source), **changes))


@pytest.mark.parametrize(("corpus", "warned"), [("ptb-xl", True), ("ludb", False)])
def test_a_part_that_was_trained_on_is_warned_of_by_its_corpus(tiny_checkpoint, ptb_xl_source, capsys, corpus, warned):
    parts = {corpus: {"train": ["1-8"], "validation": ["9"]}}
    (tiny_checkpoint / "metrics.json").write_text(json.dumps({"parts": parts}))
    where = {"model": str(tiny_checkpoint), "source": str(ptb_xl_source)}
    run_evaluate(EvaluateArguments(**where, test=["8"], train=["none"], num_resamples=5))
    said = "this checkpoint was trained or chosen on fold 8 of ptb-xl" in capsys.readouterr().err
    assert said == warned
