"""What a converter says of a released checkpoint, and how its tensors become a model's, every one accounted for."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch

from ..model_card import Origin


@dataclass(frozen=True)
class Converter:
    """One kind of released checkpoint.

    Attributes:
        weights: takes the tensors, by name, out of what the file holds.
        rules: pattern of a released name -> our name; the first that matches the whole name counts.
        computed: released name -> the values that we compute in its place, from its shape; they are compared.
        unused: released names that no released code reads.
        model: returns the model, with any weights.
        processor: returns its processor, from the name of the tokenizer.
        tokenizer: where that is by default: a Hub id.
        origin: for the card.
    """

    weights: Callable[[Mapping], Mapping[str, torch.Tensor]]
    rules: Sequence[tuple[str, str]]
    model: Callable[[], torch.nn.Module]
    processor: Callable[[str], object]
    tokenizer: str
    origin: Origin
    computed: Mapping[str, Callable[[torch.Size], torch.Tensor]] = field(default_factory=dict)
    unused: frozenset[str] = frozenset()

    def our_name(self, name: str) -> str | None:
        """Return what a released tensor is called here; None for one that no rule knows."""
        for pattern, ours in self.rules:
            match = re.fullmatch(pattern, name)
            if match:
                return match.expand(ours)
        return None

    def load(self, model: torch.nn.Module, released: Mapping[str, torch.Tensor]) -> None:
        """Load released tensors into a model.

        Raises:
            ValueError: one is unknown, missing, of another shape or not a number, or is not what we compute in its
                place; or two that are one weight here differ. All culprits are counted, the first are named.
        """
        renamed, culprits = {}, []
        for name, tensor in released.items():
            if name in self.unused:
                continue
            if name in self.computed:
                expected = self.computed[name](tensor.shape)
                # Loosely: sines of large angles differ by 1e-4 in single precision.
                if tensor.shape != expected.shape or not torch.allclose(tensor.float(), expected, atol=1e-3):
                    culprits.append(f"{name} is not what this model computes in its place")
                continue
            ours = self.our_name(name)
            if ours is None:
                culprits.append(f"{name} {tuple(tensor.shape)} is unknown")
            else:
                renamed[ours] = (name, tensor)
        wanted = model.state_dict()
        for ours, own in wanted.items():
            if ours not in renamed:
                culprits.append(f"{ours} {tuple(own.shape)} is missing")
        for ours, (name, tensor) in renamed.items():
            if ours not in wanted:
                culprits.append(f"{name} {tuple(tensor.shape)} has no place in the model ({ours})")
            elif tensor.shape != wanted[ours].shape:
                culprits.append(f"{name} is {tuple(tensor.shape)}, expected {tuple(wanted[ours].shape)}")
            elif not bool(torch.isfinite(tensor).all()):
                culprits.append(f"{name} has values that are not finite")
        if culprits:
            more = f" (and {len(culprits) - 5} more)" if len(culprits) > 5 else ""
            raise ValueError(f"the checkpoint is not this model's: {'; '.join(culprits[:5])}{more}")
        model.load_state_dict({ours: tensor for ours, (_, tensor) in renamed.items()})
        for ours, (name, tensor) in renamed.items():
            if not torch.equal(wanted[ours], tensor.to(wanted[ours].dtype)):  # loaded in place
                raise ValueError(
                    f"{name} differs from another tensor of the checkpoint, and the two are one weight here"
                )
