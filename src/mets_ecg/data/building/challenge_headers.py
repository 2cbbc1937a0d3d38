"""WFDB records as the PhysioNet/CinC Challenges publish them, with diagnoses, age and sex in a header's comments.

Several corpora come so. What published headers hold that is odd is told in `corpora/cinc.py`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from ...io import DigitalRecord, parse_age, parse_sex, read_wfdb_digital
from ...leads import canonical_leads
from ..text_cells import is_empty
from .corpus_builder import Recording, is_apple_double


def list_wfdb(source: Path, folder: Path, split: str) -> list[Recording]:
    """Return the WFDB records in a folder and the folders in it, in the order of names, on disk or not.

    A record is one by its header, its signal file or a line of `RECORDS`; all three are looked at, so that what is
    missing is known. Headers stay unread: there are 88,000.

    Args:
        source: what paths are relative to.
        folder: in `source`.
        split: of all these recordings.
    """
    recordings = []
    for where, _, names in os.walk(folder):
        here, names = Path(where), {name for name in names if not is_apple_double(name)}
        stems = {Path(name).stem for name in names if name.endswith((".hea", ".mat", ".dat"))}
        if "RECORDS" in names:
            lines = (here / "RECORDS").read_text(encoding="utf-8", errors="replace").split()
            stems |= {line for line in lines if "/" not in line}  # with one, it leads to a folder
        signals = {}
        for stem in stems:
            signal = f"{stem}.dat" if f"{stem}.dat" in names and f"{stem}.mat" not in names else f"{stem}.mat"
            if signal not in names and f"{stem}.hea" in names:
                signal = _signal_named_in(here / f"{stem}.hea") or signal
            signals[stem] = signal
        taken = {Path(signal).stem for stem, signal in signals.items() if Path(signal).stem != stem}
        inner = here.relative_to(source)
        recordings += [
            Recording(stem, ((inner / f"{stem}.hea").as_posix(), (inner / signal).as_posix()), split)
            for stem, signal in signals.items()
            if stem not in taken
        ]
    return sorted(recordings, key=lambda recording: (recording.record_id, recording.files))


def _signal_named_in(header: Path) -> str | None:
    """Return the file beside a header that its first signal line names, if there is one."""
    lines = [line.split() for line in header.read_text(encoding="utf-8", errors="replace").splitlines()]
    names = [line[0] for line in lines if line and not line[0].startswith("#")][1:2]
    return names[0] if names and (header.parent / Path(names[0]).name).is_file() else None


def read_twelve_leads(path: Path) -> DigitalRecord:
    """Read a WFDB record whose channels are all standard leads.

    Raises:
        ValueError: the record is damaged, or a lead is unknown or there twice.
    """
    record = read_wfdb_digital(path)
    try:
        canonical_leads(record.lead_names)
    except ValueError as error:
        raise ValueError(f"record {path.stem}: {error}; mend the names in {path}") from error
    return record


def read_comments(record: DigitalRecord, abbreviations: Mapping[str, str]) -> tuple[list[str] | None, dict]:
    """Return what the Challenge's comment lines tell.

    Args:
        record: with its comments.
        abbreviations: SNOMED CT code of each abbreviation that `Dx` may have in place of a code.

    Returns:
        The SNOMED CT codes of `Dx`, each once, None where it is empty or missing; and `age`, `age_over_89` and `sex`,
        as far as they are known.

    Raises:
        ValueError: `Dx` has a word that is neither a code nor one of the abbreviations.
    """
    comments = {}
    for line in record.comments:
        key, _, value = line.partition(":")
        comments.setdefault(key.strip().lower(), value.strip())
    words = [word.strip() for word in comments.get("dx", "").split(",")]
    words = [word for word in words if not is_empty(word) and word.lower() != "unknown"]
    codes = [word if word.isascii() and word.isdecimal() else abbreviations.get(word) for word in words]
    if None in codes:
        raise ValueError(
            f"record {record.record_id}: its header has {words[codes.index(None)]!r} in 'Dx', which is neither a "
            "SNOMED CT code nor a known abbreviation: write the code in its place"
        )
    codes = list(dict.fromkeys(codes)) or None
    return codes, {**parse_age(comments.get("age", "")), "sex": parse_sex(comments.get("sex", ""))}
