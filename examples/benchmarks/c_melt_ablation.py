"""C-MELT without each of its parts, on simulated recordings: what a part gives, and what it costs the others.

    python examples/benchmarks/c_melt_ablation.py

Each is the recipe `c-melt-small` with 16 candidates (there are 68 texts) and, as released, the contrast of masked
inputs, but for what its name says: a part's weight is 0, the contrast is of whole inputs as in the recipe, or other
texts are drawn at random or from the farthest ones in place of the semi-hard ones; the whole is trained twice. One seed
each otherwise. Folds 1 to 8 train, the terms are means over fold 9, zero-shot is macro AUROC on fold 10. ETM accuracy
is on fold 9's pairs, with the farthest texts and with semi-hard ones, whatever it was trained against.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from c_melt_matching import etm_accuracy
from measuring import make_parser, no_progress_bars, write

from mets_ecg import ECGTextForPreTraining
from mets_ecg.data.loading import load_prepared_rows
from mets_ecg.data.parts import select_part
from mets_ecg.data.simulator.corpus import simulate_corpus
from mets_ecg.evaluation.tasks import simulated_task
from mets_ecg.feature_extraction_ecg import ECGFeatureExtractor
from mets_ecg.training.pretrain import run_pretrain
from mets_ecg_cli.parser import read_recipe
from mets_ecg_cli.pretrain import PretrainArguments

TERMS = ("mem", "mlm", "etm", "ets")
# What of the recipe is another: weights of parts, or arguments.
VARIANTS = {
    "whole": {},
    "whole, seed 1": {"seed": 1},
    "without MEM": {"mem_weight": 0.0},
    "without MLM": {"mlm_weight": 0.0},
    "without ETM": {"etm_weight": 0.0},
    "without ETS": {"ets_weight": 0.0},
    "ETS of whole inputs": {"ets_inputs": "whole"},
    "without N3S (random texts)": {"negative_band": "random"},
    "farthest texts": {"negative_band": "farthest"},
}


def main() -> None:
    parser = make_parser(__file__, __doc__)
    parser.add_argument("--num-records", type=int, default=4000, help="simulated recordings")
    parser.add_argument("--epochs", type=int, default=5)
    options = parser.parse_args()
    no_progress_bars()
    corpus, results = simulate_corpus(options.num_records, seed=0), {}
    for name, changes in VARIANTS.items():
        with tempfile.TemporaryDirectory() as folder:
            recipe = read_recipe(PretrainArguments, "c-melt-small")
            of_parts = {key: value for key, value in changes.items() if key.startswith(TERMS)}
            recipe["model"]["pretraining_config"] |= {"ets_inputs": "masked"} | of_parts
            recipe |= {key: value for key, value in changes.items() if key not in of_parts}
            recipe |= {"negative_candidates": 16}
            recipe |= {"output": str(Path(folder) / "model"), "epochs": options.epochs}
            arguments = PretrainArguments(**recipe)
            metrics = run_pretrain(arguments, corpus=corpus, task=simulated_task())
            last = metrics["epochs"][-1]
            found = {term: last.get(f"validation_{term}") for term in TERMS}
            found["zero_shot"] = metrics["test"]["lines"]["phrases"]["auroc"]["macro"]
            found["seconds"] = metrics["seconds"]
            rows = load_prepared_rows(ECGFeatureExtractor(**recipe["feature_extractor"]), corpus=corpus)
            rows, model = select_part(rows, ["9"]), ECGTextForPreTraining.from_pretrained(arguments.output)
            for band in ("farthest", "semi-hard"):
                measured = (
                    etm_accuracy(model, arguments, rows, band) if model.config.pretraining_config.etm_weight else None
                )
                found[f"etm_accuracy_{band}"], found[f"told_by_text_{band}"] = measured or (None, None)
        results[name] = found
    columns = (*TERMS, "etm_accuracy_farthest", "etm_accuracy_semi-hard", "zero_shot", "seconds")
    print(f"\n| variant | {' | '.join(columns)} |\n{'| --- ' * (len(columns) + 1)}|")
    for name, found in results.items():
        cells = ["-" if found[column] is None else f"{found[column]:.3f}" for column in columns]
        print(f"| {name} | {' | '.join(cells)} |")
    write(options.output, {"num_records": options.num_records, "epochs": options.epochs, "variants": results})


if __name__ == "__main__":
    main()
