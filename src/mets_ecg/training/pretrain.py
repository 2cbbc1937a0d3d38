"""The command `mets-ecg pretrain`: a corpus and a recipe to a checkpoint."""

from __future__ import annotations

from typing import get_args

from datasets import Dataset

from mets_ecg_cli.pretrain import PretrainArguments, TextColumn

from ..data.loading import LoadedParts, load_parts
from ..evaluation.labels import load_labels
from ..evaluation.table import Measuring, zero_shot_table
from ..evaluation.tasks import Task, get_task, task_of
from ..modeling_ecg_text import ECGTextModel
from .c_melt import CMelt
from .mets import METS
from .run import run_training

METHODS = {method.name: method for method in (METS, CMelt)}


def run_pretrain(arguments: PretrainArguments, *, corpus: Dataset | None = None, task: Task | None = None) -> dict:
    """Pre-train a model and leave its checkpoint in `arguments.output`.

    After each epoch the contrastive loss on the validation folds is measured; the epoch where it is lowest is kept, and
    the folder holds it, whole, from then on. The zero-shot AUROC printed beside it chooses nothing: that would
    use labels. A run that was stopped is resumed by the same arguments.

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
    if task is None and arguments.task is not None:
        task = get_task(arguments.task)
    method = METHODS[arguments.method](arguments, task)

    def load(rows_needed: int | None) -> LoadedParts:
        unused = set(get_args(TextColumn)) - {arguments.text_column}
        extractor = method.processor.feature_extractor
        parts = load_parts(extractor, arguments, corpus=corpus, max_train=rows_needed, unused=unused)
        if method.task is None and parts.train is not None:
            method.task = task_of(next(iter(parts.words)), parts.train.column_names)
        if method.task is not None and parts.test is not None:
            load_labels(parts.test, method.task)  # says before training what the table at the end would say
        return parts

    def announce(counts: dict) -> str:
        lines = [method.describe_negatives()] if method.describe_negatives() else []
        if counts["without_text"]:
            lines.append(
                f"left out of training: {counts['without_text']} records whose {arguments.text_column} says nothing"
            )
        lines.append(
            f"training on {counts['train']} records with {counts['distinct_texts']} distinct texts "
            f"({arguments.text_column})"
        )
        return "\n".join(lines)

    def measure(run, accelerator, parts: LoadedParts) -> dict:
        if parts.test is None or method.task is None:
            return {}
        best_model = ECGTextModel.from_pretrained(run.output).to(accelerator.device)
        table = zero_shot_table(
            best_model, method.processor, parts.test, method.task, measuring=Measuring(seed=arguments.seed)
        )
        print(f"\n{table}")
        return {"test": table.as_dict()}

    return run_training(method, arguments, load=load, announce=announce, measure=measure)
