"""PTB-XL 1.0.1 to 1.0.3 in PhysioNet's layout, whole or in part, as corpus rows.

Source: Wagner et al., "PTB-XL, a large publicly available electrocardiography dataset", 1.0.3, PhysioNet,
DOI 10.13026/kfzx-aw45, licence CC BY 4.0. 21,799 recordings of 10 s from 18,869 patients at 500 Hz and,
downsampled by the publisher, at 100 Hz; 16-bit samples of 1 uV; ten folds that no patient crosses, of which 9
and 10 are validated by humans.

What to know: headers write `AVR AVL AVF`. Reports are German, English and Swedish, and 555 of them hold an
`Edit:` that gives the labels away; `report` is the untouched original, to be cleaned by
`mets_ecg.data.reports`. An age of 300 stands for over 89. 72 recordings break Einthoven's law, by up to 5.9
mV, with correct checksums: that is in the original, and it stays, as flat leads, large amplitudes and empty
reports do.
"""

from __future__ import annotations

import ast
import csv
import logging
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from datasets import Dataset
from datasets.exceptions import DatasetGenerationError

from .rows import code_digest, corpus_features
from .statements import SUPERCLASSES, superclasses

_logger = logging.getLogger(__name__)

_TABLE = "ptbxl_database.csv"
_FILENAME_COLUMNS = {100: "filename_lr", 500: "filename_hr"}
_COLUMNS = ("ecg_id", "patient_id", "age", "sex", "device", "recording_date", "report", "scp_codes", "strat_fold")
_SEX = {"0": "male", "1": "female"}
_RECORDS_PER_SHARD = 256


def load_ptb_xl(
    source: str | os.PathLike[str],
    *,
    sampling_rate: int = 100,
    folds: Iterable[int] | None = None,
    num_proc: int | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
) -> Dataset:
    """Return PTB-XL as a corpus: one row a recording, in the order of the publisher's table.

    Rows are written to the `datasets` cache once and memory-mapped from there. The cache is keyed by the
    table's rows, by the size and time of every recording's files and by this module, so a changed source is
    read anew.

    Args:
        source: the folder that holds `ptbxl_database.csv` and `records100` or `records500`.
        sampling_rate: 100 or 500 Hz, the publisher's two versions of each recording.
        folds: the folds wanted, of 1 to 10; all of them by default.
        num_proc: processes that read recordings; one by default.
        cache_dir: where `datasets` writes the rows; its own cache folder by default.

    Returns:
        Rows with the columns of `corpus_features` and `labels_super`. Recordings which the table lists and
        the disk lacks are left out, and counted in one warning.

    Raises:
        FileNotFoundError: `source` has no table, or none of the recordings wanted.
        ValueError: an impossible rate or fold, a table without the columns needed, or a damaged recording.
        TypeError: `folds` is a single number or string.
    """
    source = Path(source)
    if sampling_rate not in _FILENAME_COLUMNS:
        raise ValueError(f"sampling_rate is {sampling_rate!r}; PTB-XL has 100 and 500 Hz: resample from one of them")
    wanted = _check_folds(folds)
    table = [row for row in _read_table(source) if wanted is None or int(row["strat_fold"]) in wanted]
    records = _find_records(source, table, sampling_rate)
    starts = range(0, len(records), _RECORDS_PER_SHARD)
    shards = [records[start : start + _RECORDS_PER_SHARD] for start in starts]
    digest = code_digest(sys.modules[__name__])
    try:
        dataset = Dataset.from_generator(
            _rows,
            features=corpus_features({"labels_super": SUPERCLASSES}),
            cache_dir=None if cache_dir is None else str(cache_dir),
            gen_kwargs={"shards": shards, "digest": digest},
            num_proc=None if num_proc is None else min(num_proc, len(shards)),
        )
    except DatasetGenerationError as error:
        if isinstance(error.__cause__, (ValueError, OSError)):
            raise error.__cause__ from None  # it names the record; the wrapper says only "failed"
        for record in records:  # the cause stays in the other process: meet it here
            _read_signal(record["path"])
        raise
    dataset.info.license = "CC BY 4.0"
    dataset.info.homepage = "https://doi.org/10.13026/kfzx-aw45"
    return dataset


def _check_folds(folds: Iterable[int] | None) -> frozenset[int] | None:
    if folds is None:
        return None
    if isinstance(folds, (str, int)):
        raise TypeError(f"folds must be a list of numbers, got {folds!r}: write [{folds}]")
    wanted = frozenset(folds)
    if not wanted or not wanted <= set(range(1, 11)):
        raise ValueError(f"folds are {sorted(wanted, key=str)}; PTB-XL has folds 1 to 10: give at least one of them")
    return wanted


def _read_table(source: Path) -> list[dict[str, str]]:
    path = source / _TABLE
    if not path.is_file():
        found = ", ".join(sorted(entry.name for entry in source.iterdir())[:8]) if source.is_dir() else ""
        raise FileNotFoundError(
            f"no {_TABLE} in {source}, which {f'holds {found}' if found else 'is empty or not a folder'}; "
            f"give PTB-XL's folder as PhysioNet lays it out: {_TABLE} beside records100/ and records500/"
        )
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        needed = (*_COLUMNS, *_FILENAME_COLUMNS.values())
        missing = [name for name in needed if name not in (reader.fieldnames or ())]
        if missing:
            raise ValueError(f"{path} lacks the columns {', '.join(missing)}: give the table of PTB-XL 1.0.1 to 1.0.3")
        return list(reader)


def _find_records(source: Path, table: Sequence[Mapping[str, str]], sampling_rate: int) -> list[dict]:
    """Return path, file state and row without signal of the recordings on disk; warn about the others."""
    records, missing = [], []
    for line in table:
        path = source / line[_FILENAME_COLUMNS[sampling_rate]]
        try:
            stats = [os.stat(f"{path}{suffix}") for suffix in (".hea", ".dat")]
        except FileNotFoundError:
            missing.append(path.name)
            continue
        state = [number for stat in stats for number in (stat.st_size, stat.st_mtime_ns)]
        records.append({"path": str(path), "state": state, "row": _row_without_signal(line)})
    if not records:
        there = [name for name in ("records100", "records500") if (source / name).is_dir()]
        raise FileNotFoundError(
            f"none of {len(table)} recordings at {sampling_rate} Hz is in {source}, which has "
            f"{' and '.join(there) or 'no records100 or records500'}; "
            "choose the sampling_rate and folds that are there"
        )
    if missing:
        names = ", ".join(missing[:5]) + (", ..." if len(missing) > 5 else "")
        _logger.warning(
            f"PTB-XL: {len(missing)} of {len(table)} recordings at {sampling_rate} Hz are listed in {_TABLE} "
            f"but not in {source}, and are left out: {names}"
        )
    return records


def _row_without_signal(line: Mapping[str, str]) -> dict:
    codes = ast.literal_eval(line["scp_codes"])
    age = float(line["age"]) if line["age"] else None
    return {
        "record_id": str(int(line["ecg_id"])),
        "patient_id": str(int(float(line["patient_id"]))) if line["patient_id"] else None,
        "report": line["report"],
        "statements": [{"code": code, "likelihood": float(likelihood)} for code, likelihood in codes.items()],
        "labels_super": superclasses(codes),
        "age": None if age == 300 else age,
        "age_over_89": None if age is None else age > 89,
        "sex": _SEX.get(line["sex"]),
        "device": line["device"] or None,
        "fold": int(line["strat_fold"]),
        "start_time": datetime.fromisoformat(line["recording_date"]) if line["recording_date"] else None,
    }


def _rows(shards: Sequence[Sequence[dict]], digest: str) -> Iterator[dict]:
    for shard in shards:
        for record in shard:
            yield {**record["row"], **_read_signal(record["path"])}


def _read_signal(path: str) -> dict:
    """Return the signal columns of one recording, its integers as recorded."""
    import wfdb  # not at the top: it costs most of a second, and a cached corpus needs none of it

    name = Path(path).name
    try:
        # 16-bit samples in the file, whose "nothing recorded" is a corpus row's as well (`INVALID_SAMPLE`).
        record = wfdb.rdrecord(path, physical=False, return_res=16)
    except (ValueError, TypeError, LookupError) as error:
        raise ValueError(
            f"PTB-XL record {name} cannot be read ({error}): {path}.dat is shorter than its header says, "
            "or the header is damaged; fetch both again"
        ) from error
    if set(record.fmt) != {"16"} or set(record.units) != {"mV"}:
        raise ValueError(
            f"PTB-XL record {name} has samples of format {sorted(set(record.fmt))} in "
            f"{sorted(set(record.units))}; format 16 in mV is expected: give PTB-XL as published"
        )
    return {
        "signal": list(record.d_signal.T),
        "gain": record.adc_gain,
        "baseline": record.baseline,
        "num_samples": record.sig_len,
        "sampling_rate": float(record.fs),
        "lead_names": record.sig_name,
    }
