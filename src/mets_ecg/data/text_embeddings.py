"""The texts of records: which column they are read from, and frozen text encoded once a distinct string."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import get_args

import numpy as np
import torch
from tqdm.auto import tqdm

from mets_ecg_cli.pretrain import TextColumn

from ..modeling_ecg_text import ECGTextModel
from .reports.cleaning import clean_report, is_trainable


def read_texts(rows, column: TextColumn) -> list[tuple[str, ...]]:
    """Return what each record has to learn from: its report, or each of its findings; nothing where it says nothing.

    Args:
        rows: a `Dataset` or `PreparedRows`.
        column: `"report"`: the original, cleaned of what is no finding; `"report_en"`: in English; `"findings"`: the
            English report's findings, each a text of its own.

    Raises:
        ValueError: the rows have no such column, or no row has a text in it.
    """
    if column not in get_args(TextColumn) or column not in rows.column_names:
        known = [name for name in get_args(TextColumn) if name in rows.column_names]
        raise ValueError(f"there is no text column {column!r}: the corpus has {', '.join(known) or 'none'}")
    if column == "findings":
        texts = [tuple(own or ()) for own in rows[column]]
    elif column == "report_en":
        texts = [(own,) if own else () for own in rows[column]]
    else:
        cleaned = (clean_report(own or "") for own in rows[column])
        texts = [(own,) if is_trainable(own) else () for own in cleaned]
    if not any(texts):
        raise ValueError(f"none of {len(texts)} records has a text in {column!r}: choose another text column")
    return texts


@dataclass(frozen=True)
class RecordTexts:
    """The texts of some records, encoded.

    Attributes:
        pooled: `(distinct, text hidden size)`, each distinct text once, on the CPU.
        text_ids_per_record: `(records, most texts a record has)` rows of `pooled` that are a record's; -1 where it has
            fewer.
    """

    pooled: torch.Tensor
    text_ids_per_record: torch.Tensor

    def mean_of_records(self) -> torch.Tensor:
        """Return each record's mean over its texts, `(records, text hidden size)`."""
        present = (self.text_ids_per_record >= 0).unsqueeze(-1)
        return (self.pooled[self.text_ids_per_record.clamp(min=0)] * present).sum(dim=1) / present.sum(dim=1)

    def draw(self, records: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Return one text of each of these records: `(len(records),)` rows of `pooled`.

        Texts are sampled in proportion to 1/sqrt(number of records that contain them): drawn evenly, two steps in five
        would ask for "sinus rhythm" or an axis (PTB-XL), and more is to be learnt from the rest.
        """
        text_ids_per_record = self.text_ids_per_record[records]
        weights = self._weights[text_ids_per_record.clamp(min=0)] * (text_ids_per_record >= 0)
        return text_ids_per_record.gather(1, torch.multinomial(weights, 1, generator=generator))[:, 0]

    @cached_property
    def _weights(self) -> torch.Tensor:
        return (
            torch.bincount(self.text_ids_per_record[self.text_ids_per_record >= 0], minlength=len(self.pooled))
            .clamp(min=1)
            .rsqrt()
        )


def encode_texts(
    model: ECGTextModel, processor, texts: Sequence[Sequence[str]], *, batch_size: int = 64, progress: bool = True
) -> RecordTexts:
    """Encode the texts of some records, every distinct text once.

    Args:
        model: its text encoder is used in evaluation mode.
        processor: the model's; its report template is put round each text.
        texts: of each record, at least one.
        batch_size: texts in one forward pass.
        progress: show a bar, on a terminal.
    """
    counts = np.array([len(own) for own in texts])
    flat = [processor.format_report(text) for own in texts for text in own]
    pooled, index = _encode_distinct(model, processor, flat, batch_size=batch_size, progress=progress)
    text_ids_per_record = torch.full((len(texts), int(counts.max())), -1)
    # The i-th text of a record goes into its i-th column.
    within = np.arange(len(flat)) - np.repeat(np.cumsum(counts) - counts, counts)
    text_ids_per_record[torch.from_numpy(np.repeat(np.arange(len(texts)), counts)), torch.from_numpy(within)] = index
    return RecordTexts(pooled, text_ids_per_record)


@torch.no_grad()
def _encode_distinct(model, processor, texts: Sequence[str], *, batch_size: int, progress: bool):
    """Return each distinct text's pooled output, and for each text given its row there."""
    ids: dict[str, int] = {}
    index = torch.tensor([ids.setdefault(text, len(ids)) for text in texts])
    distinct = list(ids)
    # Texts of about the same length share a batch, so that little of it is padding.
    by_length = np.argsort([len(text) for text in distinct], kind="stable")
    was_training = model.training
    model.eval()
    parts = []
    starts = range(0, len(distinct), batch_size)
    for start in tqdm(starts, desc="encoding texts", unit="batch", disable=None if progress else True):
        batch = [distinct[i] for i in by_length[start : start + batch_size]]
        inputs = processor(text=batch, return_tensors="pt").to(model.device)
        parts.append(model.encode_text(inputs["input_ids"], inputs["attention_mask"]).float().cpu())
    model.train(was_training)
    pooled = torch.empty((len(distinct), parts[0].shape[1]))
    pooled[torch.from_numpy(by_length)] = torch.cat(parts)
    return pooled, index
