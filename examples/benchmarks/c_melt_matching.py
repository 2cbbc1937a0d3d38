"""How often C-MELT says rightly whether a text belongs to an ECG, by how the other texts are chosen.

    python examples/benchmarks/c_melt_matching.py --source PTB-XL --test 8 c-melt-small-folds-1-7 ...

ECGs and texts are masked as in training, and half of the records get the text of another one. The checkpoints must not
be trained on the fold. `told by text` is how often who sees no ECG could be right at best. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import dataclasses
from typing import get_args

from mets_ecg import ECGTextForPreTraining
from mets_ecg.data.loading import load_parts
from mets_ecg.training.c_melt import CMelt
from mets_ecg_cli.parser import read_recipe
from mets_ecg_cli.pretrain import NegativeBand, PretrainArguments


def etm_accuracy(model: ECGTextForPreTraining, arguments: PretrainArguments, rows, band: str) -> tuple[float, float]:
    """Return the accuracy on held-out rows, and how often the text alone could tell at best.

    Args:
        model: to be measured.
        arguments: that it was trained by.
        rows: prepared, held out.
        band: which texts stand in for others.
    """
    method = CMelt(dataclasses.replace(arguments, negative_band=band))
    method.build()
    method.model.load_state_dict(model.state_dict())
    method.setup(rows, rows)
    return method.validate()["validation_etm_accuracy"], method.validation_texts.negatives.told_by_text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("models", nargs="+", help="checkpoints of ECGTextForPreTraining")
    parser.add_argument("--source", required=True, help="PTB-XL")
    parser.add_argument("--test", default="8", help="fold")
    options = parser.parse_args()
    print("| checkpoint | other texts | accuracy | told by text |\n| --- | --- | --- | --- |")
    for folder in options.models:
        recipe = read_recipe(PretrainArguments, f"{folder}/training_args.yaml")
        changes = {"source": options.source, "train": ["none"], "validation": ["none"], "test": [options.test]}
        arguments = PretrainArguments(**recipe | changes)
        method = CMelt(arguments)
        _, processor = method.build()
        rows = load_parts(processor.feature_extractor, arguments, parts=("test",)).test
        model = ECGTextForPreTraining.from_pretrained(folder)
        for band in get_args(NegativeBand):
            accuracy, told = etm_accuracy(model, arguments, rows, band)
            print(f"| {folder} | {band} | {accuracy:.3f} | {told:.2f} |", flush=True)


if __name__ == "__main__":
    main()
