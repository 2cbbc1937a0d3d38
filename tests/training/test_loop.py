"""The loop beside the same training written by hand, and what it says and keeps."""

import dataclasses
import json
import math
from pathlib import Path

import pytest
import torch


def by_hand(method, rows, arguments):
    """Train as the arguments say, in plain PyTorch and one process; return the weights."""
    model, _ = method.build()
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[arguments.optimizer]
    optimizer = kind(model.parameters(), lr=arguments.learning_rate, weight_decay=arguments.weight_decay)
    per_step = arguments.batch_size * arguments.gradient_accumulation_steps
    steps = arguments.epochs * (len(rows) // per_step)
    averaged = [values.detach().clone() for values in model.parameters()]
    step = 0
    for epoch in range(1, arguments.epochs + 1):
        batches = list(rows.epoch(arguments.batch_size, seed=arguments.seed, epoch=epoch))
        for first in range(
            0, len(batches) - arguments.gradient_accumulation_steps + 1, arguments.gradient_accumulation_steps
        ):
            optimizer.param_groups[0]["lr"] = arguments.learning_rate * schedule(step, steps, arguments)
            for batch in batches[first : first + arguments.gradient_accumulation_steps]:
                loss = sum(method.losses(model, method.collate(batch, None)).values())
                (loss / arguments.gradient_accumulation_steps).backward()
            if arguments.max_grad_norm:
                torch.nn.utils.clip_grad_norm_(model.parameters(), arguments.max_grad_norm)
            optimizer.step()
            optimizer.zero_grad()
            step += 1
            kept = min(arguments.ema_decay or 0, (1 + step) / (10 + step))
            averaged = [kept * a + (1 - kept) * p.detach() for a, p in zip(averaged, model.parameters(), strict=True)]
    return averaged if arguments.ema_decay else list(model.parameters())


def schedule(step, steps, arguments):
    warmup = round(arguments.warmup_fraction * steps)
    if arguments.lr_scheduler == "tri-stage":
        hold = round(arguments.hold_fraction * steps)
        if step < warmup:
            return 0.01 + 0.99 * step / warmup
        return 0.01 ** (max(0, step - warmup - hold) / (steps - warmup - hold))
    if step < warmup:
        return step / warmup
    if arguments.lr_scheduler == "constant":
        return 1
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup)))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"optimizer": "adamw", "weight_decay": 0.1},
        {"weight_decay": 0.1},
        {"lr_scheduler": "constant", "warmup_fraction": 0.3},
        {"lr_scheduler": "tri-stage", "warmup_fraction": 0.2},
        {"gradient_accumulation_steps": 3},
        {"max_grad_norm": 0.05},
        {"ema_decay": 0.8},
        {"seed": 4},
    ],
    ids=str,
)
def test_the_weights_are_those_of_the_same_training_by_hand(changes, arguments, regression, run, prepared):
    arguments = dataclasses.replace(arguments, **changes)
    expected = by_hand(Kept(regression), prepared.select(range(50)), arguments)

    method = Kept(regression)
    run(method, arguments)

    kept = torch.load(Path(arguments.output) / "weights.pt")
    assert not torch.allclose(kept["weight"], method.start, atol=1e-3)
    torch.testing.assert_close(kept["weight"], expected[0], atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(kept["bias"], expected[1], atol=1e-6, rtol=1e-5)


def Kept(regression):
    """A regression without noise, which remembers the weights it started from."""
    method = regression()
    build = method.build

    def remember():
        built = build()
        method.start = built[0].weight.detach().clone()
        return built

    method.build = remember
    method.collate = lambda batch, generator: type(method).collate(method, batch, torch.Generator())
    return method


def test_every_epoch_has_another_order_and_leaves_another_remainder_out(arguments, regression, run):
    method = regression()
    run(method, arguments, batch_size=8)
    epochs = [sum(method.seen[i : i + 6], []) for i in (0, 6, 12)]
    assert [len(set(epoch)) for epoch in epochs] == [48, 48, 48]
    assert len({tuple(epoch) for epoch in epochs}) == 3
    assert len({frozenset(epoch) for epoch in epochs}) > 1


def test_what_is_drawn_at_a_step_changes_with_the_step_and_the_seed_alone(arguments, regression, run, tmp_path):
    weights, draws = [], []
    for i, seed in enumerate((0, 0, 1)):
        method, drawn = regression(noise=1.0), []
        collate = method.collate

        def keep(batch, generator, collate=collate, drawn=drawn):
            drawn.append(torch.randn(2, generator=generator.clone_state()).tolist())
            return collate(batch, generator)

        method.collate = keep
        run(method, arguments, output=str(tmp_path / str(i)), seed=seed)
        assert len({tuple(own) for own in drawn}) == len(drawn) == 18
        weights.append(torch.load(tmp_path / str(i) / "weights.pt")["weight"])
        draws.append(drawn)
    assert draws[0] == draws[1]
    assert all(one != other for one, other in zip(draws[0], draws[2], strict=True))
    assert torch.equal(weights[0], weights[1])


def test_dropout_is_drawn_anew_each_step_and_alike_in_each_run(arguments, regression, run, tmp_path):
    def of_a_run(name, numbers):
        """The first random number of each step, of which some more are drawn."""
        method, drawn = regression(), []
        losses = method.losses
        method.losses = lambda model, batch: (drawn.append(torch.rand(numbers)[0].item()), losses(model, batch))[1]
        run(method, arguments, output=str(tmp_path / name))
        return drawn

    first = of_a_run("a", 1)
    assert of_a_run("b", 3) == first
    assert len(set(first)) == len(first)


def test_fewer_records_than_a_step_are_refused(arguments, regression, run, prepared):
    with pytest.raises(ValueError, match="15 training records do not fill one step of 16"):
        run(regression(), arguments, rows=prepared.select(range(15)), gradient_accumulation_steps=2)


def test_the_log_has_every_term_the_rate_and_the_gradient(arguments, regression, run):
    run(regression(), arguments, epochs=1, logging_steps=2)
    lines = [json.loads(line) for line in (Path(arguments.output).with_name("model.training") / "log.jsonl").open()]
    assert [line["step"] for line in lines] == [2, 4, 6, 6]
    for line in lines[:3]:
        assert line["loss"] == pytest.approx(line["error"] + line["size"])
        assert line["learning_rate"] < 0.01 and line["gradient_norm"] > 0 and line["records_per_second"] > 0
    assert lines[3]["train_loss"] == pytest.approx(sum(line["loss"] for line in lines[:3]) / 3)


def test_a_tracker_gets_the_log_or_says_that_it_is_missing(arguments, regression, run, monkeypatch):
    from accelerate import tracking

    class Memory(tracking.GeneralTracker):
        name, requires_logging_directory, tracker, logged = "memory", False, None, []

        def __init__(self, run_name, **_):
            super().__init__()

        def store_init_configuration(self, values):
            self.logged.append(values)

        def log(self, values, step=None, **_):
            self.logged.append({"step": step, **values})

    monkeypatch.setattr("mets_ecg.training.processes.get_available_trackers", lambda: ["tensorboard"])
    monkeypatch.setitem(tracking.LOGGER_TYPE_TO_CLASS, "tensorboard", Memory)
    monkeypatch.setattr("accelerate.accelerator.filter_trackers", lambda *_: ["tensorboard"])
    run(regression(), arguments, epochs=1, log_with=["tensorboard"])
    assert Memory.logged[0]["learning_rate"] == 0.01
    assert [line["step"] for line in Memory.logged[1:]] == [1, 2, 3, 4, 5, 6, 6]

    with pytest.raises(ImportError, match="--log-with wandb: it is not installed"):
        run(regression(), arguments, log_with=["wandb"], overwrite=True)


@pytest.mark.parametrize(("best", "kept"), [("error_loss", 2), ("accuracy", 3)])
def test_the_epoch_that_validates_best_is_kept(best, kept, arguments, regression, run):
    method = regression(validation=[0.5, 0.4, 0.6])
    method.best = best
    state = run(method, arguments)
    assert state.best_epoch == kept
    metrics = json.loads((Path(arguments.output) / "metrics.json").read_text())
    assert metrics["best_epoch"] == kept == len(metrics["epochs"])


def test_without_validation_the_last_epoch_is_kept(arguments, regression, run):
    assert run(regression(), arguments).best_epoch == 3


def test_training_stops_when_epochs_get_no_better(arguments, regression, run):
    method = regression(validation=[0.5, 0.4, 0.45, 0.41, 0.3, 0.2])
    state = run(method, arguments, epochs=6, early_stopping_patience=2)
    assert (len(state.epochs), state.best_epoch) == (4, 2)


def test_max_steps_ends_within_an_epoch_and_the_schedule_with_it(arguments, regression, run):
    state = run(regression(), arguments, max_steps=8)
    assert (state.step, len(state.epochs)) == (8, 2)
    lines = [json.loads(line) for line in (Path(arguments.output).with_name("model.training") / "log.jsonl").open()]
    assert lines[-2]["learning_rate"] == pytest.approx(0, abs=1e-12)


@pytest.fixture
def poisoned(regression):
    """A regression one of whose steps has a record that is not finite."""

    def make(step):
        method = regression()
        collate = method.collate

        def poison(batch, generator):
            batch = collate(batch, generator)
            if len(method.seen) == step:
                batch["input_values"][3] = math.nan
            return batch

        method.collate = poison
        return method

    return make


def test_a_record_that_is_not_finite_stops_the_run_and_is_named(poisoned, arguments, run, prepared):
    method = poisoned(4)
    with pytest.raises(
        ValueError, match=r"the gradient of step 4 is not finite; the input of (\S+) is not finite"
    ) as error:
        run(method, arguments)
    assert prepared["record_id"][method.seen[3][3]] in str(error.value)
    assert all(values.isfinite().all() for values in method.model.parameters())


def test_a_step_that_is_not_finite_can_be_skipped(poisoned, arguments, regression, run, capsys):
    method = poisoned(4)
    state = run(method, arguments, nonfinite="skip")
    assert [epoch["skipped_steps"] for epoch in state.epochs] == [1, 0, 0]
    assert all(math.isfinite(epoch["train_loss"]) for epoch in state.epochs)
    assert all(values.isfinite().all() for values in method.model.parameters())
    assert "skipped: the gradient of step 4 is not finite" in capsys.readouterr().out


def test_a_gradient_that_explodes_names_the_learning_rate(arguments, regression, run):
    method = regression()
    losses = method.losses
    method.losses = lambda model, batch: {"error": losses(model, batch)["error"] * 1e38 * 1e38}
    with pytest.raises(ValueError, match=r"all recordings are finite: lower --learning-rate \(now 0.01\)"):
        run(method, arguments)
