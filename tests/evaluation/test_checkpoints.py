import dataclasses
import json

import pytest
import torch
from datasets import Dataset

from mets_ecg import ECGForSequenceClassification
from mets_ecg.data.loading import LoadedParts
from mets_ecg.evaluation.checkpoints import Checkpoint
from mets_ecg.evaluation.tasks import get_task
from mets_ecg_cli.evaluate import EvaluateArguments


def loaded(corpus, split, words):
    rows = Dataset.from_dict({"corpus": [corpus] * 3, "split": [split] * 3})
    return LoadedParts(test=rows, words={corpus: {"test": words}})


@pytest.mark.parametrize(
    ("trained", "tested", "said"),
    [
        ({"ptb-xl": {"train": ["1-7"], "validation": ["8"]}}, ("ptb-xl", "full", ["8"]), "fold 8 of ptb-xl"),
        ({"ptb-xl": {"train": ["1-7"], "validation": ["8"]}}, ("ptb-xl", "full", ["9"]), None),
        ({"mine": {"train": ["all"], "validation": ["none"]}}, ("mine", "full", ["9"]), "fold 9 of mine"),
        ({"mine": {"train": ["1-8"], "validation": ["none"]}}, ("mine", "full", ["all"]), "fold 1, .*fold 8 of mine"),
        ({"ptb-xl": {"train": ["1-8"]}}, ("cinc", "ptb_xl", ["all"]), "ptb_xl, whose records are also in ptb-xl"),
        ({"ptb-xl": {"train": ["1-8"]}}, ("cinc", "georgia", ["all"]), None),
        ({"cinc": {"train": ["ningbo"]}}, ("csn", "full", ["all"]), "also in the split ningbo of cinc of csn"),
        ({}, ("ptb-xl", "full", ["8"]), None),
    ],
)
def test_what_was_seen_is_told_by_parts_and_across_corpora(tiny_checkpoint, trained, tested, said):
    (tiny_checkpoint / "metrics.json").write_text(json.dumps({"parts": trained}))
    checkpoint = Checkpoint.open(str(tiny_checkpoint))
    parts = loaded(*tested)
    if said is None:
        assert checkpoint.check_seen(parts, refuse=True) == {}
    else:
        assert list(checkpoint.check_seen(parts, refuse=False)) == [tested[0]]
        with pytest.raises(ValueError, match=said):
            checkpoint.check_seen(parts, refuse=True)


def test_a_model_of_another_kind_is_refused(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(ValueError, match="is a model of type 'bert': expected ecg_text or ecg_classification"):
        Checkpoint.open(str(tmp_path))


def test_a_classifier_has_no_words(tiny_checkpoint, tmp_path):
    model = ECGForSequenceClassification.from_pretrained(tiny_checkpoint, num_labels=2)
    model.save_pretrained(tmp_path / "c")
    Checkpoint.open(str(tiny_checkpoint)).feature_extractor.save_pretrained(tmp_path / "c")
    with pytest.raises(ValueError, match="is a classifier: retrieve needs a dual encoder"):
        Checkpoint.open(str(tmp_path / "c")).load_dual_encoder("retrieve")


def test_a_task_of_a_few_seconds_reads_the_middle_of_a_recording(tiny_checkpoint, ptb_xl_source):
    where = EvaluateArguments(model=str(tiny_checkpoint), source=str(ptb_xl_source), test=["8"], train=["none"])
    values = {}
    for seconds in (None, 3, 100):
        task = dataclasses.replace(get_task("ptbxl-super"), seconds=seconds)
        rows = Checkpoint.open(str(tiny_checkpoint)).load_rows(where, ["test"], task).test
        values[seconds] = next(rows.in_order(4))["input_values"]
    middle = values[None].shape[2] // 2
    assert values[3].shape[2] == 300
    assert torch.equal(values[3], values[None][:, :, middle - 150 : middle + 150])
    assert torch.equal(values[100], values[None])  # the model's own window is shorter
