"""`ECGRecord`: one recording in memory, as every reader in this folder returns it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ECGRecord:
    """One recording as its file holds it.

    Attributes:
        signal: `(leads, samples)` float32 in `units`; NaN where no sample was recorded.
        sampling_rate: samples a second, Hz.
        lead_names: one name a row, as in the file.
        units: `"mV"`, `"uV"` or `"V"`, one for all rows or one a row.
        record_id: the record's name in its source, if it has one.
    """

    signal: np.ndarray
    sampling_rate: float
    lead_names: tuple[str, ...]
    units: str | tuple[str, ...] = "mV"
    record_id: str | None = None
