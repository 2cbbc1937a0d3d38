"""The command `mets-ecg simulate`: a corpus of simulated recordings on disk."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from datasets import Dataset

from mets_ecg_cli.simulate import SimulateArguments

from ..building.corpus_builder import CorpusBuilder
from ..building.shards import Shard, shard_names, split_evenly, summarize_splits, write_parquet, write_shards
from ..rows import table_rows
from .corpus import simulate_corpus


def run_simulate(arguments: SimulateArguments) -> None:
    """Write the corpus.

    Raises:
        FileExistsError: the folder is there already, with something else in it.
        ValueError: an argument is out of range.
    """
    corpus = simulate_corpus(
        arguments.num_records,
        seed=arguments.seed,
        sampling_rate=arguments.sampling_rate,
        held_out=arguments.held_out,
        num_proc=arguments.num_proc,
    )
    plan = []
    for split, folds in {"train": range(1, 9), "validation": [9], "test": [10]}.items():
        chosen = [i for i, fold in enumerate(corpus["fold"]) if fold in folds]
        parts = split_evenly(chosen, CorpusBuilder.recordings_per_shard)
        plan += [Shard(name, part, len(part)) for name, part in zip(shard_names(split, len(parts)), parts, strict=True)]
    write_shards(
        arguments.output,
        plan,
        partial(_write_shard, corpus),
        key=corpus._fingerprint,
        summarize=lambda summaries: {
            "corpus": "simulated",
            "default_parts": {"train": ["1-8"], "validation": ["9"], "test": ["10"]},
            **summarize_splits(plan, summaries),
        },
        num_proc=arguments.num_proc,
        description="writing",
    )
    rate = f"{arguments.sampling_rate:g} Hz"
    print(f"{len(corpus)} simulated recordings at {rate}, folds 1 to 10, are in {arguments.output}")


def _write_shard(corpus: Dataset, indices: list[int], path: Path) -> dict:
    tables = corpus.select(indices).with_format("arrow").iter(batch_size=100)
    rows = (row for table in tables for row in table_rows(table))
    return {"num_rows": write_parquet(rows, path, corpus.features)}
