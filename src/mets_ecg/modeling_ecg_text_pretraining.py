"""`ECGTextForPreTraining`: C-MELT, masked modelling of ECG and text, their matching, and a sigmoid contrast.

A dual encoder (`ECGTextModel`) whose tokens meet in fusion layers. From these the dropped parts of the ECG are decoded
(MEM), the masked tokens of the text are predicted (MLM), and it is told whether the two belong together (ETM); the
vectors of both encoders are contrasted (ETS). `ECGTextModel.from_pretrained` takes the dual encoder out of its
checkpoint.

Source: C-MELT, arXiv 2410.02131 (published as D-BETA), and its released code.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional
from transformers import initialization as init
from transformers.utils import ModelOutput, can_return_tuple

from .configuration_ecg_text import ECGTextConfig
from .modeling_ecg_text import ECGTextModel, sigmoid_loss
from .modeling_ecg_transformer import recorded_tokens


@dataclass
class ECGTextPreTrainingOutput(ModelOutput):
    """Output of `ECGTextForPreTraining`; a term that its weight leaves out, or its input does not allow, is None.

    Args:
        loss: scalar, the weighted sum of the terms.
        mem_loss: scalar, squared error of ECG tokens, the dropped ones or all, mean over their values and over tokens.
        mlm_loss: scalar, cross-entropy of masked text tokens, mean over tokens.
        etm_loss: scalar, cross-entropy of whether ECG and text belong together.
        ets_loss: scalar, of the pairs of the batch, see `sigmoid_loss`.
        ecg_embeds: `(batch, projection_dim)`, as they are contrasted.
        text_embeds: `(batch, projection_dim)`.
        etm_logits: `(batch, 2)`: apart, together.
        reconstruction: `(batch, leads, tokens * samples of a token)`, the decoded ECG, in the target's scale.
        mem_target: `(batch, leads, tokens * samples of a token)`.
        mem_mask: bool `(batch, tokens)`, True where a token counts in `mem_loss`.
    """

    loss: torch.FloatTensor | None = None
    mem_loss: torch.FloatTensor | None = None
    mlm_loss: torch.FloatTensor | None = None
    etm_loss: torch.FloatTensor | None = None
    ets_loss: torch.FloatTensor | None = None
    ecg_embeds: torch.FloatTensor | None = None
    text_embeds: torch.FloatTensor | None = None
    etm_logits: torch.FloatTensor | None = None
    reconstruction: torch.FloatTensor | None = None
    mem_target: torch.FloatTensor | None = None
    mem_mask: torch.BoolTensor | None = None


class FusionAttention(nn.Module):
    """Attention of one stream's tokens to those of a context, the residual sum and its norm."""

    def __init__(self, config: ECGTextConfig):
        super().__init__()
        own, size = config.pretraining_config, config.hidden_size
        self.num_heads, self.attention_dropout = own.num_fusion_attention_heads, own.fusion_dropout
        self.query, self.key, self.value, self.output = (nn.Linear(size, size) for _ in range(4))
        self.norm = nn.LayerNorm(size, eps=own.fusion_layer_norm_eps)
        self.dropout = nn.Dropout(own.fusion_dropout)

    def forward(self, hidden: torch.Tensor, context: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """Return `(batch, tokens, size)`; `mask` is bool `(batch, 1, 1, context tokens)`, or None for all."""
        query, key, value = (
            projection(own).unflatten(2, (self.num_heads, -1)).transpose(1, 2)
            for projection, own in ((self.query, hidden), (self.key, context), (self.value, context))
        )
        dropout = self.attention_dropout if self.training else 0.0
        attended = functional.scaled_dot_product_attention(query, key, value, mask, dropout_p=dropout)
        return self.norm(hidden + self.dropout(self.output(attended.transpose(1, 2).flatten(2))))


class FusionLayer(nn.Module):
    """A layer of one stream: attention to itself, to the other stream, and a feed-forward part."""

    def __init__(self, config: ECGTextConfig):
        super().__init__()
        own, size = config.pretraining_config, config.hidden_size
        self.attention = FusionAttention(config)
        self.cross_attention = FusionAttention(config)
        self.intermediate = nn.Linear(size, own.fusion_intermediate_size)
        self.output = nn.Linear(own.fusion_intermediate_size, size)
        self.norm = nn.LayerNorm(size, eps=own.fusion_layer_norm_eps)
        self.dropout = nn.Dropout(own.fusion_dropout)

    def forward(self, hidden, mask, context, context_mask) -> torch.Tensor:
        """Return `(batch, tokens, size)`."""
        hidden = self.attention(hidden, hidden, mask)
        hidden = self.cross_attention(hidden, context, context_mask)
        return self.norm(hidden + self.dropout(self.output(functional.gelu(self.intermediate(hidden)))))


class MaskedECGLayer(nn.Module):
    """A layer of the decoder: attention and a feed-forward part with norms before them."""

    def __init__(self, size: int, num_heads: int):
        super().__init__()
        self.num_heads = num_heads
        self.attention_norm, self.output_norm = nn.LayerNorm(size), nn.LayerNorm(size)
        self.query_key_value, self.attention_output = nn.Linear(size, 3 * size), nn.Linear(size, size)
        self.intermediate, self.output = nn.Linear(size, 4 * size), nn.Linear(4 * size, size)

    def forward(self, hidden: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """Return `(batch, tokens, size)`."""
        parts = self.query_key_value(self.attention_norm(hidden)).chunk(3, dim=2)
        query, key, value = (part.unflatten(2, (self.num_heads, -1)).transpose(1, 2) for part in parts)
        attended = functional.scaled_dot_product_attention(query, key, value, mask)
        hidden = hidden + self.attention_output(attended.transpose(1, 2).flatten(2))
        inner = self.intermediate(self.output_norm(hidden))
        return hidden + self.output(inner * torch.sigmoid(1.702 * inner))


class MaskedECGHead(nn.Module):
    """Decode an ECG from the tokens that were kept: the dropped places hold one learned token."""

    def __init__(self, config: ECGTextConfig):
        super().__init__()
        own, ecg = config.pretraining_config, config.ecg_config
        size = own.mem_hidden_size
        self.embedding = nn.Linear(config.hidden_size, size)
        self.mask_token = nn.Parameter(torch.empty(1, 1, size))
        self.decoder_layers = nn.ModuleList(
            MaskedECGLayer(size, own.num_mem_attention_heads) for _ in range(own.num_mem_layers)
        )
        self.norm = nn.LayerNorm(size)
        self.prediction = nn.Linear(size, ecg.num_leads * ecg.frame_stride)

    def forward(
        self, tokens: torch.Tensor, kept_tokens: torch.Tensor | None, num_tokens: int, token_mask: torch.Tensor | None
    ) -> torch.Tensor:
        """Return decoded samples `(batch, tokens, leads * samples of a token)`.

        Args:
            tokens: `(batch, 1 + kept, size)`, the class token first.
            kept_tokens: `(batch, kept)`, their places, -1 where there is none; None: all tokens in their order.
            num_tokens: of the whole ECG.
            token_mask: bool `(batch, tokens)`, which of the whole ECG's were recorded; None: all.
        """
        embedded = self.embedding(tokens)
        whole = embedded[:, 1:]
        if kept_tokens is not None:
            batch, _, size = embedded.shape
            places = torch.where(kept_tokens >= 0, kept_tokens, num_tokens)  # what there is not, into a place beyond
            whole = self.mask_token.to(embedded.dtype).expand(batch, num_tokens + 1, size)
            whole = whole.scatter(1, places[:, :, None].expand(-1, -1, size), embedded[:, 1:])[:, :num_tokens]
        hidden = torch.cat([embedded[:, :1], whole], dim=1)
        hidden = hidden + sinusoid(hidden.shape[1], hidden.shape[2], hidden.device).to(hidden.dtype)
        mask = None if token_mask is None else functional.pad(token_mask, (1, 0), value=True)[:, None, None, :]
        for layer in self.decoder_layers:
            hidden = layer(hidden, mask)
        return self.prediction(self.norm(hidden))[:, 1:]


def sinusoid(length: int, size: int, device: torch.device | None = None) -> torch.Tensor:
    """Return position codes `(length, size)`: sines in even columns, cosines in odd ones (arXiv 1706.03762)."""
    places = torch.arange(length, device=device, dtype=torch.float32)[:, None]
    rates = torch.exp(torch.arange(0, size, 2, device=device, dtype=torch.float32) * (-math.log(10000.0) / size))
    return torch.stack([(places * rates).sin(), (places * rates).cos()], dim=2).flatten(1)


class MaskedTextHead(nn.Module):
    """Predict masked tokens."""

    def __init__(self, config: ECGTextConfig):
        super().__init__()
        size = config.hidden_size
        self.dense = nn.Linear(size, size)
        self.norm = nn.LayerNorm(size, eps=config.pretraining_config.fusion_layer_norm_eps)
        self.decoder = nn.Linear(size, config.text_config.vocab_size)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return logits `(tokens, vocabulary)` of `(tokens, size)`."""
        return self.decoder(self.norm(functional.gelu(self.dense(hidden))))


class ECGTextForPreTraining(ECGTextModel):
    """C-MELT: a dual encoder, fusion layers, and heads for masked ECGs, masked texts and matching.

    The default of `c_melt_config` has 321,387,330 parameters. `config.pretraining_config` must be there.
    """

    def __init__(self, config: ECGTextConfig):
        if config.pretraining_config is None:
            raise ValueError("ECGTextForPreTraining needs pretraining_config, which is None in this config")
        super().__init__(config)
        own, size = config.pretraining_config, config.hidden_size
        self.modality_embeddings = nn.Embedding(2, size)  # of text, of ECG
        self.text_fusion_layers = nn.ModuleList(FusionLayer(config) for _ in range(own.num_fusion_layers))
        self.ecg_fusion_layers = nn.ModuleList(FusionLayer(config) for _ in range(own.num_fusion_layers))
        self.text_fusion_pooler, self.ecg_fusion_pooler = nn.Linear(size, size), nn.Linear(size, size)
        self.mem_head = MaskedECGHead(config)
        self.mlm_head = MaskedTextHead(config)
        self.etm_head = nn.Linear(2 * size, 2)
        if own.ets_type == "siglip":
            self.logit_bias = nn.Parameter(torch.tensor(-10.0))
        self.post_init()
        self._keys_to_ignore_on_load_unexpected = set()
        self._freeze_unused()

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        std = self.config.pretraining_config.initializer_range
        if isinstance(module, (nn.Linear, nn.Embedding)):  # what reaches here is no part of the encoders
            init.normal_(module.weight, std=std)
        elif isinstance(module, MaskedECGHead):
            init.normal_(module.mask_token, std=std)
        elif module is self and hasattr(self, "logit_bias"):  # not yet while the parent is made
            init.constant_(self.logit_bias, -10.0)

    def _freeze_unused(self) -> None:
        """What a weight of 0 leaves without gradients is not trained: several processes would wait for them."""
        own = self.config.pretraining_config
        unused = []
        if not own.mem_weight:
            unused.append(self.mem_head)
        if not own.mlm_weight:
            unused.append(self.mlm_head)
        if not own.etm_weight:
            unused += [self.etm_head, self.text_fusion_pooler, self.ecg_fusion_pooler]
            if own.mem_layer < own.num_fusion_layers or not own.mem_weight:
                unused.append(self.ecg_fusion_layers[-1])
            if not own.mlm_weight:
                unused += [*self.text_fusion_layers[max(0, own.mem_layer - 1) :]]
                unused += [*self.ecg_fusion_layers[own.mem_layer :]]
                if not own.mem_weight or own.mem_layer == 0:
                    unused += [*self.text_fusion_layers, *self.ecg_fusion_layers]
                    unused += [] if own.mem_weight else [self.modality_embeddings]
                    unused += [] if own.ets_weight else [self.text_model, self.text_projection]
        if not own.ets_weight:
            unused += [self.ecg_projection[1], self.text_projection[1]]
        for module in unused:
            module.requires_grad_(False)

    def _after_loading(self) -> None:
        """Freeze again what is not used: loading has put other parameters in their place."""
        self._freeze_unused()

    @can_return_tuple
    def forward(
        self,
        input_values: torch.FloatTensor,
        input_ids: torch.LongTensor,
        attention_mask: torch.Tensor | None = None,
        ecg_attention_mask: torch.Tensor | None = None,
        lead_mask: torch.Tensor | None = None,
        kept_tokens: torch.LongTensor | None = None,
        recorded_leads: torch.Tensor | None = None,
        mlm_labels: torch.LongTensor | None = None,
        aligned: torch.Tensor | None = None,
        whole_input_ids: torch.LongTensor | None = None,
        whole_attention_mask: torch.Tensor | None = None,
        positives: torch.Tensor | None = None,
        ignored: torch.Tensor | None = None,
    ) -> ECGTextPreTrainingOutput | tuple:
        """Return the terms of the loss for a batch of as many ECGs as texts.

        Args:
            input_values: `(batch, leads, samples)` float, not masked: it is the target of MEM.
            input_ids: `(batch, tokens)`, with masked tokens.
            attention_mask: `(batch, tokens)`.
            ecg_attention_mask: `(batch, samples)`, not 0 where a sample was recorded; None where all were.
            lead_mask: `(batch, leads)`, not 0 where the encoder may read a lead; None where all.
            kept_tokens: `(batch, kept)`, places of the ECG's tokens that the encoder keeps, see `ECGTransformerModel`;
                None keeps all, and there is no MEM.
            recorded_leads: `(batch, leads)`, not 0 where a lead is to be reconstructed: those that were recorded,
                masked or not; None for all.
            mlm_labels: `(batch, tokens)`, the token that was masked, -100 where none was; None: no MLM.
            aligned: `(batch,)`, not 0 where a text is its ECG's own; None: no ETM, and all are.
            whole_input_ids: `(batch, tokens)`, each ECG's own text without masked tokens; needed if `ets_inputs` is
                `"whole"`.
            whole_attention_mask: of `whole_input_ids`; None where nothing is padding.
            positives: bool `(batch, batch)`, which ECG and text belong together in ETS; default each ECG and its own
                text. Training over several processes contrasts their batches together, by `contrast`.
            ignored: bool `(batch, batch)`, pairs that are neither.

        Raises:
            ValueError: the batch has more texts than ECGs or fewer, or whole texts are needed and not given.
        """
        own = self.config.pretraining_config
        if len(input_ids) != len(input_values):
            raise ValueError(f"{len(input_values)} ECGs and {len(input_ids)} texts: one text to each ECG is needed")
        if own.ets_inputs == "whole" and own.ets_weight and whole_input_ids is None:
            raise ValueError("ets_inputs 'whole' needs whole_input_ids, the texts without masked tokens")
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        output = ECGTextPreTrainingOutput()
        ecg = self.ecg_model(input_values, ecg_attention_mask, lead_mask, kept_tokens=kept_tokens, return_dict=True)
        text_pooled, text = self._encode_text(input_ids, attention_mask)
        if own.mem_weight or own.mlm_weight or own.etm_weight:
            entering, text_hidden, ecg_hidden = self._fuse(ecg, text.last_hidden_state, attention_mask)
            if own.mem_weight and kept_tokens is not None:
                self._masked_ecg(output, entering, input_values, ecg_attention_mask, kept_tokens, recorded_leads)
            if own.mlm_weight and mlm_labels is not None:
                masked = mlm_labels != -100
                logits = self.mlm_head(text_hidden[masked])
                # A batch without a masked token has the loss 0, with gradients.
                total = functional.cross_entropy(logits.float(), mlm_labels[masked], reduction="sum")
                output.mlm_loss = total / masked.sum().clamp(min=1)
            if own.etm_weight and aligned is not None:
                pooled = [
                    pooler(hidden[:, 0]).tanh()
                    for pooler, hidden in (
                        (self.text_fusion_pooler, text_hidden),
                        (self.ecg_fusion_pooler, ecg_hidden),
                    )
                ]
                output.etm_logits = self.etm_head(torch.cat(pooled, dim=1)).float()
                output.etm_loss = functional.cross_entropy(output.etm_logits, (aligned != 0).long())
        if own.ets_weight:
            if own.ets_inputs == "whole":
                ecg = self.ecg_model(input_values, ecg_attention_mask, lead_mask, return_dict=True)
                text_pooled = self.encode_text(whole_input_ids, whole_attention_mask)
            output.ecg_embeds = self.normalize_features(self.ecg_projection(ecg.pooler_output))
            output.text_embeds = self.normalize_features(self.project_text(text_pooled))
            if positives is None:
                positives = torch.eye(len(input_ids), dtype=torch.bool, device=input_ids.device)
                if aligned is not None and own.ets_inputs == "masked":
                    positives = positives & (aligned != 0)[:, None]
            output.ets_loss = self.contrast(output.ecg_embeds, output.text_embeds, positives, ignored)
        terms = {name: getattr(output, f"{name}_loss") for name in ("mem", "mlm", "etm", "ets")}
        weighted = [getattr(own, f"{name}_weight") * term for name, term in terms.items() if term is not None]
        output.loss = sum(weighted) if weighted else None
        return ECGTextPreTrainingOutput(**vars(output))  # in the order of the fields, for a tuple of it

    def contrast(
        self,
        ecg_embeds: torch.Tensor,
        text_embeds: torch.Tensor,
        positives: torch.Tensor,
        ignored: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return the sigmoid contrast of ECGs and texts, in the form that `ets_type` names.

        Args:
            ecg_embeds: `(ECGs, projection_dim)`, from `forward`.
            text_embeds: `(texts, projection_dim)`.
            positives: bool `(ECGs, texts)`, which belong together.
            ignored: bool `(ECGs, texts)`, pairs that are neither.
        """
        kind = self.config.pretraining_config.ets_type
        with torch.autocast(ecg_embeds.device.type, enabled=False):
            logits = ecg_embeds.float() @ text_embeds.float().T
            if kind == "siglip":
                logits = self.get_logit_scale() * logits + self.logit_bias
            return sigmoid_loss(logits, positives, ignored, reduction="mean" if kind == "mean" else "sum")

    def _fuse(self, ecg, text_states: torch.Tensor, attention_mask: torch.Tensor):
        """Return the ECG's tokens that enter the layer of MEM, and both streams after all layers."""
        own = self.config.pretraining_config
        types = self.modality_embeddings.weight
        text_hidden = self.text_projection[0](text_states) + types[0]
        ecg_hidden = self.ecg_projection[0](ecg.last_hidden_state) + types[1]
        text_mask = None if bool((attention_mask != 0).all()) else (attention_mask != 0)[:, None, None, :]
        ecg_mask = None if ecg.frame_mask is None else ecg.frame_mask[:, None, None, :]
        entering = ecg_hidden if own.mem_layer == 0 else None
        for i, (text_layer, ecg_layer) in enumerate(zip(self.text_fusion_layers, self.ecg_fusion_layers, strict=True)):
            text_hidden, ecg_hidden = (
                text_layer(text_hidden, text_mask, ecg_hidden, ecg_mask),
                ecg_layer(ecg_hidden, ecg_mask, text_hidden, text_mask),
            )
            if i + 1 == own.mem_layer:
                entering = ecg_hidden
        return entering, text_hidden, ecg_hidden

    def _masked_ecg(self, output, entering, input_values, ecg_attention_mask, kept_tokens, recorded_leads) -> None:
        """Set what there is of MEM."""
        ecg_config = self.config.ecg_config
        length = ecg_config.frame_stride
        num_tokens = input_values.shape[2] // length
        target = input_values[:, :, : num_tokens * length].to(entering.dtype)
        recorded = None if ecg_attention_mask is None else recorded_tokens(ecg_attention_mask, length)
        if self.config.pretraining_config.mem_target_norm:
            target = _normalize_leads(target, None if recorded is None else recorded.repeat_interleave(length, dim=1))
        decoded = self.mem_head(entering, kept_tokens, num_tokens, recorded)
        batch, leads, _ = target.shape
        patches = target.view(batch, leads, num_tokens, length).transpose(1, 2)
        error = (decoded.view(batch, num_tokens, leads, length).float() - patches.float()).square().mean(dim=3)
        if recorded_leads is not None:
            counted = (recorded_leads != 0)[:, None, :].to(error.dtype)
            error = (error * counted).sum(dim=2) / counted.sum(dim=2).clamp(min=1)
        else:
            error = error.mean(dim=2)
        counts = torch.ones(batch, num_tokens + 1, dtype=torch.bool, device=error.device)
        if self.config.pretraining_config.mem_tokens == "dropped":
            counts.scatter_(1, torch.where(kept_tokens >= 0, kept_tokens, num_tokens), False)
        output.mem_mask = counts[:, :num_tokens] if recorded is None else counts[:, :num_tokens] & recorded
        output.mem_loss = (error * output.mem_mask).sum() / output.mem_mask.sum().clamp(min=1)
        output.mem_target = target
        output.reconstruction = decoded.view(batch, num_tokens, leads, length).transpose(1, 2).flatten(2)


def _normalize_leads(signal: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """Return each lead with mean 0 and variance 1 over the recording, `(batch, leads, samples)`; 0 where masked."""
    signal = signal.float()
    if mask is None:
        variance, mean = torch.var_mean(signal, dim=2, keepdim=True)
        return (signal - mean) / (variance + 1e-6).sqrt()
    keep = mask[:, None, :].to(signal.dtype)
    count = keep.sum(dim=2, keepdim=True).clamp(min=2)
    mean = (signal * keep).sum(dim=2, keepdim=True) / count
    variance = ((signal - mean).square() * keep).sum(dim=2, keepdim=True) / (count - 1)
    return (signal - mean) / (variance + 1e-6).sqrt() * keep


# How C-MELT's dual encoder differs from METS', as it was released.
C_MELT_FIELDS = {
    "projection_type": "linear-tanh",
    "projection_dim": 768,
    "similarity": "dot",
    "logit_scale_init_value": 0.0,
    "learn_logit_scale": False,
    "freeze_text_model": False,
    "pretraining_config": {},
}


def c_melt_config(text_config=None, **changes) -> ECGTextConfig:
    """Return the configuration of C-MELT as it was released.

    Args:
        text_config: of the text encoder, or its fields; default that of Flan-T5-base, which needs no download.
        changes: fields of `ECGTextConfig` that shall be others.
    """
    flan_t5_base = {
        "model_type": "t5",
        "d_model": 768,
        "d_kv": 64,
        "d_ff": 2048,
        "num_layers": 12,
        "num_heads": 12,
        "vocab_size": 32128,
        "feed_forward_proj": "gated-gelu",
        "dropout_rate": 0.1,
        "tie_word_embeddings": False,
    }
    fields = {
        "ecg_config": {"model_type": "ecg_transformer"},
        "text_config": flan_t5_base if text_config is None else text_config,
        **C_MELT_FIELDS,
    }
    return ECGTextConfig(**{**fields, **changes})


ECGTextForPreTraining.register_for_auto_class("AutoModelForPreTraining")
