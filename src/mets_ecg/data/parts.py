"""Parts of corpora: which rows train, validate and test, named one way for every corpus.

A part is named by words: a split (`train`, `ds1`), fold numbers (`1-8 9`), `all` or `none`; where there are several
corpora, a word may be that of one, `ptb-xl:1-8`. Every corpus has its own defaults.
"""

from __future__ import annotations

import itertools
import logging
import re
from collections.abc import Collection, Mapping, Sequence

import numpy as np

_logger = logging.getLogger(__name__)

PARTS = ("train", "validation", "test")

# Of a corpus that states none: nothing trains on it.
DEFAULT_PARTS: Mapping[str, tuple[str, ...]] = {"train": ("none",), "validation": ("none",), "test": ("all",)}


def select_part(rows, words: Sequence[str], *, corpus: str = "the corpus", flag: str = "the part"):
    """Return the rows that words name, in their order; None if they name none.

    Args:
        rows: a `Dataset` or `PreparedRows`, with the columns `split` and `fold` as far as the corpus has them.
        words: see the module.
        corpus: its name; words of other corpora are passed over.
        flag: that the words come from, for errors.

    Raises:
        ValueError: a word names no row: it is not a split of these recordings, nor are there such folds.
    """
    splits = np.array(rows["split"] if "split" in rows.column_names else ["full"] * len(rows), dtype=object)
    folds = rows["fold"] if "fold" in rows.column_names else [None] * len(rows)
    folds = np.array([-1 if fold is None else fold for fold in folds])
    chosen = np.zeros(len(rows), dtype=bool)
    for word in _own_words(words, corpus):
        if word == "none":
            continue
        if word == "all":
            named = np.ones(len(rows), dtype=bool)
        elif (splits == word).any():
            named = splits == word
        else:
            try:
                named = np.isin(folds, parse_folds(word))
            except ValueError:
                named = np.zeros(len(rows), dtype=bool)  # perhaps a split whose recordings are not there
        if not named.any():
            known = [f"the splits {', '.join(dict.fromkeys(splits.tolist()))}"]
            if (folds >= 0).any():
                known.append(f"the folds {', '.join(map(str, np.unique(folds[folds >= 0])))}")
            raise ValueError(f"{flag} {word}: {corpus} has {' and '.join(known)}; name others, all, or none")
        chosen |= named
    return rows.select(np.flatnonzero(chosen).tolist()) if chosen.any() else None


def split_words(words: Sequence[str]) -> list[tuple[str, str]]:
    """Return the corpus, `""` where none is named, and the part that each word names; commas separate words too."""
    split = (word.rpartition(":") for word in ",".join(words).split(",") if word)
    return [(corpus, part) for corpus, _, part in split]


def _own_words(words: Sequence[str], corpus: str) -> list[str]:
    return [part for name, part in split_words(words) if name in ("", corpus)]


def named_parts(words: Sequence[str], corpus: str) -> set[str]:
    """Return what words name of a corpus, ranges of folds taken apart: `{"ds1", "all", "fold 1", "fold 2"}`."""
    named = set()
    for word in _own_words(words, corpus):
        try:
            named |= {f"fold {fold}" for fold in parse_folds(word)}
        except ValueError:
            named.add(word)
    return named - {"none"}


def parse_folds(word: str) -> list[int]:
    """Return the folds that a word like `"1-8"` or `"9"` names.

    Raises:
        ValueError: it names none.
    """
    match = re.fullmatch(r"(\d+)(?:-(\d+))?", word)
    if match is None or int(match[1]) > int(match[2] or match[1]):
        raise ValueError(f"{word!r} is not fold numbers such as 9 or 1-8")
    return list(range(int(match[1]), int(match[2] or match[1]) + 1))


def check_patients_disjoint(parts: Mapping[str, object], shared: Collection[tuple[str, str]] = ()) -> None:
    """Check that no patient has rows in two parts.

    Args:
        parts: rows by part, None for a part that is not there; with `patient_id` and `corpus`.
        shared: patients, as `(corpus, patient)`, whom the field's customary split has on both sides: a warning.

    Raises:
        ValueError: another one has; the message names the parts and a patient.
    """
    patients = {name: patients_of(rows) - {None} for name, rows in parts.items() if rows is not None}
    for one, other in itertools.combinations(patients, 2):
        both = sorted(patients[one] & patients[other])
        crossing = [patient for patient in both if patient not in shared]
        if crossing:
            corpus, patient = crossing[0]
            raise ValueError(
                f"{len(crossing)} patients have rows both for {one} and for {other}, {patient!r} of {corpus} among "
                "them: parts must be drawn by patient"
            )
        if both:
            names = ", ".join(f"{patient} of {corpus}" for corpus, patient in both)
            _logger.warning(f"the customary split has a patient both for {one} and for {other}: {names}")


def patients_of(rows) -> set:
    """Return the patients of rows as `(corpus, patient)`, None where one is not known."""
    corpora = rows["corpus"] if "corpus" in rows.column_names else [""] * len(rows)
    pairs = zip(corpora, rows["patient_id"], strict=True)
    return {None if patient is None else (corpus, patient) for corpus, patient in pairs}
