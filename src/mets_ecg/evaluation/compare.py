"""`mets-ecg compare`: two reports on the same records, by a bootstrap over patients that scores both on each draw."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from mets_ecg_cli.compare import CompareArguments

from .report import REPORT, SCORES, markdown_row
from .statistics import auroc, compare_auroc, macro_average, plain_values


@dataclass(frozen=True)
class _Report:
    folder: str
    document: dict
    records: np.ndarray
    patients: np.ndarray
    labels: np.ndarray
    scores: dict[str, np.ndarray]

    @classmethod
    def read(cls, folder: str) -> _Report:
        path = Path(folder)
        for name in (REPORT, SCORES):
            if not (path / name).is_file():
                raise FileNotFoundError(f"there is no {name} in {folder!r}: `mets-ecg evaluate --output` writes it")
        document = json.loads((path / REPORT).read_text(encoding="utf-8"))
        table = pq.read_table(path / SCORES)

        def columns(key: str) -> np.ndarray:
            return np.stack([table.column(f"{key}:{code}").to_numpy() for code in document["classes"]], axis=1)

        keys = [key for key in document["lines"] if f"{key}:{document['classes'][0]}" in table.column_names]
        identity = [np.array(table.column(name).to_pylist()) for name in ("record", "patient")]
        return cls(folder, document, *identity, columns("label"), {key: columns(key) for key in keys})

    def line(self, wanted: str | None) -> str:
        if wanted is None:
            return next(iter(self.scores))
        if wanted not in self.scores:
            raise ValueError(f"{self.folder!r} has no line {wanted!r}: it has scores of {', '.join(self.scores)}")
        return wanted


def run_compare(arguments: CompareArguments) -> dict:
    """Compare two reports and print how much higher the AUROCs of the second are.

    Returns:
        What `--json` prints.

    Raises:
        FileNotFoundError: a folder is not a report.
        ValueError: the reports are not of the same records with the same labels, or a line is not there.
    """
    first, second = _Report.read(arguments.first), _Report.read(arguments.second)
    if first.document["records_fingerprint"] != second.document["records_fingerprint"]:
        shared = len(np.intersect1d(first.records, second.records))
        raise ValueError(
            f"{first.folder!r} is of {len(first.records)} records for {first.document['task']}, {second.folder!r} of "
            f"{len(second.records)} for {second.document['task']}, {shared} of them shared: only figures of the same "
            "records with the same labels can be compared"
        )
    lines = arguments.lines or (None, None)
    keys = [report.line(wanted) for report, wanted in zip((first, second), lines, strict=True)]
    scores = [first.scores[keys[0]], second.scores[keys[1]]]
    difference = compare_auroc(
        first.labels, *scores, first.patients, num_resamples=arguments.num_resamples, seed=arguments.seed
    )
    per_class = [auroc(first.labels, own) for own in scores]
    document = {
        "task": first.document["task"],
        "records_fingerprint": first.document["records_fingerprint"],
        "classes": first.document["classes"],
        "num_resamples": arguments.num_resamples,
        "first": {"report": first.folder, "model": first.document["model"], "line": keys[0], "per_class": per_class[0]},
        "second": {
            "report": second.folder,
            "model": second.document["model"],
            "line": keys[1],
            "per_class": per_class[1],
        },
        "difference": asdict(difference),
    }
    document = plain_values(document)
    print(json.dumps(document, indent=2) if arguments.json else _format(document, first, difference, per_class))
    return document


def _format(document: dict, report: _Report, difference, per_class) -> str:
    """Return a Markdown table."""
    one, other = (f"{document[which]['model']}, {document[which]['line']}" for which in ("first", "second"))
    lines = [
        f"{document['task']}: AUROC on {len(report.records)} records of {len(np.unique(report.patients))} patients, "
        "and the difference with its 95% interval (the same draws of patients for both)",
        "",
        f"| | {one} | {other} | difference |",
        "| --- | --- | --- | --- |",
    ]

    def add(name: str, first: float, second: float, change: float, low: float, high: float) -> None:
        shown = "-" if np.isnan(change) else f"{change:+.3f} ({low:+.3f} to {high:+.3f})"
        values = ["-" if np.isnan(value) else f"{value:.3f}" for value in (first, second)]
        lines.append(markdown_row([name, *values, shown]))

    for i, code in enumerate(document["classes"]):
        ends = difference.per_class[i], difference.per_class_low[i], difference.per_class_high[i]
        add(code, per_class[0][i], per_class[1][i], *ends)
    macros = [macro_average(own) for own in per_class]
    add("macro", *macros, difference.macro, difference.macro_low, difference.macro_high)
    lines += ["", f"The second is higher in {difference.share_above:.1%} of the draws."]
    return "\n".join(lines)
