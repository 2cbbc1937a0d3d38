"""What training costs beside the encoder's own arithmetic, and what raises or lowers its rate.

    python examples/benchmarks/training_rates.py
    python examples/benchmarks/training_rates.py --only flops --compile --bf16

On simulated recordings and, where it is not said otherwise, the recipe `mets-small` (12 leads, 100 Hz, width 32,
batches of 128). What is compared runs in turn, in several rounds; a ratio is the median over the rounds. Parts:

- `loop`: the training loop of `mets-ecg pretrain` (prepared rows from disk, text looked up, shift in time, log) over
  the steps of an epoch, beside a bare step on one batch in memory: forward, loss, backward, fused optimiser, zero_grad.
- `text`: a METS step that looks its text vectors up, beside the same step that runs a frozen language model of
  BERT-base's shape on 64 tokens a text (random weights). Batches of 32.
- `rows`: records/s of an epoch of prepared rows, memory-mapped and streamed, beside the encoder's training step.
- `flops`: FLOP/s of the encoder's training step, beside a product of two large float32 matrices. Widths 32 and 64.
- `processes`: records/s of `mets-ecg pretrain` as two processes of one thread each (`torchrun`), beside one process of
  two threads and one of one thread. A process has the recipe's batch, so that two take twice as many records a step.
- `vocabulary`: the METS step with `--negatives vocabulary` and 180,000 texts, as many as MIMIC-IV-ECG has distinct
  reports, of 384 and 768 numbers each, beside the step with the negatives of a batch: seconds and peak memory.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import io
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import datasets
import torch
from measuring import (
    in_turn,
    make_parser,
    no_progress_bars,
    peak_memory,
    ratios,
    reset_peak,
    resident_memory,
    result_row,
    show,
    write,
)
from torch.utils.flop_counter import FlopCounterMode
from transformers import BertConfig, BertModel

from mets_ecg import ECGFeatureExtractor, ECGResNetConfig, ECGResNetModel, ECGTextModel
from mets_ecg.data.loading import load_prepared_rows
from mets_ecg.data.prepare import prepare_folder
from mets_ecg.data.saved_corpus import SavedCorpus
from mets_ecg.data.simulator.simulate import run_simulate
from mets_ecg.data.text_embeddings import RecordTexts
from mets_ecg.text_models import load_text_tokenizer
from mets_ecg.training.loop import train
from mets_ecg.training.mets import METS
from mets_ecg.training.processes import make_accelerator
from mets_ecg.training.run_folder import RunFolder
from mets_ecg_cli.parser import read_recipe
from mets_ecg_cli.pretrain import PretrainArguments
from mets_ecg_cli.simulate import SimulateArguments

# Of the optimiser: its cost does not depend on it, and one batch given again and again is not learnt by heart.
LEARNING_RATE = 1e-6
SAMPLES = 1000
OPTIMIZERS = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}


class Setting:
    """The recipe, and prepared rows of simulated recordings in a temporary folder."""

    def __init__(self, options: argparse.Namespace, folder: Path):
        self.options, self.folder = options, folder
        self.config = options.config

    def arguments(self, **fields) -> PretrainArguments:
        """Return the recipe's arguments, some set otherwise."""
        recipe = read_recipe(PretrainArguments, self.config)
        return PretrainArguments(**recipe | {"output": str(self.folder / "unused"), **fields})

    @cached_property
    def prepared(self) -> Path:
        """Prepared rows, enough for the steps of two processes."""
        extractor, count = self.extractor, 2 * self.options.steps * self.arguments().batch_size
        fields = {"num_records": count, "sampling_rate": extractor.sampling_rate, "num_proc": os.cpu_count()}
        run_simulate(SimulateArguments(output=str(self.folder / "simulated"), **fields))
        prepare_folder(SavedCorpus(self.folder / "simulated"), extractor, self.folder / "prepared")
        return self.folder / "prepared"

    @property
    def extractor(self) -> ECGFeatureExtractor:
        return ECGFeatureExtractor(**self.arguments().feature_extractor)

    def rows(self, *, streaming: bool = False):
        return load_prepared_rows(self.extractor, data=str(self.prepared), streaming=streaming)


def make_optimizer(model: torch.nn.Module, name: str = "adamw") -> torch.optim.Optimizer:
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return OPTIMIZERS[name](trained, lr=LEARNING_RATE, fused=True)


def step_seconds(loss: Callable[[], torch.Tensor], optimizer: torch.optim.Optimizer, steps: int) -> float:
    """Seconds of a bare training step: forward, loss, backward, optimiser, zero_grad."""
    started = time.perf_counter()
    for _ in range(steps):
        loss().backward()
        optimizer.step()
        optimizer.zero_grad()
    return (time.perf_counter() - started) / steps


def mets_loss(method: METS, rows) -> Callable[[], torch.Tensor]:
    """Return METS' loss of one batch that lies in memory."""
    first = next(rows.in_order(method.arguments.batch_size))
    batch = method.collate(first, torch.Generator().manual_seed(0))
    method.model.train()
    return lambda: sum(method.losses(method.model, batch).values())


def measure_loop(setting: Setting) -> list[dict]:
    options, arguments = setting.options, setting.arguments(max_steps=setting.options.steps)
    method = METS(arguments)
    model, _ = method.build()
    rows = method.setup(setting.rows(), None)
    loss, optimizer = mets_loss(method, rows), make_optimizer(model, arguments.optimizer)

    def bare() -> float:
        model.train()
        return arguments.batch_size / step_seconds(loss, optimizer, options.steps)

    def loop() -> float:
        with tempfile.TemporaryDirectory(dir=setting.folder) as folder:
            own = dataclasses.replace(arguments, output=f"{folder}/model")
            accelerator, run = make_accelerator(own), RunFolder(own, METS.name)
            with run.opened(accelerator), contextlib.redirect_stdout(io.StringIO()):
                state = train(method, rows, own, accelerator, run, {})
        return state.epochs[-1]["records_per_second"]

    rates = in_turn({"bare": bare, "loop": loop}, options.rounds)
    return [
        result_row("bare step", rates["bare"], "records/s"),
        result_row("training loop", rates["loop"], "records/s"),
        result_row("training loop / bare step", ratios(rates["loop"], rates["bare"]), "", at_least=0.97),
    ]


def measure_text(setting: Setting) -> list[dict]:
    batch_size, tokens, vocabulary = 32, 64, 20_000
    language_model = BertModel(BertConfig())
    encoder = ECGResNetConfig(sampling_rate=100, hidden_sizes=[32, 64, 128, 256])
    model = ECGTextModel.from_ecg_text_pretrained(encoder, language_model, text_pooling="mean").train()
    optimizer = make_optimizer(model)
    input_values = torch.randn(batch_size, 12, SAMPLES)
    pooled = torch.randn(vocabulary, language_model.config.hidden_size)
    text_ids = torch.randint(vocabulary, (batch_size,))
    input_ids = torch.randint(1000, 30_000, (batch_size, tokens))

    def looked_up() -> torch.Tensor:
        return model(input_values, text_pooled=pooled[text_ids], return_loss=True).loss

    def encoded() -> torch.Tensor:  # the model runs its frozen text encoder without gradients
        return model(input_values, input_ids, torch.ones_like(input_ids), return_loss=True).loss

    steps = setting.options.steps
    seconds = in_turn(
        {
            "looked up": lambda: step_seconds(looked_up, optimizer, steps),
            "encoded": lambda: step_seconds(encoded, optimizer, max(1, steps // 10)),
        },
        min(3, setting.options.rounds),
    )
    gain = ratios(seconds["encoded"], seconds["looked up"])
    return [
        result_row("step, text vectors looked up", seconds["looked up"], "s"),
        result_row("step, text through a language model", seconds["encoded"], "s"),
        result_row("rate looked up / rate through a language model", gain, "", at_least=10),
    ]


def measure_rows(setting: Setting) -> list[dict]:
    arguments = setting.arguments()
    model, _ = METS(arguments).build()
    encoder, optimizer = model.ecg_model.train(), make_optimizer(model.ecg_model, arguments.optimizer)
    mapped, streamed = setting.rows(), setting.rows(streaming=True)
    values = next(mapped.in_order(arguments.batch_size))["input_values"]
    epochs = itertools.count()

    def read(rows) -> float:
        started, count = time.perf_counter(), 0
        for batch in rows.epoch(arguments.batch_size, seed=0, epoch=next(epochs)):
            assert torch.isfinite(batch["input_values"].sum())  # every sample has been looked at
            count += len(batch["input_values"])
        return count / (time.perf_counter() - started)

    def training() -> float:
        steps = max(1, setting.options.steps // 4)
        seconds = step_seconds(lambda: encoder(values).pooler_output.square().mean(), optimizer, steps)
        return arguments.batch_size / seconds

    work = {"mapped": lambda: read(mapped), "streamed": lambda: read(streamed), "training": training}
    rates = in_turn(work, setting.options.rounds)
    rows = [result_row("encoder's training step", rates["training"], "records/s")]
    for name, what in (("mapped", "prepared rows, memory-mapped"), ("streamed", "prepared rows, streamed")):
        rows.append(result_row(what, rates[name], "records/s"))
        rows.append(result_row(f"{what} / encoder", ratios(rates[name], rates["training"]), "", at_least=10))
    return rows


def measure_flops(setting: Setting) -> list[dict]:
    options, size = setting.options, 3072
    batch_size = setting.arguments().batch_size
    left, right = torch.randn(size, size), torch.randn(size, size)
    steps, counted, shares, work = max(1, options.steps // 4), {}, {}, {}

    def product() -> float:
        started = time.perf_counter()
        torch.mm(left, right)
        return 2 * size**3 / (time.perf_counter() - started) / 1e9

    def add(name: str, encoder, values: torch.Tensor, flops: int, *, bf16: bool = False) -> None:
        optimizer = make_optimizer(encoder)

        def loss() -> torch.Tensor:
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
                return encoder(values).pooler_output.float().square().mean()

        work[name] = lambda: flops / step_seconds(loss, optimizer, steps) / 1e9

    for width in options.widths:
        config = ECGResNetConfig(sampling_rate=100, hidden_sizes=[width * 2**i for i in range(4)])
        encoder = ECGResNetModel(config).train()
        values = torch.randn(batch_size, 12, SAMPLES)
        with FlopCounterMode(display=False) as counter:
            encoder(values).pooler_output.square().mean().backward()
        flops = counter.get_total_flops()
        counted[width] = flops / batch_size / 1e9
        shares[width] = share_of_convolutions(encoder, values)
        add(f"width {width}", encoder, values, flops)
        if options.bf16:
            add(f"width {width}, bf16", encoder, values, flops, bf16=True)
        if options.compile:
            add(f"width {width}, torch.compile", torch.compile(encoder), values, flops)
    rates = in_turn({"product": product, **work}, options.rounds)
    rows = [result_row(f"product of two {size} x {size} float32 matrices", rates["product"], "GFLOP/s")]
    for name in work:
        rows.append(result_row(f"training step, {name}", rates[name], "GFLOP/s"))
        rows.append(result_row(f"training step, {name} / product", ratios(rates[name], rates["product"]), ""))
    for width, number in counted.items():
        rows.append(result_row(f"arithmetic of a record, width {width}", [number], "GFLOP"))
        rows.append(result_row(f"convolutions' part of the step's time, width {width}", [shares[width]], ""))
    return rows


def share_of_convolutions(encoder, values: torch.Tensor) -> float:
    """The part of a forward and backward pass' time that is spent in convolutions."""
    encoder(values).pooler_output.square().mean().backward()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        encoder(values).pooler_output.square().mean().backward()
    times = {event.key: event.self_cpu_time_total for event in profile.key_averages()}
    convolutions = sum(own for name, own in times.items() if "convolution" in name)
    return convolutions / sum(times.values())


def measure_processes(setting: Setting) -> list[dict]:
    options, runs = setting.options, itertools.count()
    cache = {"HF_DATASETS_CACHE": str(setting.folder / "cache")}
    warm_up = max(1, options.steps // 4)  # steps that do not count

    def rate(num_processes: int, num_threads: int) -> float:
        output = setting.folder / f"run-{next(runs)}"
        launch = ["-m", "torch.distributed.run", "--nproc_per_node", "2"] if num_processes == 2 else []
        command = [sys.executable, *launch, "-m", "mets_ecg_cli", "pretrain", "--config", setting.config]
        command += ["--data", str(setting.prepared), "--output", str(output), "--max-steps", str(options.steps)]
        command += ["--train", "all", "--validation", "none", "--test", "none", "--logging-steps", str(warm_up)]
        threads = {"OMP_NUM_THREADS": str(num_threads)}
        done = subprocess.run(command, env=os.environ | cache | threads, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
        log = [json.loads(line) for line in (output / "log.jsonl").read_text(encoding="utf-8").splitlines()]
        if options.steps == warm_up:
            return log[-1]["records_per_second"]
        # It is a mean since the epoch began, so that steps / rate is proportional to the time since then.
        first, last = log[0], log[-1]
        times = [line["step"] / line["records_per_second"] for line in (first, last)]
        return (last["step"] - first["step"]) / (times[1] - times[0])

    work = {
        "2 processes of 1 thread": lambda: rate(2, 1),
        "1 process of 2 threads": lambda: rate(1, 2),
        "1 process of 1 thread": lambda: rate(1, 1),
    }
    rates = in_turn(work, options.process_rounds, warm_up=False)
    rows = [result_row(name, own, "records/s") for name, own in rates.items()]
    for name in list(work)[1:]:
        rows.append(result_row(f"2 processes / {name}", ratios(rates["2 processes of 1 thread"], rates[name]), ""))
    return rows


class RandomTexts(METS):
    """METS whose records have texts that were drawn at random, encoded already; each text is of some record."""

    num_texts = 180_000

    def _encode(self, texts) -> RecordTexts:
        size = self.model.config.text_config.hidden_size
        pooled = torch.nn.functional.normalize(torch.randn(self.num_texts, size), dim=1)
        return RecordTexts(("",) * self.num_texts, torch.randperm(self.num_texts)[:, None], pooled)


def measure_vocabulary(setting: Setting) -> list[dict]:
    RandomTexts.num_texts = setting.options.num_texts
    rows, steps, memories = setting.rows(), max(1, setting.options.steps // 4), {}
    work: dict[str, Callable[[], float]] = {}
    for negatives, size in (("batch", 384), ("vocabulary", 384), ("vocabulary", 768)):
        name = f"negatives of the {negatives}, {size} numbers a text"
        text_model = save_small_text_model(setting, size)
        method = RandomTexts(setting.arguments(negatives=negatives, text_model=text_model))
        model, _ = method.build()
        before = resident_memory()
        loss, optimizer = mets_loss(method, method.setup(rows, None)), make_optimizer(model)
        reset_peak()
        step_seconds(loss, optimizer, 2)
        memories[name] = peak_memory() - before
        work[name] = lambda loss=loss, optimizer=optimizer: step_seconds(loss, optimizer, steps)
    seconds = in_turn(work, min(3, setting.options.rounds))
    first, *others = work
    results = [result_row(f"step, {name}", seconds[name], "s") for name in work]
    results += [
        result_row(f"step, {name} / of the batch", ratios(seconds[name], seconds[first]), "") for name in others
    ]
    return results + [result_row(f"peak memory, {name}", [memories[name]], "MiB") for name in work]


def save_small_text_model(setting: Setting, size: int) -> str:
    """Save a text encoder of one layer, which is not run: only the length of its vectors counts."""
    folder = setting.folder / f"text-model-{size}"
    BertModel(BertConfig(hidden_size=size, num_hidden_layers=1, intermediate_size=size)).save_pretrained(folder)
    load_text_tokenizer(setting.arguments().text_model).save_pretrained(folder)
    return str(folder)


PARTS = {
    "loop": measure_loop,
    "text": measure_text,
    "rows": measure_rows,
    "flops": measure_flops,
    "processes": measure_processes,
    "vocabulary": measure_vocabulary,
}


def main() -> None:
    parser = make_parser(__file__, __doc__)
    parser.add_argument("--config", default="mets-small", help="a recipe: a file or a name")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), help="parts to measure")
    parser.add_argument("--steps", type=int, default=20, help="of each run")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--process-rounds", type=int, default=2, help="of the part `processes`")
    parser.add_argument("--widths", type=int, nargs="+", default=[32, 64], help="of the part `flops`")
    parser.add_argument("--compile", action="store_true", help="part `flops`: with torch.compile too")
    parser.add_argument("--bf16", action="store_true", help="part `flops`: with bf16 autocast too")
    parser.add_argument("--num-texts", type=int, default=180_000, help="of the part `vocabulary`")
    options = parser.parse_args()
    no_progress_bars()
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        datasets.config.HF_DATASETS_CACHE = Path(folder) / "cache"  # nothing of it is wanted again
        setting = Setting(options, Path(folder))
        for name in options.only:
            started = time.perf_counter()
            results[name] = PARTS[name](setting)
            show(results[name])
            print(f"{name}: {time.perf_counter() - started:.0f} s")
    write(options.output, {"config": options.config, "parts": results})


if __name__ == "__main__":
    main()
