"""The gradient of one step of METS on 12 records, shared between the processes of a launch; run by `torchrun`.

    torchrun --nproc_per_node 2 gradients.py ARGUMENTS.json FOLDER

ARGUMENTS are fields of `PretrainArguments`, FOLDER gets `gradients-<processes>.pt`: a dict a variant.
"""

import json
import sys
from pathlib import Path

import torch
from accelerate.state import AcceleratorState

from mets_ecg.data.loading import load_prepared_rows
from mets_ecg.data.simulator.corpus import simulate_corpus
from mets_ecg.training.mets import METS
from mets_ecg.training.processes import make_accelerator, num_processes, process_index
from mets_ecg_cli.pretrain import PretrainArguments

RECORDS = 12
# A name, arguments, and fields of the encoder.
VARIANTS = (
    ("batch", {"text_column": "report"}, {"norm": "group", "num_groups": 2}),
    ("vocabulary", {"negatives": "vocabulary", "text_column": "findings"}, {"norm": "group", "num_groups": 2}),
    ("batch-norm", {"text_column": "report"}, {"norm": "batch"}),
)


def main(arguments_path: str, folder: str) -> None:
    found = {}
    for name, changes, encoder in VARIANTS:
        AcceleratorState._reset_state()
        fields = json.loads(Path(arguments_path).read_text()) | changes
        fields["model"]["ecg_config"] |= encoder
        arguments = PretrainArguments(**fields, batch_size=RECORDS // int(sys.argv[3]))
        accelerator = make_accelerator(arguments)
        assert accelerator.num_processes == int(sys.argv[3])
        torch.manual_seed(0)
        method = METS(arguments)
        model, processor = method.build()
        corpus = simulate_corpus(40, seed=3, cache_dir=folder)
        rows = method.setup(load_prepared_rows(processor.feature_extractor, corpus=corpus), None)
        prepared = accelerator.prepare(model)
        prepared.train()
        batches = rows.epoch(arguments.batch_size, seed=0, epoch=1, rank=process_index(), world_size=num_processes())
        batch = method.collate(next(batches), torch.Generator().manual_seed(0))
        terms = method.losses(prepared, batch)
        accelerator.backward(sum(terms.values()))
        found[name] = {key: value.grad for key, value in model.named_parameters() if value.requires_grad}
        found[name]["loss"] = accelerator.reduce(terms["contrastive"].detach(), "mean")
        accelerator.free_memory()
    if process_index() == 0:
        torch.save(found, Path(folder) / f"gradients-{num_processes()}.pt")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
