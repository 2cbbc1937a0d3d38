"""Several processes as one: how a launch becomes an accelerator, and what training gathers over its processes.

GPUs are started by `accelerate launch`, CPU processes by `torchrun`, which Accelerate does not start.
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
    """Return the accelerator of a run. What the launch says of precision, processes and devices is not overruled.

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
        raise ValueError(
            f"--mixed_precision {accelerator.mixed_precision} is not trained in: launch with bf16, or with no"
        )
    if accelerator.num_processes != world_size:
        raise ValueError(
            f"the launch started {world_size} processes, and Accelerate finds {accelerator.num_processes}: start "
            "processes on GPUs by `accelerate launch`, on CPUs by `torchrun`"
        )
    return accelerator


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
        # Every process has the whole loss, so the gradient here is that of all of it; the gradients of the weights are
        # then averaged over processes, where they should be added.
        return gradient.chunk(num_processes())[process_index()] * num_processes()


def gather(values: torch.Tensor) -> torch.Tensor:
    """Return the rows of all processes, with gradients; all must have as many.

    A loss on what is gathered must be computed whole, on every process alike: then the gradient that
    `DistributedDataParallel` makes of it is that of one process on the whole batch.
    """
    return _Gather.apply(values) if num_processes() > 1 else values


def own_share(rows: PreparedRows) -> PreparedRows:
    """Return this process' share of rows: each is on one of the processes."""
    return rows.select(range(process_index(), len(rows), num_processes())) if num_processes() > 1 else rows


def gather_in_order(values: torch.Tensor, num_rows: int) -> torch.Tensor:
    """Return what the processes made of their shares, in the order of all rows and on every process.

    Args:
        values: of this process' share, a row each, on the CPU.
        num_rows: of all processes.
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
    """Give every process the first one's buffers, so that all measure the model that is saved.

    Batch normalisation on CPUs has other running statistics on each.
    """
    if num_processes() > 1:
        for buffer in model.buffers():
            distributed.broadcast(buffer, 0)
