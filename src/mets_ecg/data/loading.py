"""Where rows come from: a publisher's files, or Parquet, here or on the Hub; and which of them train and test."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import datasets
import numpy as np
from datasets import Dataset
from huggingface_hub.utils import WeakFileLock

from mets_ecg_cli.data import SourceArguments

from ..feature_extraction_ecg import ECGFeatureExtractor
from .building.build import build_corpus, corpus_key
from .building.corpus_builder import CorpusBuilder
from .building.shards import read_summary
from .corpora import CORPORA, recognise
from .parts import DEFAULT_PARTS, PARTS, check_patients_disjoint, select_part, split_words
from .prepare import prepare, prepare_windows
from .prepared_rows import MemoryMappedRows, PreparedRows, join_rows, open_stream
from .saved_corpus import SavedCorpus

_logger = logging.getLogger(__name__)


# What a checkpoint's card says of what it was trained on.
CORPUS_FACTS = ("title", "licence", "doi", "homepage")
_SIMULATED = {"title": "Recordings simulated by mets-ecg", "licence": "apache-2.0"}
_ONLY_PREPARED_STREAM = "only prepared rows are streamed: write them by `mets-ecg prepare`, and name them by --data"


@dataclass(frozen=True)
class LoadedParts:
    """Rows of the parts of a run.

    Attributes:
        train, validation, test: prepared rows; None for a part that is not there.
        words: what each part was, by corpus and part: `{"ptb-xl": {"train": ["1-8"], ...}}`.
        corpora: what is known of each: `title`, `licence` (the Hub's identifier), `doi`, `homepage`, `id` on the Hub.
    """

    train: PreparedRows | None = None
    validation: PreparedRows | None = None
    test: PreparedRows | None = None
    words: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    corpora: dict[str, dict[str, str | None]] = field(default_factory=dict)


@dataclass(frozen=True)
class _OpenCorpus:
    name: str
    rows: Dataset | PreparedRows
    default_parts: Mapping[str, Sequence[str]]
    shared_patients: tuple[str, ...]
    facts: dict[str, str | None]


def load_parts(
    feature_extractor: ECGFeatureExtractor,
    arguments: SourceArguments,
    *,
    parts: Sequence[str] = PARTS,
    corpus: Dataset | None = None,
    task_corpus: str | None = None,
    max_train: int | None = None,
    unused: Collection[str] = (),
    windows: bool = False,
) -> LoadedParts:
    """Return the prepared rows of the parts that are asked for; no others are read.

    Args:
        feature_extractor: the model's.
        arguments: where the rows are, and the words that name each part; see `mets_ecg.data.parts`.
        parts: which to load.
        corpus: rows in place of those that the arguments name.
        task_corpus: whose files `arguments.source` has, where neither they nor the arguments tell.
        max_train: how many rows of the training part are needed; they are drawn at random.
        unused: columns that are not read where rows are streamed, whose columns are all in memory.
        windows: read all of a recording that is longer than the model's window, in windows; for evaluation.

    Raises:
        ValueError: no rows are named; a word names none; a patient is in two parts; windows are asked of prepared rows.
        FileNotFoundError: a corpus is not there.
    """
    opened = _open_corpora(feature_extractor, arguments, corpus, task_corpus, unused)
    words = {one.name: {} for one in opened}
    _check_prefixes(arguments, words)
    loaded = dict.fromkeys(PARTS)
    for part in parts:
        pieces = []
        for one in opened:
            words[one.name][part] = list(getattr(arguments, part) or one.default_parts[part])
            rows = select_part(one.rows, words[one.name][part], corpus=one.name, flag=f"--{part}")
            if rows is None:
                continue
            if part == "train" and max_train is not None and max_train < len(rows):
                rows = rows.select(np.sort(np.random.default_rng(0).permutation(len(rows))[:max_train]).tolist())
            if windows and isinstance(rows, PreparedRows):
                raise ValueError(f"{one.name} is prepared in one window a recording: give the corpus itself")
            if windows:
                rows = prepare_windows(rows, feature_extractor, num_proc=arguments.num_proc)
            elif not isinstance(rows, PreparedRows):
                rows = MemoryMappedRows(prepare(rows, feature_extractor, num_proc=arguments.num_proc))
            pieces.append(rows)
        loaded[part] = join_rows(pieces) if pieces else None
    check_patients_disjoint(loaded, [(one.name, patient) for one in opened for patient in one.shared_patients])
    return LoadedParts(**loaded, words=words, corpora={one.name: one.facts for one in opened})


def _check_prefixes(arguments: SourceArguments, corpora: Mapping) -> None:
    for part in PARTS:
        for name, word in split_words(getattr(arguments, part, None) or ()):
            if name and name not in corpora:
                raise ValueError(f"--{part} {name}:{word}: there is no corpus {name!r} here, only {', '.join(corpora)}")


def _open_corpora(feature_extractor, arguments: SourceArguments, corpus, task_corpus, unused) -> list[_OpenCorpus]:
    rate = feature_extractor.sampling_rate
    if corpus is not None:
        name = corpus[0]["corpus"] if "corpus" in corpus.column_names else "simulated"
        return [_open(name, corpus)]
    if arguments.source is not None:
        if arguments.streaming:
            raise ValueError(_ONLY_PREPARED_STREAM)
        whose = arguments.corpus
        if whose is None and task_corpus in CORPORA and CORPORA[task_corpus].recognises(arguments.source):
            whose = task_corpus
        rows = load_corpus(
            source=arguments.source,
            corpus=whose,
            config=arguments.config_name,
            sampling_rate=rate,
            num_proc=arguments.num_proc,
        )
        return [_open(rows[0]["corpus"], rows)]
    if not arguments.data:
        raise ValueError(
            "say where the recordings are, by --source (a publisher's files) or --data (a corpus that was built, or "
            "its id on the Hub)"
        )
    opened = []
    for name in arguments.data:
        saved = SavedCorpus(name, config=arguments.config_name, sampling_rate=rate)
        rows = _rows_of(saved, feature_extractor, arguments.streaming, unused)
        opened.append(_open(saved.corpus, rows, saved.summary, None if Path(name).exists() else name))
    if len({one.name for one in opened}) < len(opened):
        raise ValueError(f"--data names one corpus twice: {', '.join(one.name for one in opened)}")
    return opened


def _open(name: str, rows, summary: Mapping | None = None, hub_id: str | None = None) -> _OpenCorpus:
    builder, summary = CORPORA.get(name), summary or {}
    info = getattr(builder, "info", None)  # a table's is its own
    known = vars(info) if info else _SIMULATED if name == "simulated" else summary
    facts = {key: known.get(key) for key in CORPUS_FACTS} | {"id": hub_id}
    if builder is not None and builder.default_parts is not None:
        return _OpenCorpus(name, rows, builder.default_parts, builder.shared_patients, facts)
    defaults = summary.get("default_parts")
    if defaults is None:
        # Of a corpus that says nothing, splits and folds of the usual names.
        splits = set(rows["split"]) if "split" in rows.column_names else set()
        defaults = {part: (part,) if part in splits else ("none",) for part in PARTS}
        if not splits & set(PARTS):
            folds = set(rows["fold"]) if "fold" in rows.column_names else set()
            usual = {"train": ("1-8",), "validation": ("9",), "test": ("10",)}
            defaults = usual if folds >= {1, 9, 10} else DEFAULT_PARTS
    return _OpenCorpus(name, rows, defaults, (), facts)


def _rows_of(saved: SavedCorpus, feature_extractor, streaming: bool, unused: Collection[str] = ()):
    """Return a corpus' rows: a `Dataset` of recordings, or prepared rows."""
    if saved.feature_extractor is None:
        if streaming:
            raise ValueError(_ONLY_PREPARED_STREAM)
        return saved.dataset()
    _check_prepared_by(saved, feature_extractor)
    if streaming:
        paths = [path for files in saved.files.values() for path in files]
        splits = [split for split, files in saved.files.items() for _ in files]
        return open_stream(paths, corpus=saved.corpus, splits=splits, unused=unused)
    return MemoryMappedRows(saved.dataset())


def load_corpus(
    *,
    source: str | os.PathLike[str] | None = None,
    data: str | os.PathLike[str] | None = None,
    corpus: str | None = None,
    config: str | None = None,
    sampling_rate: float,
    num_proc: int | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
) -> Dataset:
    """Return all rows of a corpus, with the columns `corpus` and `split`; `select_part` takes a part.

    Args:
        source: a publisher's folder. It is built once, in the cache of `datasets`, and anew when a file changes.
        data: a corpus as `mets-ecg build` or `mets-ecg simulate` wrote it, or its id on the Hub.
        corpus: whose files `source` has; by default they are recognised.
        config: which version of the corpus.
        sampling_rate: Hz that the model wants: decides which of PTB-XL's two rates is read.
        num_proc: processes.
        cache_dir: in place of the cache of `datasets`.

    Raises:
        ValueError: not exactly one of `source` and `data` is given, or the folder is not recognised.
        FileNotFoundError: the folder is not there.
    """
    if (source is None) == (data is None):
        raise ValueError("say where the recordings are, by source (a publisher's files) or data (a corpus), not both")
    if data is not None:
        return SavedCorpus(data, config=config, sampling_rate=sampling_rate).dataset()
    kind = recognise(source, corpus)
    if config is None and {"100hz", "500hz"} <= set(kind.configs):
        config = "100hz" if sampling_rate <= 100 else "500hz"
    builder = kind(source, config)
    return SavedCorpus(_build_cached(builder, cache_dir=cache_dir, num_proc=num_proc)).dataset()


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
    data: str | os.PathLike[str] | None = None,
    config: str | None = None,
    corpus: Dataset | None = None,
    streaming: bool = False,
    num_proc: int | None = None,
) -> PreparedRows:
    """Return all rows of a corpus as a model's feature extractor prepares them.

    Args:
        feature_extractor: the model's.
        data: a corpus, or what `mets-ecg prepare` wrote with this feature extractor.
        config: which version of `data`.
        corpus: rows in place of those of `data`.
        streaming: read prepared rows shard by shard, and keep nothing on disk.
        num_proc: processes.

    Raises:
        ValueError: `data` was prepared by another feature extractor, or is to be streamed and is not prepared.
        FileNotFoundError: it is not there.
    """
    rows = corpus
    if rows is None:
        saved = SavedCorpus(data, config=config, sampling_rate=feature_extractor.sampling_rate)
        rows = _rows_of(saved, feature_extractor, streaming)
    if isinstance(rows, PreparedRows):
        return rows
    return MemoryMappedRows(prepare(rows, feature_extractor, num_proc=num_proc))


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
