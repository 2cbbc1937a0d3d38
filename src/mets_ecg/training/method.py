"""What a training method brings; the loop steps, saves and logs, and knows none of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch

from ..data.prepared_rows import PreparedRows


class Method(ABC):
    """What is trained, on what of the rows, by which losses, and what chooses the checkpoint.

    Called in this order: `build`, `setup`, then of each batch `collate` and `losses`, and after an epoch `validate`.
    Everything random comes from the generator of `collate` or from torch's own, which the loop seeds anew each step:
    then a run that goes on draws what it would have drawn.

    Attributes:
        name: of the method, in saved states.
        best: the figure of `validate` in which the kept checkpoint is best: lowest if its name ends with `loss`, else
            highest.
        model, processor: what `build` made.
    """

    name: ClassVar[str]
    best: ClassVar[str]
    model: torch.nn.Module

    @abstractmethod
    def build(self) -> tuple[torch.nn.Module, object]:
        """Make the model and its processor."""

    @abstractmethod
    def setup(self, train: PreparedRows, validation: PreparedRows | None) -> PreparedRows:
        """Make ready what the rows need, as their texts; return those that can be trained on."""

    @abstractmethod
    def collate(self, batch: dict[str, torch.Tensor], generator: torch.Generator) -> dict[str, torch.Tensor]:
        """Return a batch as `losses` wants it, from one of prepared rows that `setup` returned.

        Called ahead of time, in another thread.
        """

    @abstractmethod
    def losses(self, model: torch.nn.Module, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return the terms of the loss by name; their sum is trained.

        Args:
            model: as Accelerate prepared it. Its `forward` is called and nothing beside it: gradients are averaged over
                processes by it.
            batch: from `collate`, on the model's device.
        """

    @abstractmethod
    def validate(self) -> dict[str, float]:
        """Return figures of the model on the validation rows, the same on every process; none without such rows."""
