"""How fast `mets-ecg build` makes a corpus of PTB-XL, beside the `wfdb` package reading the same files.

    python examples/benchmarks/corpus_build.py PTB_XL_FOLDER --num-proc 2

For each of PTB-XL's two rates as far as the folder has it: the build, from the list of recordings to the finished
folder, and `wfdb.rdrecord` over a sample of the same recordings, in as many processes, both with the files in the page
cache. Reading the tables and looking for the files is timed apart, because the table is whole where recordings are not.
Then the peak memory of the build's processes for two numbers of recordings. Prints a Markdown table.
"""

import argparse
import multiprocessing
import resource
import tempfile
import time
from pathlib import Path

import wfdb

from mets_ecg.data.building.build import build_corpus
from mets_ecg.data.corpora.ptb_xl import PTBXL

PTB_XL_SIZE = 21_799
FULL_SIZES = {"21,799": PTB_XL_SIZE, "800,000": 800_000}


class FirstOfPTBXL(PTBXL):
    """The first recordings that are there, listed once, in shards enough for all processes."""

    def __init__(self, source: str, config: str, num_proc: int, count: int | None = None):
        super().__init__(source, config)
        started = time.perf_counter()
        found = super().find()
        self.seconds_to_find = time.perf_counter() - started
        self.found = found[0][:count]
        self.recordings_per_shard = min(1000, -(-len(self.found) // (8 * num_proc)))

    def find(self):
        return self.found, []

    def __getstate__(self):
        return vars(self) | {"found": None}  # no process needs it


def build(builder: FirstOfPTBXL, num_proc: int) -> tuple[int, float]:
    """Return how many records were built, and the seconds it took."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        summary = build_corpus(builder, Path(folder) / "corpus", num_proc=num_proc)
        return sum(own["num_rows"] for own in summary["splits"].values()), time.perf_counter() - started


def read_record(path: str) -> None:
    wfdb.rdrecord(path)


def wfdb_rate(paths: list[str], num_proc: int) -> float:
    """Records/s of `wfdb` alone, in processes that run already."""
    with multiprocessing.get_context("fork").Pool(num_proc) as pool:
        pool.map(read_record, paths[: 4 * num_proc])
        started = time.perf_counter()
        pool.map(read_record, paths)
        return len(paths) / (time.perf_counter() - started)


def peak_memory(source: str, num_proc: int, count: int) -> tuple[int, float, float]:
    """Return how many records were built, and the peak of the main process and of its largest worker, MiB."""

    def measure(results) -> None:
        builder = FirstOfPTBXL(source, "100hz", num_proc, count)
        builder.recordings_per_shard = PTBXL.recordings_per_shard
        num_rows, _ = build(builder, num_proc)
        who = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        results.put((num_rows, *(resource.getrusage(one).ru_maxrss / 1024 for one in who)))

    context = multiprocessing.get_context("fork")
    results = context.SimpleQueue()
    process = context.Process(target=measure, args=(results,))
    process.start()
    process.join()
    return results.get()


def duration(seconds: float) -> str:
    return f"{seconds / 60:.1f} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("source", help="PTB-XL as PhysioNet publishes it, whole or in part")
    parser.add_argument("--num-proc", type=int, default=2)
    parser.add_argument("--sample", type=int, default=1000, help="recordings that wfdb reads")
    parser.add_argument("--memory-counts", type=int, nargs=2, default=(2000, 8000), help="recordings at 100 Hz")
    options = parser.parse_args()

    # First, because a process' peak counts what it was forked with.
    peaks = [peak_memory(options.source, options.num_proc, count) for count in options.memory_counts]
    titles = ("config", "records", "tables and files, s", "build, records/s", "wfdb, records/s", "ratio", *FULL_SIZES)
    print(f"| {' | '.join(titles)} |\n{'| --- ' * len(titles)}|")
    for config in PTBXL.configs:
        try:
            builder = FirstOfPTBXL(options.source, config, options.num_proc)
        except FileNotFoundError:
            continue  # the folder has no recording at this rate
        for recording in builder.found:
            for name in recording.files:
                Path(options.source, name).read_bytes()
        paths = [f"{options.source}/{recording.files[0].removesuffix('.hea')}" for recording in builder.found]
        step = max(1, len(paths) // options.sample)
        plain = wfdb_rate(paths[::step][: options.sample], options.num_proc)
        num_rows, seconds = build(builder, options.num_proc)
        rate = num_rows / seconds
        per_record = 1 / rate + builder.seconds_to_find / PTB_XL_SIZE
        cells = [
            config,
            num_rows,
            f"{builder.seconds_to_find:.1f}",
            f"{rate:.0f}",
            f"{plain:.0f}",
            f"{rate / plain:.2f}",
        ]
        print(f"| {' | '.join(map(str, cells + [duration(n * per_record) for n in FULL_SIZES.values()]))} |")
    print(f"\n{options.num_proc} processes. Peak memory at 100 Hz: ", end="")
    print("; ".join(f"{n} records: main {own:.0f} MiB, largest worker {worker:.0f} MiB" for n, own, worker in peaks))


if __name__ == "__main__":
    main()
