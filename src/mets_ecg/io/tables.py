"""Tables of samples as text: `.csv`, `.tsv` and `.txt`, a column a lead and a line a sample.

A first line of names says which leads these are, `I (mV)` or `I [uV]` their units too. A column called time, or one
without a name that rises evenly, gives the sampling rate: `time`, `time_ms`, `t [s]`. A decimal comma is understood
where columns are not separated by commas. Lines that begin with `#` are skipped.
"""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import numpy as np

from .arrays import as_read, check_size
from .record import ECGRecord

_DELIMITERS = ",;\t|"
UTF_16 = (b"\xff\xfe", b"\xfe\xff")  # how a text in it begins
# Names of columns that are no leads: the time, by its unit in seconds, and numbers of samples.
_TIME = re.compile(r"^(?:elapsed[ _]?)?(?:time|t|sec|secs|seconds|s|ms|msec|milliseconds|timestamp|us)(?:[ _]?[(\[]?(s|sec|seconds|ms|msec|milliseconds|us|µs)[)\]]?)?$")  # fmt: skip  # noqa: E501
_SECONDS = {"ms": 1e-3, "msec": 1e-3, "milliseconds": 1e-3, "us": 1e-6, "µs": 1e-6}
_COUNTERS = {"sample", "samples", "sample #", "index", "#", "n", "no", "unnamed: 0"}
# How far a step of the time may be from the usual one, as a part of it; where times are rounded it may be further.
_MAX_JITTER = 0.3
_SLOWEST = 20.0  # Hz
# `I (mV)`, `II [uV]`, `V1_mV`
_WITH_UNIT = re.compile(r"(.+?)(?:\s*[(\[]\s*([mun\u00b5\u03bc]?V)\s*[)\]]|_([mu]?V))", re.IGNORECASE)


def read_text_table(path: Path) -> ECGRecord:
    """Read a table of samples.

    Raises:
        ValueError: it is too large, not a table of numbers, its lines differ in length, or its time does not rise
            evenly; the message names the line.
    """
    check_size(path)
    text = path.read_bytes()
    try:
        lines = text.decode("utf-16" if text[:2] in UTF_16 else "utf-8-sig").splitlines()
    except UnicodeDecodeError:
        lines = text.decode("latin-1").splitlines()
    numbered = enumerate(lines, start=1)
    lines = [(number, line) for number, line in numbered if line.strip() and not line.startswith(("#", "sep="))]
    if not lines:
        raise ValueError(f"{path} is empty")
    delimiter = _delimiter([line for _, line in lines[:20]])
    decimal_comma = delimiter != "," and any("," in line for _, line in lines[1:])
    try:
        cells = list(csv.reader((line for _, line in lines), delimiter=delimiter))
    except csv.Error as error:
        raise ValueError(f"{path} cannot be read as a table ({error}): is a quotation mark not closed?") from error
    if len(cells) != len(lines):
        raise ValueError(f"{path} has a quotation mark that is not closed")
    rows = [(number, own) for (number, _), own in zip(lines, cells, strict=True)]
    names, first = None, [cell.strip() for cell in rows[0][1]]
    if any(_number(cell, decimal_comma) is None for cell in first):
        names, rows = [name.strip("'\"") for name in first], rows[1:]
    elif len(first) > 2 and first == [str(i) for i in range(len(first))]:
        rows = rows[1:]  # numbers of columns, as pandas writes them
    values = _values(rows, decimal_comma, path, len(names) if names else None)
    if names is None and values.shape[1] > len(values):
        values = values.T  # a line a lead
    return _record(values, names, path)


def _delimiter(lines: list[str]) -> str:
    """The separator that splits the lines into most columns, alike in all of them."""
    counts = {own: {line.count(own) for line in lines} for own in _DELIMITERS}
    alike = {own: min(found) for own, found in counts.items() if len(found) == 1 and min(found)}
    if not alike:
        return " " if all(len(line.split()) > 1 for line in lines) else ","
    return max(alike, key=lambda own: (own != ",", alike[own]))


def _number(cell: str, decimal_comma: bool) -> float | None:
    cell = cell.strip()
    if cell == "" or cell.lower() in ("nan", "na", "null", "none"):
        return np.nan
    try:
        return float(cell.replace(",", ".") if decimal_comma else cell)
    except ValueError:
        return None


def _values(rows: list, decimal_comma: bool, path: Path, width: int | None) -> np.ndarray:
    if not rows:
        raise ValueError(f"{path} has a line of names and no samples")
    width = width or len(rows[0][1])
    for number, cells in rows:
        while len(cells) > width and not cells[-1].strip():
            cells.pop()  # a separator at the end of the line
        if len(cells) != width:
            raise ValueError(
                f"{path}, line {number}: {len(cells)} columns, the first line has {width}: remove lines that are not "
                "of the table, or let them begin with #"
            )
    mark = "," if decimal_comma else "."
    source = io.StringIO(
        "\n".join(";".join(cell.strip().replace(mark, ".") or "nan" for cell in own) for _, own in rows)
    )
    try:
        return np.loadtxt(source, delimiter=";", ndmin=2)
    except ValueError:
        pass
    values = np.empty((len(rows), width))
    for i, (number, cells) in enumerate(rows):
        for j, cell in enumerate(cells):
            value = _number(cell, decimal_comma)
            if value is None:
                raise ValueError(
                    f"{path}, line {number}, column {j + 1}: {cell.strip()[:30]!r} is not a number: a table has a line "
                    "a sample and a column a lead"
                )
            values[i, j] = value
    return values


def _record(values: np.ndarray, names: list[str] | None, path: Path) -> ECGRecord:
    rate, kept = None, list(range(values.shape[1]))
    for j, name in enumerate(names or [""] * values.shape[1]):
        called = _TIME.match(name.lower())
        rises = len(values) > 2 and bool((np.diff(values[:, j]) > 0).all())
        if called:
            kept.remove(j)
            rate = _rate(values[:, j], called[1] or name.lower(), path, name)
        elif rises and name.lower() in _COUNTERS:
            kept.remove(j)
        elif rises and not name and j == 0 and values.shape[1] > 1:
            kept.remove(j)
            if not (values[:, j] == np.rint(values[:, j])).all():  # numbers of samples say nothing of time
                rate = _rate(values[:, j], "s", path, "the first column")
    if not kept:
        raise ValueError(f"{path} has no column of samples beside the time")
    leads, units = None, None
    if names:
        parsed = [_WITH_UNIT.fullmatch(names[j]) for j in kept]
        leads = tuple(match[1] if match else names[j] for match, j in zip(parsed, kept, strict=True))
        units = tuple((match[2] or match[3]) if match else None for match in parsed)
    return ECGRecord(
        signal=as_read(values[:, kept].T),
        sampling_rate=rate,
        lead_names=leads,
        units=units if units and any(units) else None,
        record_id=path.stem,
    )


def _rate(time: np.ndarray, unit: str, path: Path, name: str) -> float:
    """Return the sampling rate, Hz, of a column of times."""
    steps = np.diff(time)
    if len(time) < 3 or not np.isfinite(steps).all() or (steps <= 0).any():
        raise ValueError(
            f"{path}: {name!r} does not rise from sample to sample: remove that column, and state the sampling rate"
        )
    usual = (time[-1] - time[0]) / len(steps)
    rounding = next((u for u in 10.0 ** -np.arange(7) if np.abs(time / u - np.rint(time / u)).max() < 1e-3), 0.0)
    worst = int(np.abs(steps - usual).argmax())
    if abs(steps[worst] - usual) > max(_MAX_JITTER * usual, 1.01 * rounding):
        raise ValueError(
            f"{path}: {name!r} does not rise evenly, from sample {worst} to the next by {steps[worst]:g} and usually "
            f"by {np.median(steps):g}. If samples are missing resample it first; if the times are rounded remove that "
            "column, and state the sampling rate"
        )
    rate = 1 / (usual * _SECONDS.get(unit, 1.0))
    if rate < _SLOWEST and unit not in _SECONDS:
        raise ValueError(
            f"{path}: {name!r} rises by {usual:g} from sample to sample, which is no ECG's rate in s: if it is in ms, "
            "call it 'time (ms)'"
        )
    whole = round(rate)
    return float(whole) if whole and abs(rate - whole) < 1e-3 * whole else rate
