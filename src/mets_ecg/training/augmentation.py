"""Changes to recordings that training makes: a shift in time, and leads that go missing."""

from __future__ import annotations

import torch


def shift_in_time(input_values: torch.Tensor, max_shift: int, generator: torch.Generator) -> torch.Tensor:
    """Shift each record by a random number of samples up to `max_shift` either way; what comes in is zero.

    Args:
        input_values: `(batch, leads, samples)`.
        max_shift: samples.
        generator: source of the shifts.
    """
    shifts = torch.randint(-max_shift, max_shift + 1, (len(input_values),), generator=generator).tolist()
    samples = input_values.shape[2]
    shifted = torch.zeros_like(input_values)
    for i, shift in enumerate(shifts):
        kept = samples - abs(shift)
        shifted[i, :, max(0, shift) : max(0, shift) + kept] = input_values[i, :, max(0, -shift) : max(0, -shift) + kept]
    return shifted


def drop_leads(
    lead_mask: torch.Tensor, probability: float, generator: torch.Generator, *, part_of_records: float = 1.0
) -> torch.Tensor:
    """Mask each lead of some records with a probability; a record that would lose all its leads keeps them.

    Args:
        lead_mask: bool `(batch, leads)`.
        probability: of each lead.
        generator: source of the draws.
        part_of_records: probability of a record to be among them.
    """
    dropped = torch.rand(lead_mask.shape, generator=generator) < probability
    dropped &= torch.rand((len(lead_mask), 1), generator=generator) < part_of_records
    kept = lead_mask & ~dropped
    return torch.where(kept.any(dim=1, keepdim=True), kept, lead_mask)
