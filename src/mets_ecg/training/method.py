"""The contract between the training loop and a training method such as METS."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch

from ..data.prepared_rows import PreparedRows


class Method(ABC):
    """A model, how a batch of rows becomes its losses, and which figure chooses the checkpoint.

    The loop calls `build`, `setup`, then `collate` and `losses` for each batch, and `validate` after each epoch.
    Random numbers come from the generator that `collate` is given, or from torch's global one; the loop seeds both at
    each step, so that a resumed run draws what it would have drawn.

    Attributes:
        name: of the method, in saved states.
        best: the figure of `validate` in which the kept checkpoint is best: lowest if its name ends with `loss`, else
            highest.
        model, processor: what `build` made.
        encoder_from: what is known of the checkpoint whose encoder is trained further: `model`, its name, `parts` and
            `corpora`; None where the encoder is new.
    """

    name: ClassVar[str]
    best: ClassVar[str]
    model: torch.nn.Module
    encoder_from: dict | None = None

    @abstractmethod
    def build(self) -> tuple[torch.nn.Module, object]:
        """Return the model and its processor, and keep them as `model` and `processor`."""

    @abstractmethod
    def setup(self, train: PreparedRows, validation: PreparedRows | None) -> PreparedRows:
        """Prepare what training needs beside the rows, such as their texts; return the rows that can be trained on."""

    def parameter_groups(self, learning_rate: float) -> list[dict]:
        """Return what the optimiser trains: groups of parameters, some perhaps with a learning rate of their own."""
        return [{"params": [parameter for parameter in self.model.parameters() if parameter.requires_grad]}]

    @abstractmethod
    def collate(self, batch: dict[str, torch.Tensor], generator: torch.Generator) -> dict[str, torch.Tensor]:
        """Return a batch for `losses` from a batch of the rows that `setup` returned: augmented, with drawn texts.

        On a GPU it is called in another thread, one step ahead.
        """

    @abstractmethod
    def losses(self, model: torch.nn.Module, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return the terms of the loss by name; their sum is trained.

        Args:
            model: as Accelerate prepared it; only its `forward` may be called, which averages gradients over processes.
            batch: from `collate`, on the model's device.
        """

    @abstractmethod
    def validate(self) -> dict[str, float]:
        """Return figures of the model on the validation rows, the same on every process; none without such rows."""
