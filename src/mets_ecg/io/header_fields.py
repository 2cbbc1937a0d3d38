"""Age, sex and start of a recording, as the headers of public corpora write them.

Only these three are taken from a header's comments: names and free text never leave them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date, time

_SEX = {"male": "male", "m": "male", "female": "female", "f": "female"}
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")

# `<age>: 25  <sex>: M  <diagnoses>: (none)`
_BRACKETED = re.compile(r"<([^<>]*)>\s*:([^<]*)")
# `69 M 1085 1629 x1`, of the MIT-BIH databases; in "3 M electrodes" no number follows
_MIT_BIH = re.compile(r"(-?\d+)\s+([MF])(?=\s+\d|\s*$)", re.ASCII)
_TIME = re.compile(r"(\d{1,2}):(\d{1,2}):(\d{1,2})(?:\.(\d{1,6})\d*)?", re.ASCII)
_DAY_FIRST = re.compile(r"(\d{1,2})([/-])(\d{1,2}|[A-Za-z]{3})\2(\d{4})", re.ASCII)
_YEAR_FIRST = re.compile(r"(\d{4})-(\d{2})-(\d{2})", re.ASCII)


def parse_age(text: str) -> dict:
    """Return `age`, in years, and `age_over_89` of an age as headers write it.

    300 hides one over 89, "90+" is a lower bound; what is not an age (NaN, Unknown, -1) is None.
    """
    text = text.strip()
    try:
        age = float(text.removesuffix("+"))
    except ValueError:
        return {"age": None, "age_over_89": None}
    if age == 300 or (text.endswith("+") and 89 < age <= 120):
        return {"age": None, "age_over_89": True}
    if text.endswith("+") or not 0 <= age <= 120:
        return {"age": None, "age_over_89": None}
    return {"age": age, "age_over_89": age > 89}


def parse_sex(text: str) -> str | None:
    """Return `"male"`, `"female"` or, for all else, None."""
    return _SEX.get(text.strip().lower())


def age_and_sex(comments: Iterable[str]) -> dict:
    """Return `age`, `age_over_89` and `sex` of a header's comment lines, each None where it is not known.

    Lines are `Age: 56`, `<age>: 56  <sex>: M` or, as in the MIT-BIH databases, `69 M 1085 1629 x1`; the first of each
    counts.
    """
    stated: dict[str, str] = {}
    for line in comments:
        pairs = _BRACKETED.findall(line) or [line.partition(":")[::2]]
        if match := _MIT_BIH.match(line):
            pairs = [("age", match[1]), ("sex", match[2])]
        for key, value in pairs:
            stated.setdefault(key.strip().lower(), value)
    return {**parse_age(stated.get("age", "")), "sex": parse_sex(stated.get("sex", ""))}


def parse_start_time(text: str) -> str | None:
    """Return time and date of a record line in ISO 8601, None where they are not stated or cannot be.

    Args:
        text: `10:36:00`, `10:36:00.250 22/08/1994` as WFDB has it, `05-May-2020 14:50:55` or `2020-05-05 14:50:55`.
    """
    words = text.split()
    clocks = [word for word in words if ":" in word]
    days = [word for word in words if ":" not in word]
    if len(clocks) > 1 or len(days) > 1:
        return None
    try:
        parts = [_date(day) for day in days] + [_time(clock) for clock in clocks]
    except ValueError:
        return None
    return "T".join(parts) or None


def _time(text: str) -> str:
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError(text)
    hour, minute, second, fraction = match.groups()
    return time(int(hour), int(minute), int(second), int((fraction or "0").ljust(6, "0"))).isoformat()


def _date(text: str) -> str:
    if match := _YEAR_FIRST.fullmatch(text):
        return date(int(match[1]), int(match[2]), int(match[3])).isoformat()
    match = _DAY_FIRST.fullmatch(text)
    if match is None:
        raise ValueError(text)
    day, _, month, year = match.groups()
    number = int(month) if month.isdecimal() else _MONTHS.index(month.lower()) + 1
    return date(int(year), number, int(day)).isoformat()
