"""Texts that stand in for a record's own, so that ECG-text matching has something to refuse.

Every distinct text is embedded once by a frozen text encoder, and gets a list of candidates by similarity:

- `farthest`: the least similar ones, as C-MELT draws them: easy, and often the same few outliers.
- `random`: any others.
- `semi-hard`: spread over the ranks from the 1st to the 10th percent of the most similar ones.
- `hard`: the most similar ones. Many say the same in other words.

Some texts are candidates of very many others, and some of none, so that a text alone would tell that it does not belong
(hubness). Each candidate therefore has a probability: together they draw every text about as often as records have it.

The lists are kept in the cache of `datasets`; training only looks them up.

Source: "nearest-neighbour negative sampling" of C-MELT, arXiv 2410.02131, which takes the farthest of 64.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import datasets
import numpy as np
import torch
from torch.nn.functional import normalize
from tqdm.auto import tqdm

from mets_ecg_cli.pretrain import NegativeBand

from ..text_models import load_text_model, load_text_tokenizer, text_model_digest

# Texts that are compared with all others at once.
_BLOCK = 1024
# Of `semi-hard`: ranks as parts of all texts, the most similar one first.
_SEMI_HARD = (0.01, 0.1)
_MAX_TOKENS = 256
_BALANCING_ROUNDS = 50


@dataclass(frozen=True)
class NegativeTexts:
    """Candidates of each distinct text.

    Attributes:
        candidates: int32 `(texts, candidates)`, positions in the distinct texts; never the text itself.
        probabilities: float32 `(texts, candidates)`, of each to be drawn.
        similarity: mean cosine of a record's text with what is drawn for it.
        random_similarity: mean cosine of two different texts.
        told_by_text: how often who sees no ECG could at best be right about whether a text belongs to it: 0.5 where
            every text is drawn as often as records have it.
    """

    candidates: np.ndarray
    probabilities: np.ndarray
    similarity: float
    random_similarity: float
    told_by_text: float

    def draw(self, text: int, generator: torch.Generator) -> int:
        """Return a candidate of a text."""
        place = torch.multinomial(torch.from_numpy(self.probabilities[text]), 1, generator=generator)
        return int(self.candidates[text, int(place)])

    def describe(self) -> str:
        """Say what the candidates are like, in a line."""
        return (
            f"negatives: {self.candidates.shape[1]} of {len(self.candidates)} texts for each; cosine "
            f"{self.similarity:.2f} (of any two texts {self.random_similarity:.2f}); the text alone tells in at most "
            f"{self.told_by_text:.0%} whether it belongs"
        )


def find_negatives(
    vectors: torch.Tensor, band: NegativeBand, num_candidates: int, shares: np.ndarray | None = None
) -> NegativeTexts:
    """Return each text's candidates by exact search.

    Args:
        vectors: `(texts, features)`.
        band: which texts; see the module.
        num_candidates: for each text; fewer where there are not so many.
        shares: `(texts,)`, how often each is drawn as a record's own, adding up to 1; default all alike.

    Raises:
        ValueError: there is one text: nothing can stand in for it.
    """
    count = len(vectors)
    if count < 2:
        raise ValueError("all records have one text: there is no other to stand in for it, so nothing can be matched")
    vectors = normalize(vectors.float(), dim=1)
    kept = min(num_candidates, count - 1)
    first, last = 0, kept
    if band == "semi-hard":
        first, last = int(_SEMI_HARD[0] * count), max(int(_SEMI_HARD[1] * count), int(_SEMI_HARD[0] * count) + kept)
        first, last = max(0, min(first, count - 1 - kept)), min(last, count - 1)
    places = torch.from_numpy(np.linspace(first, last - 1, kept).round().astype(np.int64))
    generator = torch.Generator().manual_seed(0)
    candidates, cosine = np.empty((count, kept), dtype=np.int32), np.empty((count, kept), dtype=np.float32)
    for start in range(0, count, _BLOCK):
        block = vectors[start : start + _BLOCK]
        cosines = block @ vectors.T
        own = torch.arange(start, start + len(block))
        ranked = torch.rand(cosines.shape, generator=generator) if band == "random" else cosines
        # The text itself goes behind all others, whichever end is searched.
        ranked[torch.arange(len(block)), own] = torch.inf if band == "farthest" else -torch.inf
        found = ranked.topk(last, dim=1, largest=band != "farthest", sorted=True).indices[:, places]
        candidates[start : start + len(block)] = found.numpy()
        cosine[start : start + len(block)] = cosines.gather(1, found).numpy()
    mean = vectors.double().mean(dim=0)
    any_two = (float(mean @ mean) * count - 1) / (count - 1)
    share = np.full(count, 1 / count) if shares is None else np.asarray(shares)
    probabilities, drawn = _balance(candidates, share)
    return NegativeTexts(
        candidates,
        probabilities.astype(np.float32),
        similarity=float(share @ (probabilities * cosine).sum(axis=1)),
        random_similarity=any_two,
        told_by_text=float(0.5 + np.abs(drawn - share).sum() / 4),
    )


def _balance(candidates: np.ndarray, share: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return probabilities of the candidates by which each text is drawn about as often as its share, and how often."""
    weights = np.ones(len(candidates))
    for _ in range(_BALANCING_ROUNDS):
        own = weights[candidates]
        probabilities = own / own.sum(axis=1, keepdims=True)
        drawn = np.bincount(candidates.ravel(), (share[:, None] * probabilities).ravel(), minlength=len(candidates))
        weights = np.clip(weights * np.sqrt(share / np.maximum(drawn, 1e-12)), 1e-6, 1e6)
    return probabilities, drawn


def load_negatives(
    texts: Sequence[str],
    embedder: str,
    band: NegativeBand,
    num_candidates: int,
    *,
    shares: Sequence[float],
    batch_size: int = 64,
) -> NegativeTexts:
    """Return the candidates of distinct texts, from the cache if they are there.

    Args:
        texts: each once.
        embedder: text encoder that compares them: a folder or a Hub id; the mean over its tokens is taken.
        band: which texts.
        num_candidates: for each text.
        shares: how often each is drawn as a record's own, adding up to 1.
        batch_size: texts in one forward pass.

    Raises:
        ValueError: there is one text.
        OSError: there is no such text encoder.
    """
    model = load_text_model(embedder)
    settings = repr((text_model_digest(model), band, num_candidates, _SEMI_HARD, list(texts), list(shares)))
    key = hashlib.sha256(settings.encode()).hexdigest()[:24]
    path = Path(datasets.config.HF_DATASETS_CACHE) / "mets-ecg" / "negatives" / f"{key}.npz"
    if path.is_file():
        with np.load(path) as saved:
            return NegativeTexts(saved["candidates"], saved["probabilities"], *map(float, saved["figures"]))
    vectors = _embed(model, load_text_tokenizer(embedder), texts, batch_size)
    found = find_negatives(vectors, band, num_candidates, np.array(shares))
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.npz")
    figures = [found.similarity, found.random_similarity, found.told_by_text]
    np.savez(partial, candidates=found.candidates, probabilities=found.probabilities, figures=figures)
    partial.replace(path)
    return found


@torch.no_grad()
def _embed(model, tokenizer, texts: Sequence[str], batch_size: int) -> torch.Tensor:
    """Return the mean over tokens of each text, `(texts, hidden size)`."""
    longest = min(_MAX_TOKENS, getattr(model.config, "max_position_embeddings", _MAX_TOKENS))
    order = np.argsort([len(text) for text in texts], kind="stable")
    vectors = torch.empty(len(texts), model.config.hidden_size)
    for start in tqdm(range(0, len(texts), batch_size), desc="comparing texts", unit="batch", disable=None):
        rows = order[start : start + batch_size]
        inputs = tokenizer(
            [texts[i] for i in rows], padding=True, truncation=True, max_length=longest, return_tensors="pt"
        )
        states = model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]).last_hidden_state
        weights = inputs["attention_mask"][:, :, None].to(states.dtype)
        vectors[torch.from_numpy(rows)] = ((states * weights).sum(dim=1) / weights.sum(dim=1)).float()
    return vectors
