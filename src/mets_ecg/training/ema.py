"""Exponential moving average of the weights, measured and saved in place of the last step's."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch.optim.swa_utils import get_ema_multi_avg_fn


class EMA:
    """The moving average of a model's trained weights and of the statistics of its batch normalisation.

    The decay of step n is `min(decay, (1 + n) / (10 + n))`, so that the initial weights do not stay in the average.

    Args:
        model: frozen weights are not averaged.
        decay: of the average.
    """

    def __init__(self, model: torch.nn.Module, decay: float):
        parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self._live = parameters + [buffer for buffer in model.buffers() if buffer.is_floating_point()]
        self._averaged = [values.detach().clone() for values in self._live]
        self._decay, self._steps = decay, 0

    @torch.no_grad()
    def update(self) -> None:
        """Add the weights of a step."""
        self._steps += 1
        decay = min(self._decay, (1 + self._steps) / (10 + self._steps))
        get_ema_multi_avg_fn(decay)(self._averaged, [values.detach() for values in self._live], None)

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """Put the averaged weights into the model within a `with` block."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for live, averaged in zip(self._live, self._averaged, strict=True):
            kept = live.detach().clone()
            live.copy_(averaged)
            averaged.copy_(kept)

    def state_dict(self) -> dict:
        """Return the state for resuming."""
        return {"averaged": self._averaged, "steps": self._steps}

    def load_state_dict(self, state: dict) -> None:
        """Resume from a saved state."""
        self._steps = state["steps"]
        for averaged, saved in zip(self._averaged, state["averaged"], strict=True):
            averaged.copy_(saved)
