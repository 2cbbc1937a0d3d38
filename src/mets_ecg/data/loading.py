"""Where a corpus comes from: the publisher's files, or a folder that this package wrote. And which of its folds."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from datasets import Dataset, load_from_disk

from .ptb_xl import load_ptb_xl


def load_corpus(
    *,
    source: str | None = None,
    data: str | None = None,
    sampling_rate: float,
    num_proc: int | None = None,
) -> Dataset:
    """Return all rows of a corpus; `select_folds` takes a part, so that one copy on disk serves every choice of folds.

    Args:
        source: folder of PTB-XL as PhysioNet publishes it.
        data: folder of a corpus as `datasets.Dataset.save_to_disk` wrote it, for example by `mets-ecg simulate`.
        sampling_rate: Hz that the model wants: decides which of PTB-XL's two rates is read.
        num_proc: processes.

    Raises:
        ValueError: not exactly one of `source` and `data` is given.
        FileNotFoundError: the folder is not there.
    """
    if (source is None) == (data is None):
        given = "neither" if source is None else "both"
        raise ValueError(
            "say where the recordings are, by --source (PTB-XL as published) or --data (a corpus written here): "
            f"{given} was given"
        )
    if source is not None:
        return load_ptb_xl(source, sampling_rate=100 if sampling_rate <= 100 else 500, num_proc=num_proc)
    if not Path(data).is_dir():
        raise FileNotFoundError(f"there is no corpus folder {data!r}: `mets-ecg simulate` writes one")
    return load_from_disk(data)


def select_folds(corpus: Dataset, folds: Iterable[int]) -> Dataset:
    """Return the rows of these folds, in their order.

    Raises:
        ValueError: there are none; the message says which folds there are.
    """
    column = np.asarray(corpus.with_format("numpy")["fold"][:])
    chosen = np.flatnonzero(np.isin(column, list(folds)))
    if not len(chosen):
        known = ", ".join(map(str, np.unique(column)))
        raise ValueError(f"no record in folds {', '.join(map(str, folds))}: the corpus has folds {known}")
    return corpus.select(chosen)


def check_patients_apart(parts: Mapping[str, Dataset | None]) -> None:
    """Check that no patient has records in two parts of a corpus.

    Raises:
        ValueError: one has; the message names the parts and a patient.
    """
    patients = {name: set(rows["patient_id"]) - {None} for name, rows in parts.items() if rows is not None}
    for one, other in itertools.combinations(patients, 2):
        shared = sorted(patients[one] & patients[other])
        if shared:
            raise ValueError(
                f"{len(shared)} patients have records both for {one} and for {other}, {shared[0]!r} among them: "
                "folds must be drawn by patient"
            )


def parse_folds(words: Sequence[str] | None) -> tuple[int, ...]:
    """Return the folds that words like `["1-7", "9"]` name, sorted; `["none"]` names none.

    Raises:
        ValueError: a word is neither a number, a range nor `none`.
    """
    folds: set[int] = set()
    for word in ",".join(map(str, words or ())).split(","):
        if word in ("", "none"):
            continue
        first, dash, last = word.partition("-")
        if not first.isdigit() or (dash and not last.isdigit()) or int(first) > int(last or first):
            raise ValueError(f"{word!r} names no folds: write numbers or ranges such as 1-8 9, or none")
        folds |= set(range(int(first), int(last or first) + 1))
    return tuple(sorted(folds))
