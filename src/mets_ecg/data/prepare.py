"""The command `mets-ecg prepare`, and what it does: a processor's work on a corpus done once.

Within training and evaluation, `prepare` keeps prepared rows in the cache of `datasets`, memory-mapped. The command
writes them as a folder of Parquet shards, which can be streamed, moved and pushed. Both are keyed by the corpus, the
feature extractor and the code.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Array2D, Dataset, DatasetInfo, Features, List, SplitDict, SplitInfo, Value
from datasets.info import DatasetInfosDict
from huggingface_hub import DatasetCard, DatasetCardData

from .. import feature_extraction_ecg, leads, signals
from ..arguments import argument, read_recipe
from ..feature_extraction_ecg import ECGFeatureExtractor
from ..resources import resource
from . import rows, shards
from .rows import code_digest, table_rows
from .saved_corpus import SavedCorpus
from .shards import Shard, parse_part, shard_names, summarize_splits, write_parquet, write_shards

_SIGNAL_COLUMNS = ["signal", "gain", "baseline", "num_samples", "sampling_rate", "lead_names", "record_id"]
_DROPPED = ["signal", "gain", "baseline", "num_samples", "sampling_rate", "lead_names"]
_BATCH = 64


def prepare(corpus: Dataset, feature_extractor: ECGFeatureExtractor, *, num_proc: int | None = None) -> Dataset:
    """Apply a feature extractor to every row of a corpus.

    Args:
        corpus: rows as `corpus_features` describes them.
        feature_extractor: with a `max_duration`, so that all rows have one length.
        num_proc: processes.

    Returns:
        The corpus' rows without their recordings, and with `input_values (leads, samples)` float32, `num_valid`, the
        samples that were recorded (the rest is padding), and `lead_mask (leads,)`.

    Raises:
        ValueError: the extractor has no `max_duration` or cuts windows or at random; or a recording cannot be read
            right, and the message names it.
    """
    _check_one_length(feature_extractor)
    # The fields, not the object: one that was read from a file must give the same cache entry.
    fields = json.dumps(feature_extractor.to_dict(), sort_keys=True)
    prepared = corpus.with_format("numpy").map(
        _prepare_columns,
        fn_kwargs={"fields": fields, "digest": _code()},
        input_columns=_SIGNAL_COLUMNS,
        remove_columns=_DROPPED,
        features=prepared_features(corpus.features, feature_extractor),
        batched=True,
        batch_size=_BATCH,
        writer_batch_size=256,
        num_proc=num_proc,
        desc="preparing",
    )
    return prepared.with_format(None)


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


def _code() -> str:
    return code_digest(sys.modules[__name__], feature_extraction_ecg, leads, signals)


def _prepare_columns(*columns, fields: str, digest: str) -> dict:
    recordings = [dict(zip(_SIGNAL_COLUMNS, row, strict=True)) for row in zip(*columns, strict=True)]
    return _prepare_rows(recordings, ECGFeatureExtractor.from_dict(json.loads(fields)))


def _prepare_rows(recordings: list[dict], feature_extractor: ECGFeatureExtractor) -> dict[str, np.ndarray]:
    prepared = feature_extractor(recordings)
    return {
        "input_values": prepared["input_values"],
        "num_valid": prepared["ecg_attention_mask"].sum(axis=1).astype(np.int32),
        "lead_mask": prepared["lead_mask"].astype(np.int8),
    }


@dataclass
class PrepareArguments:
    """Apply a model's processing to a corpus once, and write what the model reads as Parquet shards."""

    POSITIONAL: ClassVar[str] = "data"

    data: str = argument(help="a corpus: a folder that `mets-ecg build` wrote, or its id on the Hub")
    output: str = argument(help="folder of the prepared rows; `--data` of other commands reads it")
    config_name: str | None = argument(None, help="which version of the corpus; default by the model's sampling rate")
    model: str | None = argument(None, help="checkpoint whose feature extractor is applied: a folder or a Hub id")
    recipe: str | None = argument(None, help="pre-training recipe whose feature extractor is applied")
    shard: str | None = argument(None, help="2/8: the second of eight parts, on any machine, as in `mets-ecg build`")
    num_proc: int | None = argument(None, help="processes; default all processors")


def run_prepare(arguments: PrepareArguments) -> dict | None:
    """Prepare a corpus and print what was written.

    Returns:
        What stands in `build.json`; None where only a part was prepared.

    Raises:
        ValueError: not exactly one of `model` and `recipe` is given, or a recording cannot be read right.
        FileNotFoundError: there is no such corpus, checkpoint or recipe.
        FileExistsError: the output is there already, from another corpus or feature extractor.
    """
    if (arguments.model is None) == (arguments.recipe is None):
        raise ValueError("say whose feature extractor to apply, by --model CHECKPOINT or by --recipe YAML")
    if arguments.model is not None:
        extractor = ECGFeatureExtractor.from_pretrained(arguments.model)
    else:
        from ..training.arguments import PretrainArguments  # a recipe is training's, which data does not know

        extractor = ECGFeatureExtractor(**read_recipe(PretrainArguments, arguments.recipe).get("feature_extractor", {}))
    corpus = SavedCorpus(arguments.data, config=arguments.config_name, sampling_rate=extractor.sampling_rate)
    summary = prepare_folder(
        corpus, extractor, arguments.output, part=parse_part(arguments.shard), num_proc=arguments.num_proc
    )
    if summary is None:
        print(f"part {arguments.shard} is written; the same command without --shard makes the folder of all parts")
        return None
    counted = ", ".join(f"{split} {own['num_rows']}" for split, own in summary["splits"].items())
    print(f"prepared rows of {arguments.data} ({corpus.config}): {counted}; they are in {arguments.output}")
    return summary


def prepare_folder(
    corpus: SavedCorpus,
    feature_extractor: ECGFeatureExtractor,
    folder: str | Path,
    *,
    part: tuple[int, int] | None = None,
    num_proc: int | None = None,
) -> dict | None:
    """Write prepared rows of a corpus, one shard for each of its own; see `write_shards` for resuming and parts.

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
    key = f"{_code()} {code_digest(rows, shards)} {corpus.fingerprint} {settings}"
    summary = write_shards(
        folder,
        plan,
        partial(_write_shard, feature_extractor, features),
        key=hashlib.sha256(key.encode()).hexdigest(),
        summarize=partial(_summarize, corpus, feature_extractor, plan),
        part=part,
        num_proc=num_proc,
        description="preparing",
    )
    if summary is not None:
        _write_card(Path(folder), summary, features)
    return summary


def _write_shard(feature_extractor: ECGFeatureExtractor, features: Features, corpus_shard: str, path: Path) -> dict:
    with fsspec.open(corpus_shard, "rb") as file:
        return {"num_rows": write_parquet(_prepare_file(file, feature_extractor), path, features)}


def _prepare_file(file, feature_extractor: ECGFeatureExtractor) -> Iterator[Mapping]:
    for batch in pq.ParquetFile(file).iter_batches(_BATCH):
        recordings = table_rows(pa.Table.from_batches([batch]))
        own = _prepare_rows(recordings, feature_extractor)
        for i, row in enumerate(recordings):
            kept = {name: value for name, value in row.items() if name not in _DROPPED}
            yield kept | {name: values[i] for name, values in own.items()}


def _summarize(corpus: SavedCorpus, feature_extractor, plan: list[Shard], summaries: list[dict]) -> dict:
    folder = Path(corpus.name)
    return {
        "corpus": folder.resolve().name if folder.is_dir() else corpus.name,
        "config": corpus.config,
        **summarize_splits(plan, summaries),
        "feature_extractor": feature_extractor.to_dict(),
    }


def _write_card(folder: Path, summary: dict, features: Features) -> None:
    config, corpus = summary["config"], summary["corpus"]
    splits = SplitDict()
    for split, own in summary["splits"].items():
        splits[split] = SplitInfo(split, num_bytes=own["num_bytes"], num_examples=own["num_rows"])
    data = DatasetCardData(pretty_name=f"{corpus} ({config}), prepared", tags=["ecg", "electrocardiogram"])
    DatasetInfosDict({config: DatasetInfo(config_name=config, features=features, splits=splits)}).to_dataset_card_data(
        data
    )
    files = [{"split": split, "path": f"{split}-*.parquet"} for split in splits]
    data.configs = [{"config_name": config, "data_files": files}]
    card = DatasetCard.from_template(
        data,
        template_path=str(resource("cards", "prepared.md.jinja")),
        corpus=corpus,
        config=config,
        fields=json.dumps(summary["feature_extractor"], indent=2),
    )
    partial_card = folder / ".README.md.partial"
    card.save(partial_card)
    os.replace(partial_card, folder / "README.md")
