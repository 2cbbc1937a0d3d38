"""The training loop, on Accelerate: it steps, logs, validates and saves; what is trained is the method's.

The order of records is a function of (seed, epoch), and what is drawn at a step of (seed, step, process), so no random
state is needed to resume a run exactly.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import math
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object

from mets_ecg_cli.training import TrainingArguments

from ..data.prepared_rows import PreparedRows
from .ema import EMA
from .method import Method
from .processes import num_processes, process_index, share_buffers
from .run_folder import RunFolder, save_trained_weights_only
from .run_log import RunLog
from .schedules import make_schedule

_OPTIMIZERS = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}


@dataclass
class TrainState:
    """The position of a run and its figures so far; saved with it.

    Attributes:
        step: finished steps of the whole job.
        epoch: of the next step, from 1.
        step_of_epoch: finished steps of this epoch.
        sums: sum of each term of the loss over this epoch's steps.
        skipped: steps of this epoch whose gradient was not finite.
        epochs: figures of the finished epochs.
        best_epoch: the epoch whose model is kept.
        epoch_seconds: duration of this epoch's steps.
    """

    step: int = 0
    epoch: int = 1
    step_of_epoch: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    skipped: int = 0
    epochs: list[dict] = field(default_factory=list)
    best_epoch: int | None = None
    epoch_seconds: float = 0.0

    state_dict = dataclasses.asdict

    def load_state_dict(self, state: dict) -> None:
        """Resume from a saved state."""
        vars(self).update(state)


def train(
    method: Method,
    rows: PreparedRows,
    arguments: TrainingArguments,
    accelerator: Accelerator,
    run: RunFolder,
    facts: dict,
) -> TrainState:
    """Train a method's model on prepared rows; a run that was stopped is resumed.

    Args:
        method: after `build` and `setup`.
        rows: the training records, as `setup` returned them.
        arguments: of the run.
        accelerator: from `make_accelerator`.
        run: where the best model, the states and the log are written.
        facts: what `metrics.json` says beside the figures of the epochs.

    Raises:
        ValueError: the records do not fill a step, a gradient is not finite, or the saved state is of another run.
        OSError: something cannot be written; the last state is kept.
    """
    return _Loop(method, rows, arguments, accelerator, run, facts).run()


class _Loop:
    def __init__(self, method, rows, arguments, accelerator, run, facts):
        self.method, self.rows, self.arguments = method, rows, arguments
        self.accelerator, self.run_folder, self.facts = accelerator, run, facts
        self.accumulation = arguments.gradient_accumulation_steps
        self.records_per_step = arguments.batch_size * self.accumulation * accelerator.num_processes
        self.steps_per_epoch = len(rows) // self.records_per_step
        if self.steps_per_epoch == 0:
            raise ValueError(f"{len(rows)} training records do not fill one step of {self.records_per_step}")
        self.total_steps = min(arguments.epochs * self.steps_per_epoch, arguments.max_steps or math.inf)
        self.rows_digest = hashlib.sha256("\n".join(rows["record_id"]).encode()).hexdigest()

        model = method.model
        if accelerator.num_processes > 1 and accelerator.device.type == "cuda":
            model = torch.nn.SyncBatchNorm.convert_sync_batchnorm(model)
        groups = method.parameter_groups(arguments.learning_rate)
        self.trained = [parameter for group in groups for parameter in group["params"]]
        self.buffers = [buffer for buffer in model.buffers() if buffer.is_floating_point()]
        optimizer = _OPTIMIZERS[arguments.optimizer](
            groups, lr=arguments.learning_rate, weight_decay=arguments.weight_decay, fused=True
        )
        # Not prepared by Accelerate, which would step it once for each process.
        self.schedule = make_schedule(optimizer, arguments, self.total_steps)
        self.model, self.optimizer = accelerator.prepare(model, optimizer)
        self.ema = EMA(model, arguments.ema_decay) if arguments.ema_decay is not None else None
        self.state = TrainState()
        accelerator.register_for_checkpointing(self.schedule, self.state, *filter(None, [self.ema]))
        save_trained_weights_only(accelerator)

    def run(self) -> TrainState:
        state, resumed = self.state, self.run_folder.load_state(self.accelerator, self.rows_digest)
        with RunLog(
            self.accelerator,
            self.arguments,
            self.run_folder,
            step=state.step,
            total_steps=self.total_steps,
            records_per_step=self.records_per_step,
        ) as self.log:
            if resumed:
                self.log.say(f"resuming after step {state.step} of {self.total_steps}")
            while state.step < self.total_steps and not self._stops_early():
                self._train_epoch()
                self._end_epoch()
        return state

    def _train_epoch(self) -> None:
        state, arguments = self.state, self.arguments
        self.log.describe(f"epoch {state.epoch}")
        self.model.train()
        started, waiting = time.perf_counter() - state.epoch_seconds, []
        left = min(self.steps_per_epoch - state.step_of_epoch, self.total_steps - state.step)
        steps = islice(self._steps(), left)
        # On a CPU the thread would take from the step what it gives: 10 % on two cores.
        for batches in steps if self.accelerator.device.type == "cpu" else _ahead(steps):
            terms, gradient_norm = self._step(batches)
            state.step += 1
            state.step_of_epoch += 1
            self.log.step()
            if terms is None:
                state.skipped += 1
            else:
                waiting.append(terms)
            ends = state.step_of_epoch == self.steps_per_epoch or state.step == self.total_steps
            saves = state.step % arguments.save_steps == 0
            if state.step % arguments.logging_steps == 0 or saves or ends:
                state.epoch_seconds = time.perf_counter() - started
                self._log_step(waiting, gradient_norm)
                waiting = []
            if saves and not ends:
                self._save_state()

    def _steps(self) -> Iterator[list[dict]]:
        """Yield the batches of each step that is left of this epoch."""
        arguments, state = self.arguments, self.state
        batches = self.rows.epoch(
            arguments.batch_size,
            seed=arguments.seed,
            epoch=state.epoch,
            start=state.step_of_epoch * self.accumulation * arguments.batch_size,
            rank=process_index(),
            world_size=num_processes(),
        )
        for step in range(state.step, self.total_steps):
            generator = torch.Generator().manual_seed(self._seed(step, 0))
            taken = list(islice(batches, self.accumulation))
            yield [
                {name: values.to(self.accelerator.device, non_blocking=True) for name, values in batch.items()}
                for batch in (self.method.collate(batch, generator) for batch in taken)
            ]

    def _seed(self, step: int, purpose: int) -> int:
        words = [self.arguments.seed, step, process_index(), purpose]
        return int(np.random.default_rng(words).integers(2**62))

    def _step(self, batches: list[dict]) -> tuple[dict[str, torch.Tensor] | None, float]:
        """Train on a step's batches; return the loss' terms (None if the step was skipped) and the gradient's norm."""
        torch.manual_seed(self._seed(self.state.step, 1))  # for dropout
        buffers = [buffer.clone() for buffer in self.buffers]
        sums: dict[str, torch.Tensor] = {}
        for i, batch in enumerate(batches):
            last = i == len(batches) - 1
            with contextlib.nullcontext() if last else self.accelerator.no_sync(self.model):
                terms = self.method.losses(self.model, batch)
                self.accelerator.backward(sum(terms.values()) / len(batches))
            for name, term in terms.items():
                sums[name] = sums.get(name, 0) + term.detach() / len(batches)
        gradients = [parameter.grad for parameter in self.trained if parameter.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients, foreach=True)
        value = norm.item()  # the same on every process: all skip or none
        if not math.isfinite(value):
            self.optimizer.zero_grad()
            for buffer, before in zip(self.buffers, buffers, strict=True):
                buffer.copy_(before)
            self._refuse(batches)
            self.schedule.step()
            return None, value
        if self.arguments.max_grad_norm is not None:
            torch.nn.utils.clip_grads_with_norm_(self.trained, self.arguments.max_grad_norm, norm, foreach=True)
        self.optimizer.step()
        self.schedule.step()
        self.optimizer.zero_grad()
        if self.ema is not None:
            self.ema.update()
        return sums, value

    def _refuse(self, batches: list[dict]) -> None:
        """Name the records of a step whose gradient is not finite, and stop unless such steps are skipped."""
        ids = self.rows["record_id"]
        own = [
            ids[int(row)]
            for batch in batches
            for row, finite in zip(batch["index"], batch["input_values"].isfinite().all(dim=(1, 2)), strict=True)
            if not finite
        ]
        names = gather_object(own)
        if names:
            more = ", ..." if len(names) > 5 else ""
            cause = f"the input of {', '.join(names[:5])}{more} is not finite: prepare the corpus again"
        else:
            rate = self.arguments.learning_rate
            cause = f"all recordings are finite: lower --learning-rate (now {rate:g}), or pass --max-grad-norm 1"
        message = f"the gradient of step {self.state.step + 1} is not finite; {cause}"
        if self.arguments.nonfinite == "stop":
            raise ValueError(f"{message}, or pass --nonfinite skip")
        self.log.say(f"skipped: {message}")

    def _log_step(self, waiting: list[dict[str, torch.Tensor]], gradient_norm: float) -> None:
        state, values = self.state, {}
        for name in waiting[0] if waiting else ():
            total = self.accelerator.reduce(torch.stack([terms[name] for terms in waiting]).sum(), "mean").item()
            state.sums[name] = state.sums.get(name, 0.0) + total
            values[name] = total / len(waiting)
        if waiting:
            values = {"loss": sum(values.values()), **values}
        values |= {"epoch": state.epoch, "learning_rate": self.schedule.get_last_lr()[0]}
        if math.isfinite(gradient_norm):
            values["gradient_norm"] = gradient_norm
        values["records_per_second"] = state.step_of_epoch * self.records_per_step / state.epoch_seconds
        self.log.write(state.step, values)

    def _end_epoch(self) -> None:
        state = self.state
        steps = state.step_of_epoch - state.skipped
        if steps == 0:
            raise ValueError(f"every step of epoch {state.epoch} was skipped: no gradient was finite")
        means = {name: total / steps for name, total in state.sums.items()}
        epoch = {"epoch": state.epoch, "train_loss": sum(means.values()), **means, "skipped_steps": state.skipped}
        epoch |= {
            "seconds": state.epoch_seconds,
            "records_per_second": state.step_of_epoch * self.records_per_step / state.epoch_seconds,
        }
        with self.ema.applied() if self.ema is not None else contextlib.nullcontext():
            share_buffers(self.method.model)
            epoch |= self.method.validate()
            state.epochs.append(epoch)
            if self._is_best(epoch):
                state.best_epoch = epoch["epoch"]
                if self.accelerator.is_main_process:
                    self.run_folder.save_model(self.method.model, self.method.processor, self._metrics())
        self.log.write(state.step, epoch)
        self.log.say(_describe(epoch))
        state.epoch += 1
        state.step_of_epoch, state.sums, state.skipped, state.epoch_seconds = 0, {}, 0, 0.0
        self._save_state()

    def _is_best(self, epoch: dict) -> bool:
        """The best by the method's figure, or without validation the last."""
        name = self.method.best
        if name not in epoch:
            return True
        sign = -1 if name.endswith("loss") else 1
        figures = [sign * own[name] if math.isfinite(own[name]) else -math.inf for own in self.state.epochs]
        return figures[-1] > max(figures[:-1], default=-math.inf) or len(figures) == 1

    def _stops_early(self) -> bool:
        state, patience = self.state, self.arguments.early_stopping_patience
        return patience is not None and bool(state.epochs) and state.epochs[-1]["epoch"] - state.best_epoch >= patience

    def _metrics(self) -> dict:
        return {**self.facts, "epochs": self.state.epochs, "best_epoch": self.state.best_epoch}

    def _save_state(self) -> None:
        self.run_folder.save_state(self.accelerator, self.state.step, self.rows_digest)


def _ahead(iterator: Iterator) -> Iterator:
    """Yield an iterator's items; the next one is prepared in another thread while one is used."""
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, iterator, None)
        while (item := coming.result()) is not None:
            coming = pool.submit(next, iterator, None)
            yield item


def _describe(epoch: dict) -> str:
    text = f"epoch {epoch['epoch']}: loss {epoch['train_loss']:.3f}, {epoch['records_per_second']:.0f} records/s"
    if epoch["skipped_steps"]:
        text += f", {epoch['skipped_steps']} steps skipped"
    if "validation_loss" in epoch:
        text += f", validation loss {epoch['validation_loss']:.3f}"
    if "validation_macro_auroc" in epoch:
        text += f", validation macro AUROC {epoch['validation_macro_auroc']:.3f}"
    if "zero_shot_macro_auroc" in epoch:
        text += f", zero-shot macro AUROC {epoch['zero_shot_macro_auroc']:.3f} (chooses nothing)"
    return text
