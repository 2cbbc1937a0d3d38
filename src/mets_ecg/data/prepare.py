"""Prepared rows: a processor's work on a corpus done once and kept memory-mapped, in model input's own layout."""

from __future__ import annotations

import sys

import numpy as np
import torch
from datasets import Array2D, Dataset, List, Value

from .. import feature_extraction_ecg, leads, signals
from ..feature_extraction_ecg import ECGFeatureExtractor
from .rows import code_digest

_SIGNAL_COLUMNS = ["signal", "gain", "baseline", "num_samples", "sampling_rate", "lead_names", "record_id"]
_DROPPED = ["signal", "gain", "baseline", "num_samples", "sampling_rate", "lead_names"]


def prepare(corpus: Dataset, feature_extractor: ECGFeatureExtractor, *, num_proc: int | None = None) -> Dataset:
    """Apply a feature extractor to every row of a corpus.

    Args:
        corpus: rows as `corpus_features` describes them.
        feature_extractor: with a `max_duration`, so that all rows have one length.
        num_proc: processes.

    Returns:
        The corpus' rows without their recordings, and with `input_values (leads, samples)` float32, `num_valid`, the
        samples that were recorded (the rest is padding), and `lead_mask (leads,)`.

    Raises:
        ValueError: the extractor has no `max_duration` or cuts windows or at random; or a recording cannot be read
            right, and the message names it.
    """
    if feature_extractor.max_duration is None or feature_extractor.crop in ("windows", "random"):
        raise ValueError(
            "prepared rows have one length and are the same every time: the feature extractor needs max_duration and "
            f"crop 'start' or 'center', got {feature_extractor.max_duration!r} and {feature_extractor.crop!r}"
        )
    features = corpus.features.copy()
    for name in _DROPPED:
        del features[name]
    shape = (len(feature_extractor.lead_names), feature_extractor.num_samples)
    features["input_values"] = Array2D(shape, "float32")
    features["num_valid"] = Value("int32")
    features["lead_mask"] = List(Value("int8"), length=shape[0])
    digest = code_digest(sys.modules[__name__], feature_extraction_ecg, leads, signals)
    rows = corpus.with_format("numpy").map(
        _prepare_rows,
        fn_kwargs={"feature_extractor": feature_extractor, "digest": digest},
        input_columns=_SIGNAL_COLUMNS,
        remove_columns=_DROPPED,
        features=features,
        batched=True,
        batch_size=64,
        writer_batch_size=256,
        num_proc=num_proc,
        desc="preparing",
    )
    return rows.with_format(None)


def _prepare_rows(*columns, feature_extractor: ECGFeatureExtractor, digest: str) -> dict:
    rows = [dict(zip(_SIGNAL_COLUMNS, row, strict=True)) for row in zip(*columns, strict=True)]
    prepared = feature_extractor(rows)
    return {
        "input_values": prepared["input_values"],
        "num_valid": prepared["ecg_attention_mask"].sum(axis=1).astype(np.int32),
        "lead_mask": prepared["lead_mask"].astype(np.int8),
    }


class PreparedRows(torch.utils.data.Dataset):
    """Prepared rows as batches of tensors, read from the memory map without a detour through Python objects.

    Batches hold `index (B,)` (position in the corpus), `input_values (B, leads, samples)` float32, `lead_mask
    (B, leads)` bool and, only if some sample of the batch is padding, `ecg_attention_mask (B, samples)` bool.
    """

    def __init__(self, rows: Dataset):
        """Open prepared rows; `rows` must be as `prepare` returns them, or a selection of such."""
        # A selection has an indirection of its own, which is applied here once.
        selected = np.arange(len(rows)) if rows._indices is None else rows._indices.column(0).to_numpy()
        self.order = selected.astype(np.int64)
        shape = rows.features["input_values"].shape
        chunks = rows.data.column("input_values").chunks
        self.chunks = [chunk.storage.flatten().flatten().to_numpy().reshape(-1, *shape) for chunk in chunks]
        self.starts = np.cumsum([0, *map(len, self.chunks)])
        columns = rows.with_format("numpy", columns=["num_valid", "lead_mask"])[:]
        self.num_valid, self.lead_mask = columns["num_valid"], columns["lead_mask"].astype(bool)
        self.num_samples = shape[1]

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return self.__getitems__([index])

    def __getitems__(self, indices) -> dict[str, torch.Tensor]:
        """Return the rows at these positions as one batch."""
        indices = np.asarray(indices)
        values = torch.empty((len(indices), *self.chunks[0].shape[1:]))
        target = values.numpy()
        positions = self.order[indices]
        for i, (position, k) in enumerate(
            zip(positions, np.searchsorted(self.starts, positions, "right") - 1, strict=True)
        ):
            target[i] = self.chunks[k][position - self.starts[k]]
        batch = {
            "index": torch.from_numpy(indices),
            "input_values": values,
            "lead_mask": torch.from_numpy(self.lead_mask[indices]),
        }
        num_valid = torch.from_numpy(self.num_valid[indices])
        if (num_valid < self.num_samples).any():
            batch["ecg_attention_mask"] = torch.arange(self.num_samples) < num_valid[:, None]
        return batch
