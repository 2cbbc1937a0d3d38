"""`mets-ecg retrieve`: reports by recordings and recordings by reports, in the space that they share."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.stats import hypergeom

from mets_ecg_cli.retrieve import RetrieveArguments

from ..data.text_embeddings import read_texts
from .checkpoints import Checkpoint
from .encoding import encode_ecgs
from .labels import name_owners
from .statistics import bootstrap_mean, plain_values
from .zero_shot import embed_record_texts

# Queries that are compared with all candidates at once.
_BLOCK = 1024


@dataclass(frozen=True)
class Retrieval:
    """Where the right candidates stand among all, for each query.

    Attributes:
        ranks: `(queries,)`, place of the best right candidate, from 1; of ties the middle.
        num_right: `(queries,)`, how many candidates are right.
        num_candidates: number of candidates.
    """

    ranks: np.ndarray
    num_right: np.ndarray
    num_candidates: int


def rank_right_ones(
    queries: torch.Tensor, candidates: torch.Tensor, query_groups: np.ndarray, candidate_groups: np.ndarray
) -> Retrieval:
    """Rank candidates by their similarity to queries; those of a query's group are right.

    Args:
        queries: `(queries, features)`, of length 1.
        candidates: `(candidates, features)`, of length 1.
        query_groups: int `(queries,)`.
        candidate_groups: int `(candidates,)`; every query's group is among them.
    """
    ranks, num_right = [], []
    for start in range(0, len(queries), _BLOCK):
        similarity = (queries[start : start + _BLOCK] @ candidates.T).numpy()
        right = query_groups[start : start + _BLOCK, None] == candidate_groups[None]
        best = np.where(right, similarity, -np.inf).max(axis=1, keepdims=True)
        wrong_above = ((similarity > best) & ~right).sum(axis=1)
        wrong_tied = ((similarity == best) & ~right).sum(axis=1)
        ranks.append(1 + wrong_above + wrong_tied / 2)
        num_right.append(right.sum(axis=1))
    return Retrieval(np.concatenate(ranks), np.concatenate(num_right), len(candidates))


def run_retrieve(arguments: RetrieveArguments) -> dict:
    """Measure retrieval both ways and print it.

    A recording's text is its report, or the mean of its findings' vectors; records with equal texts are one text, so
    that each is as right as another. ECG to text: all distinct texts are candidates. Text to ECG: all recordings are,
    and the best placed one with the text counts.

    Returns:
        What `--json` prints.

    Raises:
        ValueError: the checkpoint has no text encoder, or fewer than two different texts are there.
    """
    checkpoint = Checkpoint.open(arguments.model)
    model, processor = checkpoint.load_dual_encoder("retrieve")
    parts = checkpoint.load_rows(arguments, ("test",))
    seen = checkpoint.check_seen(parts, refuse=arguments.refuse_seen)
    column = arguments.text_column or checkpoint.saved("training_args.yaml").get("text_column", "report")
    texts = read_texts(parts.test, column)
    kept = [i for i, own in enumerate(texts) if own]
    rows = parts.test.select(kept)
    groups: dict[tuple[str, ...], int] = {}
    group_of = np.array([groups.setdefault(tuple(sorted(texts[i])), len(groups)) for i in kept])
    if len(groups) < 2:
        raise ValueError(f"all {len(kept)} recordings have one text in {column!r}: there is nothing to tell apart")
    (encoded,) = encode_ecgs([model], rows, progress=True)
    text_embeds = embed_record_texts(model, processor, list(groups))
    numbers = np.arange(len(groups))
    patients, _ = name_owners(rows)
    # A text may be of several patients: to draw texts by patient, the first one's stands for it.
    _, first = np.unique(group_of, return_index=True)
    directions = {
        "ecg_to_text": (rank_right_ones(encoded.outputs, text_embeds, group_of, numbers), patients),
        "text_to_ecg": (rank_right_ones(text_embeds, encoded.outputs, numbers, group_of), patients[first]),
    }
    document = {
        "model": arguments.model,
        "parts": parts.words,
        "seen": seen,
        "text_column": column,
        "num_recordings": len(kept),
        "without_text": len(texts) - len(kept),
        "num_texts": len(groups),
        "num_patients": len(np.unique(patients)),
        **{name: _figures(found, own, arguments) for name, (found, own) in directions.items()},
    }
    print(json.dumps(document, indent=2) if arguments.json else _format(document, arguments.at))
    if arguments.output is not None:
        Path(arguments.output).write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return document


def _figures(found: Retrieval, patients: np.ndarray, arguments: RetrieveArguments) -> dict:
    drawn = {"num_resamples": arguments.num_resamples, "seed": arguments.seed}
    recall = {}
    for k in arguments.at:
        value, low, high = bootstrap_mean(found.ranks <= k, patients, **drawn)
        # Of candidates in random order, the chance that a right one is among the first k.
        chance = hypergeom.sf(0, found.num_candidates, found.num_right, min(k, found.num_candidates))
        recall[str(k)] = {"recall": value, "low": low, "high": high, "chance": float(chance.mean())}
    return plain_values(
        {"num_candidates": found.num_candidates, "median_rank": float(np.median(found.ranks)), "recall_at": recall}
    )


def _format(document: dict, at: Sequence[int]) -> str:
    """Return a Markdown table."""
    lines = [
        f"{document['num_recordings']} recordings of {document['num_patients']} patients with {document['num_texts']} "
        f"different texts ({document['text_column']}); 95% intervals over patients, in brackets what chance gives",
        "",
        "| | candidates | median rank | " + " | ".join(f"recall at {k}" for k in at) + " |",
        "| --- " * (len(at) + 3) + "|",
    ]
    for key, name in (("ecg_to_text", "text of a recording"), ("text_to_ecg", "recording of a text")):
        own = document[key]
        recalls = [own["recall_at"][str(k)] for k in at]
        cells = [f"{r['recall']:.3f} ({r['low']:.3f} to {r['high']:.3f}) [{r['chance']:.3f}]" for r in recalls]
        lines.append(f"| {name} | {own['num_candidates']} | {own['median_rank']:.0f} | {' | '.join(cells)} |")
    return "\n".join(lines)
