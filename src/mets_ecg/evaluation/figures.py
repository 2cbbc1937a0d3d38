"""Figures of a report: AUROC of each class, reliability of scores, confusion of classes. They need matplotlib.

Figures are made with the object interface, as in `plotting.py`: no pyplot, no global state, no window.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..plotting import require_matplotlib

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from .table import ResultTable

_INK, _GREY, _MAIN = "#16181d", "#8b9099", "#b5483f"
_OTHERS = ("#3d6a8a", "#8b9099", "#5b8c5a", "#8a6d3d", "#6d4f8a", "#2f2f2f")
_NUM_BINS = 10


def draw_auroc(table: ResultTable) -> Figure:
    """Draw the AUROC of each class, the first line with its intervals, the others as marks; classes by frequency."""
    figure = _figure(7.5, 1.6 + 0.24 * len(table.labels.classes))
    axes = figure.add_subplot()
    lines = list(table.lines.values())
    first = lines[0].auroc
    order = np.argsort(first.num_positives, kind="stable")
    places = np.arange(len(order))
    known = ~np.isnan(first.per_class[order])
    own, low, high = (values[order][known] for values in (first.per_class, first.per_class_low, first.per_class_high))
    spread = np.stack([np.maximum(own - low, 0), np.maximum(high - own, 0)])
    for line, colour in zip(lines[1:], _OTHERS, strict=False):
        axes.plot(line.auroc.per_class[order], places, "|", color=colour, markersize=8, label=line.name)
    axes.errorbar(
        own,
        places[known],
        xerr=spread,
        fmt="o",
        color=_MAIN,
        markersize=4,
        linewidth=1.2,
        label=lines[0].name,
        zorder=3,
    )
    axes.axvline(0.5, color=_GREY, linewidth=0.8, linestyle=":")
    names = [f"{table.labels.classes[i]} ({first.num_positives[i]})" for i in order]
    axes.set_yticks(places, names, fontsize=8)
    axes.set_ylim(-0.7, len(order) - 0.3)
    axes.set_xlabel("AUROC (in brackets: positives)")
    axes.set_xlim(min(0.35, float(np.nanmin(low, initial=0.5)) - 0.02), 1.01)
    _tidy(axes)
    axes.set_title(
        f"{table.task.name}, {first.num_records} {table.task.unit}s, {first.num_patients} patients", fontsize=10
    )
    figure.legend(loc="outside lower center", ncols=3, fontsize=8, frameon=False)
    return figure


def draw_reliability(labels: np.ndarray, scores: np.ndarray, *, title: str = "") -> Figure:
    """Draw how often a class is there against its score, in bins of equal width, and how many scores a bin has.

    Args:
        labels: bool `(records, classes)`.
        scores: `(records, classes)`, in 0 to 1.
        title: above the figure.
    """
    figure = _figure(4.5, 5.0)
    axes, counts_axes = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": [3, 1]})
    edges = np.linspace(0, 1, _NUM_BINS + 1)
    place = np.clip(np.digitize(scores.ravel(), edges) - 1, 0, _NUM_BINS - 1)
    counts = np.bincount(place, minlength=_NUM_BINS)
    filled = counts > 0
    of_bin = np.maximum(counts, 1)
    share = np.bincount(place, weights=labels.ravel(), minlength=_NUM_BINS) / of_bin
    mean = np.bincount(place, weights=scores.ravel(), minlength=_NUM_BINS) / of_bin
    axes.plot([0, 1], [0, 1], ":", color=_GREY, linewidth=0.8)
    axes.plot(mean[filled], share[filled], "o-", color=_MAIN, markersize=4, linewidth=1.2)
    axes.set_ylabel("share that has the class")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_title(title, fontsize=10)
    counts_axes.bar(edges[:-1], counts, width=1 / _NUM_BINS, align="edge", color=_GREY, edgecolor="white")
    counts_axes.set_ylabel("scores")
    counts_axes.set_xlabel("score")
    for one in (axes, counts_axes):
        _tidy(one)
    return figure


def draw_confusion(labels: np.ndarray, scores: np.ndarray, classes: Sequence[str]) -> Figure:
    """Draw which class scores best, of records that have exactly one: a row a class, shares with counts in the cells.

    Args:
        labels: bool `(records, classes)`.
        scores: `(records, classes)`.
        classes: their names.
    """
    single = labels.sum(axis=1) == 1
    present = np.flatnonzero(labels[single].any(axis=0))
    truth, best = labels[single][:, present].argmax(axis=1), scores[single][:, present].argmax(axis=1)
    counts = np.zeros((len(present), len(present)), dtype=int)
    np.add.at(counts, (truth, best), 1)
    share = counts / counts.sum(axis=1, keepdims=True)
    names = [str(classes[i]) for i in present]
    size = 1.6 + 0.45 * len(present) + 0.075 * max(map(len, names))  # cells, and names on two sides
    figure = _figure(size, size)
    axes = figure.add_subplot()
    axes.imshow(share, cmap="Reds", vmin=0, vmax=1)
    for i, j in np.ndindex(*counts.shape):
        if counts[i, j]:
            colour = "white" if share[i, j] > 0.6 else _INK
            axes.text(j, i, str(counts[i, j]), ha="center", va="center", fontsize=7, color=colour)
    axes.set_xticks(range(len(names)), names, rotation=90, fontsize=8)
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.set_xlabel("best score")
    axes.set_ylabel("label")
    return figure


def _figure(width: float, height: float) -> Figure:
    require_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _tidy(axes) -> None:
    axes.grid(axis="x", color="#e6e6e6", linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
