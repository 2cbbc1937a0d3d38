"""Changes to recordings that training makes: a shift in time, and leads that go missing."""

from __future__ import annotations

import torch

from mets_ecg_cli.augmentation import AugmentationArguments


def augment(
    batch: dict[str, torch.Tensor],
    arguments: AugmentationArguments,
    sampling_rate: float,
    generator: torch.Generator,
) -> dict[str, torch.Tensor]:
    """Shift the recordings of a batch and drop leads, as the arguments say.

    A batch with padding is not shifted. Where no lead is masked the batch has no `lead_mask`.
    """
    max_shift = round(arguments.time_shift * sampling_rate)
    if max_shift and "ecg_attention_mask" not in batch:
        batch["input_values"] = shift_in_time(batch["input_values"], max_shift, generator)
    if arguments.lead_dropout:
        batch["lead_mask"] = drop_leads(
            batch["lead_mask"], arguments.lead_dropout, generator, part_of_records=arguments.lead_dropout_records
        )
    if batch["lead_mask"].all():
        del batch["lead_mask"]
    return batch


def check_shift(arguments: AugmentationArguments, feature_extractor) -> None:
    """Raise a `ValueError` where recordings would be shifted out of their window."""
    if feature_extractor.max_duration is not None and arguments.time_shift >= feature_extractor.max_duration:
        raise ValueError(
            f"--time-shift {arguments.time_shift:g} s would shift recordings out of their window of "
            f"{feature_extractor.max_duration:g} s"
        )


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
