"""The gradient of one step of METS and of C-MELT on 12 records, shared between the processes of a launch.

    torchrun --nproc_per_node 2 gradients.py ARGUMENTS.json FOLDER PROCESSES

ARGUMENTS has fields of `PretrainArguments` by method, FOLDER gets `gradients-<processes>.pt`: a dict a variant. What is
drawn at random, C-MELT's texts and masks, is drawn for all records at once, and shared out.
"""

import json
import sys
from pathlib import Path

import torch
from accelerate.state import AcceleratorState

from mets_ecg.data.loading import load_prepared_rows
from mets_ecg.data.simulator.corpus import simulate_corpus
from mets_ecg.training.pretrain import METHODS
from mets_ecg.training.processes import make_accelerator, num_processes, process_index
from mets_ecg_cli.pretrain import PretrainArguments

RECORDS = 12
GROUPS = {"norm": "group", "num_groups": 2}
# A name, the method, arguments, and fields of the encoder.
VARIANTS = (
    ("batch", "mets", {"text_column": "report"}, GROUPS),
    ("vocabulary", "mets", {"negatives": "vocabulary", "text_column": "findings"}, GROUPS),
    ("batch-norm", "mets", {"text_column": "report"}, {"norm": "batch"}),
    ("c-melt", "c-melt", {}, {"hidden_dropout": 0.0, "attention_dropout": 0.0}),
)


def main(arguments_path: str, folder: str) -> None:
    found = {}
    for name, kind, changes, encoder in VARIANTS:
        AcceleratorState._reset_state()
        fields = json.loads(Path(arguments_path).read_text())[kind] | changes
        fields["model"]["ecg_config"] |= encoder
        arguments = PretrainArguments(**fields | {"batch_size": RECORDS // int(sys.argv[3])})
        accelerator = make_accelerator(arguments)
        assert accelerator.num_processes == int(sys.argv[3])
        torch.manual_seed(0)
        method = METHODS[kind](arguments)
        model, processor = method.build()
        corpus = simulate_corpus(40, seed=3, cache_dir=folder)
        rows = method.setup(load_prepared_rows(processor.feature_extractor, corpus=corpus), None)
        prepared = accelerator.prepare(model)
        prepared.train()
        batch = method.collate(next(rows.epoch(RECORDS, seed=0, epoch=1)), torch.Generator().manual_seed(0))
        batch = {key: values[process_index() :: num_processes()] for key, values in batch.items()}
        terms = method.losses(prepared, batch)
        loss = sum(terms.values())
        accelerator.backward(loss)
        found[name] = {key: value.grad for key, value in model.named_parameters() if value.requires_grad}
        found[name]["loss"] = accelerator.reduce(loss.detach(), "mean")
        accelerator.free_memory()
    if process_index() == 0:
        torch.save(found, Path(folder) / f"gradients-{num_processes()}.pt")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
