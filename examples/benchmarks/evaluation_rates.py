"""How much zero-shot evaluation costs beside the encoder's bare forward passes, and how long a bootstrap takes.

    python examples/benchmarks/evaluation_rates.py --model mets-small

- `zero-shot`: prepared rows, memory-mapped, to scores of the 5 superclasses, against the same encoder on tensors that
  are in memory already, in batches of the same size; in turn, the ratio of each round.
- `bootstrap`: AUROC of 71 classes on 2,158 records with 1,000 resamples of 1,900 patients, as the test fold of PTB-XL.
"""

from __future__ import annotations

import tempfile
import time

import numpy as np
import torch
from measuring import in_turn, make_parser, no_progress_bars, ratios, result_row, show, write
from transformers import AutoModel, AutoProcessor

from mets_ecg.data.loading import load_prepared_rows
from mets_ecg.data.simulator.corpus import simulate_corpus
from mets_ecg.evaluation.encoding import encode_ecgs
from mets_ecg.evaluation.statistics import bootstrap_auroc
from mets_ecg.evaluation.tasks import get_task
from mets_ecg.evaluation.zero_shot import score_prompts

BATCH = 256


def seconds(work) -> float:
    """Return how long a call takes, s."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def main() -> None:
    """Measure, print and write."""
    parser = make_parser(__file__, __doc__)
    parser.add_argument("--model", required=True, help="checkpoint of a dual encoder")
    parser.add_argument("--num-records", type=int, default=8192)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    no_progress_bars()
    model, processor = AutoModel.from_pretrained(options.model), AutoProcessor.from_pretrained(options.model)
    prompts = get_task("ptbxl-super").phrase_prompts("en")
    with tempfile.TemporaryDirectory() as cache:
        corpus = simulate_corpus(options.num_records, seed=0, cache_dir=cache)
        rows = load_prepared_rows(processor.feature_extractor, corpus=corpus)
        batches = [batch["input_values"] for batch in rows.in_order(BATCH)]

        def zero_shot() -> None:
            (encoded,) = encode_ecgs([model], rows, batch_size=BATCH)
            score_prompts(model, processor, encoded.outputs, prompts)

        @torch.no_grad()
        def bare() -> None:
            for values in batches:
                model.ecg_model(values)

        work = {"zero-shot": lambda: seconds(zero_shot), "bare": lambda: seconds(bare)}
        found = in_turn(work, options.rounds)
    generator = np.random.default_rng(0)
    labels = generator.random((2158, 71)) < 0.08
    scores, patients = generator.normal(size=labels.shape), generator.integers(1900, size=2158)
    bootstrap = [seconds(lambda: bootstrap_auroc(labels, scores, patients)) for _ in range(options.rounds)]
    rates = [options.num_records / own for own in found["zero-shot"]]
    table = [
        result_row("zero-shot / bare forward passes", ratios(found["zero-shot"], found["bare"]), "x time", below=1.1),
        result_row("zero-shot", rates, "records/s"),
        result_row("bootstrap, 2,158 records x 71 classes x 1,000 resamples", bootstrap, "s", below=4),
    ]
    show(table)
    write(options.output, {"num_records": options.num_records, "batch_size": BATCH, "rows": table})


if __name__ == "__main__":
    main()
