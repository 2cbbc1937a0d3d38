"""Arguments that say where recordings come from and which parts of them are used: shared by training and evaluation."""

from __future__ import annotations

from dataclasses import dataclass

from .build import CorpusName
from .parser import argument


@dataclass(kw_only=True)
class SourceArguments:
    """Where recordings come from."""

    source: str | None = argument(None, help="a publisher's files, whole or in part, of any corpus that is known")
    corpus: CorpusName | None = argument(None, help="whose files --source has, where they do not tell")
    data: list[str] = argument(
        default_factory=list,
        help="corpora: folders that `mets-ecg build`, `simulate` or `prepare` wrote, or ids on the Hub",
    )
    config_name: str | None = argument(None, help="which version of the corpus; default by the model's sampling rate")
    streaming: bool = argument(False, help="read what `mets-ecg prepare` wrote shard by shard, without a copy on disk")
    num_proc: int | None = argument(None, help="processes that read and prepare recordings")

    def __post_init__(self) -> None:
        if self.source is not None and self.data:
            raise ValueError("--source and --data are both given: a publisher's files, or corpora that were built")


@dataclass(kw_only=True)
class DataArguments(SourceArguments):
    """Where recordings come from, and which of them train, validate and test."""

    train: list[str] | None = argument(
        None, help="what to train on: a split, folds such as 1-8, all or none; default the corpus' own"
    )
    validation: list[str] | None = argument(None, help="what chooses the checkpoint; as --train")
    test: list[str] | None = argument(None, help="what to measure on; as --train")
