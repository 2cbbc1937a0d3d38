"""Arguments of `mets-ecg build`."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from .parser import argument


def corpus_names() -> list[str]:
    """Return the names of the corpora, one a module of `mets_ecg.data.corpora`, which is not imported for it."""
    folder = Path(find_spec("mets_ecg").origin).parent / "data" / "corpora"
    return sorted(path.stem.replace("_", "-") for path in folder.glob("[!_]*.py"))


CorpusName = Literal[*corpus_names()]


@dataclass
class BuildArguments:
    """Make a corpus of a publisher's files: Parquet shards and a data-set card in one folder."""

    corpus: CorpusName = argument(help="which", positional=True)
    output: str = argument(help="folder of the corpus; each config is a folder in it")
    source: str | None = argument(None, help="the publisher's files, whole or in part")
    download: str | None = argument(None, help="download the publisher's files into this folder first")
    config_name: str | None = argument(None, help="which version of the corpus, as 500hz of ptb-xl; default its first")
    strict: bool = argument(False, help="refuse a source that lacks recordings which its tables list")
    exclude: list[str] = argument(
        default_factory=list, help="ids of recordings that shall not be read, or files of one id a line"
    )
    reports: str | None = argument(None, help="CSV of your own translations: columns record_id, report_en")
    num_proc: int | None = argument(None, help="processes; default all processors")
