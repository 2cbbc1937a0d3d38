"""The corpora: one module a publisher's data set, each a `CorpusBuilder`, and `CORPORA`, the table of them."""

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

CORPORA: MappingProxyType[str, type[CorpusBuilder]] = MappingProxyType(
    {kind.name: kind for kind in (PTBXL, MITBIH, LUDB, CinC, CSN, CPSC2018, SPH, CodeTest, MIMICIVECG)}
)
