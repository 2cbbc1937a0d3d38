"""`SavedCorpus`: a corpus in Parquet, in a folder that this package wrote or on the Hub, as rows or as streams."""

from __future__ import annotations

import glob
import json
import os
import posixpath
import re
from collections.abc import Sequence
from pathlib import Path

import datasets
from datasets import Dataset, IterableDataset, concatenate_datasets, load_dataset
from huggingface_hub import HfApi, HfFileSystem
from huggingface_hub.errors import RepositoryNotFoundError

from ..feature_extraction_ecg import PROCESSING_VERSION
from .building.shards import BUILD_SUMMARY, check_row_format, read_summary, split_files


class SavedCorpus:
    """A corpus in Parquet: a folder that this package wrote, or a repository on the Hub.

    Args:
        name: the folder, or the repository's id.
        config: which version of the corpus.
        sampling_rate: Hz that a model wants; chooses between `100hz` and `500hz` where no config is named.

    Attributes:
        name: as given.
        config: the config's name.
        files: paths or URLs of the shards by split, in order.
        num_rows: rows by split; None where a repository does not say.
        fingerprint: of the content.
        summary: what its build says of it, `build.json`; empty where a repository has none.
        corpus: the corpus' name, as `"ptb-xl"`; the folder's or repository's where no build says it.
        feature_extractor: fields of the feature extractor that prepared the rows; None where they are not prepared.

    Raises:
        FileNotFoundError: there is no such corpus, or shards of it are missing.
        ValueError: there is no such config; or the rows are of another row format, or were prepared by another version.
        ConnectionError: it is not a folder, and the Hub is not reached.
    """

    def __init__(self, name: str | os.PathLike[str], *, config: str | None = None, sampling_rate: float | None = None):
        self.name = str(name)
        if Path(name).exists() or self.name.count("/") != 1 or self.name.startswith((".", "~", "/")):
            self._open_folder(Path(name), config, sampling_rate)
        else:
            self._open_repository(config, sampling_rate)

    def _open_folder(self, folder: Path, config: str | None, sampling_rate: float | None) -> None:
        if not folder.is_dir():
            raise FileNotFoundError(
                f"there is no corpus folder {str(folder)!r}: `mets-ecg build` and `mets-ecg simulate` write one"
            )
        summary = read_summary(folder)
        if summary is None:
            configs = sorted(path.name for path in folder.iterdir() if read_summary(path) is not None)
            if not configs:
                stopped = any(folder.glob(".*.building"))
                raise FileNotFoundError(
                    f"{str(folder)!r} has no corpus"
                    + (": its build was stopped; run it again, it goes on" if stopped else " that mets-ecg wrote")
                )
            folder = folder / _choose_config(configs, config, sampling_rate, self.name)
            summary = read_summary(folder)
        self.config = summary.get("config", folder.name)  # prepared rows are in a folder of any name
        if config not in (None, self.config):
            raise ValueError(f"{str(folder)!r} is the config {self.config}: name the folder of the config {config}")
        files = {split: [str(path) for path in split_files(folder, split)] for split in summary["splits"]}
        self.files = files
        self._read_summary(summary, str(folder))
        literal = {split: [glob.escape(path) for path in found] for split, found in files.items()}
        self._load = {"path": "parquet", "data_files": literal}

    def _open_repository(self, config: str | None, sampling_rate: float | None) -> None:
        try:
            commit = HfApi().dataset_info(self.name).sha  # all that is read comes from one commit
        except RepositoryNotFoundError as error:
            raise FileNotFoundError(
                f"there is no corpus {self.name!r}: neither a folder here, nor a data set on the Hub that the token "
                "may see"
            ) from error
        configs = datasets.get_dataset_config_names(self.name, revision=commit)
        self.config = _choose_config(configs, config, sampling_rate, self.name)
        builder = datasets.load_dataset_builder(self.name, self.config, revision=commit)
        self.files = {str(split): list(map(str, files)) for split, files in builder.config.data_files.items()}
        summary = posixpath.join(posixpath.dirname(next(iter(self.files.values()))[0]), BUILD_SUMMARY)
        hub = HfFileSystem()
        if hub.exists(summary):
            self._read_summary(json.loads(hub.read_text(summary)), f"{self.name}/{self.config}")
        else:
            counted = builder.info.splits or {}
            self.num_rows = {split: counted[split].num_examples if split in counted else None for split in self.files}
            self.fingerprint = f"{self.name} {self.config} {commit}"
            self.feature_extractor = None
            self.summary = {}
        self._load = {"path": self.name, "name": self.config, "revision": commit}

    def _read_summary(self, summary: dict, name: str) -> None:
        check_row_format(summary, name)
        prepared_by = summary.get("processing_version", PROCESSING_VERSION)
        if prepared_by != PROCESSING_VERSION:
            raise ValueError(
                f"{name!r} was prepared by version {prepared_by} of the processing, this mets-ecg has version "
                f"{PROCESSING_VERSION}: prepare again: remove it, and run the command that made it"
            )
        self.num_rows = {split: own["num_rows"] for split, own in summary["splits"].items()}
        self.fingerprint = summary["key"]
        self.summary = summary
        self.feature_extractor = summary.get("feature_extractor")

    @property
    def corpus(self) -> str:
        return self.summary.get("corpus") or Path(self.name).name

    def streams(self) -> dict[str, IterableDataset]:
        """Return a stream for each split."""
        return dict(load_dataset(**self._load, streaming=True))

    def dataset(self) -> Dataset:
        """Return the rows of all splits, memory-mapped from `datasets`' cache, with columns `corpus` and `split`."""
        loaded = load_dataset(**self._load)
        named = []
        for split in self.files:
            rows = loaded[split]
            for name, value in (("corpus", self.corpus), ("split", split)):
                rows = rows.add_column(name, [value] * len(rows))
            named.append(rows)
        return concatenate_datasets(named)


def _choose_config(configs: Sequence[str], wanted: str | None, sampling_rate: float | None, name: str) -> str:
    if wanted is not None:
        if wanted not in configs:
            raise ValueError(f"{name!r} has no config {wanted!r}: there are {', '.join(configs)}")
        return wanted
    rates = {int(config.removesuffix("hz")): config for config in configs if re.fullmatch(r"\d+hz", config)}
    if rates and sampling_rate is not None:
        return rates[min((rate for rate in rates if rate >= sampling_rate), default=max(rates))]
    if len(configs) > 1:
        raise ValueError(f"{name!r} has the configs {', '.join(configs)}: name one of them")
    return configs[0]
