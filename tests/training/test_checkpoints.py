import dataclasses
import json

import pytest
import torch

from mets_ecg import ECGTextModel
from mets_ecg.training import checkpoints
from mets_ecg.training.checkpoints import prepare_output, save_checkpoint


def test_a_checkpoint_loads_and_says_how_it_was_made(tmp_path, tiny_model, tiny_processor, pretrain_arguments):
    folder = tmp_path / "model"

    save_checkpoint(folder, tiny_model, tiny_processor, metrics={"best_epoch": 3}, arguments=pretrain_arguments)

    loaded = ECGTextModel.from_pretrained(folder)
    assert all(
        torch.equal(a, b) for a, b in zip(tiny_model.state_dict().values(), loaded.state_dict().values(), strict=True)
    )
    assert json.loads((folder / "metrics.json").read_text())["best_epoch"] == 3
    assert "learning_rate: 0.003" in (folder / "training_args.yaml").read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model"]


def test_a_failed_save_leaves_the_older_checkpoint_whole(
    tmp_path, tiny_model, tiny_processor, pretrain_arguments, monkeypatch
):
    folder = tmp_path / "model"
    save_checkpoint(folder, tiny_model, tiny_processor, metrics={"best_epoch": 1}, arguments=pretrain_arguments)

    def disk_is_full(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(checkpoints, "save_arguments", disk_is_full)
    with pytest.raises(OSError, match="no space"):
        save_checkpoint(folder, tiny_model, tiny_processor, metrics={"best_epoch": 2}, arguments=pretrain_arguments)

    ECGTextModel.from_pretrained(folder)
    assert json.loads((folder / "metrics.json").read_text())["best_epoch"] == 1


def test_an_output_that_is_there_is_not_replaced_unasked(tmp_path):
    (tmp_path / "training_args.yaml").write_text("{}")
    with pytest.raises(FileExistsError, match="--overwrite"):
        prepare_output(tmp_path, overwrite=False)
    prepare_output(tmp_path, overwrite=True)


def test_a_folder_that_holds_something_else_is_never_replaced(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(FileExistsError, match="holds no checkpoint"):
        prepare_output(tmp_path, overwrite=True)
    assert (tmp_path / "thesis.tex").is_file()


def test_a_checkpoint_that_a_cut_off_run_had_put_aside_comes_back(tmp_path):
    aside = tmp_path / ".model.replaced"
    aside.mkdir()
    (aside / "training_args.yaml").write_text("{}")
    prepare_output(tmp_path / "model", overwrite=True)
    assert (tmp_path / "model" / "training_args.yaml").is_file()


def test_no_folder_of_this_machine_is_saved(tmp_path, tiny_model, tiny_processor, pretrain_arguments):
    arguments = dataclasses.replace(pretrain_arguments, source=str(tmp_path / "ptb-xl"))
    save_checkpoint(tmp_path / "model", tiny_model, tiny_processor, metrics={}, arguments=arguments)
    saved = (tmp_path / "model" / "training_args.yaml").read_text()
    assert "source: ptb-xl" in saved
    assert str(tmp_path) not in saved
    assert arguments.text_model not in saved
