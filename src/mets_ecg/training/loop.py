"""The training loop, on Accelerate. Methods differ by the objective they bring, recipes by their arguments."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import numpy as np
import torch
from accelerate import Accelerator
from tqdm.auto import tqdm
from transformers import get_scheduler

from mets_ecg_cli.pretrain import PretrainArguments

from ..data.prepared_rows import PreparedRows

_OPTIMIZERS = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}


def make_accelerator(arguments: PretrainArguments) -> Accelerator:
    """Return the accelerator of a run.

    Raises:
        ValueError: there are several processes, which this version does not train with.
    """
    accelerator = Accelerator(mixed_precision=arguments.mixed_precision)
    if accelerator.num_processes != 1:
        raise ValueError(f"pre-training runs in one process, this launch started {accelerator.num_processes}")
    return accelerator


def train(
    model,
    objective,
    rows: PreparedRows,
    arguments: PretrainArguments,
    accelerator: Accelerator,
    *,
    on_epoch_end: Callable[[dict], None],
) -> None:
    """Train a model on prepared rows.

    Args:
        model: trained in place.
        objective: turns a batch into a loss; see `objectives.py`.
        rows: the training records.
        arguments: of the run.
        accelerator: from `make_accelerator`.
        on_epoch_end: called with `epoch`, `train_loss`, `logit_scale`, `seconds` and `records_per_second` of
            each epoch.
    """
    steps_per_epoch = rows.num_batches(arguments.batch_size)
    if steps_per_epoch == 0:
        raise ValueError(f"{len(rows)} training records do not fill one batch of {arguments.batch_size}")
    total_steps = min(arguments.epochs * steps_per_epoch, arguments.max_steps or math.inf)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = _OPTIMIZERS[arguments.optimizer](
        trained, lr=arguments.learning_rate, weight_decay=arguments.weight_decay, fused=True
    )
    scheduler = get_scheduler(
        "constant_with_warmup" if arguments.lr_scheduler == "constant" else "cosine",
        optimizer,
        num_warmup_steps=round(arguments.warmup_fraction * total_steps),
        num_training_steps=total_steps,
    )
    prepared, optimizer, scheduler = accelerator.prepare(model, optimizer, scheduler)
    step = 0
    for epoch in range(1, math.ceil(total_steps / steps_per_epoch) + 1):
        generator = torch.Generator().manual_seed(
            int(np.random.default_rng([arguments.seed, epoch, 1]).integers(2**62))
        )
        model.train()
        losses, started = [], time.perf_counter()
        steps = min(steps_per_epoch, total_steps - step)
        with tqdm(total=steps * arguments.batch_size, desc=f"epoch {epoch}", unit="record", unit_scale=True,
                  disable=None) as bar:  # fmt: skip
            for batch in rows.epoch(arguments.batch_size, seed=arguments.seed, epoch=epoch):
                batch = {name: values.to(accelerator.device) for name, values in batch.items()}
                losses.append(_step(prepared, objective, batch, generator, optimizer, scheduler, accelerator))
                bar.update(arguments.batch_size)
                step += 1
                if step == total_steps:
                    break
        seconds = time.perf_counter() - started
        loss = float(torch.stack(losses).mean())
        if not math.isfinite(loss):
            raise ValueError(
                f"the loss of epoch {epoch} is {loss}: lower --learning-rate (now {arguments.learning_rate:g})"
            )
        on_epoch_end(
            {
                "epoch": epoch,
                "train_loss": loss,
                "logit_scale": model.get_logit_scale().item(),
                "seconds": seconds,
                "records_per_second": len(losses) * arguments.batch_size / seconds,
            }
        )


def _step(model, objective, batch, generator, optimizer, scheduler, accelerator) -> torch.Tensor:
    batch = objective.draw(batch, generator)
    with accelerator.autocast():
        loss = objective(model, batch).loss
    accelerator.backward(loss)
    optimizer.step()
    scheduler.step()
    optimizer.zero_grad()
    return loss.detach()
