"""How the memory of a streamed pre-training run grows with the corpus.

    python examples/benchmarks/memory.py

One prepared shard of simulated recordings (12 leads, 100 Hz, 10 s) is listed again and again, to 10,000, 100,000 and
400,000 rows, and METS trains on each such corpus for a few steps: the recipe `mets-small` with a small encoder, as
`mets-ecg pretrain --data FOLDER --streaming`. (That command with `--max-steps` would keep only as many rows as it
needs; here all rows count and only the steps are few.) Each run is a process of its own. Shown are the peak of its
resident memory (`ru_maxrss`) after each stage, and the bytes of what is kept for each row. Ids and texts repeat from
shard to shard: a real corpus has more distinct texts, each of which keeps one vector.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

SCRIPT = Path(__file__)
STAGES = ("imports", "model", "rows opened", "texts set up", "steps")


def peak() -> float:
    """The peak of this process' resident memory, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def train_some_steps(options: argparse.Namespace) -> dict:
    """Train in this process on the rows of a folder; return the peak after each stage, and what is kept."""
    from mets_ecg.data.loading import load_parts
    from mets_ecg.training.loop import train
    from mets_ecg.training.mets import METS
    from mets_ecg.training.processes import make_accelerator
    from mets_ecg.training.run_folder import RunFolder
    from mets_ecg_cli.parser import read_recipe
    from mets_ecg_cli.pretrain import PretrainArguments

    peaks = [peak()]
    recipe = read_recipe(PretrainArguments, "mets-small")
    recipe["model"]["ecg_config"]["hidden_sizes"] = [8, 16, 32, 64]
    recipe |= {"text_column": options.text_column, "max_steps": options.steps, "streaming": True}
    recipe |= {"train": ["all"], "validation": ["none"], "test": ["none"]}
    arguments = PretrainArguments(**recipe, data=[options.folder], output=f"{options.folder}.model")
    method = METS(arguments)
    _, processor = method.build()
    peaks.append(peak())
    unused = {"report", "report_en", "findings"} - {options.text_column}  # as `mets-ecg pretrain` does
    parts = load_parts(processor.feature_extractor, arguments, unused=unused)
    peaks.append(peak())
    rows = method.setup(parts.train, None)
    peaks.append(peak())
    accelerator, run = make_accelerator(arguments), RunFolder(arguments, METS.name)
    with run.opened(accelerator):
        train(method, rows, arguments, accelerator, run, {})
    peaks.append(peak())
    kept = {
        "columns": rows.columns.data.nbytes,
        "text_ids_per_record": method.texts.text_ids_per_record.nbytes,
        "text vectors": method.texts.pooled.nbytes,
    }
    return {
        "rows": len(rows),
        "distinct_texts": len(method.texts.distinct),
        "peak_mib": dict(zip(STAGES, peaks, strict=True)),
        "kept_mib": {name: size / 2**20 for name, size in kept.items()},
    }


def make_shard(folder: Path) -> Path:
    """Return a folder of prepared rows; the shards of its split `train` are those that are repeated."""
    from mets_ecg import ECGFeatureExtractor
    from mets_ecg.data.prepare import prepare_folder
    from mets_ecg.data.saved_corpus import SavedCorpus
    from mets_ecg.data.simulator.simulate import run_simulate
    from mets_ecg_cli.parser import read_yaml
    from mets_ecg_cli.resources import find_recipe
    from mets_ecg_cli.simulate import SimulateArguments

    run_simulate(SimulateArguments(output=str(folder / "simulated"), num_records=600))
    extractor = ECGFeatureExtractor(**read_yaml(find_recipe("mets-small"))["feature_extractor"])
    prepare_folder(SavedCorpus(folder / "simulated"), extractor, folder / "prepared")
    return folder / "prepared"


def repeat(prepared: Path, num_rows: int, folder: Path) -> Path:
    """Return a folder of prepared rows that lists a shard until there are `num_rows`."""
    summary = json.loads((prepared / "build.json").read_text(encoding="utf-8"))
    shard, *more = sorted(prepared.glob("train-*.parquet"))
    assert not more, "one shard is expected"
    count = -(-num_rows // summary["splits"]["train"]["num_rows"])
    summary["splits"] = {"train": {"num_rows": count * summary["splits"]["train"]["num_rows"]}}
    folder.mkdir()
    (folder / "build.json").write_text(json.dumps(summary), encoding="utf-8")
    for i in range(count):
        (folder / f"train-{i:05d}-of-{count:05d}.parquet").symlink_to(shard)
    return folder


def measure(folder: Path, options: argparse.Namespace) -> dict:
    """Return what a run in a process of its own says."""
    command = [sys.executable, str(SCRIPT), "--folder", str(folder), "--steps", str(options.steps)]
    command += ["--text-column", options.text_column, "--output", f"{folder}.json"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}:\n{done.stderr[-3000:]}")
    return json.loads(Path(f"{folder}.json").read_text(encoding="utf-8"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 400_000], help="sizes of the corpus")
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--text-column", default="findings", help="as of `mets-ecg pretrain`")
    parser.add_argument("--output", default=str(SCRIPT.parent / "results" / "memory.json"), help="JSON of the results")
    parser.add_argument("--folder", help=argparse.SUPPRESS)  # of prepared rows: train on it in this process
    options = parser.parse_args()
    if options.folder:
        Path(options.output).write_text(json.dumps(train_some_steps(options)), encoding="utf-8")
        return

    results = []
    with tempfile.TemporaryDirectory() as folder:
        prepared = make_shard(Path(folder))
        print(f"\nPeak of resident memory after each stage, MiB; text column {options.text_column}\n")
        titles = ["rows", *STAGES, "kept: columns", "kept: text ids", "kept: text vectors", "distinct texts"]
        print(f"| {' | '.join(titles)} |\n{'| --- ' * len(titles)}|")
        for num_rows in options.rows:
            own = measure(repeat(prepared, num_rows, Path(folder) / f"{num_rows}-rows"), options)
            results.append(own)
            numbers = [*own["peak_mib"].values(), *own["kept_mib"].values(), own["distinct_texts"]]
            print(f"| {own['rows']:,} | {' | '.join(f'{number:,.0f}' for number in numbers)} |", flush=True)
    if len(results) > 1:
        first, last = results[0], results[-1]
        grown = last["peak_mib"]["steps"] - first["peak_mib"]["steps"]
        per_row = grown * 2**20 / (last["rows"] - first["rows"])
        print(f"\n{grown:,.0f} MiB more at {last['rows']:,} rows than at {first['rows']:,}: {per_row:,.0f} bytes a row")
    from measuring import write  # it imports torch, which the processes that are measured do in their time

    write(options.output, {"text_column": options.text_column, "runs": results})


if __name__ == "__main__":
    main()
