"""A training run from its arguments to the finished folder, whatever the method."""

from __future__ import annotations

from collections.abc import Callable

import torch
from accelerate import Accelerator
from huggingface_hub.utils import WeakFileLock
from transformers.utils import CONFIG_NAME

from mets_ecg_cli.training import TrainingArguments

from ..data.loading import LoadedParts
from ..data.parts import PARTS
from ..hub.model_card import write_model_card
from .loop import train
from .method import Method
from .processes import describe_machine, make_accelerator
from .run_folder import DATA_LOCK, RunFolder


def run_training(
    method: Method,
    arguments: TrainingArguments,
    *,
    load: Callable[[int | None], LoadedParts],
    announce: Callable[[dict], str],
    measure: Callable[[RunFolder, Accelerator, LoadedParts], dict],
) -> dict:
    """Train a method and leave its checkpoint in `arguments.output`; a run that was stopped is resumed.

    Args:
        method: before `build`.
        arguments: of the run.
        load: called with the number of training rows that the steps need (None: all), after `build`.
        announce: called with the counts of rows; returns what is printed before training.
        measure: called on the main process when training is finished; prints what it finds, and returns what goes
            into `metrics.json`.

    Returns:
        What stands in `metrics.json`.

    Raises:
        ValueError: arguments, recipe or corpus do not fit each other.
        FileExistsError: the output is there already.
        OSError: something cannot be written; the message says what is kept.
    """
    run = RunFolder(arguments, method.name)
    accelerator = make_accelerator(arguments, project_dir=str(run.working))
    with run.opened(accelerator):
        torch.manual_seed(arguments.seed)
        model, _ = method.build()
        model.to(accelerator.device)
        # The first process prepares recordings and encodes texts; the others find them in the cache. A lock and not a
        # barrier, because a barrier times out.
        with WeakFileLock(run.working / DATA_LOCK):
            parts = load(_rows_needed(arguments, accelerator.num_processes))
            if parts.train is None:
                raise ValueError(
                    f"there is nothing to train on, {', '.join(parts.words)} has no part for it: name one by --train"
                )
            rows = method.setup(parts.train, parts.validation)
        counts = {part: len(getattr(parts, part) or ()) for part in PARTS} | method.counts
        several = f" in {accelerator.num_processes} processes" if accelerator.num_processes > 1 else ""
        accelerator.print(f"{announce(counts)}, {accelerator.device}{several}")
        facts = {"parts": parts.words, "corpora": parts.corpora, "encoder_from": method.encoder_from, "counts": counts}
        facts |= {"num_processes": accelerator.num_processes, "machine": describe_machine(accelerator)}
        state = train(method, rows, arguments, accelerator, run, facts)
        metrics = {**facts, "epochs": state.epochs, "best_epoch": state.best_epoch}
        metrics["seconds"] = sum(epoch["seconds"] for epoch in state.epochs)
        if accelerator.is_main_process:
            metrics |= measure(run, accelerator, parts)
            run.finish(metrics)
            if (run.output / CONFIG_NAME).is_file():  # the model is one of transformers'
                write_model_card(run.output)
            print(f"checkpoint of epoch {state.best_epoch}, its card, metrics.json and log.jsonl are in {run.output}")
        accelerator.end_training()
    return metrics


def _rows_needed(arguments: TrainingArguments, num_processes: int) -> int | None:
    if arguments.max_steps is None:
        return None
    return arguments.max_steps * arguments.batch_size * arguments.gradient_accumulation_steps * num_processes
