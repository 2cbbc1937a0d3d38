"""Which form of zero-shot score ranks records best, over several tasks at once.

    python examples/benchmarks/scores.py --source PTB-XL --test 8 mets-small-folds-1-7 ...

For each checkpoint and each task of PTB-XL: the macro AUROC of several ways to join a label's phrases and to let labels
compete, and the macro F1 of the best class of records that have one class. The checkpoints must not be trained on the
fold. Prints a Markdown table.
"""

import argparse

import numpy as np
import torch
from transformers import AutoModel, AutoProcessor

from mets_ecg.data.loading import load_parts
from mets_ecg.evaluation.encoding import encode_ecgs
from mets_ecg.evaluation.labels import TaskLabels, load_labels
from mets_ecg.evaluation.statistics import auroc, macro_average
from mets_ecg.evaluation.table import best_class_metrics
from mets_ecg.evaluation.tasks import get_task
from mets_ecg.zero_shot_scoring import embed_phrases, label_similarities
from mets_ecg_cli.evaluate import EvaluateArguments

TASKS = ("ptbxl-super", "ptbxl-sub", "ptbxl-diagnostic", "ptbxl-form", "ptbxl-rhythm")


def forms(
    ecg: torch.Tensor, labels: list[torch.Tensor], neutral: torch.Tensor, scale: float
) -> dict[str, torch.Tensor]:
    """Return scores `(records, labels)` by the name of their form."""
    means = [torch.nn.functional.normalize(own.mean(dim=0), dim=0)[None] for own in labels]
    mean = label_similarities(ecg, means, phrase_scale=1.0)
    joined = {b: label_similarities(ecg, labels, phrase_scale=b) for b in (5.0, 10.0, 20.0)}
    own, against = joined[10.0], (ecg.double() @ neutral.double())[:, None]
    strongest = (20 * own).logsumexp(dim=1, keepdim=True) / 20
    return {
        "mean of phrases, softmax at the learned scale (before)": (scale * mean).softmax(dim=1),
        "mean of phrases": mean,
        "mean of phrases, less the neutral phrase (before, multi-label)": mean - against,
        **{f"log-sum-exp at {b:g}": similarity for b, similarity in joined.items()},
        "log-sum-exp at 10, less the neutral phrase": own - against,
        **{f"log-sum-exp at 10, softmax at {s}": (s * own).softmax(dim=1) for s in (5, 10, 20)},
        **{f"log-sum-exp at 10, less {w} of the strongest labels": own - w * strongest for w in (0.25, 0.5, 0.75)},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("models", nargs="+", help="checkpoints")
    parser.add_argument("--source", required=True, help="PTB-XL")
    parser.add_argument("--test", default="8", help="fold")
    options = parser.parse_args()
    found: dict[str, list[str]] = {}
    for name in options.models:
        model, processor = AutoModel.from_pretrained(name), AutoProcessor.from_pretrained(name)
        arguments = EvaluateArguments(model=name, source=options.source, test=[options.test], train=["none"])
        rows = load_parts(processor.feature_extractor, arguments, parts=("test",)).test
        ecg = encode_ecgs([model], rows)[0].outputs
        for task in map(get_task, TASKS):
            truth: TaskLabels = load_labels(rows, task)
            prompts = task.phrase_prompts("en")
            *labels, neutral = embed_phrases(model, processor, [*prompts.values(), ("ecg.",)])
            scores = forms(ecg[truth.rows], labels, neutral[0], model.get_logit_scale().item())
            for form, values in scores.items():
                macro = macro_average(auroc(truth.labels, values.numpy()))
                f1 = best_class_metrics(truth, values.numpy()).f1
                found.setdefault(form, []).append(f"{macro:.3f}, {f1:.2f}")
    heads = [f"{name.rstrip('/').rsplit('/', 1)[-1]}: {task[6:]}" for name in options.models for task in TASKS]
    print(f"| score | {' | '.join(heads)} | mean AUROC |\n{'| --- ' * (len(heads) + 2)}|")
    for form, cells in found.items():
        mean = np.mean([float(cell.split(",")[0]) for cell in cells])
        print(f"| {form} | {' | '.join(cells)} | {mean:.3f} |")


if __name__ == "__main__":
    main()
