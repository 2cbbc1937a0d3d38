"""Frozen text encoded once a distinct string, and looked up in training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from tqdm.auto import tqdm

from ..modeling_ecg_text import ECGTextModel


@torch.no_grad()
def encode_distinct(
    model: ECGTextModel, processor, texts: Sequence[str], *, batch_size: int = 64, progress: bool = True
) -> tuple[torch.Tensor, torch.Tensor]:
    """Encode every distinct text once.

    Args:
        model: its text encoder is used in evaluation mode.
        processor: the model's.
        texts: one a record.
        batch_size: texts in one forward pass.
        progress: show a bar, on a terminal.

    Returns:
        The pooled text `(distinct, text hidden size)` on the CPU, and for each record the row of its text `(records,)`.
    """
    distinct, index = np.unique(np.asarray(texts, dtype=object).astype(str), return_inverse=True)
    # Texts of about the same length share a batch, so that little of it is padding.
    by_length = np.argsort([len(text) for text in distinct], kind="stable")
    was_training = model.training
    model.eval()
    parts = []
    starts = range(0, len(distinct), batch_size)
    for start in tqdm(starts, desc="encoding texts", unit="batch", disable=None if progress else True):
        batch = [str(distinct[i]) for i in by_length[start : start + batch_size]]
        inputs = processor(text=batch, return_tensors="pt").to(model.device)
        parts.append(model.encode_text(inputs["input_ids"], inputs["attention_mask"]).float().cpu())
    model.train(was_training)
    pooled = torch.empty((len(distinct), parts[0].shape[1]))
    pooled[torch.from_numpy(by_length)] = torch.cat(parts)
    return pooled, torch.from_numpy(index)
