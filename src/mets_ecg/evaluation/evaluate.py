"""The command `mets-ecg evaluate`: a checkpoint, a corpus and a task to a table, and to a report."""

from __future__ import annotations

import json
import sys
from importlib.util import find_spec

from mets_ecg_cli.evaluate import EvaluateArguments

from ..data.prepared_rows import PreparedRows
from .checkpoints import Checkpoint
from .report import check_new_folder, describe, write_report
from .table import Measuring, ResultTable, classification_table, zero_shot_table
from .tasks import get_task


def run_evaluate(arguments: EvaluateArguments) -> ResultTable:
    """Measure a checkpoint on a corpus, print the table, and write the report if there is an output.

    Raises:
        ValueError: nothing is to be measured on, patients are in two parts, thresholds have no validation part, the
            test part was seen and that is refused, or the corpus or the task does not fit.
        FileExistsError: the output is there already.
    """
    if arguments.output is not None:
        check_new_folder(arguments.output)
    task = get_task(arguments.task)
    checkpoint = Checkpoint.open(arguments.model)
    wanted = ["test"] if checkpoint.classifies else ["train", "test"]
    parts = checkpoint.load_rows(arguments, [*wanted, *(["validation"] if arguments.thresholds else [])], task)
    if arguments.thresholds and parts.validation is None:
        raise ValueError("--thresholds are chosen on a validation part, and there is none: name one by --validation")
    seen = checkpoint.check_seen(parts, refuse=arguments.refuse_seen)
    measuring = Measuring(
        num_resamples=arguments.num_resamples,
        seed=arguments.seed,
        balanced_draws=arguments.balanced_draws,
        draw_size=arguments.draw_size,
        transductive=arguments.transductive,
        progress=True,
    )
    chosen_on = {"threshold_rows": parts.validation, "measuring": measuring}
    if checkpoint.classifies:
        if arguments.transductive:
            raise ValueError("--transductive is for models that are asked in words, and this is a classifier")
        table = classification_table(checkpoint.load_model(), parts.test, task, **chosen_on)
    else:
        model, processor = checkpoint.load_dual_encoder("evaluate")
        oracle = _text_column(parts.test, checkpoint.saved("training_args.yaml"))
        table = zero_shot_table(
            model, processor, parts.test, task, probe_rows=parts.train, text_oracle=oracle, **chosen_on
        )
    document = describe(arguments, table, parts.words, seen)
    print(json.dumps(document, indent=2) if arguments.json else f"{table}")
    if arguments.output is not None:
        names = write_report(arguments.output, document, table)
        figures = "" if find_spec("matplotlib") else "; figures need the extra `plot`: pip install 'mets-ecg[plot]'"
        print(f"{', '.join(names)} are in {arguments.output}{figures}", file=sys.stderr)
    return table


def _text_column(rows: PreparedRows, trained: dict) -> str | None:
    """Return the column of texts that the model was trained on; None where these rows have no text in it."""
    column = trained.get("text_column", "report")
    return column if column in rows.column_names and any(rows[column]) else None
