"""Several processes: the accelerator of a launch, and what is gathered over processes.

Processes on GPUs are started by `accelerate launch`; on CPUs by `torchrun`, as `accelerate launch --cpu` starts one.
"""

from __future__ import annotations

import os

import torch
from accelerate import Accelerator
from accelerate.tracking import get_available_trackers
from torch import distributed

from mets_ecg_cli.training import TrainingArguments

from ..data.prepared_rows import PreparedRows


def make_accelerator(arguments: TrainingArguments, *, project_dir: str | None = None) -> Accelerator:
    """Return the accelerator of a run; precision, processes and devices are those of the launch.

    Args:
        arguments: of the run.
        project_dir: where trackers that write files put them.

    Raises:
        ValueError: the launch asks for fp16, or for processes that Accelerate does not find.
        ImportError: a tracker is not installed.
    """
    installed = [str(tracker) for tracker in get_available_trackers()]
    for tracker in arguments.log_with:
        if tracker not in installed:
            raise ImportError(
                f"--log-with {tracker}: it is not installed (`pip install {tracker}`); log.jsonl is always written"
            )
    world_size = int(os.environ.get("WORLD_SIZE", 1))
    launched = "ACCELERATE_MIXED_PRECISION" in os.environ
    accelerator = Accelerator(
        cpu=world_size > 1 and not torch.accelerator.is_available(),
        mixed_precision=None if launched else arguments.mixed_precision,
        log_with=list(arguments.log_with) or None,
        project_dir=project_dir,
    )
    if accelerator.mixed_precision not in ("no", "bf16"):
        raise ValueError(f"--mixed_precision {accelerator.mixed_precision} is not supported: launch with bf16 or no")
    if accelerator.num_processes != world_size:
        raise ValueError(
            f"the launch started {world_size} processes, and Accelerate finds {accelerator.num_processes}: start "
            "processes on GPUs by `accelerate launch`, on CPUs by `torchrun`"
        )
    return accelerator


def describe_machine(accelerator: Accelerator) -> dict:
    """Return what a process runs on: `device`, `"cpu"` or the GPU's name, and `num_threads` of a processor."""
    device = accelerator.device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return {"device": name, "num_threads": torch.get_num_threads()}


def num_processes() -> int:
    """Return how many processes the run has."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def process_index() -> int:
    """Return which of them this one is, from 0."""
    return distributed.get_rank() if distributed.is_initialized() else 0


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx, values: torch.Tensor) -> torch.Tensor:
        parts = [torch.empty_like(values) for _ in range(num_processes())]
        distributed.all_gather(parts, values.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx, gradient: torch.Tensor) -> torch.Tensor:
        # Every process computes the whole loss, so this is its whole gradient. Gradients of the weights are averaged
        # over processes afterwards, where they should be added: hence the factor.
        return gradient.chunk(num_processes())[process_index()] * num_processes()


def gather(values: torch.Tensor) -> torch.Tensor:
    """Return the rows of all processes, with gradients; all must have as many.

    If every process computes the same loss on the gathered rows, the gradients that `DistributedDataParallel` averages
    are those of one process on the whole batch.
    """
    return _Gather.apply(values) if num_processes() > 1 else values


def total_over_processes(count: torch.Tensor) -> torch.Tensor:
    """Return the sum of a count over all processes."""
    if num_processes() == 1:
        return count
    total = count.clone()
    distributed.all_reduce(total)
    return total


def own_share(rows: PreparedRows) -> PreparedRows:
    """Return this process' share of rows; every row is in one share."""
    return rows.select(range(process_index(), len(rows), num_processes())) if num_processes() > 1 else rows


def gather_in_order(values: torch.Tensor, num_rows: int) -> torch.Tensor:
    """Return values of all rows, in their order and on every process, from those of each process' `own_share`.

    Args:
        values: a row for each row of this process' share, on the CPU.
        num_rows: number of rows in all shares.
    """
    if num_processes() == 1:
        return values
    parts = [None] * num_processes()
    distributed.all_gather_object(parts, values)
    whole = values.new_empty((num_rows, *values.shape[1:]))
    for rank, part in enumerate(parts):
        whole[rank :: len(parts)] = part
    return whole


def share_buffers(model: torch.nn.Module) -> None:
    """Copy the main process' buffers to all others, so that all validate the model that is saved.

    On CPUs the running statistics of batch normalisation differ between processes.
    """
    if num_processes() > 1:
        for buffer in model.buffers():
            distributed.broadcast(buffer, 0)
