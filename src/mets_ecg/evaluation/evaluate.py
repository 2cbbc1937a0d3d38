"""The command `mets-ecg evaluate`: a checkpoint, a corpus and a task to a zero-shot table."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from accelerate import Accelerator
from transformers import AutoModel, AutoModelForSequenceClassification, AutoProcessor, PretrainedConfig
from transformers.utils import cached_file

from mets_ecg_cli.evaluate import EvaluateArguments
from mets_ecg_cli.parser import read_yaml

from ..configuration_ecg_text import ECGClassificationConfig
from ..data.loading import load_parts
from ..data.parts import named_parts
from ..data.prepared_rows import PreparedRows
from ..feature_extraction_ecg import ECGFeatureExtractor
from ..leads import leads_from
from .classification import classification_table
from .table import ZeroShotTable, zero_shot_table
from .tasks import get_task


def run_evaluate(arguments: EvaluateArguments) -> ZeroShotTable:
    """Measure a checkpoint on a corpus and print the table.

    Raises:
        ValueError: nothing is to be measured on, patients are in two parts, or the corpus or the task does not fit.
    """
    task = get_task(arguments.task)
    if arguments.config_name is None:
        arguments.config_name = task.config
    extractor = ECGFeatureExtractor.from_pretrained(arguments.model)
    classifies = (
        PretrainedConfig.get_config_dict(arguments.model)[0].get("model_type") == ECGClassificationConfig.model_type
    )
    wanted = ("test",) if classifies else ("train", "test")
    parts = load_parts(extractor, arguments, parts=wanted, task_corpus=task.corpus)
    if parts.test is None:
        raise ValueError("there is nothing to measure on: name a part by --test")
    test, train = parts.test, parts.train
    if arguments.leads is not None:
        kept = leads_from(arguments.leads, extractor.lead_names)
        test, train = test.with_leads(kept), None if train is None else train.with_leads(kept)
    for corpus, seen in _seen_parts(arguments.model, parts.words).items():
        print(f"warning: this checkpoint was trained or chosen on {seen} of {corpus}", file=sys.stderr)
    drawn = {"num_resamples": arguments.num_resamples, "seed": arguments.seed}
    if classifies:
        model = AutoModelForSequenceClassification.from_pretrained(arguments.model).to(Accelerator().device)
        table = classification_table(model, test, task, **drawn)
    else:
        model = AutoModel.from_pretrained(arguments.model).to(Accelerator().device)
        processor = AutoProcessor.from_pretrained(arguments.model)
        oracle = _text_column(test, _saved(arguments.model, "training_args.yaml"))
        table = zero_shot_table(model, processor, test, task, probe_rows=train, text_oracle=oracle, **drawn)
    document = json.dumps(
        {"model": arguments.model, "parts": parts.words, "leads": arguments.leads, **table.as_dict()}, indent=2
    )
    print(document if arguments.json else f"{table}")
    if arguments.output is not None:
        Path(arguments.output).write_text(document + "\n", encoding="utf-8")
        print(f"written to {arguments.output}", file=sys.stderr)
    return table


def _saved(model: str, name: str) -> dict:
    """Return what a checkpoint's own file says; nothing where it has none."""
    path = cached_file(model, name, _raise_exceptions_for_missing_entries=False)
    return {} if path is None else read_yaml(path)


def _seen_parts(model: str, words: dict) -> dict[str, str]:
    """Return by corpus what of the test part the checkpoint was trained or chosen on, by its own record."""
    seen = {}
    for corpus, own in _saved(model, "metrics.json").get("parts", {}).items():
        used = named_parts([*own.get("train", ()), *own.get("validation", ())], corpus)
        both = sorted(used & named_parts(words.get(corpus, {}).get("test", ()), corpus))
        if both:
            seen[corpus] = ", ".join(both)
    return seen


def _text_column(rows: PreparedRows, trained: dict) -> str | None:
    """Return the column of texts that the model was trained on; None where these rows have no text in it."""
    column = trained.get("text_column", "report")
    return column if column in rows.column_names and any(rows[column]) else None
