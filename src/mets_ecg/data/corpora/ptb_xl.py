"""PTB-XL 1.0.1 to 1.0.3 in PhysioNet's layout.

Source: Wagner et al., "PTB-XL, a large publicly available electrocardiography dataset", 1.0.3, PhysioNet,
DOI 10.13026/kfzx-aw45, licence CC BY 4.0. 21,799 recordings of 10 s from 18,869 patients (1.0.1: 21,837 of 18,885) at
500 Hz and, downsampled by the publisher, at 100 Hz; 16-bit samples of 1 uV; ten folds that no patient crosses, of
which 9 and 10 are validated by humans.

What to know: headers write `AVR AVL AVF`. Reports are German, English and Swedish, and 555 of them hold an `Edit:` that
gives the labels away; `report` is the untouched original, to be cleaned by `data.reports.cleaning`. An age of 300
stands for over 89. A likelihood of 0 stands for "none given", and the statement counts (`mets_ecg.data.statements`). 72
recordings break Einthoven's law, by up to 5.9 mV, with correct checksums: that is in the original, and it stays, as
flat leads, large amplitudes and empty reports do.

Labels: a recording without a statement of a kind (diagnostic, form, rhythm) has null in that kind's columns and not
`[]`. The table has what was stated; where nothing was stated of a kind, that is not known to be absent, and benchmarks
of the field leave such recordings out of that task (of 21,799: 411 of the diagnostic ones, 12,821 of form, 769 of
rhythm).
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from ..building.corpus_builder import CorpusBuilder, CorpusInfo, Recording, read_table
from ..rows import age_columns
from ..statements import TASK_CLASSES, task_labels

_TABLE = "ptbxl_database.csv"
_FILENAME_COLUMNS = {"100hz": "filename_lr", "500hz": "filename_hr"}
_SEX = {"0": "male", "1": "female"}
_HIDDEN_AGE = 300


def _age(cell: str) -> float:
    age = float(cell)
    if not (0 <= age <= 120 or age == _HIDDEN_AGE):
        raise ValueError(f"an age of {cell} cannot be")
    return age


def _statements(cell: str) -> dict[str, float]:
    return {code: float(likelihood) for code, likelihood in ast.literal_eval(cell).items()}


# How a cell of each column is read; an empty one is null, but not where the row cannot be without it.
_COLUMNS = {
    "ecg_id": lambda cell: str(int(cell)),
    "patient_id": lambda cell: str(int(float(cell))),
    "age": _age,
    "sex": _SEX.__getitem__,
    "device": str,
    "recording_date": lambda cell: datetime.fromisoformat(cell).isoformat(),
    "report": str,
    "scp_codes": _statements,
    "strat_fold": {str(fold): fold for fold in range(1, 11)}.__getitem__,
    "filename_lr": str,
    "filename_hr": str,
}
_NEEDED = ("ecg_id", "scp_codes", "strat_fold", "filename_lr", "filename_hr")


class PTBXL(CorpusBuilder):
    """PTB-XL: one row a recording, in the order of the publisher's table."""

    name = "ptb-xl"
    version = 1
    configs = ("100hz", "500hz")
    markers = ("ptbxl_database.csv",)
    default_parts = {"train": ("1-8",), "validation": ("9",), "test": ("10",)}
    splits = ("train", "validation", "test")
    info = CorpusInfo(
        title="PTB-XL, a large publicly available electrocardiography dataset",
        description="""\
21,799 clinical 12-lead ECGs of 10 s from 18,869 patients, with a report and SCP-ECG statements each.

- **Signals**: 12 leads in the order I, II, III, AVR, AVL, AVF, V1 to V6 (named as in the files); integers of 1 uV
  (`gain` 1000 per mV); config `100hz` or `500hz`, the publisher's two versions of each recording. Nothing is filtered
  or left out: 72 recordings break Einthoven's law by up to 5.9 mV, some leads are flat, some amplitudes are large.
- **Splits** are the publisher's folds (column `fold`), which no patient crosses: `train` 1 to 8, `validation` 9,
  `test` 10. The labels of folds 9 and 10 were validated by humans.
- **Labels**: `statements` holds the SCP codes and their likelihoods as published. A statement counts whatever its
  likelihood, because 0 stands for "none given", not for "absent". `labels_super` (5) and `labels_sub` (23) are the
  diagnostic classes, `labels_diagnostic` (44), `labels_form` (19) and `labels_rhythm` (12) the statements of each kind
  (four are diagnostic and form), `labels_all` (71) all of them. A recording without a statement of that kind has null
  and does not count in that task, as in the benchmarks of the field.
- **Reports** (`report`) are the untouched originals, in German, English and Swedish. 555 hold an `Edit:` with the SCP
  codes and some more name codes in brackets, which gives the labels away: cut that before any use. Some are empty or
  say `trace only requested.`; an empty one is null. `report_en` and `findings` hold neither codes nor the recorder's
  notes.
- **Age** is null where the publisher writes 300, which hides an age above 89; `age_over_89` is true there.
""",
        version="1.0.1 to 1.0.3",
        licence="cc-by-4.0",
        doi="10.13026/kfzx-aw45",
        homepage="https://physionet.org/content/ptb-xl/1.0.3/",
        citation="""\
@misc{ptb-xl,
  title = {{PTB-XL}, a large publicly available electrocardiography dataset},
  author = {Wagner, Patrick and Strodthoff, Nils and Bousseljot, Ralf-Dieter and Samek, Wojciech and
            Schaeffter, Tobias},
  year = {2022},
  publisher = {PhysioNet},
  version = {1.0.3},
  doi = {10.13026/kfzx-aw45}
}
@article{wagner2020ptbxl,
  title = {{PTB-XL}, a large publicly available electrocardiography dataset},
  author = {Wagner, Patrick and Strodthoff, Nils and Bousseljot, Ralf-Dieter and Kreiseler, Dieter and
            Lunze, Fatima I. and Samek, Wojciech and Schaeffter, Tobias},
  journal = {Scientific Data},
  volume = {7},
  pages = {154},
  year = {2020},
  doi = {10.1038/s41597-020-0495-6}
}
""",
        languages=("de", "en", "sv"),
        download_url="https://physionet.org/files/ptb-xl/1.0.3/",
    )

    @property
    def label_columns(self) -> Mapping[str, Sequence[str]]:
        return {f"labels_{task}": names for task, names in TASK_CLASSES.items()}

    @classmethod
    def download_patterns(cls, config: str) -> tuple[str, ...]:
        folder = {"100hz": "records100", "500hz": "records500"}[config]
        return (_TABLE, f"{folder}/*/*")

    def recordings(self) -> list[Recording]:
        recordings = []
        for line in read_table(self.source / _TABLE, tuple(_COLUMNS)):
            values = self._convert(line)
            codes, age, fold = values["scp_codes"], values["age"], values["strat_fold"]
            try:
                labels = task_labels(codes)
            except ValueError as error:
                raise ValueError(f"{self.source / _TABLE}, ecg_id {values['ecg_id']}: {error}") from None
            path = values[_FILENAME_COLUMNS[self.config]]
            fields = {
                "patient_id": values["patient_id"],
                "report": values["report"],
                "statements": [{"code": code, "likelihood": likelihood} for code, likelihood in codes.items()],
                **{f"labels_{task}": names for task, names in labels.items()},
                **age_columns(age, hidden=age == _HIDDEN_AGE),
                "sex": values["sex"],
                "device": values["device"],
                "fold": fold,
                "start_time": values["recording_date"],
            }
            split = {9: "validation", 10: "test"}.get(fold, "train")
            recordings.append(Recording(values["ecg_id"], (f"{path}.hea", f"{path}.dat"), split, fields))
        return recordings

    def _convert(self, line: Mapping[str, str | None]) -> dict:
        """Return a line's values by column; an error names the line, the column and the cell."""
        values = {}
        for column, convert in _COLUMNS.items():
            cell = line[column]
            try:
                if not cell and column in _NEEDED:
                    raise ValueError("no cell")
                values[column] = convert(cell) if cell else None
            except (ValueError, SyntaxError, LookupError, TypeError, AttributeError) as error:
                raise ValueError(
                    f"{self.source / _TABLE}, ecg_id {line['ecg_id']}: {column} is {cell!r}, which cannot be: download "
                    "the table again"
                ) from error
        return values

    def read(self, recording: Recording) -> Iterator[dict]:
        for row in super().read(recording):
            expected = float(self.config.removesuffix("hz"))
            if row["sampling_rate"] != expected or set(row["gain"]) != {1000.0}:
                raise ValueError(
                    f"PTB-XL record {recording.record_id} ({recording.files[0]}) has {row['sampling_rate']:g} Hz and "
                    f"gains of {sorted(set(row['gain']))} per mV; {expected:g} Hz and 1000 per mV are expected: give "
                    "PTB-XL as published"
                )
            yield row
