"""What `mets-ecg predict` prints of a recording: text, JSON or CSV, and scores over time."""

from __future__ import annotations

import csv
import json
import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence

from tqdm.auto import tqdm

from .remarks import gaps

# Characters of a line, whatever the terminal says.
_NARROWEST = 40


def over_time(answer: Mapping) -> list[tuple[float, dict[str, float], str]]:
    """Return when each window begins (s), its scores by label and a remark; parts that were left out have no scores."""
    windows = answer["windows"]
    rows = [(window["start"], by_label(window["scores"]), "" if window["num_qrs"] else "no beat") for window in windows]
    rows += [(start, {}, "left out") for start, _ in gaps(windows, answer["duration"])]
    return sorted(rows, key=lambda row: row[0])


def by_label(scores: Iterable[dict]) -> dict[str, float]:
    """Return scores by label."""
    return {one["label"]: one["score"] for one in scores}


class JSONWriter:
    """Prints a line of JSON for each recording."""

    def __call__(self, answer: dict) -> None:
        tqdm.write(json.dumps(answer, default=float), file=sys.stdout)


class CSVWriter:
    """Prints a line for each recording, or for each of its windows, with a column for each label as it was asked."""

    def __init__(self, labels: Sequence[str], *, windows: bool):
        self.labels, self.windows = list(labels), windows
        columns = ["start", "remark"] if windows else ["duration", "qrs_found", "remarks"]
        self.columns = ["file", *self.labels, *columns, "error"]
        self.writer = csv.DictWriter(sys.stdout, self.columns, lineterminator="\n")
        self.writer.writeheader()

    def __call__(self, answer: dict) -> None:
        row = {"file": answer["file"], "error": answer.get("error", "")}
        if "error" in answer:
            self.writer.writerow(row)
        elif self.windows:
            for start, scores, remark in over_time(answer):
                self.writer.writerow(row | self._cells(scores) | {"start": f"{start:g}", "remark": remark})
        else:
            found = {"duration": f"{answer['duration']:g}", "qrs_found": answer["qrs_found"]}
            remarks = {"remarks": "; ".join(answer["remarks"])}
            self.writer.writerow(row | self._cells(by_label(answer["scores"])) | found | remarks)

    def _cells(self, scores: Mapping[str, float]) -> dict[str, str]:
        return {label: f"{scores[label]:.4f}" for label in self.labels if label in scores}


class TextWriter:
    """Prints scores best first, remarks and, if asked for, a table over time, as wide as the terminal."""

    def __init__(self, *, windows: bool):
        self.windows = windows

    def __call__(self, answer: dict) -> None:
        if "error" not in answer:
            tqdm.write("\n".join(self._lines(answer)), file=sys.stdout)

    def _lines(self, answer: dict) -> Iterator[str]:
        windows, width = answer["windows"], max(_NARROWEST, shutil.get_terminal_size((80, 24)).columns)
        read = f"read {windows[0]['start']:.1f} to {windows[-1]['stop']:.1f} s"
        if len(windows) > 1:
            read += f" by {len(windows)} windows"
        yield f"{answer['file']}: {answer['duration']:.1f} s at {answer['sampling_rate']:g} Hz, {read}"
        for i, one in enumerate(answer["scores"], start=1):
            present = "" if one.get("present") is None else "  present" if one["present"] else ""
            number = f"{i:3}  " if self.windows else ""
            yield f"  {number}{one['score']:.2f}  {one['label']}{present}"
        for remark in answer["remarks"]:
            yield textwrap.fill(remark, width, initial_indent="  ", subsequent_indent="    ")
        if self.windows:
            labels = [one["label"] for one in answer["scores"]][: (width - 25) // 6]
            if len(labels) < len(answer["scores"]):
                yield f"  over time the first {len(labels)}; all of them by --csv, --json or in a wider terminal"
            yield "    from s" + "".join(f"{i + 1:6}" for i in range(len(labels)))
            for start, scores, remark in over_time(answer):
                cells = (f"{scores[label]:6.2f}" if label in scores else "     -" for label in labels)
                yield f"{start:10.0f}{''.join(cells)}  {remark}".rstrip()
