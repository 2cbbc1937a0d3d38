"""How much faster recordings are read than the default encoder trains on them.

    python examples/benchmarks/reading_rate.py --data corpora/ptb-xl

In one run, at 100 Hz, in batches of 128: (a) random batches of memory-mapped prepared rows, (b) a shuffled epoch of
prepared rows streamed from Parquet files here, (c) raw rows, streamed and decoded to millivolts, and at random,
(d) training steps of the default METS encoder (forward, backward, AdamW). Each is measured in several rounds, in turn;
the medians are the figures. (a) and (b) must be at least ten times (d). Without `--data`, 2,000 simulated recordings
are read.
"""

import argparse
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import datasets
import numpy as np
import torch

from mets_ecg import ECGFeatureExtractor, ECGResNetConfig, ECGResNetModel
from mets_ecg.data.loading import load_prepared_rows
from mets_ecg.data.prepare import prepare_folder
from mets_ecg.data.saved_corpus import SavedCorpus
from mets_ecg.data.simulator.simulate import run_simulate
from mets_ecg.signals import decode_signal
from mets_ecg_cli.simulate import SimulateArguments

BATCH_SIZE = 128
ROUNDS = 5
REQUIRED = 10.0


def read(batches: Iterable[dict]) -> int:
    """Take batches and look at every sample, so that it has been read; return how many rows there were."""
    return sum(len(batch["input_values"]) for batch in batches if torch.isfinite(batch["input_values"].sum()))


def decode_stream(corpus: SavedCorpus, count: int) -> int:
    """Decode the first rows of a corpus, streamed."""
    rows = itertools.chain.from_iterable(stream.with_format("numpy") for stream in corpus.streams().values())
    return sum(decode_signal(row).shape[0] > 0 for row in itertools.islice(rows, count))


def decode_random(rows, indices: np.ndarray) -> int:
    """Decode rows of a memory-mapped corpus."""
    return sum(decode_signal(rows[int(i)]).shape[0] > 0 for i in indices)


def training_steps(encoder, optimizer, batch: torch.Tensor, steps: int) -> int:
    """Forward, backward and a step of the optimiser on one batch in memory."""
    for _ in range(steps):
        encoder(batch).pooler_output.square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    return steps * len(batch)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--data", help="a corpus of `mets-ecg build` or `simulate`, at 100 Hz")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        datasets.config.HF_DATASETS_CACHE = Path(folder) / "cache"  # nothing of it is wanted again
        print_rates(options.data, Path(folder))


def print_rates(data: str | None, folder: Path) -> None:
    """Make what is to be read, read it, and print the rates."""
    if data is None:
        data = str(folder / "simulated")
        run_simulate(SimulateArguments(output=data, num_records=2000))
    extractor = ECGFeatureExtractor(sampling_rate=100)
    corpus = SavedCorpus(data, sampling_rate=100)
    prepare_folder(corpus, extractor, folder / "prepared")
    mapped = load_prepared_rows(extractor, data=str(folder / "prepared"))
    streamed = load_prepared_rows(extractor, data=str(folder / "prepared"), streaming=True)
    raw = corpus.dataset().with_format("numpy")
    print(f"{len(mapped)} recordings of {corpus.name} ({corpus.config}); {torch.get_num_threads()} threads")

    encoder = ECGResNetModel(ECGResNetConfig(sampling_rate=100)).train()
    optimizer = torch.optim.AdamW(encoder.parameters(), fused=True)
    batch = next(mapped.in_order(BATCH_SIZE))["input_values"]
    rng = np.random.default_rng(0)
    epochs = itertools.count()
    work: dict[str, Callable[[], int]] = {
        "a prepared, memory-mapped": lambda: read(mapped.epoch(BATCH_SIZE, seed=0, epoch=next(epochs))),
        "b prepared, streamed": lambda: read(streamed.epoch(BATCH_SIZE, seed=0, epoch=next(epochs))),
        "c raw, streamed": lambda: decode_stream(corpus, 1000),
        "c raw, at random": lambda: decode_random(raw, rng.integers(len(raw), size=500)),
        "d training": lambda: training_steps(encoder, optimizer, batch, 2),
    }
    training_steps(encoder, optimizer, batch, 1)
    rates: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(ROUNDS):
        for name, run in work.items():
            started = time.perf_counter()
            count = run()
            rates[name].append(count / (time.perf_counter() - started))
    medians = {name: statistics.median(own) for name, own in rates.items()}
    for name, own in rates.items():
        print(f"{name}: {medians[name]:.0f} records/s ({min(own):.0f} to {max(own):.0f})")
    for name in ("a prepared, memory-mapped", "b prepared, streamed"):
        ratio = medians[name] / medians["d training"]
        print(f"{name} / d: {ratio:.1f}, {'enough' if ratio >= REQUIRED else 'TOO SLOW'} (at least {REQUIRED:g})")


if __name__ == "__main__":
    main()
