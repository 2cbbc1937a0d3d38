"""Arguments of `mets-ecg prepare`."""

from __future__ import annotations

from dataclasses import dataclass

from .parser import argument


@dataclass
class PrepareArguments:
    """Apply a model's processing to a corpus once, and write what the model reads as Parquet shards."""

    data: str = argument(help="a corpus: a folder that `mets-ecg build` wrote, or its id on the Hub", positional=True)
    output: str = argument(help="folder of the prepared rows; `--data` of other commands reads it")
    config_name: str | None = argument(None, help="which version of the corpus; default by the model's sampling rate")
    model: str | None = argument(None, help="checkpoint whose feature extractor is applied: a folder or a Hub id")
    config: str | None = argument(None, help="recipe of `mets-ecg pretrain` whose feature extractor is applied")
    num_proc: int | None = argument(None, help="processes; default all processors")
