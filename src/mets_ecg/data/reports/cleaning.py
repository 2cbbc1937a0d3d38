"""Report text: what is cut before a report may be trained on, and which reports say anything at all.

Nothing is translated here, no abbreviation expanded and no spelling repaired; only text that is no finding
goes. In PTB-XL that is, first of all, the label leak: a second reader's `Edit:` with the SCP codes, which are
the labels, at the end of the report, and codes in brackets. Then the note of the recorder's firmware that
nobody confirmed its reading ("4.46 unbestätigter bericht"), which tells who wrote the report and not what is
recorded.

In folds 1 to 8 of PTB-XL (17,418 reports) this cuts 419 `Edit:` parts and 6,592 notes, and leaves nothing to
train on in 296: 295 only say that a trace was requested, one is empty.
"""

from __future__ import annotations

import re
import unicodedata

from ..statements import STATEMENTS

# Codes that PTB-XL's readers wrote beside the 71 of the table.
_CODES = (*STATEMENTS, "IVCB", "ISC", "PLMI", "NORMAL")
_ANY_CODE = "|".join(re.escape(code.lower()) for code in sorted(_CODES, key=len, reverse=True))
_CODE = rf"(?:{_ANY_CODE})(?!\w)(?:\s+\d+)?"
# A bracket of nothing but codes, or one that begins with a code and that the end of the report left open.
_BRACKETED_CODES = re.compile(rf"[(\[]\s*{_CODE}(?:(?:[\s,;]+{_CODE})*[\s,;]*[)\]]|[^)\]]*$)")
_EDIT = re.compile(r"\bedit\b|edit\s*:")

# The note stands last and long reports are cut short: any beginning of it can be what is left at the end.
_NOTE = "unbestätigter bericht"
_NOTE_BEGUN = "|".join(_NOTE[:length] for length in range(len(_NOTE), 0, -1))
_DEVICE_NOTE = re.compile(rf"(?:\b\d+\.\d+\s+)?\b{_NOTE}\b|\b4\.4\d?(?:\s+(?:{_NOTE_BEGUN}))?\s*$")

_TRACE_ONLY = re.compile(r"(?:(?:ecg|ekg)\s+)?trac(?:e|ing) only(?: (?:was )?(?:requested|required))?")


def clean_report(report: str) -> str:
    """Return a report fit to train on: lower case, one line, without label codes and the device's note.

    Args:
        report: the source's text, in any language.

    Returns:
        The text, possibly empty; see `is_trainable`. Sentences keep their full stops.

    Example:
        >>> clean_report("sinusrhythmus normales ekg 4.46  unbestÄtigter bericht Edit: NORM 100, (NORM 50)")
        'sinusrhythmus normales ekg'
    """
    text = unicodedata.normalize("NFC", report).lower()
    text = _EDIT.split(text, maxsplit=1)[0]
    text = _BRACKETED_CODES.sub(" ", text)
    text = " ".join(text.split())
    text = " ".join(_DEVICE_NOTE.sub(" ", text).split())
    text = re.sub(r"\s+(?=[.,;](?:\s|$))", "", text)
    text = re.sub(r"\.(?:\s*\.)+$", ".", text)
    return text.strip(" ,;:-/")


def is_trainable(cleaned: str) -> bool:
    """Say whether a cleaned report has a finding to learn from.

    Args:
        cleaned: what `clean_report` returned.

    Returns:
        False for a text without a letter, and for one that says only that a trace was requested.
    """
    words = " ".join(re.findall(r"[^\W\d_]+", cleaned))
    return bool(words) and not _TRACE_ONLY.fullmatch(words)
