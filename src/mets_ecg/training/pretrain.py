"""The command `mets-ecg pretrain`: a corpus and a recipe to a checkpoint."""

from __future__ import annotations

from typing import get_args

import torch
from accelerate import Accelerator
from datasets import Dataset
from huggingface_hub.utils import WeakFileLock

from mets_ecg_cli.pretrain import PretrainArguments, TextColumn

from ..data.loading import LoadedParts, load_parts
from ..data.parts import PARTS
from ..evaluation.table import zero_shot_table
from ..evaluation.tasks import Task, get_task, task_of
from ..evaluation.zero_shot import load_labels
from ..modeling_ecg_text import ECGTextModel
from .loop import train
from .mets import METS
from .processes import make_accelerator
from .run_folder import DATA_LOCK, RunFolder


def run_pretrain(arguments: PretrainArguments, *, corpus: Dataset | None = None, task: Task | None = None) -> dict:
    """Pre-train a model and leave its checkpoint in `arguments.output`.

    After each epoch the contrastive loss on the validation folds is measured; the epoch where it is lowest is kept, and
    the folder holds it, whole, from then on. The zero-shot AUROC printed beside it chooses nothing: that would
    use labels. What was cut off is gone on with by the same command.

    Args:
        arguments: of the run.
        corpus: rows to train on, in place of those that `arguments.source` or `.data` name.
        task: the zero-shot task, in place of the one that `arguments.task` names.

    Returns:
        What stands in `metrics.json`.

    Raises:
        ValueError: arguments, recipe or corpus do not fit each other; the message says how.
        FileExistsError: the output is there already.
        OSError: something cannot be written; the message says what is kept.
    """
    run = RunFolder(arguments, METS.name)
    accelerator = make_accelerator(arguments, project_dir=str(run.working))
    if task is None and arguments.task is not None:
        task = get_task(arguments.task)
    with run.opened(accelerator):
        torch.manual_seed(arguments.seed)
        method = METS(arguments, task)
        model, processor = method.build()
        model.to(accelerator.device)
        # The first process prepares recordings and encodes texts; the others find them in the cache. A lock and not a
        # barrier, because a barrier times out.
        with WeakFileLock(run.working / DATA_LOCK):
            parts = _load_parts(arguments, processor, corpus, accelerator.num_processes)
            method.task = task = task or task_of(next(iter(parts.words)), parts.train.column_names)
            if task is not None and parts.test is not None:
                load_labels(parts.test, task)  # says before training what the table at the end would say
            rows = method.setup(parts.train, parts.validation)
        counts = {part: len(getattr(parts, part) or ()) for part in PARTS} | method.counts
        _announce(accelerator, arguments, counts)
        facts = {"parts": parts.words, "counts": counts, "num_processes": accelerator.num_processes}
        state = train(method, rows, arguments, accelerator, run, facts)
        metrics = {**facts, "epochs": state.epochs, "best_epoch": state.best_epoch}
        metrics["seconds"] = sum(epoch["seconds"] for epoch in state.epochs)
        if accelerator.is_main_process:
            if parts.test is not None and task is not None:
                best_model = ECGTextModel.from_pretrained(run.output).to(accelerator.device)
                table = zero_shot_table(best_model, processor, parts.test, task, seed=arguments.seed)
                print(f"\n{table}")
                metrics["test"] = table.as_dict()
            run.finish(metrics)
            print(f"checkpoint of epoch {state.best_epoch}, metrics.json and log.jsonl are in {run.output}")
        accelerator.end_training()
    return metrics


def _load_parts(arguments: PretrainArguments, processor, corpus: Dataset | None, num_processes: int) -> LoadedParts:
    needed = None
    if arguments.max_steps is not None:
        of_a_step = arguments.batch_size * arguments.gradient_accumulation_steps * num_processes
        needed = arguments.max_steps * of_a_step
    unused = set(get_args(TextColumn)) - {arguments.text_column}
    parts = load_parts(processor.feature_extractor, arguments, corpus=corpus, max_train=needed, unused=unused)
    if parts.train is None:
        raise ValueError(
            f"there is nothing to train on, {', '.join(parts.words)} has no part for it: name one by --train"
        )
    return parts


def _announce(accelerator: Accelerator, arguments: PretrainArguments, counts: dict) -> None:
    if counts["without_text"]:
        accelerator.print(
            f"left out of training: {counts['without_text']} records whose {arguments.text_column} says nothing"
        )
    several = f" in {accelerator.num_processes} processes" if accelerator.num_processes > 1 else ""
    accelerator.print(
        f"training on {counts['train']} records with {counts['distinct_texts']} distinct texts "
        f"({arguments.text_column}), {accelerator.device}{several}"
    )
