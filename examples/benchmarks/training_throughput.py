"""How much of the bare encoder's speed training keeps.

    python examples/benchmarks/training_throughput.py

In one run, in turn: forward and backward of the ECG encoder alone on tensors in memory, and the training loop as
`mets-ecg pretrain` runs it (prepared rows from disk, shift in time, text looked up, loss, optimiser, schedule).
Prints records/s of both and the ratio of each pair of rounds; the median ratio is the figure.
"""

import argparse
import statistics
import tempfile
import time

import torch

from mets_ecg.data.loading import load_prepared_rows
from mets_ecg.data.simulator.corpus import simulate_corpus
from mets_ecg.data.text_embeddings import encode_texts
from mets_ecg.resources import resource
from mets_ecg.training.loop import make_accelerator, train
from mets_ecg.training.objectives import ContrastiveObjective
from mets_ecg.training.pretrain import build
from mets_ecg_cli.parser import read_recipe
from mets_ecg_cli.pretrain import PretrainArguments


def bare_rate(encoder, batch: torch.Tensor, steps: int) -> float:
    """Records/s of forward and backward alone."""
    encoder.train()
    started = time.perf_counter()
    for _ in range(steps):
        encoder(batch).pooler_output.sum().backward()
        encoder.zero_grad(set_to_none=True)
    return steps * len(batch) / (time.perf_counter() - started)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--config", default="mets-small.yaml", help="a recipe of examples/configs")
    parser.add_argument("--steps", type=int, default=10, help="of each round")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()

    recipe = read_recipe(PretrainArguments, resource("configs", options.config))
    arguments = PretrainArguments(**recipe | {"output": "unused", "max_steps": options.steps})
    model, processor = build(arguments)
    with tempfile.TemporaryDirectory() as cache:
        corpus = simulate_corpus(options.steps * arguments.batch_size, cache_dir=cache)
        rows = load_prepared_rows(processor.feature_extractor, corpus=corpus)
        texts = encode_texts(model, processor, [(report,) for report in corpus["report"]])
        shift = round(arguments.time_shift * processor.feature_extractor.sampling_rate)
        objective = ContrastiveObjective(texts, duplicate_text_policy="positives", max_shift=shift)
        accelerator, ratios = make_accelerator(arguments), []
        batch = next(rows.in_order(arguments.batch_size))["input_values"].to(accelerator.device)
        model.to(accelerator.device)
        bare_rate(model.ecg_model, batch, 2)
        for _ in range(options.rounds):
            bare = bare_rate(model.ecg_model, batch, options.steps)
            epochs = []
            train(model, objective, rows, arguments, accelerator, on_epoch_end=epochs.append)
            ratios.append(epochs[0]["records_per_second"] / bare)
            print(f"bare {bare:.0f} records/s, training {epochs[0]['records_per_second']:.0f}, ratio {ratios[-1]:.3f}")
    print(f"median ratio {statistics.median(ratios):.3f} (min {min(ratios):.3f}, max {max(ratios):.3f})")


if __name__ == "__main__":
    main()
