"""The row every corpus shares: its columns, how a recording becomes one, and how a corpus is kept on disk.

A corpus is a `datasets.Dataset` with one row a recording. `mets_ecg.signals.decode_signal` turns a row's `signal`,
`gain` and `baseline` back into millivolts; `encode_signal` here is its inverse, and together they are the only code
that knows the layout.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from types import ModuleType

import numpy as np
from datasets import ClassLabel, Features, List, Value

from ..signals import INVALID_SAMPLE


def corpus_features(label_columns: Mapping[str, Sequence[str]]) -> Features:
    """Return the features of a corpus row.

    Args:
        label_columns: class names by column, for example `{"labels_super": ["CD", "HYP", ...]}`.
    """
    return Features(
        {
            "record_id": Value("string"),
            "patient_id": Value("string"),
            "signal": List(List(Value("int16"))),
            "gain": List(Value("float32")),
            "baseline": List(Value("int32")),
            "num_samples": Value("int32"),
            "sampling_rate": Value("float32"),
            "lead_names": List(Value("string")),
            "report": Value("string"),
            "statements": List({"code": Value("string"), "likelihood": Value("float32")}),
            **{column: List(ClassLabel(names=list(names))) for column, names in label_columns.items()},
            "age": Value("float32"),
            "age_over_89": Value("bool"),
            "sex": Value("string"),
            "device": Value("string"),
            "fold": Value("int32"),
            "start_time": Value("timestamp[s]"),
        }
    )


def code_digest(*modules: ModuleType) -> str:
    """Return a digest of these modules' source, for the cache of `datasets`.

    `datasets` keys its cache by the arguments of a function and by its name: without the digest among them, rows
    that an older version of the code made would come back after a change.
    """
    digest = hashlib.sha256()
    for module in modules:
        with open(module.__file__, "rb") as file:
            digest.update(file.read())
    return digest.hexdigest()


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
