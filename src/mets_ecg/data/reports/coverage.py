"""The command `mets-ecg reports`: how much of a file's reports the glossary knows, and what it makes of them."""

from __future__ import annotations

import csv
import json
import random
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from mets_ecg_cli.reports import ReportsArguments

from ..parts import parse_folds
from ..text_cells import read_text
from .english import EnglishReport, render_english, report_language, report_words

_RECORD_ID_COLUMNS = ("ecg_id", "record_id")
_FOLD_COLUMNS = ("strat_fold", "fold")


@dataclass(frozen=True)
class Coverage:
    """What is known of a set of reports.

    Attributes:
        num_reports: all of them.
        num_empty: those that say nothing: empty, or only that a trace was requested.
        languages: number of reports by language, of those that say something.
        num_words: word occurrences.
        num_known_words: those that the glossary or the English vocabulary has.
        num_distinct_words: distinct words, as they are spelled.
        num_distinct_unknown_words: those of them that are not known.
        num_findings: distinct findings.
        unknown_words: the most frequent ones with their counts.
    """

    num_reports: int
    num_empty: int
    languages: dict[str, int]
    num_words: int
    num_known_words: int
    num_distinct_words: int
    num_distinct_unknown_words: int
    num_findings: int
    unknown_words: dict[str, int]


def run_reports(arguments: ReportsArguments) -> Coverage:
    """Render the reports of a file and print what is known of them.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file, its columns or its folds are not as expected, or it holds no report.
        FileExistsError: the output is there already.
    """
    if arguments.top < 0 or arguments.sample < 0:
        raise ValueError(f"--top is {arguments.top} and --sample {arguments.sample}; neither can be below 0")
    if arguments.output is not None and Path(arguments.output).exists():
        raise FileExistsError(f"{arguments.output!r} is there already: name another file, or remove it")
    reports = list(_read_reports(arguments))
    if not reports:
        chosen = f" in folds {', '.join(arguments.folds)}" if arguments.folds else ""
        raise ValueError(f"{arguments.file} holds no report{chosen}")
    rendered = {report: render_english(report) for report in dict.fromkeys(report for _, report in reports)}
    coverage = measure_coverage([report for _, report in reports], rendered, top=arguments.top)
    sample = random.Random(arguments.seed).sample(list(rendered), min(arguments.sample, len(rendered)))
    if arguments.json:
        examples = [{"report": report, "report_en": rendered[report].text} for report in sample]
        print(json.dumps({**asdict(coverage), "sample": examples}, indent=2, ensure_ascii=False))
    else:
        print(_show(coverage))
        for report in sample:
            print(f"\n{' '.join(report.split())}\n  -> {rendered[report].text or '(no finding)'}")
    if arguments.output is not None:
        with open(arguments.output, "w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["record_id", "report_en", "findings"])
            for record_id, report in reports:
                writer.writerow([record_id, rendered[report].text, "|".join(rendered[report].findings)])
        print(f"written to {arguments.output}", file=sys.stderr)
    return coverage


def measure_coverage(reports: Sequence[str], rendered: dict[str, EnglishReport], *, top: int = 30) -> Coverage:
    """Return what is known of reports, each counted as often as it occurs.

    Args:
        reports: the originals.
        rendered: their renderings, by original.
        top: unknown words to list.
    """
    counts = Counter(reports)
    unknown, words = Counter(), Counter()
    findings: set[str] = set()
    languages = Counter()
    for report, count in counts.items():
        own = rendered[report]
        findings.update(own.findings)
        for word in own.unknown_words:
            unknown[word] += count
        for word in report_words(report):
            words[word] += count
        if own.findings:
            languages[report_language(report) or "unknown"] += count
    num_words = sum(rendered[report].num_words * count for report, count in counts.items())
    return Coverage(
        num_reports=len(reports),
        num_empty=sum(count for report, count in counts.items() if not rendered[report].findings),
        languages=dict(languages.most_common()),
        num_words=num_words,
        num_known_words=num_words - sum(unknown.values()),
        num_distinct_words=len(words),
        num_distinct_unknown_words=len(unknown),
        num_findings=len(findings),
        unknown_words=dict(unknown.most_common(top)),
    )


def _show(coverage: Coverage) -> str:
    share = 100 * coverage.num_known_words / max(coverage.num_words, 1)
    distinct = coverage.num_distinct_words - coverage.num_distinct_unknown_words
    languages = ", ".join(f"{language} {count}" for language, count in coverage.languages.items())
    lines = [
        f"{coverage.num_reports} reports, {coverage.num_empty} of them empty or trace only; {languages}",
        f"words: {coverage.num_known_words} of {coverage.num_words} known ({share:.2f} %), "
        f"{distinct} of {coverage.num_distinct_words} distinct ones",
        f"{coverage.num_findings} distinct findings",
    ]
    if coverage.unknown_words:
        lines.append("words that are not known:")
        lines += [f"{count:7d}  {word}" for word, count in coverage.unknown_words.items()]
    return "\n".join(lines)


def _read_reports(arguments: ReportsArguments) -> Iterator[tuple[str, str]]:
    """Yield record id and report of each row wanted."""
    path = Path(arguments.file)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {arguments.file!r}: give a csv with a column of reports, or a txt")
    try:
        if path.suffix.lower() == ".txt":
            if arguments.folds:
                raise ValueError(f"{path} is a txt and has no folds: leave --folds out, or give a csv")
            for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), start=1):
                yield str(number), read_text(line) or ""
        else:
            with path.open(encoding="utf-8-sig", newline="") as file:
                yield from _read_rows(arguments, csv.DictReader(file))
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} is no UTF-8 (byte {error.object[error.start]:#04x} at {error.start}): convert it first, "
            f"for example by `iconv -f latin1 -t utf-8`"
        ) from error
    except csv.Error as error:
        raise ValueError(f"{path} is not CSV ({error}): give a csv with a header line, or a txt") from error


def _read_rows(arguments: ReportsArguments, reader: csv.DictReader) -> Iterator[tuple[str, str]]:
    names = reader.fieldnames or []
    if arguments.column not in names:
        raise ValueError(
            f"{arguments.file} has no column {arguments.column!r}, it has {', '.join(names) or 'none'}: "
            "name the reports' one by --column"
        )
    id_column = next((name for name in _RECORD_ID_COLUMNS if name in names), None)
    fold_column = next((name for name in _FOLD_COLUMNS if name in names), None)
    if arguments.folds and fold_column is None:
        raise ValueError(f"{arguments.file} has no column {' or '.join(_FOLD_COLUMNS)} for --folds: leave --folds out")
    words = ",".join(arguments.folds or ()).split(",")
    wanted = {fold for word in words for fold in parse_folds(word)} if arguments.folds else None
    for number, row in enumerate(reader, start=1):
        if wanted is not None:
            try:
                fold = int(float(row[fold_column]))
            except (TypeError, ValueError):
                raise ValueError(
                    f"{arguments.file}, row {number}: the fold {row[fold_column]!r} is not a number"
                ) from None
            if fold not in wanted:
                continue
        yield row[id_column] if id_column else str(number), read_text(row[arguments.column]) or ""
