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
    """Make a corpus of a publisher's files, or of a table of your own: Parquet shards and a card in one folder."""

    corpus: CorpusName = argument(help="which", positional=True)
    output: str = argument(help="folder of the corpus; each config is a folder in it")
    source: str | None = argument(
        None, help="the publisher's files, whole or in part; of table, your CSV, TSV or Parquet file"
    )
    download: str | None = argument(None, help="download the publisher's files into this folder first")
    config_name: str | None = argument(None, help="which version of the corpus, as 500hz of ptb-xl; default its first")
    strict: bool = argument(False, help="refuse a source that lacks recordings which its tables list")
    exclude: list[str] = argument(
        default_factory=list, help="ids of recordings that shall not be read, or files of one id a line"
    )
    reports: str | None = argument(None, help="CSV of your own translations: columns record_id, report_en")
    sampling_rate: float | None = argument(None, help="of table: Hz of files that do not state it, as .npy files")
    lead_names: list[str] | None = argument(None, help="of table: the rows of files that do not name them, as I II V1")
    units: str | None = argument(None, help="of table: mV, uV or V, of files that do not state it")
    num_proc: int | None = argument(None, help="processes; default all processors")

    def __post_init__(self) -> None:
        stated = self.stated()
        if self.corpus == "table":
            if self.source is None or self.download is not None:
                raise ValueError("say where your table is, by --source: a .csv, .tsv or .parquet file")
        elif stated:
            flags = ", ".join(f"--{name.replace('_', '-')}" for name in stated)
            raise ValueError(f"{flags}: only `mets-ecg build table` takes this, the files of {self.corpus} state it")

    def stated(self) -> dict:
        """Return what is said of files that do not state it themselves, by argument of `TableCorpus`."""
        values = {name: getattr(self, name) for name in ("sampling_rate", "lead_names", "units")}
        return {name: value for name, value in values.items() if value is not None}
