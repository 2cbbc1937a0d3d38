"""A moving average of the weights: what is measured and saved in place of the weights of the last step."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch.optim.swa_utils import get_ema_multi_avg_fn


class EMA:
    """The moving average of a model's trained weights and of the statistics of its batch normalisation.

    The first steps keep less of what was before, so that the new weights of the start are forgotten: step n keeps
    `min(decay, (1 + n) / (10 + n))`.

    Args:
        model: whose weights; what is frozen is left alone.
        decay: part that a step keeps.
    """

    def __init__(self, model: torch.nn.Module, decay: float):
        parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self._live = parameters + [buffer for buffer in model.buffers() if buffer.is_floating_point()]
        self._averaged = [values.detach().clone() for values in self._live]
        self._decay, self._steps = decay, 0

    @torch.no_grad()
    def update(self) -> None:
        """Take the weights of a step in."""
        self._steps += 1
        decay = min(self._decay, (1 + self._steps) / (10 + self._steps))
        get_ema_multi_avg_fn(decay)(self._averaged, [values.detach() for values in self._live], None)

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """Give the model the averaged weights for a while."""
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
        """Return what resuming needs."""
        return {"averaged": self._averaged, "steps": self._steps}

    def load_state_dict(self, state: dict) -> None:
        """Go on from a saved state."""
        self._steps = state["steps"]
        for averaged, saved in zip(self._averaged, state["averaged"], strict=True):
            averaged.copy_(saved)
