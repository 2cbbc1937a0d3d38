"""The command `mets-ecg demo`: the package's main job from end to end, in minutes and without any data.

Simulate a corpus, pre-train METS or C-MELT on it, measure it zero-shot, save, load again as a stranger would, and ask a
real recording a question. `--source` does the same on PTB-XL.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path

from datasets import Dataset
from transformers import AutoModel, AutoProcessor, pipeline

from mets_ecg_cli.demo import DemoArguments
from mets_ecg_cli.parser import read_recipe
from mets_ecg_cli.pretrain import PretrainArguments
from mets_ecg_cli.resources import resource

from .data.loading import load_corpus, load_prepared_rows
from .data.parts import select_part
from .data.simulator.corpus import FINDINGS, simulate_corpus
from .evaluation.encoding import encode_ecgs
from .evaluation.labels import load_labels
from .evaluation.statistics import bootstrap_auroc
from .evaluation.tasks import Task, get_task, simulated_task
from .evaluation.zero_shot import score_prompts
from .io import read_wfdb
from .plotting import plot_ecg, require_matplotlib
from .training.pretrain import run_pretrain
from .training.run_folder import write_metrics

# Kept out of training, and described in words that training knows.
HELD_OUT = "ventricular tachycardia"

# Complete left bundle branch block in sinus rhythm, as its PTB-XL statements say (CLBBB, SR).
REAL_RECORD, REAL_RECORD_FOLD = "00338_hr", 8
QUESTIONS = (
    "left bundle branch block",
    "right bundle branch block",
    "atrial fibrillation",
    "left ventricular hypertrophy",
    "inferior myocardial infarction",
    "normal ecg",
)


def run_demo(arguments: DemoArguments) -> dict:
    """Run the demo and print what it does.

    Returns:
        What stands in `metrics.json`.

    Raises:
        FileExistsError: the output folder is not empty.
    """
    started = time.perf_counter()
    require_matplotlib()  # said before the work, not after it
    output = _empty_folder(Path(arguments.output), overwrite=arguments.overwrite)
    with tempfile.TemporaryDirectory() as cache:
        corpus, recipe, task = _real_corpus(arguments, cache) if arguments.source else _simulated(arguments, cache)
        pretraining = run_pretrain(recipe, corpus=corpus, task=task)
        table = pretraining["test"]["lines"]
        metrics = {
            "zero_shot_macro_auroc": table["phrases"]["auroc"]["macro"],
            "zero_shot_macro_auroc_interval": [table["phrases"]["auroc"][f"macro_{end}"] for end in ("low", "high")],
            "template_macro_auroc": table["template"]["auroc"]["macro"],
            "random_encoder_macro_auroc": table["random_encoder"]["auroc"]["macro"],
        }
        if not arguments.source:
            metrics["held_out"] = _measure_held_out(recipe, corpus)
    trained_on = bool(arguments.source) and str(REAL_RECORD_FOLD) in recipe.train
    metrics["recording"] = _ask_recording(output, trained_on=trained_on)
    metrics["seconds"] = round(time.perf_counter() - started, 1)
    write_metrics(output, metrics)
    print(f"\n{metrics['seconds']:.0f} s in all; {output} holds checkpoint/, metrics.json and ecg.png")
    return metrics


def _empty_folder(output: Path, *, overwrite: bool) -> Path:
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        left = {"checkpoint", "metrics.json", "ecg.png"}
        found = [path.name for path in output.iterdir()] if output.is_dir() else [output.name]
        if not overwrite or set(found) - left:
            raise FileExistsError(f"{str(output)!r} is there already: name another --output, or remove it")
        shutil.rmtree(output)
    output.mkdir(parents=True, exist_ok=True)
    return output


def _recipe(arguments: DemoArguments, name: str, **fields) -> PretrainArguments:
    recipe = read_recipe(PretrainArguments, name)
    recipe |= {"output": str(Path(arguments.output) / "checkpoint"), "seed": arguments.seed, **fields}
    if arguments.epochs is not None:
        recipe["epochs"] = arguments.epochs
    return PretrainArguments(**recipe)


def _simulated(arguments: DemoArguments, cache: str) -> tuple[Dataset, PretrainArguments, Task]:
    print(f"simulating {arguments.num_records} recordings; {HELD_OUT} is kept out of training")
    corpus = simulate_corpus(arguments.num_records, seed=arguments.seed, held_out=[HELD_OUT], cache_dir=cache)
    recipe = _recipe(arguments, {"mets": "demo.yaml", "c-melt": "c-melt-small.yaml"}[arguments.method])
    # The held-out finding may not choose the epoch either.
    unseen = FINDINGS.index(HELD_OUT)
    kept = [
        i
        for i, (fold, labels) in enumerate(zip(corpus["fold"], corpus["labels_findings"], strict=True))
        if not (fold == 9 and unseen in labels)
    ]
    return corpus.select(kept), recipe, simulated_task([name for name in FINDINGS if name != HELD_OUT])


def _real_corpus(arguments: DemoArguments, cache: str) -> tuple[Dataset, PretrainArguments, Task]:
    corpus = load_corpus(source=arguments.source, sampling_rate=100, cache_dir=cache)
    folds = sorted(set(corpus["fold"]))
    if len(folds) < 3:
        raise ValueError(f"{arguments.source!r} has only folds {folds}: three are needed, to train, choose and test")
    *train, validation, test = map(str, folds)
    print(f"PTB-XL: training on folds {' '.join(train)}, choosing on {validation}, testing on {test}")
    name = {"mets": "mets-small.yaml", "c-melt": "c-melt-small.yaml"}[arguments.method]
    recipe = _recipe(arguments, name, train=train, validation=[validation], test=[test])
    # A part of PTB-XL may be small: a few batches an epoch are kept.
    num_train = sum(str(fold) in train for fold in corpus["fold"])
    recipe.batch_size = max(2, min(recipe.batch_size, num_train // 4))
    return corpus, recipe, get_task("ptbxl-super")


def _measure_held_out(recipe: PretrainArguments, corpus: Dataset) -> dict:
    """Score the finding that training never met against all others, on the test folds."""
    model, processor = AutoModel.from_pretrained(recipe.output), AutoProcessor.from_pretrained(recipe.output)
    rows = load_prepared_rows(processor.feature_extractor, corpus=corpus)
    rows = select_part(rows, ["10"])
    task = simulated_task()
    truth = load_labels(rows, task)
    (encoded,) = encode_ecgs([model], rows.select(truth.rows))
    scores = score_prompts(model, processor, encoded.outputs, task.phrase_prompts())
    auroc = bootstrap_auroc(truth.labels, scores, truth.patients, seed=recipe.seed)
    i = truth.classes.index(HELD_OUT)
    measured = {
        "finding": HELD_OUT,
        "auroc": float(auroc.per_class[i]),
        "interval": [float(auroc.per_class_low[i]), float(auroc.per_class_high[i])],
        "num_positives": int(auroc.num_positives[i]),
    }
    low, high = measured["interval"]
    print(
        f"\nnever trained on, described in words: {HELD_OUT}, AUROC {measured['auroc']:.3f} ({low:.3f} to {high:.3f}, "
        f"{measured['num_positives']} records)"
    )
    return measured


def _ask_recording(output: Path, *, trained_on: bool) -> dict:
    """Load the checkpoint as a stranger would, and ask a real recording."""
    path = resource("records", f"{REAL_RECORD}.hea").with_suffix("")
    classifier = pipeline("zero-shot-classification", model=str(output / "checkpoint"))
    scores = classifier(str(path), candidate_labels=list(QUESTIONS))
    record = read_wfdb(path)
    figure = plot_ecg(
        record.signal,
        sampling_rate=record.sampling_rate,
        lead_names=record.lead_names,
        title="PTB-XL record 338 (CC BY 4.0): complete left bundle branch block, sinus rhythm",
        scores=scores,
    )
    figure.savefig(output / "ecg.png")
    seen = ", which was trained on" if trained_on else ""
    print(f"\na real recording, PTB-XL 338 (complete left bundle branch block){seen}, asked in words:")
    for entry in scores:
        print(f"  {entry['score']:.3f}  {entry['label']}")
    return {"record": f"PTB-XL {REAL_RECORD}", "trained_on": trained_on, "scores": scores}
