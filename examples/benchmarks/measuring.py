"""What the benchmarks share: measuring in turn, medians, a table that is printed and written as JSON."""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import platform
import shlex
import statistics
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import datasets
import torch
import transformers

RESULTS = Path(__file__).parent / "results"


def in_turn(work: dict[str, Callable[[], float]], rounds: int, *, warm_up: bool = True) -> dict[str, list[float]]:
    """Call each piece of work in turn, in several rounds, and return what each call returned.

    Every other round goes backwards, so that what drifts on the machine meets all alike. A first round is not counted.
    """
    if warm_up:
        for run in work.values():
            run()
    measured: dict[str, list[float]] = {name: [] for name in work}
    for k in range(rounds):
        for name in list(work)[:: 1 if k % 2 == 0 else -1]:
            measured[name].append(work[name]())
    return measured


def ratios(above: Sequence[float], below: Sequence[float]) -> list[float]:
    """Return the ratio of each round."""
    return [a / b for a, b in zip(above, below, strict=True)]


def result_row(
    what: str, values: Sequence[float], unit: str, *, at_least: float | None = None, below: float | None = None
) -> dict:
    """Return a row of the table: median, min and max, and whether the median meets a goal."""
    values = [float(value) for value in values]
    median = statistics.median(values)
    row = {"what": what, "median": median, "min": min(values), "max": max(values), "unit": unit}
    if at_least is not None:
        row |= {"goal": f">= {at_least:g}", "met": median >= at_least}
    if below is not None:
        row |= {"goal": f"< {below:g}", "met": median < below}
    return row


def show(rows: Sequence[dict]) -> None:
    """Print rows as a Markdown table."""
    titles = ("what", "median", "min", "max", "unit", "goal", "met")
    print(f"\n| {' | '.join(titles)} |\n{'| --- ' * len(titles)}|")
    for row in rows:
        met = {True: "yes", False: "NO", None: ""}[row.get("met")]
        numbers = [f"{row[name]:.3f}" if row[name] < 10 else f"{row[name]:,.0f}" for name in ("median", "min", "max")]
        print(f"| {' | '.join([row['what'], *numbers, row['unit'], row.get('goal', ''), met])} |", flush=True)


def write(output: str | Path, results: dict) -> None:
    """Write results as JSON, with the command and the machine."""
    facts = {
        "command": shlex.join(["python", *sys.argv]),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "processor": _processor(),
    }
    Path(output).parent.mkdir(parents=True, exist_ok=True)
    Path(output).write_text(json.dumps(facts | results, indent=2) + "\n", encoding="utf-8")
    print(f"\nwritten: {output}")


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())


def make_parser(script: str, docstring: str) -> argparse.ArgumentParser:
    """Return a parser with the flags that all have; `script` is the `__file__` of the benchmark."""
    parser = argparse.ArgumentParser(description=docstring.split("\n\n")[0])
    parser.add_argument("--output", default=str(RESULTS / f"{Path(script).stem}.json"), help="JSON of the results")
    return parser


def no_progress_bars() -> None:
    """Keep bars out of the output."""
    datasets.disable_progress_bars()
    transformers.utils.logging.disable_progress_bar()


def resident_memory() -> float:
    """Return this process' resident memory now, MiB, without what is free but not yet given back; Linux only."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return _memory("VmRSS")


def peak_memory() -> float:
    """Return the peak of this process' resident memory since it began or `reset_peak` was called, MiB; Linux only."""
    return _memory("VmHWM")


def reset_peak() -> None:
    """Let the peak begin again from what is resident now; Linux only."""
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")


def _memory(name: str) -> float:
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{name}:"))
