"""`mets-ecg embed`: what a checkpoint makes of recordings, as Parquet."""

from __future__ import annotations

import os
import re
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from accelerate import Accelerator
from huggingface_hub.utils import WeakFileLock

from mets_ecg_cli.embed import EmbedArguments

from .checkpoints import Checkpoint
from .encoding import encode_ecgs

_KEPT = ("corpus", "split", "fold", "record_id", "patient_id")


def run_embed(arguments: EmbedArguments) -> Path:
    """Encode recordings and write a Parquet file a process, each of a stretch of the recordings, in their order.

    Columns: `corpus`, `split`, `fold`, `record_id` and `patient_id`; `pooler_output`, the ECG encoder's; and of a dual
    encoder `ecg_embeds`, of length 1, to be compared with the vectors of texts, of a classifier `probabilities`.
    `datasets.load_dataset(OUTPUT)` reads the folder.

    Returns:
        The file of this process. It appears when it is whole.

    Raises:
        ValueError: no recording is named.
        FileExistsError: the output is there already.
    """
    several = int(os.environ.get("WORLD_SIZE", 1)) > 1
    accelerator = Accelerator(cpu=several and not torch.accelerator.is_available())
    rank, count = accelerator.process_index, accelerator.num_processes
    path = Path(arguments.output) / f"embeddings-{rank:05}-of-{count:05}.parquet"
    _check_output(path, count)
    checkpoint = Checkpoint.open(arguments.model)
    # The first process prepares recordings, and the others find them in the cache. A lock and not a barrier, because a
    # barrier times out.
    cache = Path(datasets.config.HF_DATASETS_CACHE) / "mets-ecg"
    cache.mkdir(parents=True, exist_ok=True)
    with WeakFileLock(cache / ".embed.lock"):
        rows = checkpoint.load_rows(arguments, ("test",)).test
    stretch = range(rank * len(rows) // count, (rank + 1) * len(rows) // count)
    own = rows.select(stretch)
    (encoded,) = encode_ecgs(
        [checkpoint.load_model()], own, batch_size=arguments.batch_size, progress=accelerator.is_main_process
    )
    columns = {name: list(own[name]) for name in _KEPT if name in own.column_names}
    outputs = "probabilities" if checkpoint.classifies else "ecg_embeds"
    for name, values in (("pooler_output", encoded.pooled), (outputs, encoded.outputs.float())):
        flat = pa.array(values.numpy().ravel())
        columns[name] = pa.FixedSizeListArray.from_arrays(flat, values.shape[1])
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    pq.write_table(pa.table(columns), partial)
    partial.replace(path)
    print(f"{len(own)} recordings, {outputs} of {encoded.outputs.shape[1]} numbers: {path}")
    return path


def _check_output(path: Path, count: int) -> None:
    """Refuse a folder that holds something else than the files of the other processes of this launch."""
    if path.parent.exists():
        own = re.compile(rf"embeddings-\d+-of-{count:05}\.(parquet|partial)")
        if not path.parent.is_dir() or path.exists() or not all(own.fullmatch(p.name) for p in path.parent.iterdir()):
            raise FileExistsError(f"{str(path.parent)!r} is there already: name another --output, or remove it")
