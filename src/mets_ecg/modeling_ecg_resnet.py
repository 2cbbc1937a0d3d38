"""`ECGResNetModel`: a 1-D ResNet of basic blocks over the leads of an ECG.

Convolutions are two-dimensional of height 1, in channels-last memory order: the same numbers as `Conv1d`, and 1.4 to
1.6 times as fast in training on two cores with AVX-512, because PyTorch has no channels-last `Conv1d`.

Source: ResNet-18, arXiv 1512.03385, with 1-D kernels, as METS (arXiv 2303.12311) uses it.
"""

from __future__ import annotations

import torch
from torch import nn
from transformers import initialization as init
from transformers.utils import can_return_tuple

from .configuration_ecg_text import ECGResNetConfig
from .modeling_ecg_encoder import ECGEncoderOutput, ECGEncoderPreTrainedModel, downsample_mask, masked_ecg_input


def _convolution(in_channels: int, out_channels: int, kernel_size: int, stride: int) -> nn.Conv2d:
    return nn.Conv2d(
        in_channels, out_channels, (1, kernel_size), stride=(1, stride), padding=(0, kernel_size // 2), bias=False
    )


class ECGResNetNorm(nn.Module):
    """Batch or group normalisation whose statistics leave padded frames out."""

    def __init__(self, config: ECGResNetConfig, num_channels: int):
        super().__init__()
        batch = config.norm == "batch"
        self.layer = nn.BatchNorm2d(num_channels) if batch else nn.GroupNorm(config.num_groups, num_channels)

    def forward(self, hidden: torch.Tensor, frame_mask: torch.Tensor | None) -> torch.Tensor:
        """Normalise `(batch, channels, 1, frames)`; padded frames come out as 0."""
        if frame_mask is None:
            return self.layer(hidden)
        keep = frame_mask[:, None, None, :]
        if isinstance(self.layer, nn.GroupNorm):
            return self._group_norm(hidden.float(), keep.float()).to(hidden.dtype)
        if not self.training:
            return self.layer(hidden) * keep
        # Batch statistics over recorded frames only: (valid frames of the whole batch, channels).
        frames = hidden.squeeze(2).transpose(1, 2)
        normed = torch.zeros_like(frames)
        normed[frame_mask] = self.layer(frames[frame_mask][:, :, None, None])[:, :, 0, 0].to(normed.dtype)
        return normed.transpose(1, 2).unsqueeze(2)

    def _group_norm(self, hidden: torch.Tensor, keep: torch.Tensor) -> torch.Tensor:
        batch, channels, _, frames = hidden.shape
        groups = self.layer.num_groups
        grouped = hidden.reshape(batch, groups, channels // groups, frames)
        count = keep.sum(dim=(2, 3), keepdim=True).clamp(min=1) * (channels // groups)
        mean = (grouped * keep).sum(dim=(2, 3), keepdim=True) / count
        variance = ((grouped - mean).square() * keep).sum(dim=(2, 3), keepdim=True) / count
        normed = ((grouped - mean) * (variance + self.layer.eps).rsqrt()).reshape(hidden.shape)
        return (normed * self.layer.weight[:, None, None] + self.layer.bias[:, None, None]) * keep


class ECGResNetStem(nn.Module):
    """The first convolution and, if asked for, a max-pool."""

    def __init__(self, config: ECGResNetConfig):
        super().__init__()
        width = config.hidden_sizes[0]
        self.stride = config.stem_stride
        self.convolution = _convolution(config.num_leads, width, config.stem_kernel_size, config.stem_stride)
        self.norm = ECGResNetNorm(config, width)
        self.pooling = nn.MaxPool2d((1, 3), stride=(1, 2), padding=(0, 1)) if config.stem_pooling else None

    def forward(self, hidden: torch.Tensor, frame_mask: torch.Tensor | None):
        """Return frames `(batch, channels, 1, frames)` and their mask."""
        if frame_mask is not None:
            frame_mask = downsample_mask(frame_mask, self.stride)
        hidden = self.norm(self.convolution(hidden), frame_mask).relu()
        if self.pooling is not None:
            # Padded frames are 0 and all others at least that, so they never win the maximum.
            hidden = self.pooling(hidden)
            if frame_mask is not None:
                frame_mask = downsample_mask(frame_mask, 2)
                hidden = hidden * frame_mask[:, None, None, :]
        return hidden, frame_mask


class ECGResNetBlock(nn.Module):
    """Two convolutions and the shortcut round them."""

    def __init__(self, config: ECGResNetConfig, in_channels: int, out_channels: int, stride: int):
        super().__init__()
        self.stride = stride
        self.convolution1 = _convolution(in_channels, out_channels, config.kernel_size, stride)
        self.norm1 = ECGResNetNorm(config, out_channels)
        self.convolution2 = _convolution(out_channels, out_channels, config.kernel_size, 1)
        self.norm2 = ECGResNetNorm(config, out_channels)
        same = stride == 1 and in_channels == out_channels
        self.shortcut = None if same else _convolution(in_channels, out_channels, 1, 1)
        self.shortcut_norm = None if same else ECGResNetNorm(config, out_channels)

    def forward(self, hidden: torch.Tensor, frame_mask: torch.Tensor | None):
        """Return frames `(batch, channels, 1, frames)` and their mask."""
        if frame_mask is not None:
            frame_mask = downsample_mask(frame_mask, self.stride)
        residual = hidden
        if self.shortcut is not None:
            # Strided here and not in the convolution: the backward pass of PyTorch 2.13's channels-last convolution
            # with kernel 1 and stride (1, 2) writes past its buffers on processors with AVX-512.
            residual = self.shortcut_norm(self.shortcut(hidden[..., :: self.stride]), frame_mask)
        hidden = self.norm1(self.convolution1(hidden), frame_mask).relu()
        hidden = self.norm2(self.convolution2(hidden), frame_mask)
        return (hidden + residual).relu(), frame_mask


class ECGResNetPooler(nn.Module):
    """All recorded frames to one vector: their average, their maximum, or an average weighted by a learned query."""

    def __init__(self, config: ECGResNetConfig):
        super().__init__()
        self.kind = config.pooling
        self.query = nn.Linear(config.hidden_size, 1) if self.kind == "attention" else None

    def forward(self, frames: torch.Tensor, frame_mask: torch.Tensor | None) -> torch.Tensor:
        """Pool `(batch, frames, hidden_size)` to `(batch, hidden_size)`."""
        if self.kind == "max":
            # Frames are not negative and padded ones 0.
            return frames.amax(dim=1)
        if self.kind == "attention":
            scores = self.query(frames)
            if frame_mask is not None:
                scores = scores.masked_fill(~frame_mask[:, :, None], torch.finfo(scores.dtype).min)
            return (scores.softmax(dim=1) * frames).sum(dim=1)
        if frame_mask is None:
            return frames.mean(dim=1)
        return frames.sum(dim=1) / frame_mask.sum(dim=1, keepdim=True).clamp(min=1)


class ECGResNetModel(ECGEncoderPreTrainedModel):
    """A 1-D ResNet as an ECG encoder."""

    config_class = ECGResNetConfig
    _no_split_modules = ["ECGResNetBlock"]

    def __init__(self, config: ECGResNetConfig):
        super().__init__(config)
        self.stem = ECGResNetStem(config)
        blocks = []
        channels = config.hidden_sizes[0]
        for stage, (depth, width) in enumerate(zip(config.depths, config.hidden_sizes, strict=True)):
            for position in range(depth):
                stride = 2 if stage > 0 and position == 0 else 1
                blocks.append(ECGResNetBlock(config, channels, width, stride))
                channels = width
        self.blocks = nn.ModuleList(blocks)
        self.pooler = ECGResNetPooler(config)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, nn.Conv2d):
            init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def layers(self) -> list[nn.Module]:
        return [self.stem, *self.blocks, self.pooler]

    @can_return_tuple
    def forward(
        self,
        input_values: torch.FloatTensor,
        ecg_attention_mask: torch.Tensor | None = None,
        lead_mask: torch.Tensor | None = None,
        output_hidden_states: bool | None = None,
    ) -> ECGEncoderOutput | tuple:
        """Encode a batch of recordings.

        Args:
            input_values: `(batch, leads, samples)` float, as `ECGFeatureExtractor` makes them.
            ecg_attention_mask: `(batch, samples)`, not 0 where a sample was recorded; None where all were.
            lead_mask: `(batch, leads)`, not 0 where a lead is present; None where all are.
            output_hidden_states: return the output of every block; default: as the config says.

        Raises:
            ValueError: the input is not `(batch, leads, samples)` or is shorter than `config.frame_stride` samples, or
                a mask does not fit it.
        """
        input_values, frame_mask = masked_ecg_input(
            input_values,
            ecg_attention_mask,
            lead_mask,
            num_leads=self.config.num_leads,
            min_samples=self.config.frame_stride,
            dtype=self.dtype,
        )
        hidden = input_values.unsqueeze(2).contiguous(memory_format=torch.channels_last)
        hidden, frame_mask = self.stem(hidden, frame_mask)
        hidden_states = [hidden]
        for block in self.blocks:
            hidden, frame_mask = block(hidden, frame_mask)
            hidden_states.append(hidden)
        frames = hidden.squeeze(2).transpose(1, 2)
        if output_hidden_states is None:
            output_hidden_states = self.config.output_hidden_states
        return ECGEncoderOutput(
            last_hidden_state=frames,
            pooler_output=self.pooler(frames, frame_mask),
            frame_mask=frame_mask,
            hidden_states=tuple(h.squeeze(2).transpose(1, 2) for h in hidden_states) if output_hidden_states else None,
        )


ECGResNetModel.register_for_auto_class("AutoModel")
