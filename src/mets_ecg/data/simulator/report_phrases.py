"""The findings the simulator knows, and how a report words them.

Findings are plain lower-case English, as a report would name them, so that a name is a usable prompt by
itself. The wording varies on purpose (names, abbreviations, signs): with one sentence a finding, a model
would learn a look-up table. Signs such as "wide qrs" or "pathological q waves" are shared between findings,
which is what lets a finding that was held out of training be described in words that were not. Nothing is
ever negated.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

RHYTHMS = (
    "sinus rhythm",
    "sinus bradycardia",
    "sinus tachycardia",
    "atrial fibrillation",
    "ventricular tachycardia",
)

# Each wording stands for its finding alone: no other finding is named or implied in it.
WORDINGS: dict[str, tuple[str, ...]] = {
    "sinus rhythm": (
        "sinus rhythm",
        "normal sinus rhythm",
        "regular sinus rhythm",
        "sinus rhythm with normal heart rate",
        "sinus rhythm at a normal rate",
    ),
    "sinus bradycardia": (
        "sinus bradycardia",
        "bradycardic sinus rhythm",
        "sinus bradycardia, slow heart rate",
        "slow sinus rhythm, bradycardia",
        "marked sinus bradycardia",
    ),
    "sinus tachycardia": (
        "sinus tachycardia",
        "tachycardic sinus rhythm",
        "sinus tachycardia, fast heart rate",
        "rapid sinus rhythm, sinus tachycardia",
        "marked sinus tachycardia",
    ),
    "atrial fibrillation": (
        "atrial fibrillation",
        "afib",
        "atrial fibrillation, irregular ventricular response",
        "irregularly irregular rhythm, atrial fibrillation",
        "fibrillatory waves in place of p waves, atrial fibrillation",
    ),
    "ventricular tachycardia": (
        "ventricular tachycardia",
        "sustained ventricular tachycardia",
        "wide qrs tachycardia",
        "tachycardia of ventricular origin with wide qrs",
        "fast heart rate with wide ventricular beats, ventricular tachycardia",
    ),
    "first degree av block": (
        "first degree av block",
        "1st degree atrioventricular block",
        "first degree atrioventricular block",
        "prolonged pr interval",
        "av conduction delay with long pr interval",
    ),
    "left bundle branch block": (
        "left bundle branch block",
        "lbbb",
        "complete left bundle branch block",
        "wide qrs with left bundle branch block",
        "left ventricular conduction delay, wide qrs with notched r in i and v6",
    ),
    "right bundle branch block": (
        "right bundle branch block",
        "rbbb",
        "complete right bundle branch block",
        "wide qrs with right bundle branch block",
        "right ventricular conduction delay, wide qrs with rsr' in v1",
    ),
    "left ventricular hypertrophy": (
        "left ventricular hypertrophy",
        "lvh",
        "lvh with strain pattern",
        "voltage criteria for left ventricular hypertrophy",
        "high qrs voltages with lateral strain, left ventricular hypertrophy",
    ),
    "premature ventricular contractions": (
        "premature ventricular contractions",
        "pvc",
        "ventricular extrasystoles",
        "premature ventricular beats",
        "ventricular ectopic beats with wide qrs",
    ),
    "inferior myocardial infarction": (
        "inferior myocardial infarction",
        "inferior infarct",
        "pathological q waves in ii, iii and avf",
        "q waves and inverted t waves in inferior leads, inferior infarction",
        "inferior wall myocardial infarction",
    ),
    "anterior myocardial infarction": (
        "anterior myocardial infarction",
        "anterior infarct",
        "pathological q waves in v1 to v4",
        "q waves and inverted t waves in anterior leads, anterior infarction",
        "anterior wall myocardial infarction",
    ),
}

FINDINGS = tuple(WORDINGS)

# A rhythm replaces the others; a bundle is blocked on one side; without P waves there is no PR interval; and
# where every beat is ventricular nothing can be said about conducted ones.
_EXCLUSIVE = (
    RHYTHMS,
    ("left bundle branch block", "right bundle branch block"),
    ("atrial fibrillation", "first degree av block"),
    *(("ventricular tachycardia", name) for name in FINDINGS if name not in RHYTHMS),
)

_NORMAL_CLOSINGS = ("normal ecg", "within normal limits", "ecg within normal limits", "unremarkable ecg", "")
_RATE_CLOSINGS = ("otherwise normal ecg", "otherwise unremarkable", "", "")
_ABNORMAL_CLOSINGS = ("abnormal ecg", "pathological ecg", "", "", "")


def _prompts(finding: str) -> list[str]:
    """Return zero-shot phrasings: rhythms as reports open, other findings after several rhythms.

    Averaged over rhythms, a prompt says little about the rhythm; "sinus rhythm. left bundle branch block."
    alone would score any record in sinus rhythm up and the same block in atrial fibrillation down.
    """
    plain, *_, signs = WORDINGS[finding]
    if finding in RHYTHMS:
        return [f"{text}." for text in WORDINGS[finding]]
    rhythms = [name for name in RHYTHMS if not conflicts((name, finding))]
    return [f"{plain}.", f"{signs}.", *(f"{rhythm}. {plain}." for rhythm in rhythms)]


def conflicts(findings: Iterable[str]) -> list[str]:
    """Return the first two findings that exclude each other, or an empty list."""
    findings = list(findings)
    for group in _EXCLUSIVE:
        clash = [name for name in findings if name in group]
        if len(clash) > 1:
            return clash[:2]
    return []


PHRASES: dict[str, list[str]] = {finding: _prompts(finding) for finding in FINDINGS}


def check_findings(findings: Iterable[str]) -> tuple[str, ...]:
    """Return findings in the order of `FINDINGS`, each once, with "sinus rhythm" where no rhythm is named.

    Raises:
        ValueError: a finding is unknown, or two exclude each other.
        TypeError: `findings` is a single string, which would otherwise be read letter by letter.
    """
    if isinstance(findings, str):
        raise TypeError(f"findings must be a list of names, got the string {findings!r}: write [{findings!r}]")
    wanted = list(findings)
    for name in wanted:
        if name not in WORDINGS:
            raise ValueError(f"unknown finding {name!r}: known findings are {', '.join(FINDINGS)}")
    if not any(name in RHYTHMS for name in wanted):
        wanted.append(RHYTHMS[0])
    ordered = tuple(name for name in FINDINGS if name in wanted)
    if clash := conflicts(ordered):
        raise ValueError(f"{clash[0]!r} and {clash[1]!r} exclude each other: ask for one of them")
    return ordered


def describe(findings: Iterable[str], *, rng: np.random.Generator) -> tuple[str, list[str]]:
    """Return a report that states these findings and no others, in varied wording.

    Args:
        findings: names out of `FINDINGS`; without a rhythm, sinus rhythm is reported.
        rng: chooses wording, order and punctuation; the text depends on nothing else.

    Returns:
        Lower-case text such as `"sinus tachycardia. lvh with strain pattern. abnormal ecg."`, and its parts.

    Raises:
        ValueError: a finding is unknown, or two exclude each other.
        TypeError: `findings` is a single string.
    """
    ordered = check_findings(findings)
    rhythm, others = ordered[0], list(ordered[1:])
    rng.shuffle(others)
    named = [rhythm, *others]
    if rng.random() < 0.15:
        rng.shuffle(named)
    parts = [WORDINGS[name][rng.integers(len(WORDINGS[name]))] for name in named]
    closings = _ABNORMAL_CLOSINGS if others or rhythm in RHYTHMS[3:] else _RATE_CLOSINGS
    closings = _NORMAL_CLOSINGS if ordered == RHYTHMS[:1] else closings
    if closing := closings[rng.integers(len(closings))]:
        parts.append(closing)
    joiner = (". ", ". ", "; ", ", ")[rng.integers(4)]
    return joiner.join(parts) + ".", parts
