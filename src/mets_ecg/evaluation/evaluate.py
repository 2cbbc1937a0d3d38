"""The command `mets-ecg evaluate`: a checkpoint, a corpus and a task to a zero-shot table."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import yaml
from accelerate import Accelerator
from transformers import AutoModel, AutoProcessor
from transformers.utils import cached_file

from mets_ecg_cli.evaluate import EvaluateArguments

from ..data.loading import check_patients_apart, load_prepared_rows, parse_folds, select_folds
from ..data.prepared_rows import PreparedRows
from .table import ZeroShotTable, zero_shot_table
from .tasks import get_task


def run_evaluate(arguments: EvaluateArguments) -> ZeroShotTable:
    """Measure a checkpoint on a corpus and print the table.

    Raises:
        ValueError: folds for testing are among those for the probe; or the corpus or the task does not fit.
    """
    task = get_task(arguments.task)
    test_folds, probe_folds = parse_folds(arguments.test_folds), parse_folds(arguments.probe_folds)
    if not test_folds:
        raise ValueError("--test-folds names no fold to measure on")
    if set(test_folds) & set(probe_folds):
        raise ValueError(f"folds {sorted(set(test_folds) & set(probe_folds))} are both for testing and for the probe")
    model = AutoModel.from_pretrained(arguments.model).to(Accelerator().device)
    processor = AutoProcessor.from_pretrained(arguments.model)
    rows = load_prepared_rows(
        processor.feature_extractor,
        source=arguments.source,
        data=arguments.data,
        config=arguments.config_name,
        streaming=arguments.streaming,
        num_proc=arguments.num_proc,
    )
    test_rows = select_folds(rows, test_folds)
    probe_rows = select_folds(rows, probe_folds) if probe_folds else None
    check_patients_apart({"the test": test_rows, "the probe": probe_rows})
    trained = _training_arguments(arguments.model)
    seen = sorted(set(test_folds) & set(parse_folds(trained.get("train_folds"))))
    if seen:
        print(f"warning: folds {seen} are among those that this checkpoint was trained on", file=sys.stderr)
    table = zero_shot_table(
        model,
        processor,
        test_rows,
        task,
        probe_rows=probe_rows,
        text_oracle=_text_column(test_rows, trained),
        num_resamples=arguments.num_resamples,
        seed=arguments.seed,
    )
    document = json.dumps({"model": arguments.model, "test_folds": test_folds, **table.as_dict()}, indent=2)
    print(document if arguments.json else f"{table}")
    if arguments.output is not None:
        Path(arguments.output).write_text(document + "\n", encoding="utf-8")
        print(f"written to {arguments.output}", file=sys.stderr)
    return table


def _training_arguments(model: str) -> dict:
    """What a checkpoint's own record says of its training; nothing where it has none."""
    record = cached_file(model, "training_args.yaml", _raise_exceptions_for_missing_entries=False)
    return yaml.safe_load(Path(record).read_text(encoding="utf-8")) if record is not None else {}


def _text_column(rows: PreparedRows, trained: dict) -> str | None:
    """The column of texts that the model was trained on; None where these rows have no text in it."""
    column = trained.get("text_column", "report")
    return column if column in rows.column_names and any(rows[column]) else None
