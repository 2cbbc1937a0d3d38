"""Arguments of every training command: the loop's own, which no method adds to or reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .data import DataArguments
from .parser import argument

# Trackers of Accelerate that take a name and figures, and nothing else.
Tracker = Literal["tensorboard", "wandb", "mlflow", "comet_ml", "aim", "trackio"]


@dataclass(kw_only=True)
class TrainingArguments(DataArguments):
    """How long, how fast and how carefully a model is trained; the method's own arguments come beside these."""

    output: str = argument(help="folder of the checkpoint, its metrics.json, log.jsonl and training_args.yaml")
    overwrite: bool = argument(False, help="replace an output folder that is there already, and start anew")
    seed: int = argument(0, help="of new weights, the order of records and their changes")
    epochs: int = argument(50, help="passes over the training records")
    max_steps: int | None = argument(None, help="stop after so many steps, for trying a recipe out")
    batch_size: int = argument(32, help="records that a process takes at once")
    gradient_accumulation_steps: int = argument(1, help="batches that make a step")
    optimizer: Literal["adam", "adamw"] = argument("adam", help="adam couples weight decay with the gradient")
    learning_rate: float = argument(1e-3, help="at its height")
    weight_decay: float = argument(1e-3, help="of all trained weights")
    lr_scheduler: Literal["cosine", "constant", "tri-stage"] = argument("cosine", help="after the warm-up")
    warmup_fraction: float = argument(0.05, help="part of all steps in which the learning rate rises")
    hold_fraction: float = argument(0.4, help="of tri-stage: part of all steps at the height, before the decay")
    max_grad_norm: float | None = argument(None, help="gradients above this norm are scaled down to it")
    ema_decay: float | None = argument(
        None, help="measure and save a moving average of the weights, of which each step keeps this part"
    )
    early_stopping_patience: int | None = argument(
        None, help="stop after so many epochs that were no better than the best, by the validation part"
    )
    nonfinite: Literal["stop", "skip"] = argument(
        "stop", help="what to do at a step whose gradient is not finite; the weights stay as they were"
    )
    mixed_precision: Literal["no", "bf16"] = argument(
        "no", help="where `accelerate launch` does not say; bf16 only where the processor computes in it"
    )
    save_steps: int = argument(500, help="steps from one saved state of the run to the next; epochs save one too")
    save_total_limit: int = argument(2, help="states that are kept")
    logging_steps: int = argument(50, help="steps from one line of log.jsonl to the next")
    log_with: list[Tracker] = argument(default_factory=list, help="trackers that get the log too")

    def __post_init__(self) -> None:
        super().__post_init__()
        least = dict.fromkeys(("epochs", "batch_size", "max_steps", "gradient_accumulation_steps"), 1)
        least |= dict.fromkeys(("early_stopping_patience", "save_steps", "save_total_limit", "logging_steps"), 1)
        for name, lowest in least.items():
            value = getattr(self, name)
            if value is not None and value < lowest:
                raise ValueError(f"{_flag(name)} must be at least {lowest}, got {value}")
        for name in ("learning_rate", "max_grad_norm"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{_flag(name)} must be above 0, got {value}")
        if not self.weight_decay >= 0:
            raise ValueError(f"--weight-decay must be at least 0, got {self.weight_decay}")
        self._check_fractions("warmup_fraction", "hold_fraction", "ema_decay")
        if self.lr_scheduler == "tri-stage" and self.warmup_fraction + self.hold_fraction > 1:
            raise ValueError(
                "--warmup-fraction and --hold-fraction are more than all steps together: "
                f"{self.warmup_fraction} + {self.hold_fraction}"
            )

    def _check_fractions(self, *names: str) -> None:
        for name in names:
            value = getattr(self, name)
            if value is not None and not 0 <= value < 1:
                raise ValueError(f"{_flag(name)} must be from 0 to below 1, got {value}")


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"
