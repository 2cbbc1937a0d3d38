"""The SNOMED CT codes of the PhysioNet/CinC Challenges and of Chapman-Shaoxing-Ningbo, and the classes made of them.

The table is `snomed.tsv` beside this module: 137 codes, each with the name and abbreviation that the Challenge of 2021
gives it (`dx_mapping_scored.csv` and `dx_mapping_unscored.csv`; those of 2020 have 111 of them, and the same) and the
acronyms of `ConditionNames_SNOMED-CT.csv` of Chapman-Shaoxing-Ningbo, in that table's order, where one code may have
several. Four codes are in the latter alone and have its name. Two of its codes differ from the Challenge's for the same
thing: `SAAWR` is 195101003 (17366009 in the Challenge) and `AVNRT` 233896004 (251166008).

The same letters mean different things: `AF` is fibrillation in the Challenge and flutter in Chapman-Shaoxing-Ningbo.

Sources: `dx_mapping_*.csv` and `weights.csv` of https://github.com/physionetchallenges/evaluation-2021, copyright 2020,
2021 PhysioNet/Computing in Cardiology Challenges, BSD 2-Clause (`snomed_LICENSE.txt`); Zheng et al., "A large scale
12-lead electrocardiogram database for arrhythmia study", 1.0.0, PhysioNet, DOI 10.13026/wgex-er52, CC BY 4.0. SNOMED CT
itself is SNOMED International's, and free of charge in its member countries.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class SnomedCode:
    """What a code means; `abbreviation` is the Challenge's (None where it lists no such code)."""

    name: str
    abbreviation: str | None
    acronyms: tuple[str, ...]


def _read_table() -> dict[str, SnomedCode]:
    with Path(__file__).with_name("snomed.tsv").open(encoding="utf-8", newline="") as file:
        return {
            line["code"]: SnomedCode(line["name"], line["abbreviation"] or None, tuple(line["acronyms"].split()))
            for line in csv.DictReader(file, delimiter="\t")
        }


CODES = _read_table()

# What headers of the Challenge of 2020's first phase have in place of a code, as `#Dx: RBBB`: the Challenge's
# abbreviations, and two of CPSC2018's nine classes. In Chapman-Shaoxing-Ningbo, "AF" is another rhythm.
CHALLENGE_ABBREVIATIONS = {own.abbreviation: code for code, own in CODES.items() if own.abbreviation}
CHALLENGE_ABBREVIATIONS |= {"I-AVB": "270492004", "Normal": "426783006"}

# The 26 classes that the Challenge of 2021 scores, in the order of its weights.csv and named as in
# weights_abbreviations.csv; codes of one class count as the same diagnosis.
SCORED_2021 = {
    "AF": ("164889003",),
    "AFL": ("164890007",),
    "BBB": ("6374002",),
    "Brady": ("426627000",),
    "CLBBB|LBBB": ("733534002", "164909002"),
    "CRBBB|RBBB": ("713427006", "59118001"),
    "IAVB": ("270492004",),
    "IRBBB": ("713426002",),
    "LAD": ("39732003",),
    "LAnFB": ("445118002",),
    "LPR": ("164947007",),
    "LQRSV": ("251146004",),
    "LQT": ("111975006",),
    "NSIVCB": ("698252002",),
    "NSR": ("426783006",),
    "PAC|SVPB": ("284470004", "63593006"),
    "PR": ("10370003",),
    "PRWP": ("365413008",),
    "PVC|VPB": ("427172004", "17338001"),
    "QAb": ("164917005",),
    "RAD": ("47665007",),
    "SA": ("427393009",),
    "SB": ("426177001",),
    "STach": ("427084000",),
    "TAb": ("164934002",),
    "TInv": ("59931005",),
}


def scored_classes(codes: Iterable[str]) -> list[str]:
    """Return those of the 26 classes of `SCORED_2021` that a recording's codes belong to, in their order.

    Args:
        codes: SNOMED CT codes; what is not scored, or not known, belongs to no class.

    Raises:
        TypeError: `codes` is a single string, which would otherwise be read letter by letter.
    """
    if isinstance(codes, str):
        raise TypeError(f"codes must be a list of SNOMED CT codes, got the string {codes!r}: write [{codes!r}]")
    given = set(codes)
    return [name for name, own in SCORED_2021.items() if not given.isdisjoint(own)]
