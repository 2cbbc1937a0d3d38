"""Arguments of `mets-ecg reports`."""

from __future__ import annotations

from dataclasses import dataclass

from .parser import argument


@dataclass
class ReportsArguments:
    """Render a file's reports in English, say how many of their words are known, and list those that are not."""

    file: str = argument(help="csv with a column of reports, or txt with a report a line")
    column: str = argument("report", help="of the csv: where the reports are")
    folds: list[str] | None = argument(None, help="of the csv: only rows of these folds, by its strat_fold or fold")
    top: int = argument(30, help="words that are not known to list, most frequent first")
    sample: int = argument(0, help="reports to print beside their rendering, drawn at random")
    seed: int = argument(0, help="of the draw")
    output: str | None = argument(None, help="csv to write: record_id, report_en, findings (joined by |)")
    json: bool = argument(False, help="print JSON")
