"""What a step learns: how a batch of prepared rows becomes a loss. One object a method; the loop knows none of them."""

from __future__ import annotations

import torch

from ..data.text_embeddings import RecordTexts
from ..modeling_ecg_text import ECGTextModel, ECGTextOutput, pair_texts
from .augmentation import drop_leads, shift_in_time


class ContrastiveObjective:
    """METS: an ECG against the frozen embedding of its own text; where a record has several, one is drawn a step.

    Args:
        texts: of the records, encoded.
        duplicate_text_policy: what a drawn text is to another record that has it too, as in the model's config.
        max_shift: samples that a training record is shifted at most, either way.
        lead_dropout: probability of each lead to be masked in training.
    """

    def __init__(
        self, texts: RecordTexts, *, duplicate_text_policy: str, max_shift: int = 0, lead_dropout: float = 0.0
    ):
        self.texts = texts
        self.duplicate_text_policy = duplicate_text_policy
        self.max_shift = max_shift
        self.lead_dropout = lead_dropout

    def draw(self, batch: dict, generator: torch.Generator) -> dict:
        """Return the batch as training sees it: a text drawn for each record, the recordings changed a little."""
        batch["text"] = self.texts.draw(batch["index"].cpu(), generator)
        if self.max_shift and "ecg_attention_mask" not in batch:
            batch["input_values"] = shift_in_time(batch["input_values"], self.max_shift, generator)
        if self.lead_dropout:
            batch["lead_mask"] = drop_leads(batch["lead_mask"], self.lead_dropout, generator)
        return batch

    def __call__(self, model: ECGTextModel, batch: dict) -> ECGTextOutput:
        """Return the model's output on a batch that `draw` returned, with its loss."""
        device = batch["input_values"].device
        text_ids_per_record = self.texts.text_ids_per_record[batch["index"].cpu()]
        positives, ignored = pair_texts(
            batch["text"].to(device), self.duplicate_text_policy, text_ids_per_record.to(device)
        )
        lead_mask = batch["lead_mask"]
        return model(
            input_values=batch["input_values"],
            ecg_attention_mask=batch.get("ecg_attention_mask"),
            lead_mask=None if bool(lead_mask.all()) else lead_mask,
            text_pooled=self.texts.pooled[batch["text"]].to(device),
            positives=positives,
            ignored=ignored,
            return_loss=True,
        )
