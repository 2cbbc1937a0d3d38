"""The row every corpus shares: its columns, how a recording becomes one, and how a corpus is kept on disk.

A corpus is a `datasets.Dataset` with one row a recording. `mets_ecg.signals.decode_signal` turns a row's `signal`,
`gain` and `baseline` back into millivolts; `encode_signal` here is its inverse, and together they are the only code
that knows the layout.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pyarrow as pa
from datasets import ClassLabel, Features, List, Value

from ..io import DigitalRecord
from ..signals import INVALID_SAMPLE

# Of the columns and their coding. Raise it when they change: a corpus with another one is refused, and built again.
ROW_FORMAT_VERSION = 2


def corpus_features(
    label_columns: Mapping[str, Sequence[str]], extra_columns: Mapping[str, object] | None = None
) -> Features:
    """Return the features of a corpus row.

    Args:
        label_columns: class names by column, for example `{"labels_super": ["CD", "HYP", ...]}`.
        extra_columns: feature types of columns that only this corpus has.
    """
    return Features(
        {
            "record_id": Value("string"),
            "patient_id": Value("string"),
            "signal": List(List(Value("int16"))),
            "gain": List(Value("float64")),
            "baseline": List(Value("int32")),
            "num_samples": Value("int32"),
            "sampling_rate": Value("float64"),
            "lead_names": List(Value("string")),
            "report": Value("string"),
            "report_en": Value("string"),
            "findings": List(Value("string")),
            "statements": List({"code": Value("string"), "likelihood": Value("float32")}),
            **{column: List(ClassLabel(names=list(names))) for column, names in label_columns.items()},
            "age": Value("float32"),
            "age_over_89": Value("bool"),
            "sex": Value("string"),
            "device": Value("string"),
            "fold": Value("int32"),
            "start_time": Value("string"),  # ISO 8601: torch has no type for a time
            **(extra_columns or {}),
        }
    )


def is_label_column(name: str) -> bool:
    """Return whether a column of rows has the classes of a record: `labels`, `labels_super` and so on."""
    return name == "labels" or name.startswith("labels_")


def age_columns(age: float | None, *, hidden: bool = False) -> dict:
    """Return the columns `age` and `age_over_89`, by one rule for all corpora.

    Args:
        age: as the source gives it, above 89 too; None if it is not known.
        hidden: the source says only that it is above 89, as PTB-XL by 300 and LUDB by `>89`.

    Returns:
        `age`, null where it is hidden or not known; `age_over_89`, true where it is hidden, null where it is not known.
    """
    if hidden:
        return {"age": None, "age_over_89": True}
    return {"age": age, "age_over_89": None if age is None else age > 89}


def statements_of(codes: Iterable[str] | None) -> list[dict] | None:
    """Return codes of a source that gives no likelihoods as a row's `statements`; None where they are not known."""
    return None if codes is None else [{"code": code, "likelihood": None} for code in codes]


def signal_columns(record: DigitalRecord) -> dict:
    """Return the signal columns of a recording in its file's own integers."""
    return {
        "signal": record.signal,
        "gain": record.gain,
        "baseline": record.baseline,
        "num_samples": record.signal.shape[1],
        "sampling_rate": record.sampling_rate,
        "lead_names": list(record.lead_names),
    }


def table_rows(table: pa.Table) -> list[dict]:
    """Return an Arrow table's rows, `signal` as an array `(leads, samples)` and not as lists of lists."""
    rows = table.drop_columns(["signal"]).to_pylist()
    signals = table.column("signal")
    for i, row in enumerate(rows):
        leads = signals[i].values
        row["signal"] = leads.flatten().to_numpy().reshape(len(leads), -1)
    return rows


def encode_signal(signal_mv: np.ndarray, gain: float = 1000.0) -> dict:
    """Return the `signal`, `gain`, `baseline` and `num_samples` columns of a recording in millivolts.

    Args:
        signal_mv: `(leads, samples)`, millivolt; NaN where no sample was recorded.
        gain: integer units per millivolt; the default keeps one microvolt.

    Raises:
        ValueError: a sample does not fit 16 bits at this gain.
    """
    scaled = np.round(np.asarray(signal_mv, dtype=np.float64) * gain)
    peak = np.nanmax(np.abs(scaled), initial=0.0)
    if peak > np.iinfo(np.int16).max:
        raise ValueError(f"an amplitude of {peak / gain:.1f} mV does not fit 16 bits at {gain:g} units per mV")
    return {
        "signal": np.where(np.isnan(scaled), INVALID_SAMPLE, scaled).astype(np.int16),
        "gain": [gain] * len(scaled),
        "baseline": [0] * len(scaled),
        "num_samples": scaled.shape[1],
    }
