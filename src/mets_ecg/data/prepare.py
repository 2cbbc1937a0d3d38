"""The command `mets-ecg prepare`, and what it does: a processor's work on a corpus done once.

Within training and evaluation, `prepare` keeps prepared rows in the cache of `datasets`, memory-mapped. The command
writes them as a folder of Parquet shards, which can be streamed, moved and pushed. Both are keyed by the corpus, the
feature extractor and the version of its processing.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import fsspec
import numpy as np
import pyarrow.parquet as pq
from datasets import Array2D, Dataset, Features, List, Value

from mets_ecg_cli.parser import read_yaml
from mets_ecg_cli.prepare import PrepareArguments
from mets_ecg_cli.resources import find_recipe

from ..feature_extraction_ecg import PROCESSING_VERSION, ECGFeatureExtractor
from .building.card import write_prepared_card
from .building.shards import Shard, count_named, shard_names, summarize_splits, write_parquet, write_shards
from .prepared_rows import MemoryMappedRows, WindowedRows
from .rows import ROW_FORMAT_VERSION, table_rows
from .saved_corpus import SavedCorpus

_logger = logging.getLogger(__name__)

_DROPPED = ["signal", "gain", "baseline", "num_samples", "sampling_rate", "lead_names"]
# What a summary of prepared rows says of their corpus.
_KEPT_FACTS = ("title", "licence", "doi", "homepage", "default_parts")
_SIGNAL_COLUMNS = [*_DROPPED, "record_id"]
_BATCH = 64


def prepare(corpus: Dataset, feature_extractor: ECGFeatureExtractor, *, num_proc: int | None = None) -> Dataset:
    """Apply a feature extractor to every row of a corpus.

    Args:
        corpus: rows as `corpus_features` describes them.
        feature_extractor: with a `max_duration`, so that all rows have one length.
        num_proc: processes.

    Returns:
        The corpus' rows without their recordings, and with `input_values (leads, samples)` float32, `num_valid`, the
        samples that were recorded (the rest is padding), and `lead_mask (leads,)`. Recordings that the extractor cannot
        use are left out, counted and named in one warning.

    Raises:
        ValueError: the extractor has no `max_duration` or cuts windows or at random; or it can use no recording.
    """
    _check_one_length(feature_extractor)
    # The fields, not the object: one that was read from a file must give the same cache entry.
    fields = json.dumps(feature_extractor.to_dict(), sort_keys=True)
    prepared = corpus.with_format("numpy").map(
        _prepare_columns,
        # `datasets` keys its cache by a function's name and arguments: rows of an older version must not come back.
        fn_kwargs={"fields": fields, "versions": (ROW_FORMAT_VERSION, PROCESSING_VERSION)},
        input_columns=_SIGNAL_COLUMNS,
        remove_columns=_DROPPED,
        features=prepared_features(corpus.features, feature_extractor),
        batched=True,
        batch_size=_BATCH,
        writer_batch_size=256,
        num_proc=num_proc,
        desc="preparing",
    )
    num_valid = prepared.with_format("numpy", columns=["num_valid"])["num_valid"][:]
    unusable = np.flatnonzero(num_valid == 0)
    if len(unusable):
        first = corpus.with_format("numpy")[int(unusable[0])]
        _, ((_, reason),) = _prepare_rows([first], feature_extractor)
        if len(unusable) == len(prepared):
            raise ValueError(f"none of {len(prepared)} recordings can be used, and the first because {reason}")
        names = prepared.select(unusable[:5])["record_id"][:]
        _logger.warning(_describe_unusable(len(unusable), names, reason))
        prepared = prepared.select(np.flatnonzero(num_valid))
    return prepared.with_format(None)


def prepare_windows(
    corpus: Dataset, feature_extractor: ECGFeatureExtractor, *, num_proc: int | None = None
) -> WindowedRows:
    """Apply a feature extractor to all windows of every row of a corpus, as the pipelines do with `crop="windows"`.

    Args:
        corpus: rows as `corpus_features` describes them.
        feature_extractor: with a `max_duration`, the length of a window.
        num_proc: processes.

    Returns:
        The corpus' rows with their windows; recordings without a usable one are left out, counted and named.

    Raises:
        ValueError: the extractor has no `max_duration`, or no recording can be used.
    """
    if feature_extractor.max_duration is None:
        raise ValueError("windows have one length: the feature extractor needs max_duration, got None")
    features = prepared_features(Features({"record": Value("int32")}), feature_extractor)
    windows = corpus.with_format("numpy").map(
        _prepare_window_columns,
        fn_kwargs={
            "fields": json.dumps(feature_extractor.to_dict(), sort_keys=True),
            "versions": (ROW_FORMAT_VERSION, PROCESSING_VERSION),
        },
        with_indices=True,
        input_columns=_SIGNAL_COLUMNS,
        remove_columns=corpus.column_names,
        features=features,
        batched=True,
        batch_size=_BATCH,
        writer_batch_size=256,
        num_proc=num_proc,
        desc="preparing windows",
    )
    owners = np.asarray(windows.with_format("numpy")["record"][:], dtype=np.int64)
    usable = np.unique(owners)
    if not len(usable):
        raise ValueError(f"none of {len(corpus)} recordings can be used")
    unusable = np.setdiff1d(np.arange(len(corpus)), usable)
    if len(unusable):
        names = ", ".join(corpus.select(unusable[:5])["record_id"])
        _logger.warning(f"{len(unusable)} recordings cannot be used and are left out, {names} among them")
    columns = corpus.remove_columns(_DROPPED).select(usable).with_format(None)
    return WindowedRows(columns, MemoryMappedRows(windows.with_format(None)), np.searchsorted(usable, owners))


def _prepare_window_columns(*columns, fields: str, versions: tuple[int, int]) -> dict:
    *columns, indices = columns
    extractor = ECGFeatureExtractor.from_dict(json.loads(fields))
    parts = []
    for i, row in zip(indices, zip(*columns, strict=True), strict=True):
        try:
            prepared = extractor([dict(zip(_SIGNAL_COLUMNS, row, strict=True))], crop="windows")
        except ValueError:
            continue
        parts.append(_columns(prepared) | {"record": np.full(len(prepared["input_values"]), i, dtype=np.int32)})
    if not parts:
        shape = (0, len(extractor.lead_names), extractor.num_samples)
        return {
            "input_values": np.zeros(shape, np.float32),
            "num_valid": np.zeros(0, np.int32),
            "lead_mask": np.zeros(shape[:2], np.int8),
            "record": np.zeros(0, np.int32),
        }
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _describe_unusable(count: int, names: list[str], reason: str) -> str:
    more = ", ..." if count > len(names) else ""
    return f"{count} recordings cannot be used and are left out: {', '.join(names)}{more}; the first because {reason}"


def prepared_features(features: Features, feature_extractor: ECGFeatureExtractor) -> Features:
    """Return the types of prepared rows' columns, from those of the corpus."""
    features = Features({name: feature for name, feature in features.items() if name not in _DROPPED})
    shape = (len(feature_extractor.lead_names), feature_extractor.num_samples)
    features["input_values"] = Array2D(shape, "float32")
    features["num_valid"] = Value("int32")
    features["lead_mask"] = List(Value("int8"), length=shape[0])
    return features


def _check_one_length(feature_extractor: ECGFeatureExtractor) -> None:
    if feature_extractor.max_duration is None or feature_extractor.crop in ("windows", "random"):
        raise ValueError(
            "prepared rows have one length and are the same every time: the feature extractor needs max_duration and "
            f"crop 'start' or 'center', got {feature_extractor.max_duration!r} and {feature_extractor.crop!r}"
        )


def _prepare_columns(*columns, fields: str, versions: tuple[int, int]) -> dict:
    recordings = [dict(zip(_SIGNAL_COLUMNS, row, strict=True)) for row in zip(*columns, strict=True)]
    return _prepare_rows(recordings, ECGFeatureExtractor.from_dict(json.loads(fields)))[0]


def _prepare_rows(
    recordings: list[dict], feature_extractor: ECGFeatureExtractor
) -> tuple[dict[str, np.ndarray], list[tuple[str, str]]]:
    """Return the columns of the model's input, and which recordings cannot be used, with the reason.

    A corpus keeps what is real, as a recording of which every lead is flat; a model has no use for it. Such a row has
    no valid sample.
    """
    try:
        return _columns(feature_extractor(recordings)), []
    except ValueError:  # one at a time, then
        parts, unusable = [], []
        for recording in recordings:
            try:
                parts.append(_columns(feature_extractor([recording])))
            except ValueError as error:
                shape = (1, len(feature_extractor.lead_names), feature_extractor.num_samples)
                empty = {"input_values": np.zeros(shape, np.float32), "num_valid": np.zeros(1, np.int32)}
                parts.append(empty | {"lead_mask": np.zeros(shape[:2], np.int8)})
                unusable.append((recording["record_id"], " ".join(str(error).split())))
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}, unusable


def _columns(prepared) -> dict[str, np.ndarray]:
    return {
        "input_values": prepared["input_values"],
        "num_valid": prepared["ecg_attention_mask"].sum(axis=1).astype(np.int32),
        "lead_mask": prepared["lead_mask"].astype(np.int8),
    }


def run_prepare(arguments: PrepareArguments) -> dict:
    """Prepare a corpus and print what was written.

    Returns:
        The summary in `build.json`.

    Raises:
        ValueError: not exactly one of `model` and `config` is given, or no recording can be used.
        FileNotFoundError: there is no such corpus, checkpoint or recipe.
        FileExistsError: the output is there already, from another corpus or feature extractor.
    """
    if (arguments.model is None) == (arguments.config is None):
        raise ValueError("say whose feature extractor to apply, by --model CHECKPOINT or by --config RECIPE")
    if arguments.model is not None:
        extractor = ECGFeatureExtractor.from_pretrained(arguments.model)
    else:
        extractor = ECGFeatureExtractor(**read_yaml(find_recipe(arguments.config)).get("feature_extractor", {}))
    corpus = SavedCorpus(arguments.data, config=arguments.config_name, sampling_rate=extractor.sampling_rate)
    summary = prepare_folder(corpus, extractor, arguments.output, num_proc=arguments.num_proc)
    counted = ", ".join(f"{split} {own['num_rows']}" for split, own in summary["splits"].items())
    print(f"prepared rows of {arguments.data} ({corpus.config}): {counted}; they are in {arguments.output}")
    if summary["unusable"]["count"]:
        names, reasons = zip(*summary["unusable"]["records"], strict=True)
        print(_describe_unusable(summary["unusable"]["count"], list(names[:5]), reasons[0]))
    return summary


def prepare_folder(
    corpus: SavedCorpus,
    feature_extractor: ECGFeatureExtractor,
    folder: str | Path,
    *,
    num_proc: int | None = None,
) -> dict:
    """Write prepared rows of a corpus, one shard for each of its own; see `write_shards` for resuming.

    The folder has a card, so that `mets-ecg push` takes it.
    """
    _check_one_length(feature_extractor)
    if corpus.feature_extractor is not None:
        raise ValueError(f"{corpus.name!r} is prepared already: give the corpus that it was made of")
    with fsspec.open(next(iter(corpus.files.values()))[0], "rb") as file:
        features = prepared_features(Features.from_arrow_schema(pq.read_schema(file)), feature_extractor)
    plan = [
        Shard(name, path, (corpus.num_rows[split] or 0) // len(paths))
        for split, paths in corpus.files.items()
        for name, path in zip(shard_names(split, len(paths)), paths, strict=True)
    ]
    settings = json.dumps(feature_extractor.to_dict(), sort_keys=True)
    key = f"{ROW_FORMAT_VERSION} {PROCESSING_VERSION} {corpus.fingerprint} {settings}"
    summary = write_shards(
        folder,
        plan,
        partial(_write_shard, feature_extractor, features),
        key=hashlib.sha256(key.encode()).hexdigest(),
        summarize=partial(_summarize, corpus, feature_extractor, plan),
        num_proc=num_proc,
        description="preparing",
    )
    write_prepared_card(folder, summary, features)
    return summary


def _write_shard(feature_extractor: ECGFeatureExtractor, features: Features, corpus_shard: str, path: Path) -> dict:
    unusable: list[tuple[str, str]] = []
    with fsspec.open(corpus_shard, "rb") as file:
        num_rows = write_parquet(_prepare_file(file, feature_extractor, unusable), path, features)
    return {"num_rows": num_rows, "unusable": unusable}


def _prepare_file(file, feature_extractor: ECGFeatureExtractor, unusable: list) -> Iterator[Mapping]:
    parquet = pq.ParquetFile(file)
    for group in range(parquet.num_row_groups):  # which the writer has kept small, whatever the recordings' length
        recordings = table_rows(parquet.read_row_group(group))
        own, refused = _prepare_rows(recordings, feature_extractor)
        unusable += refused
        for i, row in enumerate(recordings):
            if own["num_valid"][i]:
                kept = {name: value for name, value in row.items() if name not in _DROPPED}
                yield kept | {name: values[i] for name, values in own.items()}


def _summarize(corpus: SavedCorpus, feature_extractor, plan: list[Shard], summaries: list[dict]) -> dict:
    unusable = [one for own in summaries for one in own["unusable"]]
    if unusable and not any(own["num_rows"] for own in summaries):
        raise ValueError(f"none of {len(unusable)} recordings can be used, and the first because {unusable[0][1]}")
    return {
        "corpus": corpus.corpus,
        "config": corpus.config,
        **summarize_splits(plan, summaries),
        "unusable": count_named(unusable),
        "processing_version": PROCESSING_VERSION,
        "feature_extractor": feature_extractor.to_dict(),
        **{name: corpus.summary[name] for name in _KEPT_FACTS if name in corpus.summary},
    }
