"""Learning-rate schedules, in steps of the whole job."""

from __future__ import annotations

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR
from transformers import get_scheduler

from mets_ecg_cli.training import TrainingArguments

# Of the learning rate's height, where tri-stage begins and where it ends.
_TRI_STAGE_ENDS = 0.01


def make_schedule(optimizer: Optimizer, arguments: TrainingArguments, total_steps: int) -> LambdaLR:
    """Return the schedule that a run's arguments describe.

    `cosine` falls to 0, `constant` stays, `tri-stage` rises, holds and decays exponentially to a hundredth, as
    fairseq's (C-MELT, arXiv 2410.02131, trains with 0.1 : 0.4 : 0.5).
    """
    warmup = round(arguments.warmup_fraction * total_steps)
    if arguments.lr_scheduler == "tri-stage":
        hold = round(arguments.hold_fraction * total_steps)
        return LambdaLR(optimizer, lambda step: _tri_stage(step, warmup, hold, total_steps - warmup - hold))
    name = {"constant": "constant_with_warmup", "cosine": "cosine"}[arguments.lr_scheduler]
    return get_scheduler(name, optimizer, num_warmup_steps=warmup, num_training_steps=total_steps)


def _tri_stage(step: int, warmup: int, hold: int, decay: int) -> float:
    if step < warmup:
        return _TRI_STAGE_ENDS + (1 - _TRI_STAGE_ENDS) * step / warmup
    if step < warmup + hold or not decay:
        return 1.0
    return _TRI_STAGE_ENDS ** min(1.0, (step - warmup - hold) / decay)
