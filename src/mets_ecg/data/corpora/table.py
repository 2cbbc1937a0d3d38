"""A user's own recordings: a table with one line a recording, beside the files that it names.

The table is CSV, TSV or Parquet. Its columns and what their cells may be are in the README, "Your own recordings", and
in `_COLUMNS` here; the paths in it are relative to its folder. Files are what `mets_ecg.recordings.read_recording`
reads from a path, and NumPy arrays (`.npy`) of shape `(leads, samples)`, whose sampling rate a column or a flag states.
What a file states of itself is used, and the table may not contradict it.

Decided here: signals are stored as integers of 1 uV. An empty label cell is null, not known; `none` is `[]`, none of
the classes; `None` in a label cell, which tables use for both, is refused. Integers in a `.npy` file without a unit are
refused, because they are hardly millivolts. The licence is not known, and the card says so.
"""

from __future__ import annotations

import difflib
import logging
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from mets_ecg_cli.build import corpus_names

from ...io import parse_sex
from ...io.wfdb_header import read_header
from ...recordings import read_recording
from ...signals import canonical_unit
from ..building.corpus_builder import CorpusBuilder, CorpusInfo, Recording, read_table
from ..parts import PARTS
from ..rows import age_columns, encode_signal, is_label_column
from ..text_cells import is_empty

_logger = logging.getLogger(__name__)

_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_FORMATS = (*_DELIMITERS, ".parquet")

_DESCRIPTION = """\
{count} recordings of a table, `{table}`.

- **Signals**: integers of 1 uV (`gain` 1000 per mV), at the rate and with the leads that the files or the table state.
- **Splits**: those of the column `split` of the table; one, `full`, where it has none.
- **Labels** are the table's: an empty cell is null, `none` is `[]`.
- **`record_id`** is the table's, or the path of the file in it.
"""


def _text(value) -> str:
    # Tools that have no missing integers write the patient 17 as 17.0.
    whole = isinstance(value, float) and value.is_integer()
    return str(int(value) if whole else value).strip()


def _integer(value) -> int:
    number = float(value)
    if not number.is_integer():
        raise ValueError
    return int(number)


def _positive(value) -> float:
    number = float(value)
    if not (math.isfinite(number) and number > 0):
        raise ValueError
    return number


def _age(value) -> float:
    number = float(value)
    if not 0 <= number <= 130:
        raise ValueError
    return number


def _sex(value) -> str:
    sex = parse_sex(str(value))
    if sex is None:
        raise ValueError
    return sex


def _split(value) -> str:
    if _text(value) not in PARTS:
        raise ValueError
    return _text(value)


def _time(value) -> str:
    if not isinstance(value, date):
        value = datetime.fromisoformat(_text(value)) if len(_text(value)) > 10 else date.fromisoformat(_text(value))
    return value.isoformat()


def _names(value) -> list[str]:
    names = re.split(r"[\s,]+", value.strip()) if isinstance(value, str) else [str(name) for name in value]
    return [name for name in names if name]


# Columns of the table -> how a cell is read, and what it must be. `split` and label columns are read with all rows.
_COLUMNS = {
    "path": (_text, "a path"),
    "record_id": (_text, "a text"),
    "patient_id": (_text, "a text"),
    "report": (str, "a text"),
    "split": (_split, " or ".join(PARTS)),
    "fold": (_integer, "a whole number"),
    "age": (_age, "a number of years"),
    "sex": (_sex, "male or female"),
    "device": (_text, "a text"),
    "start_time": (_time, "a time in ISO 8601, as 2024-05-31T10:15:00 or 2024-05-31"),
    "sampling_rate": (_positive, "a number of Hz"),
    "lead_names": (_names, "names with blanks or commas between them"),
    "units": (canonical_unit, "mV, uV or V"),
}
_STATED = ("sampling_rate", "lead_names", "units")  # of a file, where it does not say so itself


class TableCorpus(CorpusBuilder):
    """A user's recordings: one row each, in the order of the table.

    The corpus has the table's name, with hyphens: `my_ecgs.csv` gives `my-ecgs`.

    Args:
        source: the table, a `.csv`, `.tsv` or `.parquet` file.
        config: `"default"`, the only one.
        sampling_rate: Hz, of files that neither say it themselves nor have a cell for it.
        lead_names: one a row of the signal, alike.
        units: `"mV"`, `"uV"` or `"V"`, alike.

    Raises:
        FileNotFoundError: there is no such table.
        ValueError: it is not a table, lacks the column `path`, or a cell has a value that it cannot have; the message
            names the row. Or the corpus would have a published corpus' name.
    """

    name = "table"
    version = 1
    default_parts = None
    missing_advice = "paths in the column path are relative to the folder of the table"
    label_columns: Mapping[str, Sequence[str]] = {}

    def __init__(
        self,
        source: str | os.PathLike[str],
        config: str | None = None,
        *,
        sampling_rate: float | None = None,
        lead_names: Sequence[str] | None = None,
        units: str | None = None,
    ):
        self.table = Path(source)
        if self.table.suffix.lower() not in _FORMATS or self.table.is_dir():
            raise ValueError(f"{str(source)!r} is not a table: give a {', '.join(_FORMATS)} file")
        if not self.table.is_file():
            raise FileNotFoundError(f"there is no table {str(source)!r}")
        super().__init__(self.table.parent, config)
        self.name = re.sub(r"[\W_]+", "-", self.table.stem.lower()).strip("-") or type(self).name
        if self.name != type(self).name and self.name in corpus_names():
            raise ValueError(
                f"{self.table} would give a corpus {self.name}, which is a published one: rename the table"
            )
        stated = {"sampling_rate": sampling_rate, "lead_names": lead_names, "units": units}
        for name, value in stated.items():
            if value is not None:
                stated[name] = self._parse(name, value, f"--{name.replace('_', '-')}")
        lines = self._read_lines()
        self.label_columns = self._read_labels(lines)
        self._recordings = [self._recording(number, line, stated) for number, line in enumerate(lines, start=1)]
        self._check_files_state_enough()
        given = {recording.split for recording in self._recordings}
        if type(self).splits[0] in given and len(given) > 1:
            bare = next(one for one in self._recordings if one.split not in PARTS)
            raise ValueError(
                f"{self.table}: {bare.record_id} has no split, others have: write {' or '.join(PARTS)} in every row, "
                "or leave the column out"
            )
        self.splits = tuple(split for split in (*PARTS, *type(self).splits) if split in given)
        # The numbers of classes in the rows depend on the classes of the whole table.
        self.settings = f" {sorted(self.label_columns.items())}" if self.label_columns else ""
        self.info = CorpusInfo(
            title=self.table.name,
            description=_DESCRIPTION.format(count=len(lines), table=self.table.name),
            version=None,
            licence="unknown",
            doi=None,
            homepage=None,
            citation=None,
            has_reports=any(one.fields.get("report") is not None for one in self._recordings),
            command=f"table --source {self.table.name}",
        )

    def __getstate__(self) -> dict:
        # A process that reads recordings gets those of its shard, not the whole table with each.
        return self.__dict__ | {"_recordings": None}

    @classmethod
    def recognises(cls, folder: str | os.PathLike[str]) -> bool:
        return Path(folder).is_file() and Path(folder).suffix.lower() in _FORMATS

    def recordings(self) -> list[Recording]:
        return self._recordings

    def read(self, recording: Recording) -> Iterator[dict]:
        """Yield the row of a recording.

        Raises:
            ValueError: the file cannot be read right, contradicts the table, or has an amplitude above 32.767 mV.
        """
        fields = dict(recording.fields)
        stated = {name: fields.pop(name, None) for name in _STATED}
        path = self.source / recording.files[0]
        source = _load_array(path, stated["units"]) if _is_array(path) else str(path)
        try:
            read = read_recording(source, **stated, label=str(path))
        except ValueError as error:
            if not any(f"{name}=" in str(error) for name in _STATED):
                raise
            flags = ", ".join(f"--{name.replace('_', '-')}" for name in _STATED)
            raise ValueError(f"{error} (here: columns of the table, or {flags})") from error
        try:
            columns = encode_signal(read.signal_mv)
        except ValueError as error:
            assumed = "; its unit is not stated, mV was assumed" if "units" in read.assumed else ""
            raise ValueError(f"{path}: {error}{assumed}: state the right unit in the column units") from error
        yield {
            "record_id": recording.record_id,
            **fields,
            **columns,
            "sampling_rate": read.sampling_rate,
            "lead_names": list(read.lead_names),
        }

    def write_extras(self, folder: str | os.PathLike[str]) -> list[str]:
        """Write a task file for each label column, `labels.yaml`; one that is there already is left as it is.

        A task is single-label where every record with known labels has exactly one.
        """
        said = []
        for column, classes in self.label_columns.items():
            path = Path(folder) / f"{column}.yaml"
            known = [one.fields[column] for one in self._recordings if one.fields.get(column) is not None]
            single = len(classes) > 1 and all(len(labels) == 1 for labels in known)
            task = {
                "corpus": self.name,
                "label_column": column,
                "problem_type": "single-label" if single else "multi-label",
                "classes": {name: {"name": name} for name in classes},
            }
            text = _TASK_COMMENT + yaml.safe_dump(task, sort_keys=False, allow_unicode=True)
            counted = f"{len(classes)} classes, {task['problem_type']}, {len(known)} records with known labels"
            try:
                with path.open("x", encoding="utf-8") as file:
                    file.write(text)
            except FileExistsError:
                if path.read_text(encoding="utf-8") != text:
                    counted = "left as it is, changed by you or of an earlier table"
            said.append(f"task for --task: {path} ({counted})")
        return said

    def _read_lines(self) -> list[dict]:
        """Return the rows of the table by known column; say which other columns it has."""
        suffix = self.table.suffix.lower()
        if suffix == ".parquet":
            try:
                columns = [name for name in pq.read_schema(self.table).names if not name.startswith("__index_level_")]
                lines = pq.read_table(self.table, columns=list(filter(_is_known, columns))).to_pylist()
            except pa.ArrowInvalid as error:
                raise ValueError(f"{self.table} is not a Parquet file, or damaged ({error})") from error
            if "path" not in columns:
                raise ValueError(f"{self.table} lacks the columns path: it has {', '.join(columns)}")
        else:
            lines = read_table(
                self.table,
                ["path"],
                delimiter=_DELIMITERS[suffix],
                as_written=True,  # in a label column `none` means something
                advice="mend the line; a cell with a delimiter or a line break in it is put in quotes",
            )
            columns = list(lines[0]) if lines else []
        if not lines:
            raise ValueError(f"{self.table} has no rows: give one for each recording")
        ignored = []
        for column in columns:
            if not _is_known(column):
                nearest = difflib.get_close_matches(column.lower(), [*_COLUMNS, "labels"], n=1, cutoff=0.7)
                ignored.append(f"{column} (did you mean {nearest[0]}?)" if nearest else column)
        if ignored:
            _logger.warning(f"{self.table}: columns that are not used: {', '.join(ignored)}")
        return [{name: value for name, value in line.items() if _is_known(name)} for line in lines]

    def _read_labels(self, lines: list[dict]) -> dict[str, list[str]]:
        """Read the label cells in place; return the classes of each label column, in alphabetical order.

        A column without any class is taken out.
        """
        classes = {}
        for column in filter(is_label_column, list(lines[0])):
            for number, line in enumerate(lines, start=1):
                line[column] = self._labels(line[column], column, number)
            found = sorted({label for line in lines for label in line[column] or ()})
            if found:
                classes[column] = found
                continue
            _logger.warning(f"{self.table}: column {column} names no class, and is not used")
            for line in lines:
                del line[column]
        return classes

    def _labels(self, cell, column: str, number: int) -> list[str] | None:
        if isinstance(cell, (list, tuple)):
            return list(dict.fromkeys(map(_text, cell)))
        text = "" if _is_missing(cell) and not isinstance(cell, str) else _text(cell)  # `none` is not missing here
        if text == "none":
            return []
        if text.lower() == "none":
            raise ValueError(
                f"{self.table}, row {number}: {column} is {text!r}: write none for a recording with none of the "
                "classes, and leave the cell empty where its classes are not known"
            )
        labels = [label.strip() for label in text.split(";")]
        return None if is_empty(text) else list(dict.fromkeys(label for label in labels if label))

    def _recording(self, number: int, line: dict, stated: Mapping) -> Recording:
        cells = {"report": None} if "report" in line else {}  # empty reports are counted where there are others
        for name, value in line.items():
            if name in self.label_columns:
                cells[name] = value
            elif not _is_missing(value):
                cells[name] = self._parse(name, value, f"{self.table}, row {number}: {name}")
        path = cells.pop("path", None)
        if path is None:
            raise ValueError(f"{self.table}, row {number} has no path")
        cells |= {name: value for name, value in stated.items() if value is not None and name not in cells}
        if "age" in cells:
            cells |= age_columns(cells["age"])
        record_id, split = cells.pop("record_id", path), cells.pop("split", type(self).splits[0])
        return Recording(record_id, self._files(path), split, cells)

    def _parse(self, name: str, value, what: str):
        parse, expected = _COLUMNS[name]
        try:
            return parse(value)
        except (ValueError, TypeError, OverflowError) as error:
            raise ValueError(f"{what} must be {expected}, got {value!r}") from error

    def _files(self, path: str) -> tuple[str, ...]:
        """Return all files of a recording: of a WFDB record its header, and the signal files that the header names."""
        stem, suffix = os.path.splitext(path)
        record = stem if suffix in (".hea", ".dat", ".mat") else path
        header = f"{record}.hea"
        if not (self.source / header).is_file():
            return (header if suffix in ("", ".hea", ".dat") else path,)
        try:
            signals = read_header(self.source / record).signals  # none where the record has several segments
        except ValueError:  # the build names it as damaged
            return (header,)
        names = dict.fromkeys(signal.file_name for signal in signals if signal.file_name != "~")  # ~: in no file
        return (header, *((Path(path).parent / name).as_posix() for name in names))

    def _check_files_state_enough(self) -> None:
        """Refuse arrays without a sampling rate; say what is assumed of the others."""
        arrays = [one for one in self._recordings if _is_array(one.files[0])]
        for recording in arrays:
            if "sampling_rate" not in recording.fields:
                raise ValueError(
                    f"{self.table}: the sampling rate of {recording.files[0]} is not stated: give a column "
                    "sampling_rate, or --sampling-rate for all .npy files. A wrong rate would change every interval"
                )
        for name, assumed in (("units", "mV"), ("lead_names", "the order I, II, III, aVR, aVL, aVF, V1 to V6")):
            count = sum(name not in one.fields for one in arrays)
            if count:
                _logger.warning(f"{self.table}: no {name} stated for {count} .npy files: {assumed} is assumed")


_TASK_COMMENT = """\
# A task for `mets-ecg finetune` and `mets-ecg evaluate`, written by `mets-ecg build table`. Put each class into words
# for zero-shot classification: the name goes into the template, phrases are as reports put the finding, for example
#   AF: {name: atrial fibrillation, en: ["atrial fibrillation", "absolute arrhythmia"]}
# A file that you have changed is never written again.
"""


def _is_known(column) -> bool:
    return column in _COLUMNS or is_label_column(str(column))


def _is_missing(value) -> bool:
    return (
        value is None
        or (isinstance(value, float) and math.isnan(value))
        or (isinstance(value, str) and is_empty(value))
    )


def _is_array(path: str | os.PathLike[str]) -> bool:
    return os.fspath(path).lower().endswith(".npy")


def _load_array(path: Path, units: str | None) -> np.ndarray:
    try:
        array = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ValueError(f"{path} is damaged, or not a .npy file of numbers ({error})") from error
    if units is None and array.dtype.kind in "iu":
        raise ValueError(f"{path} has integers and no unit is stated: give it, in the column units or by --units")
    return array
