"""Where a corpus comes from: the publisher's files, or a folder that this package wrote. And which of its folds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from datasets import Dataset, load_from_disk

from .ptb_xl import load_ptb_xl


def load_corpus(
    *,
    source: str | None = None,
    data: str | None = None,
    sampling_rate: float,
    folds: Iterable[int] | None = None,
    num_proc: int | None = None,
) -> Dataset:
    """Return the rows of a corpus.

    Args:
        source: folder of PTB-XL as PhysioNet publishes it.
        data: folder of a corpus as `datasets.Dataset.save_to_disk` wrote it, for example by `mets-ecg simulate`.
        sampling_rate: Hz that the model wants: decides which of PTB-XL's two rates is read.
        folds: only these; None for all.
        num_proc: processes.

    Raises:
        ValueError: not exactly one of `source` and `data` is given, or there is no record in these folds.
        FileNotFoundError: the folder is not there.
    """
    if (source is None) == (data is None):
        raise ValueError(
            "say where the recordings are: --source (PTB-XL as published) or --data (a corpus written here)"
        )
    folds = None if folds is None else sorted(folds)
    if source is not None:
        rate = 100 if sampling_rate <= 100 else 500
        return load_ptb_xl(source, sampling_rate=rate, folds=folds, num_proc=num_proc)
    if not Path(data).is_dir():
        raise FileNotFoundError(f"there is no corpus folder {data!r}: `mets-ecg simulate` writes one")
    return select_folds(load_from_disk(data), folds)


def select_folds(corpus: Dataset, folds: Iterable[int] | None) -> Dataset:
    """Return the rows of these folds, in their order; all of them for None.

    Raises:
        ValueError: there are none; the message says which folds there are.
    """
    if folds is None:
        return corpus
    column = np.asarray(corpus.with_format("numpy")["fold"][:])
    chosen = np.flatnonzero(np.isin(column, list(folds)))
    if not len(chosen):
        known = ", ".join(map(str, np.unique(column)))
        raise ValueError(f"no record in folds {', '.join(map(str, folds))}: the corpus has folds {known}")
    return corpus.select(chosen)


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
        if not first.isdigit() or (dash and not last.isdigit()):
            raise ValueError(f"{word!r} names no folds: write numbers or ranges such as 1-8 9, or none")
        folds |= set(range(int(first), int(last or first) + 1))
    return tuple(sorted(folds))
