"""What a step learns: how a batch of prepared rows becomes a loss. One object a method; the loop knows none of them."""

from __future__ import annotations

import torch

from ..modeling_ecg_text import ECGTextModel, ECGTextOutput, pair_texts
from .augmentation import drop_leads, shift_in_time


class ContrastiveObjective:
    """METS: an ECG against the frozen embedding of its own report.

    Args:
        text_pooled: `(distinct, text hidden size)`, every distinct report encoded once.
        text_index: `(records,)`, the report of each record.
        equal_texts: what another record's equal report is; the model's `config.equal_texts`.
        max_shift: samples that a training record is shifted at most, either way.
        lead_drop: probability of each lead to be masked in training.
    """

    def __init__(
        self,
        text_pooled: torch.Tensor,
        text_index: torch.Tensor,
        *,
        equal_texts: str,
        max_shift: int = 0,
        lead_drop: float = 0.0,
    ):
        self.text_pooled = text_pooled
        self.text_index = text_index
        self.equal_texts = equal_texts
        self.max_shift = max_shift
        self.lead_drop = lead_drop

    def augment(self, batch: dict, generator: torch.Generator) -> dict:
        """Return the batch as training sees it."""
        if self.max_shift and "ecg_attention_mask" not in batch:
            batch["input_values"] = shift_in_time(batch["input_values"], self.max_shift, generator)
        if self.lead_drop:
            batch["lead_mask"] = drop_leads(batch["lead_mask"], self.lead_drop, generator)
        return batch

    def __call__(self, model: ECGTextModel, batch: dict) -> ECGTextOutput:
        """Return the model's output on a batch, with its loss."""
        text_ids = self.text_index[batch["index"].cpu()]
        device = batch["input_values"].device
        positives, ignored = pair_texts(text_ids.to(device), self.equal_texts)
        lead_mask = batch["lead_mask"]
        return model(
            input_values=batch["input_values"],
            ecg_attention_mask=batch.get("ecg_attention_mask"),
            lead_mask=None if bool(lead_mask.all()) else lead_mask,
            text_pooled=self.text_pooled[text_ids].to(device),
            positives=positives,
            ignored=ignored,
            return_loss=True,
        )
