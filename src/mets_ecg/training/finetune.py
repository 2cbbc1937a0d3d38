"""The command `mets-ecg finetune`: a checkpoint's ECG encoder, a corpus and a task to a classifier."""

from __future__ import annotations

from datasets import Dataset

from mets_ecg_cli.finetune import FinetuneArguments

from ..data.loading import LoadedParts, load_parts
from ..evaluation.labels import load_labels
from ..evaluation.table import Measuring, classification_table
from ..evaluation.tasks import Task, get_task
from ..modeling_ecg_classification import ECGForSequenceClassification
from .classification import Classification
from .run import run_training


def run_finetune(arguments: FinetuneArguments, *, corpus: Dataset | None = None, task: Task | None = None) -> dict:
    """Train a classifier and leave its checkpoint in `arguments.output`.

    The epoch with the highest macro AUROC on the validation part is kept; without one, the last. A run that was stopped
    is resumed by the same arguments.

    Args:
        arguments: of the run.
        corpus: rows to train on, in place of those that `arguments.source` or `.data` name.
        task: in place of the one that `arguments.task` names.

    Returns:
        What stands in `metrics.json`.

    Raises:
        ValueError: arguments, checkpoint, task or corpus do not fit each other; the message says how.
        FileExistsError: the output is there already.
        OSError: something cannot be written; the message says what is kept.
    """
    task = task or get_task(arguments.task)
    if arguments.config_name is None:
        arguments.config_name = task.config
    method = Classification(arguments, task)

    def load(rows_needed: int | None) -> LoadedParts:
        parts = load_parts(method.processor, arguments, corpus=corpus, task_corpus=task.corpus, max_train=rows_needed)
        if parts.test is not None:
            load_labels(parts.test, task)  # says before training what the table at the end would say
        return parts

    def announce(counts: dict) -> str:
        left_out = f"left out of training: {counts['without_label']} records that do not count for {task.name}\n"
        start = "new weights" if arguments.model is None else f"the encoder of {arguments.model}"
        return (
            f"{left_out if counts['without_label'] else ''}training {start} on {counts['train']} records for "
            f"{len(task.classes)} classes of {task.name}"
        )

    def measure(run, accelerator, parts: LoadedParts) -> dict:
        if parts.test is None:
            return {}
        best_model = ECGForSequenceClassification.from_pretrained(run.output).to(accelerator.device)
        rows = method.with_leads(parts.test)
        table = classification_table(best_model, rows, task, measuring=Measuring(seed=arguments.seed))
        print(f"\n{table}")
        return {"test": table.as_dict()}

    return run_training(method, arguments, load=load, announce=announce, measure=measure)
