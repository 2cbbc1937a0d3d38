"""The corpora: one module a publisher's data set, and one for a user's own recordings, each a `CorpusBuilder`.

`CORPORA` is the table of them.
"""

import os
from pathlib import Path
from types import MappingProxyType

from ..building.corpus_builder import CorpusBuilder
from .cinc import CinC
from .code_test import CodeTest
from .cpsc2018 import CPSC2018
from .csn import CSN
from .ludb import LUDB
from .mimic_iv_ecg import MIMICIVECG
from .mit_bih import MITBIH
from .ptb_xl import PTBXL
from .sph import SPH
from .table import TableCorpus

CORPORA: MappingProxyType[str, type[CorpusBuilder]] = MappingProxyType(
    {kind.name: kind for kind in (PTBXL, MITBIH, LUDB, CinC, CSN, CPSC2018, SPH, CodeTest, MIMICIVECG, TableCorpus)}
)


def recognise(source: str | os.PathLike[str], corpus: str | None = None) -> type[CorpusBuilder]:
    """Return the builder of a publisher's folder, or of a table of a user's own recordings.

    Args:
        source: the folder, or the table.
        corpus: its name; by default the folder is recognised by its files.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: there is no such corpus; or the folder is not recognised, or could be of several.
    """
    if corpus is not None:
        if corpus not in CORPORA:
            raise ValueError(f"there is no corpus {corpus!r}: there are {', '.join(CORPORA)}")
        return CORPORA[corpus]
    folder = Path(source)
    if not folder.exists():
        raise FileNotFoundError(f"there is no folder {str(source)!r}: give a corpus as its publisher lays it out")
    found = [kind for kind in CORPORA.values() if kind.recognises(folder)]
    if len(found) != 1:
        what = f"could be {' or '.join(kind.name for kind in found)}" if found else "is not that of a known corpus"
        raise ValueError(f"{str(source)!r} {what}: say which by --corpus, one of {', '.join(CORPORA)}")
    return found[0]
