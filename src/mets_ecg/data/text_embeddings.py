"""The texts of records: which column they are read from, and frozen text encoded once a distinct string.

What a frozen text encoder made of a text is kept on disk, see `text_cache.py`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import get_args

import numpy as np
import torch
from tqdm.auto import tqdm

from mets_ecg_cli.pretrain import TextColumn

from ..modeling_ecg_text import ECGTextModel
from .reports.cleaning import clean_report, is_trainable
from .text_cache import TextCache

# What an interruption may cost.
_SECONDS_BETWEEN_SAVES = 20


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
    """The texts of some records.

    Attributes:
        distinct: each distinct text once, with the processor's report template round it.
        text_ids_per_record: `(records, most texts a record has)` positions in `distinct` of a record's; -1 where it has
            fewer.
        pooled: `(distinct, text hidden size)`, the texts encoded, on the CPU; None where they are not.
    """

    distinct: tuple[str, ...]
    text_ids_per_record: torch.Tensor
    pooled: torch.Tensor | None = None

    def mean_of_records(self) -> torch.Tensor:
        """Return each record's mean over its encoded texts, `(records, text hidden size)`."""
        present = self.text_ids_per_record >= 0
        total = torch.zeros((len(present), self.pooled.shape[1]))
        for ids, kept in zip(self.text_ids_per_record.T, present.T, strict=True):
            total[kept] += self.pooled[ids[kept]]
        return total / present.sum(dim=1, keepdim=True)

    def mean(self) -> torch.Tensor:
        """Return the mean over records of each record's mean, `(text hidden size,)`."""
        present = self.text_ids_per_record >= 0
        parts = (1.0 / present.sum(dim=1, keepdim=True, dtype=torch.float64)).expand(present.shape)[present]
        weights = torch.zeros(len(self.distinct), dtype=torch.float64)
        weights.index_add_(0, self.text_ids_per_record[present], parts)
        return (weights @ self.pooled.double() / len(present)).float()

    def draw(self, records: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Return one text of each of these records: `(len(records),)` positions in `distinct`.

        Texts are sampled in proportion to 1/sqrt(number of records that contain them): drawn evenly, two steps in five
        would ask for "sinus rhythm" or an axis (PTB-XL), and more is to be learnt from the rest.
        """
        text_ids_per_record = self.text_ids_per_record[records]
        weights = self._weights[text_ids_per_record.clamp(min=0)] * (text_ids_per_record >= 0)
        return text_ids_per_record.gather(1, torch.multinomial(weights, 1, generator=generator))[:, 0]

    @cached_property
    def draw_shares(self) -> torch.Tensor:
        """How often `draw` gives each distinct text, over all records: `(distinct,)`, adding up to 1."""
        present = self.text_ids_per_record >= 0
        weights = self._weights.double()[self.text_ids_per_record.clamp(min=0)] * present
        weights = weights / weights.sum(dim=1, keepdim=True)
        shares = torch.zeros(len(self.distinct), dtype=torch.float64)
        shares.index_add_(0, self.text_ids_per_record[present], weights[present])
        return shares / len(present)

    @cached_property
    def counts(self) -> torch.Tensor:
        """How many records contain each distinct text, `(distinct,)`."""
        present = self.text_ids_per_record[self.text_ids_per_record >= 0]
        return torch.bincount(present, minlength=len(self.distinct))

    @cached_property
    def _weights(self) -> torch.Tensor:
        return self.counts.clamp(min=1).rsqrt()


def index_texts(processor, texts: Sequence[Sequence[str]]) -> RecordTexts:
    """Return the texts of some records, at least one each, with the processor's report template; not encoded."""
    counts = np.array([len(own) for own in texts])
    ids: dict[str, int] = {}
    flat = [ids.setdefault(processor.format_report(text), len(ids)) for own in texts for text in own]
    text_ids_per_record = torch.full((len(texts), int(counts.max())), -1)
    # The i-th text of a record goes into its i-th column.
    within = np.arange(len(flat)) - np.repeat(np.cumsum(counts) - counts, counts)
    rows = torch.from_numpy(np.repeat(np.arange(len(texts)), counts))
    text_ids_per_record[rows, torch.from_numpy(within)] = torch.tensor(flat)
    return RecordTexts(tuple(ids), text_ids_per_record)


def encode_texts(
    model: ECGTextModel, processor, texts: Sequence[Sequence[str]], *, batch_size: int = 64, progress: bool = True
) -> RecordTexts:
    """Encode the texts of some records, every distinct text once; those of a frozen text encoder once for all runs.

    Args:
        model: its text encoder is used in evaluation mode.
        processor: the model's; its report template is put round each text.
        texts: of each record, at least one.
        batch_size: texts in one forward pass.
        progress: show a bar, on a terminal.
    """
    indexed = index_texts(processor, texts)
    cache = TextCache.of(model, processor) if model.config.freeze_text_model else None
    pooled = _encode(model, processor, indexed.distinct, cache, batch_size=batch_size, progress=progress)
    return replace(indexed, pooled=pooled)


@torch.no_grad()
def _encode(model, processor, distinct: Sequence[str], cache: TextCache | None, *, batch_size: int, progress: bool):
    pooled = torch.empty((len(distinct), model.config.text_config.hidden_size))
    missing = np.arange(len(distinct)) if cache is None else cache.read(distinct, out=pooled)
    # Texts of about the same length share a batch, so that little of it is padding.
    by_length = missing[np.argsort([len(distinct[i]) for i in missing], kind="stable")]
    was_training = model.training
    model.eval()
    unsaved, saved_at = [], time.monotonic()
    starts = range(0, len(by_length), batch_size)
    for start in tqdm(starts, desc="encoding texts", unit="batch", disable=None if progress else True):
        ids = by_length[start : start + batch_size]
        inputs = processor(text=[distinct[i] for i in ids], return_tensors="pt").to(model.device)
        pooled[ids] = model.encode_text(inputs["input_ids"], inputs["attention_mask"]).float().cpu()
        unsaved.extend(ids)
        last = start + batch_size >= len(by_length)
        if cache is not None and (last or time.monotonic() - saved_at > _SECONDS_BETWEEN_SAVES):
            cache.add([distinct[i] for i in unsaved], pooled[unsaved])
            unsaved, saved_at = [], time.monotonic()
    model.train(was_training)
    return pooled
