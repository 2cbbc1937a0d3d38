"""Where a corpus comes from: the publisher's files, or Parquet, here or on the Hub. And which of its folds."""

from __future__ import annotations

import hashlib
import itertools
import json
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import datasets
import numpy as np
from datasets import Dataset
from huggingface_hub.utils import WeakFileLock

from ..feature_extraction_ecg import ECGFeatureExtractor
from .building.build import build_corpus, corpus_key
from .building.corpus_builder import CorpusBuilder
from .building.shards import read_summary
from .corpora import CORPORA
from .prepare import prepare
from .prepared_rows import MemoryMappedRows, PreparedRows, open_stream
from .saved_corpus import SavedCorpus

_logger = logging.getLogger(__name__)


def load_corpus(
    *,
    source: str | os.PathLike[str] | None = None,
    data: str | os.PathLike[str] | None = None,
    config: str | None = None,
    sampling_rate: float,
    num_proc: int | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
) -> Dataset:
    """Return all rows of a corpus; `select_folds` takes a part, so that one copy on disk serves every choice of folds.

    Args:
        source: folder of PTB-XL as PhysioNet publishes it. It is built once, in the cache of `datasets`, and anew
            when a file changes.
        data: a corpus as `mets-ecg build` or `mets-ecg simulate` wrote it, or its id on the Hub.
        config: which version of `data`.
        sampling_rate: Hz that the model wants: decides which of PTB-XL's two rates is read.
        num_proc: processes.
        cache_dir: in place of the cache of `datasets`.

    Raises:
        ValueError: not exactly one of `source` and `data` is given.
        FileNotFoundError: the folder is not there.
    """
    _check_one_place(source, data)
    if data is not None:
        return SavedCorpus(data, config=config, sampling_rate=sampling_rate).dataset()
    builder = CORPORA["ptb-xl"](source, "100hz" if sampling_rate <= 100 else "500hz")
    return SavedCorpus(_build_cached(builder, cache_dir=cache_dir, num_proc=num_proc)).dataset()


def _check_one_place(source, data) -> None:
    if (source is None) == (data is None):
        given = "neither was" if source is None else "both were"
        raise ValueError(
            "say where the recordings are, by --source (PTB-XL as published) or --data (a corpus written here, or its "
            f"id on the Hub): {given} given"
        )


def _build_cached(builder: CorpusBuilder, *, cache_dir, num_proc: int | None) -> Path:
    there, missing = builder.find()
    if missing:
        names = ", ".join(recording.record_id for recording in missing[:5]) + (", ..." if len(missing) > 5 else "")
        _logger.warning(
            f"{builder.name}: {len(missing)} of {len(there) + len(missing)} recordings of config {builder.config} are "
            f"listed but not in {builder.source}, and are left out: {names}"
        )
    # Sizes are in the key; a file that was mended in place has another time.
    times = [os.stat(builder.source / name).st_mtime_ns for recording in there for name in recording.files]
    fingerprint = hashlib.sha256(repr(times).encode()).hexdigest()
    key = corpus_key(builder, there, {}, fingerprint)
    cache = Path(cache_dir or datasets.config.HF_DATASETS_CACHE)
    folder = cache / "mets-ecg" / f"{builder.name}-{builder.config}-{key[:16]}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Of the processes of a launch, the first one builds.
    with WeakFileLock(folder.with_name(f".{folder.name}.lock")):
        if read_summary(folder) is None:  # its name holds the key: what is there is what would be built
            build_corpus(builder, folder, num_proc=num_proc, fingerprint=fingerprint)
    return folder


def load_prepared_rows(
    feature_extractor: ECGFeatureExtractor,
    *,
    source: str | None = None,
    data: str | None = None,
    config: str | None = None,
    corpus: Dataset | None = None,
    streaming: bool = False,
    num_proc: int | None = None,
) -> PreparedRows:
    """Return what training and evaluation read: a corpus as a model's feature extractor prepares it.

    Args:
        feature_extractor: the model's.
        source: see `load_corpus`.
        data: see `load_corpus`; or a folder that `mets-ecg prepare` wrote, with this feature extractor.
        config: which version of `data`.
        corpus: rows in place of those that `source` or `data` name.
        streaming: read prepared rows from `data` shard by shard, and keep nothing on disk.
        num_proc: processes.

    Raises:
        ValueError: nothing names the rows, or both `source` and `data` do; `data` was prepared by another feature
            extractor, or is to be streamed and is not prepared.
        FileNotFoundError: it is not there.
    """
    rate = feature_extractor.sampling_rate
    saved = None
    if corpus is None:
        _check_one_place(source, data)
        saved = None if data is None else SavedCorpus(data, config=config, sampling_rate=rate)
    if saved is not None and saved.feature_extractor is not None:
        _check_prepared_by(saved, feature_extractor)
        if streaming:
            return open_stream([path for files in saved.files.values() for path in files])
        return MemoryMappedRows(saved.dataset())
    if streaming:
        raise ValueError("only prepared rows are streamed: write them by `mets-ecg prepare`, and name them by --data")
    if saved is not None:
        corpus = saved.dataset()
    elif corpus is None:
        corpus = load_corpus(source=source, sampling_rate=rate, num_proc=num_proc)
    return MemoryMappedRows(prepare(corpus, feature_extractor, num_proc=num_proc))


def _check_prepared_by(saved: SavedCorpus, feature_extractor: ECGFeatureExtractor) -> None:
    wanted = json.loads(json.dumps(feature_extractor.to_dict()))
    # A field that is younger than the rows had its default then.
    there = ECGFeatureExtractor().to_dict() | saved.feature_extractor
    other = sorted(name for name in wanted.keys() | there.keys() if wanted.get(name) != there.get(name))
    if other:
        name = other[0]
        raise ValueError(
            f"{saved.name!r} was prepared by another feature extractor: {name} is {there.get(name)!r} there "
            f"and {wanted.get(name)!r} in the model's. Prepare the corpus again with this model's, or give the corpus "
            "itself"
        )


def select_folds(corpus, folds: Iterable[int]):
    """Return the rows of these folds, in their order.

    Args:
        corpus: a `Dataset` or `PreparedRows`.
        folds: their numbers.

    Raises:
        ValueError: there are none; the message says which folds there are.
    """
    column = np.array([-1 if fold is None else fold for fold in corpus["fold"]])
    chosen = np.flatnonzero(np.isin(column, list(folds)))
    if not len(chosen):
        known = ", ".join(map(str, np.unique(column[column >= 0])))
        raise ValueError(
            f"no record in folds {', '.join(map(str, folds))}: the corpus has "
            + (f"folds {known}; name others, or none to do without" if known else "no folds, by which rows are chosen")
        )
    return corpus.select(chosen)


def check_patients_apart(parts: Mapping[str, object]) -> None:
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
