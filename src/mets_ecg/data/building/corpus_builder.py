"""`CorpusBuilder`, the base of every module in `corpora/`: where a publisher's recordings are, and how one is read.

A module says which recordings there are (`recordings`, from tables and file names alone) and how one becomes rows
(`read`). Everything else is `build.py`'s: missing files, processes, Parquet shards, resuming, the summary and the card.
"""

from __future__ import annotations

import csv
import os
import posixpath
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from datasets import Features

from ...io import read_wfdb_digital
from ..parts import DEFAULT_PARTS
from ..rows import corpus_features, signal_columns
from ..text_cells import is_empty


@dataclass(frozen=True)
class CorpusInfo:
    """What the data-set card says about a corpus.

    Attributes:
        title: as its publisher calls it.
        description: facts and traps, Markdown; leads, unit and rate among them.
        version: of the publisher's files, as `"1.0.3"` or `"1.0.1 to 1.0.3"`; None where it was not published.
        licence: the Hub's identifier of it, for example `"cc-by-4.0"`.
        doi: of the data set, without `https://doi.org/`; None, as are `homepage` and `citation`, where it was not
            published.
        homepage: URL of the publisher's page.
        citation: BibTeX.
        languages: codes of the reports' languages; none where there are no reports, or their language is not known.
        has_reports: whether there are reports although no language is named.
        num_recordings: of the whole set, where no table of it lists them all; None where one does.
        download_url: where the publisher's files lie beside a `SHA256SUMS.txt`; None where they are not to be
            had that way.
        command: what follows `mets-ecg build` for this corpus; None: its name.
    """

    title: str
    description: str
    version: str | None
    licence: str
    doi: str | None
    homepage: str | None
    citation: str | None
    languages: tuple[str, ...] = ()
    has_reports: bool = False
    num_recordings: int | None = None
    download_url: str | None = None
    command: str | None = None


@dataclass(frozen=True)
class Recording:
    """A recording that the source lists, not yet read.

    Attributes:
        record_id: as in the source.
        files: paths relative to the source, all of which must be there.
        split: one of the builder's `splits`.
        fields: the columns of its row that tables tell: `patient_id`, `report`, `statements`, `labels_...` (class
            names), `age`, `age_over_89`, `sex`, `device`, `fold`, `start_time` (ISO 8601). What is absent is null. In a
            label column null means that the classes are not known, `[]` that the recording has none of them.
    """

    record_id: str
    files: tuple[str, ...]
    split: str
    fields: dict = field(default_factory=dict)


class CorpusBuilder(ABC):
    """One corpus in its publisher's layout.

    Class attributes, of which `name`, `info`, `splits` and `label_columns` belong to the instance where the source, a
    user's own table, decides them:
        name: as commands spell it, with hyphens.
        version: of what `recordings` and `read` give for the same files; raised when that changes.
        info: for the card.
        configs: names of its versions as the Hub will list them, the default one first.
        splits: their names, in order.
        recordings_per_shard: how many go into one Parquet file, about.
        one_file: whether all recordings are in one file; otherwise each has files of its own.
        markers: shell patterns of files or folders in `source` that only this publisher's has, to recognise it by.
        settings: what the rows depend on beside files, `fields` and `version`; goes into the key of a build.
        missing_advice: what to do where none of the recordings is in the source.
        default_parts: what trains, validates and tests where the user does not say, see `mets_ecg.data.parts`; None:
            the splits or folds of the usual names that the rows have.
        shared_patients: patients whom the customary split has on both sides.

    Args:
        source: the publisher's folder, whole or in part.
        config: one of `configs`; the first by default.

    Raises:
        ValueError: there is no such config.
        FileNotFoundError: `source` is not a folder.
    """

    name: str
    version: ClassVar[int]
    info: CorpusInfo
    configs: ClassVar[tuple[str, ...]] = ("default",)
    splits: tuple[str, ...] = ("full",)  # `datasets` reserves "all"
    # 22 MB of 12 leads, 10 s, 500 Hz. pyarrow 26 may abort a script that leaves a streamed shard of 50 MB half read.
    recordings_per_shard: ClassVar[int] = 500
    one_file: ClassVar[bool] = False
    markers: ClassVar[tuple[str, ...]] = ()
    settings: str = ""
    missing_advice: ClassVar[str] = "give the folder as its publisher lays it out, or choose another config"
    default_parts: ClassVar[Mapping[str, tuple[str, ...]] | None] = DEFAULT_PARTS
    shared_patients: ClassVar[tuple[str, ...]] = ()

    def __init__(self, source: str | os.PathLike[str], config: str | None = None):
        self.source = Path(source)
        self.config = config or self.configs[0]
        if self.config not in self.configs:
            raise ValueError(f"{self.name} has no config {config!r}: there are {', '.join(self.configs)}")
        if not self.source.is_dir():
            raise FileNotFoundError(f"there is no folder {str(self.source)!r}: give {self.name}'s, as it was published")

    @property
    def label_columns(self) -> Mapping[str, Sequence[str]]:
        """Class names by label column, `{"labels_super": ("NORM", ...)}`."""
        return {}

    @property
    def extra_columns(self) -> Mapping[str, object]:
        """`datasets` feature types of columns that only this corpus has."""
        return {}

    @property
    def features(self) -> Features:
        """All columns of this corpus' rows."""
        return corpus_features(self.label_columns, self.extra_columns)

    @classmethod
    def recognises(cls, folder: str | os.PathLike[str]) -> bool:
        """Return whether a folder has a file or folder that only this publisher's has."""
        return any(any(Path(folder).glob(marker)) for marker in cls.markers)

    @classmethod
    def download_patterns(cls, config: str) -> tuple[str, ...]:
        """Return which of the publisher's files this config needs, as shell patterns."""
        return ("*",)

    @abstractmethod
    def recordings(self) -> list[Recording]:
        """Return all recordings that the source's tables or folders list, in a stable order, on disk or not.

        Raises:
            FileNotFoundError: a table is missing.
            ValueError: a table lacks a column or has an impossible value.
        """

    def read(self, recording: Recording) -> Iterator[dict]:
        """Yield the rows of a recording, one by default: its WFDB record as `files[0]` names it, beside its fields.

        Raises:
            ValueError: the recording is damaged; the message names it.
        """
        record = read_wfdb_digital(self.source / recording.files[0])
        yield {"record_id": recording.record_id, **recording.fields, **signal_columns(record)}

    def write_extras(self, folder: str | os.PathLike[str]) -> list[str]:
        """Write what a finished corpus has beside its rows and its card; return a line about each file.

        Args:
            folder: of the corpus.
        """
        return []

    def find(self) -> tuple[list[Recording], list[Recording]]:
        """Return the recordings whose files are there, and those that lack one.

        Raises:
            ValueError: two recordings have one id or one file.
            FileNotFoundError: nothing is there at all.
        """
        recordings = self.recordings()
        twice = [name for name, count in Counter(one.record_id for one in recordings).items() if count > 1]
        if twice:
            raise ValueError(
                f"{self.name}: {len(twice)} record ids occur more than once in {self.source}, {twice[0]!r} among them: "
                "give every recording once"
            )
        owners: dict[str, str] = {}
        for recording in () if self.one_file else recordings:
            for name in recording.files[:1]:
                owner = owners.setdefault(posixpath.normpath(name), recording.record_id)
                if owner != recording.record_id:
                    raise ValueError(
                        f"{self.name}: records {owner!r} and {recording.record_id!r} both name the file {name}: give "
                        "every recording its own"
                    )
        there, missing = [], []
        for recording in recordings:
            whole = all((self.source / name).is_file() for name in recording.files)
            (there if whole else missing).append(recording)
        if not there:
            first = f", for example {missing[0].files[0]}" if missing else ""
            raise FileNotFoundError(
                f"{self.name}: none of {len(missing)} recordings of config {self.config} is in {self.source}{first}: "
                f"{self.missing_advice}"
            )
        return there, missing


def read_table(
    path: str | os.PathLike[str],
    columns: Sequence[str],
    *,
    delimiter: str = ",",
    as_written: bool = False,
    advice: str = "download it again",
) -> list[dict[str, str]]:
    """Read a CSV table; a byte-order mark and line breaks in cells are understood.

    Empty cells are `""`, whatever the table writes for them (`mets_ecg.data.text_cells`).

    Args:
        path: the file.
        columns: those that must be there.
        delimiter: between cells.
        as_written: return every cell as the table has it, those that say `None` or `nan` too.
        advice: what to do about a damaged file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a column is missing, a row has more cells than columns, or the text is not UTF-8 or not CSV; the
            message names the line.
    """
    path = Path(path)
    if not path.is_file():
        found = first_names(path.parent) if path.parent.is_dir() else ""
        raise FileNotFoundError(
            f"no {path.name} in {path.parent}, which {f'holds {found}' if found else 'is empty or not a folder'}: "
            "give the folder as its publisher lays it out"
        )
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, delimiter=delimiter, strict=True)
        try:
            missing = [name for name in columns if name not in (reader.fieldnames or ())]
            if missing:
                raise ValueError(
                    f"{path} lacks the columns {', '.join(missing)}: it has {', '.join(reader.fieldnames or ())}"
                )
            rows = []
            for row in reader:
                if None in row:
                    raise ValueError(f"{path}, line {reader.line_num} has more cells than columns: {advice}")
                if not as_written:
                    row = {name: "" if cell is not None and is_empty(cell) else cell for name, cell in row.items()}
                rows.append(row)
            return rows
        except UnicodeDecodeError as error:
            raise ValueError(f"{path}, line {_first_damaged_line(path)} is not UTF-8: {advice}") from error
        except csv.Error as error:
            # The row that could not be read is not counted; an open quote may make it as long as the rest of the file.
            raise ValueError(f"{path} is not CSV from line {reader.line_num + 1} on ({error}): {advice}") from error


def is_apple_double(name: str) -> bool:
    """Return whether a file is what macOS keeps beside another, `._A0001.hea` beside `A0001.hea`: not a recording."""
    return name.startswith("._")


def first_names(folder: Path) -> str:
    """Return the first names in a folder, to say in an error what is there; empty where nothing is."""
    return ", ".join(sorted(entry.name for entry in folder.iterdir())[:8])


def _first_damaged_line(path: Path) -> int:
    """The error tells a place in a buffer, not in the file."""
    content = path.read_bytes()
    try:
        content.decode()
    except UnicodeDecodeError as error:
        return content.count(b"\n", 0, error.start) + 1
    raise AssertionError(f"{path} is UTF-8")
