"""What C-MELT hides: tokens of an ECG, which the encoder then does not see, and tokens of a text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch


def draw_kept_tokens(
    batch_size: int,
    num_tokens: int,
    ratio: float,
    generator: torch.Generator,
    recorded: torch.Tensor | None = None,
) -> torch.Tensor:
    """Draw the tokens of each ECG that are kept.

    Args:
        batch_size: number of ECGs.
        num_tokens: tokens of an ECG.
        ratio: part of the recorded tokens that are dropped.
        generator: source of the draws.
        recorded: bool `(batch, tokens)`, which were recorded; None: all.

    Returns:
        Places `(batch, kept)` in the order drawn, -1 where a record keeps fewer; at least one is kept.
    """
    noise = torch.rand((batch_size, num_tokens), generator=generator)
    counts = torch.full((batch_size,), num_tokens) if recorded is None else recorded.sum(dim=1)
    if recorded is not None:
        noise = noise.masked_fill(~recorded, 2.0)
    kept = (counts * (1 - ratio)).int().clamp(min=1)
    order = noise.argsort(dim=1)[:, : int(kept.max())]
    return order.masked_fill(torch.arange(order.shape[1]) >= kept[:, None], -1)


@dataclass(frozen=True)
class TextMasker:
    """Masks tokens of texts, with tokenizers that have a mask token and with T5's, whose first sentinel serves as one.

    Attributes:
        mask_id: of the token that stands for what is masked.
        special_ids: never masked, and never put in a token's place.
        ordinary_ids: all others.
    """

    mask_id: int
    special_ids: frozenset[int]
    ordinary_ids: torch.Tensor

    @classmethod
    def of(cls, tokenizer) -> TextMasker:
        """Return the masker of a tokenizer.

        Raises:
            ValueError: it has neither a mask token nor sentinels.
        """
        vocabulary = tokenizer.get_vocab()
        mask_id = tokenizer.mask_token_id
        if mask_id is None:
            mask_id = vocabulary.get("<extra_id_0>")
        if mask_id is None:
            raise ValueError(
                f"the tokenizer {type(tokenizer).__name__} has neither a mask token nor T5's sentinels (<extra_id_0>): "
                "set tokenizer.mask_token, or leave masked texts out by mlm_weight 0"
            )
        sentinels = {i for token, i in vocabulary.items() if token.startswith("<extra_id_")}
        special = frozenset({*tokenizer.all_special_ids, *sentinels, mask_id})
        ordinary = torch.tensor(sorted(set(vocabulary.values()) - special))
        return cls(mask_id, special, ordinary)

    def check(self, tokens: Sequence[Sequence[int]], texts: Sequence[str]) -> None:
        """Raise a `ValueError` that names a text of special tokens only: there is nothing in it to predict."""
        for own, text in zip(tokens, texts, strict=True):
            if not set(own) - self.special_ids:
                raise ValueError(f"the text {text!r} has nothing but special tokens: leave it out, or reword it")

    def mask(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, probability: float, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return masked tokens, and what they were, -100 where nothing is to be predicted; both `(texts, tokens)`.

        Of what is chosen eight in ten become the mask, one in ten another token, and one in ten stay (BERT, arXiv
        1810.04805).

        Args:
            input_ids: `(texts, tokens)`.
            attention_mask: `(texts, tokens)`.
            probability: of each ordinary token to be chosen.
            generator: source of the draws.
        """
        ordinary = (attention_mask != 0) & ~torch.isin(input_ids, torch.tensor(sorted(self.special_ids)))
        chosen = ordinary & (torch.rand(input_ids.shape, generator=generator) < probability)
        labels = input_ids.masked_fill(~chosen, -100)
        kind = torch.rand(input_ids.shape, generator=generator)
        other = self.ordinary_ids[torch.randint(len(self.ordinary_ids), input_ids.shape, generator=generator)]
        masked = torch.where(chosen & (kind < 0.8), self.mask_id, input_ids)
        return torch.where(chosen & (kind >= 0.8) & (kind < 0.9), other, masked), labels
