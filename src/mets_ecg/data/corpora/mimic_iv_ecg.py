"""MIMIC-IV-ECG 1.0 in PhysioNet's layout, whole or in part.

Source: Gow et al., "MIMIC-IV-ECG: Diagnostic Electrocardiogram Matched Subset", 1.0, PhysioNet (2023),
DOI 10.13026/4nqg-sb35, licence ODbL 1.0. About 800,000 recordings of 10 s from nearly 160,000 patients, 500 Hz, 12
leads; WFDB format 16, 200 units per mV. `record_list.csv` lists them, `machine_measurements.csv` holds the machine's
report (`report_0` to `report_17`, a line of text each) and nine measurements. The cardiologists' reports are not in the
set: `waveform_note_links.csv`, not read here, names them in a part of MIMIC-IV that is not open.

What to know: rows are I, II, III, aVR, **aVF, aVL**, V1 to V6; leads are taken by the header's names. 29999 stands for
a measurement that was not made. In about 1 % of recordings (1 of a sample of 100) samples are missing; they stay
missing. The record line of headers has time before date, as WFDB wants it. Dates are shifted by patient, into the
future (from memory of MIMIC-IV, not read here), and the machines' clocks were not synchronized. Age and sex are not in
the set. Reports repeat: of 800,000 some 180,000 are distinct (a third party's count).

Decided here: a recording without a row in `machine_measurements.csv` is kept, with null report and measurements; a row
without a recording is left out, so a shortened record_list.csv works with the whole table. There are no published
splits: `fold` is SHA-256 of `subject_id` as a number, modulo 10, plus 1.

There are no labels, and no columns of them: the machine's report is text. Lines that are empty, whatever the table
writes for it (`nan`, `<NA>`), are not part of `report`, which is null where none is left. Ids are numbers, `10000001`
also where a table that was saved anew has `10000001.0`.

Tables are read row by row, and equal texts and numbers share one object: 800,000 recordings are listed in 20 s and
820 MiB (synthetic tables of the published size, one core).
"""

from __future__ import annotations

import csv
import hashlib
import logging
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import cache, lru_cache
from operator import itemgetter
from pathlib import Path

from datasets import Value

from ..building.corpus_builder import CorpusBuilder, CorpusInfo, Recording
from ..text_cells import is_empty

_logger = logging.getLogger(__name__)

MEASUREMENTS = (
    "rr_interval",
    "p_onset",
    "p_end",
    "qrs_onset",
    "qrs_end",
    "t_end",
    "p_axis",
    "qrs_axis",
    "t_axis",
)

_REPORT_LINES = tuple(f"report_{i}" for i in range(18))
_NOT_MADE = 29999
_ID = re.compile(r" *0*(\d+)(?:\.0*)? *", re.ASCII)
_SPLITS = {**dict.fromkeys(range(1, 9), "train"), 9: "validation", 10: "test"}


class MIMICIVECG(CorpusBuilder):
    """MIMIC-IV-ECG: one row a study, in the order of `record_list.csv`."""

    name = "mimic-iv-ecg"
    version = 1
    markers = ("record_list.csv",)
    default_parts = {"train": ("1-8",), "validation": ("9",), "test": ("10",)}
    splits = ("train", "validation", "test")
    info = CorpusInfo(
        title="MIMIC-IV-ECG: Diagnostic Electrocardiogram Matched Subset",
        description="""\
About 800,000 diagnostic 12-lead ECGs of 10 s from nearly 160,000 patients of one hospital in Boston, with the machine's
report and measurements.

- **Signals**: 12 leads at 500 Hz, integers of 5 uV (`gain` 200 per mV), as recorded. **The order is I, II, III, aVR,
  aVF, aVL, V1 to V6**, with aVF before aVL: choose leads by `lead_names`. Samples that are missing in the files (in
  about 1 % of recordings) are marked as such: fill or drop them before any statistic.
- **Splits** are made here, none is published: `fold` is the SHA-256 of `subject_id` as a number, modulo 10, plus 1;
  `train` is 1 to 8, `validation` 9, `test` 10. All recordings of a patient are in one fold.
- **Reports** (`report`) are the machine's, in English, unconfirmed: its lines joined by `. `, null where there are
  none. Many recordings share one text. The cardiologists' reports are in another, restricted part of MIMIC-IV.
- **`report_en` and `findings`** are made by a glossary that was written from PTB-XL's reports, so statements of this
  machine may keep words that it does not know (`mets-ecg reports` counts them).
- **Measurements** are the machine's: `rr_interval` and the times `p_onset`, `p_end`, `qrs_onset`, `qrs_end`, `t_end` in
  ms; `p_axis`, `qrs_axis`, `t_axis` in degrees. Null where not made (29999 in the source).
- **Patients**: `patient_id` is `subject_id`, by which the other parts of MIMIC-IV are joined; age and sex are there,
  not here. `record_id` is `study_id`.
- **Time**: `start_time` is shifted into the future, by one interval for all recordings of a patient; the clocks of the
  machines were not set by those of the hospital.
""",
        version="1.0",
        licence="odbl",
        doi="10.13026/4nqg-sb35",
        homepage="https://physionet.org/content/mimic-iv-ecg/1.0/",
        citation="""\
@misc{mimic-iv-ecg,
  title = {{MIMIC-IV-ECG}: Diagnostic Electrocardiogram Matched Subset},
  author = {Gow, Brian and Pollard, Tom and Nathanson, Larry A. and Johnson, Alistair and Moody, Benjamin and
            Fernandes, Chrystinne and Greenbaum, Nathaniel and Waks, Jonathan W. and Eslami, Parastou and
            Carbonati, Tanner and Chaudhari, Ashish and Herbst, Elizabeth and Moukheiber, Dana and Berkowitz, Seth and
            Mark, Roger and Horng, Steven},
  year = {2023},
  publisher = {PhysioNet},
  version = {1.0},
  doi = {10.13026/4nqg-sb35}
}
""",
        languages=("en",),
        download_url="https://physionet.org/files/mimic-iv-ecg/1.0/",
    )

    @property
    def extra_columns(self) -> Mapping[str, object]:
        return dict.fromkeys(MEASUREMENTS, Value("float32"))

    @classmethod
    def download_patterns(cls, config: str) -> tuple[str, ...]:
        return ("record_list.csv", "machine_measurements.csv", "files/*")

    def recordings(self) -> list[Recording]:
        recordings = []
        table = self.source / "record_list.csv"
        for subject, study, time, path in _read_rows(table, ("subject_id", "study_id", "ecg_time", "path")):
            if is_empty(subject) or is_empty(study) or is_empty(path):
                raise ValueError(
                    f"{table} has a row without subject_id, study_id or path ({study or path!r}): download it again"
                )
            study = _number(study, table, "study_id")
            patient, fold = _patient_and_fold(_number(subject, table, "subject_id"))
            try:
                start_time = None if is_empty(time) else datetime.fromisoformat(time).isoformat()
            except ValueError as error:
                raise ValueError(
                    f"{table}: study {study} has the ecg_time {time!r}, no date: download it again"
                ) from error
            fields = {"patient_id": patient, "fold": fold, "start_time": start_time}
            recordings.append(Recording(study, (f"{path}.hea", f"{path}.dat"), _SPLITS[fold], fields))
        self._add_measurements({recording.record_id: recording.fields for recording in recordings})
        without = [recording.record_id for recording in recordings if "report" not in recording.fields]
        if without:
            _logger.warning(
                f"MIMIC-IV-ECG: {len(without)} of {len(recordings)} studies have no row in machine_measurements.csv, "
                f"and are kept without report and measurements, {without[0]} among them"
            )
        return recordings

    def _add_measurements(self, fields_by_study: Mapping[str, dict]) -> None:
        table = self.source / "machine_measurements.csv"
        texts: dict[str, str] = {}
        for study, *cells in _read_rows(table, ("study_id", *_REPORT_LINES, *MEASUREMENTS)):
            study = _number(study, table, "study_id")
            fields = fields_by_study.get(study)
            if fields is None:
                continue
            if "report" in fields:
                raise ValueError(f"{table} has two rows of study {study}: give the table as published")
            report = _join_lines(cells[: len(_REPORT_LINES)])
            try:
                measured = map(_measurement, cells[len(_REPORT_LINES) :])
                fields |= {"report": report and texts.setdefault(report, report)}
                fields |= zip(MEASUREMENTS, measured, strict=True)
            except ValueError as error:
                raise ValueError(f"{table}: study {study} has a measurement that is not a number ({error})") from error


def _read_rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Yield these columns of a table row by row: the whole would fill gigabytes.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it lacks a column, a row is short, or the text is not UTF-8.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"no {path.name} in {path.parent}: give MIMIC-IV-ECG's folder as PhysioNet lays it out, record_list.csv "
            "and machine_measurements.csv beside files/"
        )
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file)
        try:
            header = next(reader, [])
            missing = [name for name in columns if name not in header]
            if missing:
                raise ValueError(f"{path} lacks the columns {', '.join(missing)}: it has {', '.join(header)}")
            choose = itemgetter(*map(header.index, columns))
            for cells in reader:
                if cells:
                    yield choose(cells)
        except IndexError:
            raise ValueError(
                f"{path}, line {reader.line_num} has fewer cells than columns: download it again"
            ) from None
        except UnicodeDecodeError as error:
            raise ValueError(f"{path} is not UTF-8 at byte {error.start}: download it again") from error


def _number(cell: str, table: Path, column: str) -> str:
    """Return an id in one spelling: "10000001" for "10000001.0", which would hash to another fold."""
    match = _ID.fullmatch(cell)
    if match is None:
        raise ValueError(f"{table} has the {column} {cell!r}, which is not a whole number: download it again")
    return match[1]


@lru_cache(maxsize=1024)  # a patient's rows follow one another
def _patient_and_fold(subject: str) -> tuple[str, int]:
    """Return the patient, one object for all recordings, and the fold that all of them are in."""
    return subject, int(hashlib.sha256(subject.encode()).hexdigest(), 16) % 10 + 1


def _join_lines(lines: Sequence[str]) -> str | None:
    """Return the lines as sentences, None if there are none; some end in a full stop already."""
    cells = (line.strip().rstrip(".").rstrip() for line in lines if line)
    sentences = [sentence for sentence in cells if not is_empty(sentence)]
    return f"{'. '.join(sentences)}." if sentences else None


@cache
def _measurement(cell: str) -> float | None:
    """Return a cell's number, one object for equal ones; None if it was not made."""
    if is_empty(cell):
        return None
    number = float(cell)
    if not math.isfinite(number):
        raise ValueError(f"could not use {cell!r}")
    return None if number == _NOT_MADE else number
