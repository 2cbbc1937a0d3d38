"""Folders of a run: what may be replaced, and states that are whole, the run's own, and limited in number."""

import dataclasses
import json
import resource
import shutil
from pathlib import Path

import pytest
import torch

from mets_ecg.training.processes import make_accelerator
from mets_ecg.training.run_folder import RunFolder


@pytest.fixture
def output(arguments):
    return Path(arguments.output)


@pytest.fixture
def working(output):
    return output.with_name("model.training")


def prepare(arguments, **changes):
    arguments = dataclasses.replace(arguments, **changes)
    with RunFolder(arguments, "regression").opened(make_accelerator(arguments)):
        pass


class Stop(Exception):
    pass


@pytest.fixture
def cut_off(run, arguments, regression):
    """Train with an interruption before a step; return the steps that were done."""

    def cut_off(before, method=None, **changes):
        method = method or regression()
        losses, steps = method.losses, []

        def stop(model, batch):
            if len(steps) == before:
                raise Stop
            steps.append(batch["index"].tolist())
            return losses(model, batch)

        method.losses = stop
        with pytest.raises(Stop):
            run(method, arguments, **changes)
        return steps

    return cut_off


def test_an_output_that_is_there_is_not_replaced_unasked(arguments, output):
    output.mkdir()
    (output / "training_args.yaml").write_text("{}")
    with pytest.raises(FileExistsError, match="--overwrite"):
        prepare(arguments)
    prepare(arguments, overwrite=True)


def test_a_folder_that_holds_something_else_is_never_replaced(arguments, output, working):
    for folder, message in ((output, "holds no checkpoint"), (working, "holds other files")):
        folder.mkdir()
        (folder / "thesis.tex").write_text("years of work")
        with pytest.raises(FileExistsError, match=message):
            prepare(arguments, overwrite=True)
        assert (folder / "thesis.tex").is_file()
        shutil.rmtree(folder)


def test_a_run_that_does_nothing_leaves_nothing(arguments, output):
    prepare(arguments)
    assert list(output.parent.iterdir()) == []


def test_a_checkpoint_that_a_cut_off_run_had_put_aside_comes_back(arguments, output):
    aside = output.with_name(".model.replaced")
    aside.mkdir()
    (aside / "training_args.yaml").write_text("{}")
    prepare(arguments, overwrite=True)
    assert (output / "training_args.yaml").is_file()


def test_two_runs_do_not_write_into_one_folder(arguments):
    first = RunFolder(arguments, "regression").opened(make_accelerator(arguments))
    with first, pytest.raises(RuntimeError, match="another process trains into this folder"):
        prepare(arguments)


def test_a_folder_that_may_not_be_written_is_said_at_once(arguments, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        prepare(arguments, output=str(tmp_path / "file" / "model"))


@pytest.mark.parametrize(
    "changes", [{}, {"gradient_accumulation_steps": 2}, {"ema_decay": 0.7, "lr_scheduler": "tri-stage"}]
)
@pytest.mark.parametrize("before", [2, 5, 7, 13])
def test_a_run_that_was_cut_off_goes_on_as_if_it_had_not_been(
    before, changes, arguments, run, cut_off, regression, output, tmp_path
):
    changes = {**changes, "epochs": 4, "save_steps": 2, "batch_size": 4}
    whole = regression(noise=0.1, validation=[0.4, 0.3, 0.2, 0.5])
    run(whole, arguments, output=str(tmp_path / "whole"), **changes)

    batches = before * changes.get("gradient_accumulation_steps", 1)
    cut_off(batches, regression(noise=0.1, validation=[0.4, 0.3]), **changes)
    finished = batches // 12  # epochs
    state = run(regression(noise=0.1, validation=[0.4, 0.3, 0.2, 0.5][finished:]), arguments, **changes)

    expected, found = (torch.load(folder / "weights.pt") for folder in (tmp_path / "whole", output))
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    logs = [(tmp_path / f"{name}.training" / "log.jsonl").read_text() for name in ("whole", "model")]
    timed = {"records_per_second", "seconds"}
    lines = [
        [{k: v for k, v in json.loads(line).items() if k not in timed} for line in log.splitlines()] for log in logs
    ]
    assert lines[0] == lines[1]
    assert state.best_epoch == 3


def test_states_are_limited_in_number(arguments, cut_off, working):
    cut_off(15, save_steps=2, save_total_limit=3)
    assert sorted(path.name for path in working.glob("step-*")) == ["step-00000010", "step-00000012", "step-00000014"]


def test_the_log_and_what_trackers_wrote_end_beside_the_model(arguments, run, regression, output, working):
    run(regression(), arguments, epochs=1)
    (working / "mets-ecg").mkdir()
    (working / "mets-ecg" / "events.out").write_text("of a tracker")
    RunFolder(arguments, "regression").finish({"best_epoch": 1})
    assert (output / "log.jsonl").is_file() and (output / "mets-ecg" / "events.out").is_file()
    assert not working.exists() and not list(output.glob("step-*"))
    assert json.loads((output / "metrics.json").read_text()) == {"best_epoch": 1}


def test_frozen_weights_are_not_in_a_state(arguments, cut_off, regression, working):
    method = regression()
    build = method.build

    def freeze():
        model, processor = build()
        model.bias.requires_grad_(False)
        return model, processor

    method.build = freeze
    cut_off(3, method, save_steps=1)
    from safetensors.torch import load_file

    assert set(load_file(working / "step-00000003" / "model.safetensors")) == {"weight"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"learning_rate": 0.02}, "was started with learning_rate=0.01, this one has 0.02"),
        ({"batch_size": 4}, "was started with batch_size=8"),
    ],
)
def test_a_run_with_other_arguments_is_not_gone_on_with(changes, message, arguments, run, cut_off, regression, working):
    cut_off(5, save_steps=2)
    with pytest.raises(ValueError, match=message):
        run(regression(), arguments, save_steps=2, **changes)
    assert (working / "step-00000004").is_dir()
    run(regression(), arguments, **changes, overwrite=True)


def test_how_often_a_run_is_saved_and_where_its_corpus_lies_may_change(arguments, run, cut_off, regression, capsys):
    cut_off(5, save_steps=2, data=["here"])
    run(regression(), arguments, save_steps=3, logging_steps=7, data=["there"], num_proc=1)
    assert "resuming after step 4 of 18" in capsys.readouterr().out


def test_other_records_are_not_gone_on_with(arguments, run, cut_off, regression, prepared):
    cut_off(5, save_steps=2)
    with pytest.raises(ValueError, match="was started on other training records"):
        run(regression(), arguments, rows=prepared.select(range(1, 51)), save_steps=2)


def test_a_state_of_another_method_is_refused(arguments, run, cut_off, regression):
    cut_off(5, save_steps=2)
    other = regression()
    other.name = "classification"
    with pytest.raises(ValueError, match="trains by regression, not by classification"):
        run(other, arguments, save_steps=2)


def test_a_state_of_another_architecture_is_refused(arguments, run, cut_off, regression):
    cut_off(5, save_steps=2)
    other = regression()
    build = other.build

    def without_bias():
        model, processor = build()
        model.bias = None
        return model, processor

    other.build = without_bias
    with pytest.raises(ValueError, match="is of a model of another architecture: they differ in bias"):
        run(other, arguments, save_steps=2)


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(path.read_bytes()[:-1])])
@pytest.mark.parametrize(
    "name", ["model.safetensors", "optimizer.bin", "random_states_0.pkl", "custom_checkpoint_1.pkl"]
)
def test_a_state_that_lacks_a_file_or_a_part_of_one_is_refused(
    name, damage, arguments, run, cut_off, regression, working
):
    cut_off(5, save_steps=2)
    damage(working / "step-00000004" / name)
    with pytest.raises(FileNotFoundError, match=f"{name}.* is missing or truncated"):
        run(regression(), arguments, save_steps=2)
    shutil.rmtree(working / "step-00000004")  # as the message says
    assert run(regression(), arguments, save_steps=2).step == 18


def test_a_state_of_another_number_of_processes_is_refused(arguments, run, cut_off, regression, working):
    cut_off(5, save_steps=2)
    path = working / "step-00000004" / "state.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"num_processes": 2}))
    with pytest.raises(ValueError, match="was started with 2 processes, this launch has 1"):
        run(regression(), arguments, save_steps=2)


@pytest.mark.parametrize(
    ("logging_steps", "limit", "what"), [(1, 1000, "log.jsonl"), (100, 2200, "the state of the run")]
)
def test_a_full_disk_keeps_the_last_state(
    logging_steps, limit, what, arguments, run, cut_off, regression, working, output
):
    cut_off(5, save_steps=2, save_total_limit=1)
    before = {path.name: path.stat().st_size for path in (working / "step-00000004").iterdir()}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))  # stands for no space: a write beyond it fails
    try:
        with pytest.raises(OSError, match=f"^{what} cannot be written.*; the state of step 4 is kept. Free space"):
            run(regression(), arguments, save_steps=2, logging_steps=logging_steps, save_total_limit=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [path.name for path in working.glob("*step-*")] == ["step-00000004"]
    assert {path.name: path.stat().st_size for path in (working / "step-00000004").iterdir()} == before
    assert run(regression(), arguments, save_steps=2).step == 18


def test_an_older_model_stays_until_the_new_one_is_whole(arguments, run, regression, output):
    method = regression()
    run(method, arguments, epochs=1)
    shutil.rmtree(output.with_name("model.training"))
    before = torch.load(output / "weights.pt")
    (output / "training_args.yaml").write_text("{}")

    other = regression()
    build = other.build

    def fails():
        model, processor = build()
        processor.save_pretrained = lambda folder: (_ for _ in ()).throw(OSError("no space left on device"))
        return model, processor

    other.build = fails
    with pytest.raises(
        OSError, match="the model cannot be written .*no space left on device.*; no state was saved yet"
    ):
        run(other, arguments, seed=3, overwrite=True)
    assert all(
        torch.equal(a, b) for a, b in zip(before.values(), torch.load(output / "weights.pt").values(), strict=True)
    )
