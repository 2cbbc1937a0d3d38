"""The report of a measurement: a folder with everything that a reader needs to check it and to compare with it.

`report.json` (configuration, versions, fingerprint of the records, all figures), `report.md` (the same for reading),
`scores.parquet` (labels and scores of each record, which `mets-ecg compare` reads) and figures, where matplotlib is
installed.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mets_ecg_cli.evaluate import EvaluateArguments

from .figures import draw_auroc, draw_confusion, draw_reliability
from .table import ResultTable

REPORT, MARKDOWN, SCORES = "report.json", "report.md", "scores.parquet"
_PACKAGES = ("mets-ecg", "transformers", "torch", "datasets", "numpy", "scikit-learn")


def check_new_folder(output: str) -> None:
    """Refuse an output that is there already, before the work.

    Raises:
        FileExistsError: there is a file, or a folder with something in it.
    """
    path = Path(output)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise FileExistsError(f"{output!r} is there already: name another --output, or remove it")


def describe(arguments: EvaluateArguments, table: ResultTable, parts: dict, seen: dict[str, str]) -> dict:
    """Return what `report.json` says.

    Args:
        arguments: of the command.
        table: its figures.
        parts: what each part was, by corpus.
        seen: what of the test part the checkpoint was trained or chosen on, by corpus.
    """
    settings = asdict(arguments)
    for place in ("source", "data", "output", "json", "num_proc"):  # of one machine
        settings.pop(place)
    return {
        "model": arguments.model,
        "parts": parts,
        "seen": seen,
        "leads": arguments.leads,
        "settings": settings,
        "versions": {name: version(name) for name in _PACKAGES},
        **table.as_dict(),
    }


def write_report(folder: str, document: dict, table: ResultTable) -> list[str]:
    """Write a report; the folder appears when it is whole.

    Args:
        folder: to appear.
        document: what `describe` returns.
        table: the figures, with the scores.

    Returns:
        The names of its files.
    """
    final = Path(folder)
    partial = final.with_name(f".{final.name}.{os.getpid()}")
    partial.mkdir(parents=True)
    try:
        (partial / REPORT).write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
        pq.write_table(_scores(table), partial / SCORES)
        figures = _draw(partial, table) if find_spec("matplotlib") else {}
        (partial / MARKDOWN).write_text(_markdown(document, table, figures), encoding="utf-8")
        if final.is_dir():
            final.rmdir()  # it is empty
        partial.rename(final)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return sorted(path.name for path in final.iterdir())


def _scores(table: ResultTable) -> pa.Table:
    """Return labels and scores, a row a record: columns `label:CLASS` and `LINE:CLASS`."""
    labels = table.labels
    columns = {"record": pa.array(labels.records.tolist()), "patient": pa.array(labels.patients.tolist())}
    for i, code in enumerate(labels.classes):
        columns[f"label:{code}"] = pa.array(labels.labels[:, i])
    for key, line in table.lines.items():
        if line.scores is not None:
            for i, code in enumerate(labels.classes):
                columns[f"{key}:{code}"] = pa.array(line.scores[:, i].astype(np.float64))
    return pa.table(columns)


def _draw(folder: Path, table: ResultTable) -> dict[str, str]:
    """Draw the figures; return the caption of each by its file's name."""
    labels, (key, line) = table.labels, next(iter(table.lines.items()))
    drawn = {"auroc.png": (draw_auroc(table), "AUROC of each class with its interval over patients.")}
    reliability = draw_reliability(labels.labels, line.scores, title=f"{line.name}, all classes")
    drawn["reliability.png"] = (
        reliability,
        f"Scores of `{key}` against how often they are right; scores rank, and are not calibrated.",
    )
    if line.single_label is not None:
        drawn["confusion.png"] = (
            draw_confusion(labels.labels, line.scores, labels.classes),
            f"The best-scored class by `{key}` of records of one class: numbers, and as colour the share of the row.",
        )
    for name, (figure, _) in drawn.items():
        figure.savefig(folder / name, dpi=150)
    return {name: caption for name, (_, caption) in drawn.items()}


def _markdown(document: dict, table: ResultTable, figures: dict[str, str]) -> str:
    first = next(iter(table.lines.values())).auroc
    corpora = "; ".join(f"{corpus} {' '.join(own['test'])}" for corpus, own in document["parts"].items())
    lines = [
        f"# {table.task.name} on {corpora}: {first.num_records} {table.task.unit}s of {first.num_patients} patients",
        "",
        f"- Model: `{document['model']}`",
        f"- Positive: {table.task.positive or 'the class is among the labels'}",
        f"- Task: {table.task.source}",
        f"- Leads: {'as recorded' if document['leads'] is None else ', '.join(document['leads'])}",
    ]
    for corpus, what in document["seen"].items():
        lines.append(f"- **The checkpoint was trained or chosen on {what} of {corpus}.**")
    heading, rows = table.cells()
    lines += [f"- {line.strip('()')}" for line in heading[1:]]
    lines += ["", markdown_row(rows[0]), "| --- " * len(rows[0]) + "|", *map(markdown_row, rows[1:]), ""]
    if table.task.unit != "record":
        lines += _by_patient(table)
    for name, caption in figures.items():
        lines += [f"![{caption}]({name})", "", f"*{caption}*", ""]
    versions = ", ".join(f"{name} {number}" for name, number in document["versions"].items())
    lines.append(f"Records {document['records_fingerprint'][:12]}, phrases {document['phrases_version']}; {versions}.")
    return "\n".join(lines) + "\n"


def _by_patient(table: ResultTable) -> list[str]:
    name = next(iter(table.lines.values())).name
    lines = [f"By patient: {table.task.unit}s of each class, and of how many the best score ({name}) is right.", ""]
    lines += [markdown_row(["", *table.labels.classes]), "| --- " * (len(table.labels.classes) + 1) + "|"]
    for patient, own in table.by_patient().items():
        cells = [
            f"{own[code]['right']} of {own[code]['records']}" if code in own else "" for code in table.labels.classes
        ]
        lines.append(markdown_row([patient, *cells]))
    return [*lines, ""]


def markdown_row(cells: Sequence[str]) -> str:
    """Return a row of a Markdown table; class codes may have a bar in them."""
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
