"""What all ECG encoders share: the output they return, strict loading, and frames that come from padding.

The contract: a subclass of `ECGEncoderPreTrainedModel` whose `forward(input_values, ecg_attention_mask=None,
lead_mask=None, output_hidden_states=None)`, decorated with transformers' `can_return_tuple`, returns
`last_hidden_state (B, T', D)` and `pooler_output (B, D)`. With a mask, padding changes nothing; without one, the plain
exact path is taken. Its config has `num_leads`, `sampling_rate` and `hidden_size`; `layers()` lists its modules.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import nn
from transformers import PreTrainedModel
from transformers.utils import ModelOutput

# Weights of a pre-training checkpoint that a dual encoder and an encoder leave there.
PRETRAINING_KEYS = (
    r"^modality_embeddings\.",
    r"^(ecg|text)_fusion",
    r"^(mem|mlm|etm)_head\.",
    r"^logit_bias$",
)


@dataclass
class ECGEncoderOutput(ModelOutput):
    """Output of an ECG encoder.

    Args:
        last_hidden_state: `(batch, frames, hidden_size)` float; 0 in frames that come from padding.
        pooler_output: `(batch, hidden_size)` float, the recording as one vector.
        frame_mask: `(batch, frames)` bool, True where a frame was recorded: its first sample (ResNet) or all of its
            samples (transformer); None without a mask.
        hidden_states: with `output_hidden_states`, a tensor `(batch, frames, channels)` after the first layer and one
            after each block; frames and channels are those of the block.
    """

    last_hidden_state: torch.FloatTensor | None = None
    pooler_output: torch.FloatTensor | None = None
    frame_mask: torch.BoolTensor | None = None
    hidden_states: tuple[torch.FloatTensor, ...] | None = None


class ECGPreTrainedModel(PreTrainedModel):
    """Parent of this package's models: `from_pretrained` raises where weights are missing, unexpected or mismatched."""

    main_input_name = "input_values"
    # The ResNet has no attention, and the text encoder is asked itself: neither may refuse what is meant for it.
    _supports_sdpa = True
    _supports_flash_attn = True

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path, *model_args, output_loading_info=False, **kwargs):
        """Load a model; see `transformers.PreTrainedModel.from_pretrained`.

        Raises:
            ValueError: the weights do not fit the model (a weight is missing, unexpected or of another shape) and
                `ignore_mismatched_sizes` was not asked for: transformers would go on with random weights.
            OSError: there is no such model, or its file cannot be read.
        """
        # Asked of transformers in any case: its own error does not say which weights they are.
        lenient = kwargs.pop("ignore_mismatched_sizes", False)
        try:
            model, info = super().from_pretrained(
                pretrained_model_name_or_path,
                *model_args,
                output_loading_info=True,
                ignore_mismatched_sizes=True,
                **kwargs,
            )
        except SafetensorError as error:
            raise OSError(
                f"the weights in {pretrained_model_name_or_path!s} cannot be read ({error}): the file is damaged "
                "or incomplete; download or save it again"
            ) from error
        mismatched = [
            f"{name} {tuple(saved)} instead of {tuple(own)}" for name, saved, own in info.get("mismatched_keys", ())
        ]
        kinds = {"missing": info["missing_keys"], "unexpected": info["unexpected_keys"], "mismatched": mismatched}
        problems = [_name_some(kind, names) for kind, names in kinds.items() if names]
        if problems and not lenient:
            raise ValueError(
                f"the weights in {pretrained_model_name_or_path!s} do not fit {cls.__name__}: {'; '.join(problems)}. "
                "Is it a checkpoint of another model, or an incomplete one?"
            )
        return (model, info) if output_loading_info else model

    def save_pretrained(self, save_directory, **kwargs) -> None:
        """Save the model with its code; see `transformers.PreTrainedModel.save_pretrained`.

        The folder loads with `trust_remote_code=True` where this package is not installed.
        """
        super().save_pretrained(save_directory, **kwargs)
        # safetensors writes for its owner alone, so that a server under another account could not read the weights.
        folder = Path(save_directory)
        for weights in folder.glob("*.safetensors"):
            shutil.copymode(folder / "config.json", weights)


class ECGEncoderPreTrainedModel(ECGPreTrainedModel):
    """Parent of the ECG encoders: one is loaded from the checkpoint of a dual encoder or a classifier too."""

    base_model_prefix = "ecg_model"

    def layers(self) -> list[nn.Module]:
        """Return the modules from the input to the output, for learning rates that fall with depth."""
        return list(self.children())

    _keys_to_ignore_on_load_unexpected = [
        *PRETRAINING_KEYS,
        r"^text_",
        r"^ecg_projection\.",
        r"^logit_scale$",
        r"^classifier\.",
    ]


def _name_some(kind: str, names, limit: int = 5) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return f"{kind}: {', '.join(sorted(names)[:limit])}{more}"


def downsample_mask(mask: torch.Tensor, stride: int) -> torch.Tensor:
    """Return the mask `(batch, ceil(T / stride))` of frames after a stride: one is valid if its first sample is."""
    return mask[:, ::stride]


def masked_ecg_input(
    input_values: torch.Tensor,
    ecg_attention_mask: torch.Tensor | None,
    lead_mask: torch.Tensor | None,
    *,
    num_leads: int,
    min_samples: int,
    dtype: torch.dtype,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return a batch with 0 where a mask says that nothing was recorded, and its samples' mask as bool, or None.

    Raises:
        ValueError: as `check_ecg_input`.
    """
    check_ecg_input(input_values, ecg_attention_mask, lead_mask, num_leads=num_leads, min_samples=min_samples)
    input_values = input_values.to(dtype)
    if lead_mask is not None:
        input_values = input_values.masked_fill((lead_mask == 0)[:, :, None], 0)
    if ecg_attention_mask is None:
        return input_values, None
    sample_mask = ecg_attention_mask != 0
    return input_values.masked_fill(~sample_mask[:, None, :], 0), sample_mask


def check_ecg_input(
    input_values: torch.Tensor,
    ecg_attention_mask: torch.Tensor | None,
    lead_mask: torch.Tensor | None,
    *,
    num_leads: int,
    min_samples: int,
) -> None:
    """Check the shapes of a batch.

    Raises:
        ValueError: it is not `(batch, num_leads, samples)`, it is shorter than the encoder's reach, or a mask is of
            another shape.
    """
    if input_values.ndim != 3 or input_values.shape[1] != num_leads:
        raise ValueError(f"input_values must be (batch, {num_leads} leads, samples), got {tuple(input_values.shape)}")
    if input_values.shape[2] < min_samples:
        raise ValueError(
            f"{input_values.shape[2]} samples are shorter than the encoder's reach of {min_samples} samples"
        )
    batch, leads, samples = input_values.shape
    for name, mask, shape in (
        ("ecg_attention_mask", ecg_attention_mask, (batch, samples)),
        ("lead_mask", lead_mask, (batch, leads)),
    ):
        if mask is not None and mask.shape != shape:
            raise ValueError(f"{name} must be of shape {shape} for this batch, got {tuple(mask.shape)}")
