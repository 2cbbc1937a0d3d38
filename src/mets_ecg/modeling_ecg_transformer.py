"""`ECGTransformerModel`: convolutional tokens and positions, a class token, and a transformer.

Tokens can be dropped before the transformer, as in masked autoencoders, which then costs what the kept ones cost. Any
number of leads, any length: positions are a convolution over neighbouring tokens.

Source: C-MELT (arXiv 2410.02131) and its released code; dropped tokens: arXiv 2111.06377.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional
from transformers import initialization as init
from transformers.utils import can_return_tuple

from .configuration_ecg_text import ECGTransformerConfig
from .modeling_ecg_encoder import ECGEncoderOutput, ECGEncoderPreTrainedModel, masked_ecg_input


def recorded_tokens(ecg_attention_mask: torch.Tensor, frame_stride: int) -> torch.Tensor:
    """Return which tokens were recorded, bool `(batch, tokens)`: those of which all samples were.

    Args:
        ecg_attention_mask: `(batch, samples)`, not 0 where a sample was recorded.
        frame_stride: samples of a token.
    """
    num_tokens = ecg_attention_mask.shape[1] // frame_stride
    samples = ecg_attention_mask[:, : num_tokens * frame_stride] != 0
    return samples.unflatten(1, (num_tokens, frame_stride)).all(dim=2)


class ECGTransformerTokens(nn.Module):
    """Convolutions of kernel 2 and stride 2 over the leads, as matrix products, and a projection to tokens.

    After the first one each channel is normalised over the recording, so that a common gain and each lead's offset go.
    """

    def __init__(self, config: ECGTransformerConfig):
        super().__init__()
        widths = [config.num_leads, *config.conv_hidden_sizes]
        self.convolutions = nn.ModuleList(
            nn.Conv1d(before, after, kernel_size=2, stride=2, bias=False)
            for before, after in zip(widths[:-1], widths[1:], strict=True)
        )
        self.channel_norm = nn.GroupNorm(widths[1], widths[1])
        self.norm = nn.LayerNorm(widths[-1], eps=config.layer_norm_eps)
        self.projection = nn.Linear(widths[-1], config.hidden_size)
        self.dropout = nn.Dropout(config.hidden_dropout)

    def forward(self, input_values: torch.Tensor, sample_mask: torch.Tensor | None):
        """Return tokens `(batch, tokens, hidden_size)` and which of them were recorded whole, or None.

        Args:
            input_values: `(batch, leads, samples)`.
            sample_mask: bool `(batch, samples)`, True where a sample was recorded; None where all were.
        """
        hidden, mask = input_values.transpose(1, 2), sample_mask
        for i, convolution in enumerate(self.convolutions):
            frames = hidden.shape[1] // 2
            # Kernel and stride are equal, so that a frame is a matrix product of its own two samples. `len` of a tensor
            # would fix the batch size where the model is exported.
            pairs = hidden[:, : 2 * frames].reshape(hidden.shape[0], frames, -1)
            hidden = functional.linear(pairs, convolution.weight.transpose(1, 2).flatten(1))
            if mask is not None:
                mask = mask[:, : 2 * frames].reshape(mask.shape[0], frames, 2).all(dim=2)
            if i == 0:
                hidden = self._normalize(hidden, mask)
            hidden = functional.gelu(hidden)
        return self.dropout(self.projection(self.norm(hidden))), mask

    def _normalize(self, hidden: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """Normalise each channel over time, over recorded frames only."""
        values = hidden.float()
        if mask is None:
            variance, mean = torch.var_mean(values, dim=1, keepdim=True, correction=0)
        else:
            keep = mask[:, :, None].to(values.dtype)
            count = keep.sum(dim=1, keepdim=True).clamp(min=1)
            mean = (values * keep).sum(dim=1, keepdim=True) / count
            variance = ((values - mean).square() * keep).sum(dim=1, keepdim=True) / count
        scale = (variance + self.channel_norm.eps).rsqrt() * self.channel_norm.weight
        return torch.addcmul(self.channel_norm.bias - mean * scale, values, scale).to(hidden.dtype)


class ECGTransformerPositions(nn.Module):
    """What is added to tokens for their place: a convolution over their neighbours, normalised tap by tap."""

    def __init__(self, config: ECGTransformerConfig):
        super().__init__()
        size, kernel, groups = config.hidden_size, config.position_kernel_size, config.num_position_groups
        self.groups, self.padding = groups, kernel // 2
        # The weight is gain * direction / |direction|, one gain a tap.
        self.gain = nn.Parameter(torch.empty(1, 1, kernel))
        self.direction = nn.Parameter(torch.empty(size, size // groups, kernel))
        self.bias = nn.Parameter(torch.empty(size))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return `(batch, tokens, hidden_size)`; tokens that were not recorded must come as 0."""
        weight = self.gain * self.direction / self.direction.norm(dim=(0, 1), keepdim=True)
        # As a convolution of height 1 in channels-last order, for which PyTorch is faster.
        hidden = tokens.transpose(1, 2).unsqueeze(2).contiguous(memory_format=torch.channels_last)
        hidden = functional.conv2d(
            hidden, weight.unsqueeze(2).to(hidden.dtype), self.bias, padding=(0, self.padding), groups=self.groups
        )
        return functional.gelu(hidden[:, :, 0, : tokens.shape[1]].transpose(1, 2))


class ECGTransformerAttention(nn.Module):
    """Self-attention through torch's scaled dot product."""

    def __init__(self, config: ECGTransformerConfig):
        super().__init__()
        size = config.hidden_size
        self.num_heads, self.dropout = config.num_attention_heads, config.attention_dropout
        self.query, self.key, self.value, self.output = (nn.Linear(size, size) for _ in range(4))

    def forward(self, hidden: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """Attend `(batch, tokens, hidden_size)` to the tokens that `mask`, bool `(batch, 1, 1, tokens)`, keeps."""
        batch, tokens, _ = hidden.shape
        query, key, value = (
            projection(hidden).view(batch, tokens, self.num_heads, -1).transpose(1, 2)
            for projection in (self.query, self.key, self.value)
        )
        dropout = self.dropout if self.training else 0.0
        attended = functional.scaled_dot_product_attention(query, key, value, mask, dropout_p=dropout)
        return self.output(attended.transpose(1, 2).flatten(2))


class ECGTransformerLayer(nn.Module):
    """Attention and a feed-forward part, each with a residual sum and a norm after or before it."""

    def __init__(self, config: ECGTransformerConfig):
        super().__init__()
        size = config.hidden_size
        self.pre_norm = config.norm_order == "pre"
        self.attention = ECGTransformerAttention(config)
        self.attention_norm = nn.LayerNorm(size, eps=config.layer_norm_eps)
        self.intermediate = nn.Linear(size, config.intermediate_size)
        self.output = nn.Linear(config.intermediate_size, size)
        self.output_norm = nn.LayerNorm(size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout)

    def forward(self, hidden: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """Return `(batch, tokens, hidden_size)`."""
        if self.pre_norm:
            hidden = hidden + self.dropout(self.attention(self.attention_norm(hidden), mask))
            return hidden + self.dropout(self._feed_forward(self.output_norm(hidden)))
        hidden = self.attention_norm(hidden + self.dropout(self.attention(hidden, mask)))
        return self.output_norm(hidden + self.dropout(self._feed_forward(hidden)))

    def _feed_forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return self.output(functional.gelu(self.intermediate(hidden)))


class ECGTransformerModel(ECGEncoderPreTrainedModel):
    """A transformer over convolutional tokens as an ECG encoder; the class token is the pooled output."""

    config_class = ECGTransformerConfig
    _no_split_modules = ["ECGTransformerLayer"]
    supports_gradient_checkpointing = True

    def __init__(self, config: ECGTransformerConfig):
        super().__init__(config)
        self.tokens = ECGTransformerTokens(config)
        self.positions = ECGTransformerPositions(config)
        self.class_token = nn.Parameter(torch.empty(config.hidden_size))
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout)
        self.encoder_layers = nn.ModuleList(ECGTransformerLayer(config) for _ in range(config.num_hidden_layers))
        self.gradient_checkpointing = False
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, nn.Conv1d):
            init.kaiming_normal_(module.weight)
        elif isinstance(module, ECGTransformerPositions):
            size, _, kernel = module.direction.shape
            init.normal_(module.direction, std=(4 / (kernel * size)) ** 0.5)
            init.constant_(module.gain, (4 / (kernel * size) * size * module.direction.shape[1]) ** 0.5)
            init.zeros_(module.bias)
        elif module is self:
            init.uniform_(self.class_token)

    def layers(self) -> list[nn.Module]:
        return [nn.ModuleList([self.tokens, self.positions]), *self.encoder_layers, self.norm]

    def num_tokens(self, num_samples: int) -> int:
        """Return how many tokens a recording of so many samples has, without the class token."""
        return num_samples // self.config.frame_stride

    @can_return_tuple
    def forward(
        self,
        input_values: torch.FloatTensor,
        ecg_attention_mask: torch.Tensor | None = None,
        lead_mask: torch.Tensor | None = None,
        output_hidden_states: bool | None = None,
        kept_tokens: torch.LongTensor | None = None,
    ) -> ECGEncoderOutput | tuple:
        """Encode a batch of recordings.

        Args:
            input_values: `(batch, leads, samples)` float, as `ECGFeatureExtractor` makes them.
            ecg_attention_mask: `(batch, samples)`, not 0 where a sample was recorded; None where all were. A token is
                recorded if all its samples are.
            lead_mask: `(batch, leads)`, not 0 where a lead is present; None where all are.
            output_hidden_states: return the tokens before the first layer and after each; default: as the config says.
            kept_tokens: `(batch, kept)`, places of the tokens that go through the transformer, in any order, -1 where a
                record keeps fewer; None for all. The class token is always kept.

        Returns:
            `last_hidden_state (batch, 1 + tokens, hidden_size)`, the class token first; `pooler_output`, the class
            token; `frame_mask (batch, 1 + tokens)`, None where all tokens were recorded and kept.

        Raises:
            ValueError: the input is not `(batch, leads, samples)` or is shorter than a token, or a mask does not fit
                it.
        """
        config = self.config
        input_values, sample_mask = masked_ecg_input(
            input_values,
            ecg_attention_mask,
            lead_mask,
            num_leads=self.config.num_leads,
            min_samples=self.config.frame_stride,
            dtype=self.dtype,
        )
        tokens, mask = self.tokens(input_values, sample_mask)
        if mask is not None:
            tokens = tokens.masked_fill(~mask[:, :, None], 0)
        tokens = tokens + self.positions(tokens)
        if kept_tokens is not None:
            kept = kept_tokens >= 0
            places = kept_tokens.clamp(min=0)
            tokens = tokens.gather(1, places[:, :, None].expand(-1, -1, tokens.shape[2]))
            mask = kept if mask is None else kept & mask.gather(1, places)
            if bool(mask.all()):
                mask = None
        hidden = torch.cat([self.class_token.expand(tokens.shape[0], 1, -1).to(tokens.dtype), tokens], dim=1)
        attention_mask = None
        if mask is not None:
            mask = functional.pad(mask, (1, 0), value=True)
            attention_mask = mask[:, None, None, :]
        if config.norm_order == "post":
            hidden = self.norm(hidden)
        hidden = self.dropout(hidden)
        hidden_states = [hidden]
        for layer in self.encoder_layers:
            if self.gradient_checkpointing and self.training:
                hidden = self._gradient_checkpointing_func(layer.__call__, hidden, attention_mask)
            else:
                hidden = layer(hidden, attention_mask)
            hidden_states.append(hidden)
        if config.norm_order == "pre":
            hidden = self.norm(hidden)
        if mask is not None:
            hidden = hidden.masked_fill(~mask[:, :, None], 0)
        if output_hidden_states is None:
            output_hidden_states = config.output_hidden_states
        return ECGEncoderOutput(
            last_hidden_state=hidden,
            pooler_output=hidden[:, 0],
            frame_mask=mask,
            hidden_states=tuple(hidden_states) if output_hidden_states else None,
        )


ECGTransformerModel.register_for_auto_class("AutoModel")
