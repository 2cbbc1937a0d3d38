"""Lead names, their aliases, their order, and the limb leads: what follows from two, and a test of their order.

The only list of leads in the package: everything that needs a name, an order or a number of leads asks here.
Leads are matched by name and never by index, because data sets disagree about order (MIMIC-IV-ECG has aVF before aVL).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import numpy as np

STANDARD_LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
NUM_STANDARD_LEADS = len(STANDARD_LEADS)

# Every limb lead as a combination of leads I and II (Einthoven: III = II - I; Goldberger: the augmented leads).
# Any two of the six are linearly independent, so any two give the other four.
LIMB_LEADS_FROM_I_AND_II = {
    "I": (1.0, 0.0),
    "II": (0.0, 1.0),
    "III": (-1.0, 1.0),
    "aVR": (-0.5, -0.5),
    "aVL": (1.0, -0.5),
    "aVF": (-0.5, 1.0),
}
# The largest `limb_lead_error` of a recording in the order it is said to be in. Real ones are at 1 % (10 of SPH, 300 of
# PTB-XL), with aVL and aVF swapped at 54 % and more; lesser breaks are artefacts.
MAX_LIMB_LEAD_ERROR = 0.3

# "MLII" is the Holter name of a modified lead II (MIT-BIH), "DI" the Latin-American one of lead I.
_ALIASES = {name.upper(): name for name in STANDARD_LEADS}
_ALIASES |= {f"{prefix}{name}": name for name in ("I", "II", "III") for prefix in ("D", "ML", "L")}
_ALIASES |= {"D1": "I", "D2": "II", "D3": "III", "L1": "I", "L2": "II", "L3": "III"}
_ALIASES |= {f"C{i}": f"V{i}" for i in range(1, 7)}
# "Lead I", "ECG II", "MDC_ECG_LEAD_V1" (ISO 11073-10102, also in DICOM and aECG), "Lead I (Einthoven)" (DICOM).
_DECORATION = re.compile(r"^(MDC[ _-]+)?((LEAD|ECG|EKG)[ _-]*)*|\s*\(EINTHOVEN\)$")

# What recordings hold beside the twelve leads: Frank's leads, right and posterior chest leads, other sensors.
_OTHER_CHANNELS = {"VX", "VY", "VZ", "X", "Y", "Z", "V7", "V8", "V9", "MCL1", "MCL6"}
_OTHER_CHANNELS |= {f"V{i}R" for i in range(1, 10)}
_OTHER_CHANNELS |= {"ABP", "ART", "ARTP", "BP", "CVP", "IBP", "ICP", "NBP", "NIBP", "PAP", "RAP"}  # pressures
_OTHER_CHANNELS |= {"CO2", "ETCO2", "PLETH", "PPG", "RESP", "RESPIRATION", "SAO2", "SPO2"}
_OTHER_CHANNELS |= {"EDA", "EEG", "EMG", "EOG", "GSR", "PCG", "TEMP"}
# Places of the 10-20 system, of sleep studies; and what else these have, beside which C3 and C4 are no chest leads.
_EEG_CHANNELS = {"FP1", "FP2", "F3", "F4", "F7", "F8", "FZ", "CZ", "PZ", "P3", "P4", "O1", "O2", "OZ"}
_EEG_CHANNELS |= {f"T{i}" for i in range(3, 9)}
_OTHER_CHANNELS |= _EEG_CHANNELS
_OF_SLEEP_STUDIES = re.compile(r"(EEG|EOG|EMG|CHIN|LOC|ROC|[EMA][12])\b|[FCOPT][P1-8Z]{1,2}-[AM][12]")


def canonical_lead(name: str) -> str:
    """Return the standard name of a lead: `"AVR"`, `"avr"` and `"Lead aVR"` are all `"aVR"`.

    Raises:
        ValueError: the name is not that of a standard lead; the message lists the known ones.
    """
    lead = _ALIASES.get(_DECORATION.sub("", str(name).strip().upper()))
    if lead is None:
        raise ValueError(
            f"unknown lead {name!r}: known leads are {', '.join(STANDARD_LEADS)} "
            "(in any case) and the aliases MLI-MLIII, DI-DIII, D1-D3, L1-L3 and C1-C6"
        )
    return lead


def is_lead(name) -> bool:
    """Return whether this is the name of a standard lead."""
    return isinstance(name, str) and _DECORATION.sub("", name.strip().upper()) in _ALIASES


def is_other_channel(name: str) -> bool:
    """Return whether this names a channel that is known and is not one of the twelve leads, such as `vx` or `ABP`."""
    return _DECORATION.sub("", name.strip().upper()) in _OTHER_CHANNELS


def eeg_channels(names: Iterable[str]) -> set[str]:
    """Return which of a recording's channels are a sleep study's beside its ECG, as `O1`, `F4-M1` and `EOG-L`.

    C3 and C4 are so beside others, or where both are there and no other channel is called C.
    """
    plain = {name: name.strip().upper() for name in names}
    eeg = {name for name, own in plain.items() if own in _EEG_CHANNELS or _OF_SLEEP_STUDIES.match(own)}
    if eeg or {own for own in plain.values() if re.fullmatch("C[1-6]", own)} == {"C3", "C4"}:
        eeg |= {name for name, own in plain.items() if own in ("C3", "C4")}
    return eeg


def canonical_leads(names: Iterable[str]) -> tuple[str, ...]:
    """Return the standard names of several leads, in the order given.

    Raises:
        ValueError: a name is unknown, or two names mean the same lead.
        TypeError: `names` is a single string, which would otherwise be read letter by letter.
    """
    if isinstance(names, str):
        raise TypeError(f"lead names must be a list of names, got the string {names!r}: write [{names!r}]")
    names = list(names)
    canonical = tuple(canonical_lead(name) for name in names)
    for position, lead in enumerate(canonical):
        if lead in canonical[:position]:
            first = names[canonical.index(lead)]
            raise ValueError(f"duplicate lead {lead}: named {first!r} and {names[position]!r} in {names}")
    return canonical


def arrange_leads(
    signal: np.ndarray, lead_names: Sequence[str], present: np.ndarray, target: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Put a recording into a given lead order; derive the missing limb leads that follow from two others.

    A lead that was recorded is never overwritten, even where it breaks Einthoven's law (72 PTB-XL records do).

    Args:
        signal: `(leads, samples)`, millivolt.
        lead_names: standard names of the rows.
        present: bool `(leads,)`; False where a row holds nothing usable.
        target: the standard names wanted, in order.

    Returns:
        The signal as `(len(target), samples)`, zero where a lead is missing, and its lead mask, bool `(len(target),)`,
        True for recorded and derived leads.
    """
    rows = {name: signal[i] for i, name in enumerate(lead_names) if present[i]}
    limbs = [name for name in LIMB_LEADS_FROM_I_AND_II if name in rows][:2]
    missing_limbs = [name for name in target if name in LIMB_LEADS_FROM_I_AND_II and name not in rows]
    if len(limbs) == 2 and missing_limbs:
        basis = np.linalg.inv([LIMB_LEADS_FROM_I_AND_II[name] for name in limbs])
        one_and_two = basis @ np.stack([rows[name] for name in limbs])
        rows |= {name: np.asarray(LIMB_LEADS_FROM_I_AND_II[name]) @ one_and_two for name in missing_limbs}
    arranged = np.zeros((len(target), signal.shape[1]), dtype=signal.dtype)
    for i, name in enumerate(target):
        if name in rows:
            arranged[i] = rows[name]
    return arranged, np.array([name in rows for name in target])


def leads_from(names: Iterable[str], target: Sequence[str]) -> list[bool]:
    """Return which of the target's leads a recording of these leads gives: its own, and limb leads that follow.

    Raises:
        ValueError: a name is unknown or no lead of the target, or two names mean the same lead.
    """
    names = canonical_leads(names)
    for name in names:
        if name not in target:
            raise ValueError(f"lead {name} is none of the model's: {', '.join(target)}")
    follow = sum(name in LIMB_LEADS_FROM_I_AND_II for name in names) >= 2
    return [name in names or (follow and name in LIMB_LEADS_FROM_I_AND_II) for name in target]


def limb_lead_error(signal: np.ndarray, lead_names: Sequence[str]) -> float | None:
    """Return how far the limb leads are from what Einthoven's and Goldberger's laws make of I and II.

    Args:
        signal: `(leads, samples)`; samples that are not finite in some lead do not count.
        lead_names: standard names of the rows.

    Returns:
        The largest root mean square of a lead's departure, as a part of that of all limb leads, means removed.
        Flat (disconnected) leads are left out; None if there is nothing to compare.
    """
    signal = signal[:, np.isfinite(signal).all(axis=0)]
    if not signal.shape[1]:
        return None
    rows = {name: row - row.mean() for name, row in zip(lead_names, signal, strict=True) if np.ptp(row) > 0}
    if "I" not in rows or "II" not in rows:
        return None
    limbs = {name: rows[name] for name in LIMB_LEADS_FROM_I_AND_II if name in rows}
    amplitude = np.sqrt(np.mean([np.mean(row**2) for row in limbs.values()]))
    departures = [
        np.sqrt(np.mean((row - a * rows["I"] - b * rows["II"]) ** 2))
        for name, row in limbs.items()
        for a, b in [LIMB_LEADS_FROM_I_AND_II[name]]
        if name not in ("I", "II")
    ]
    return float(max(departures) / amplitude) if departures else None
