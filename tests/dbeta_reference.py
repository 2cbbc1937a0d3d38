"""The released C-MELT (D-BETA) as functions over a state dict with its own names, to hold this package's model against.

Nothing here is a module of this package: convolutions, norms and attention are plain functions of torch, written from a
description of the released forward, and the T5 encoder is transformers' own. Sizes are read off the weights, so that a
small version of the architecture can be compared; numbers of heads cannot be, and are given.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.nn import functional
from transformers import T5Config, T5EncoderModel

from mets_ecg.hub.converters.dbeta import DBETA

TABLE = Path(__file__).parent / "fixtures" / "dbeta_state_dict.tsv"


def read_table() -> dict[str, tuple[int, ...]]:
    """Return name -> shape of every tensor of the released checkpoint."""
    lines = (line.split("\t") for line in TABLE.read_text(encoding="utf-8").splitlines())
    return {name: tuple(int(size) for size in re.findall(r"\d+", shape)) for name, shape, _ in lines}


def our_name(name: str) -> str | None:
    """Return our name of a released tensor, or None where we compute it."""
    return DBETA.our_name(name)


def released_state_dict(ours: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return our weights, of as many layers as the released model or fewer, under the released names."""
    pairs = ((name, our_name(name)) for name in read_table())
    released = {name: ours[own] for name, own in pairs if own in ours}
    left = ours.keys() - {our_name(name) for name in released}
    assert not left, f"without a released name: {sorted(left)}"
    return released


@dataclass(frozen=True)
class Heads:
    """What the shapes do not say."""

    ecg: int
    fusion: int
    decoder: int
    mem_layer: int = 3


# Layers


def linear(weights, name, x):
    return functional.linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])


def layer_norm(weights, name, x, eps):
    return functional.layer_norm(x, x.shape[-1:], weights[f"{name}.weight"], weights[f"{name}.bias"], eps)


def attention(query, key, value, heads, added_mask=None):
    """Softmax attention over `(batch, tokens, width)`; `added_mask` is added to the scores of each key."""
    split = [x.view(x.shape[0], x.shape[1], heads, -1).permute(0, 2, 1, 3) for x in (query, key, value)]
    scores = torch.einsum("bhqd,bhkd->bhqk", split[0], split[1]) / math.sqrt(split[0].shape[-1])
    if added_mask is not None:
        scores = scores + added_mask[:, None, None, :]
    mixed = torch.einsum("bhqk,bhkd->bhqd", torch.softmax(scores, dim=-1), split[2])
    return mixed.permute(0, 2, 1, 3).reshape(query.shape)


def count(weights, pattern):
    return len({match.group(1) for match in (re.match(pattern, name) for name in weights) if match})


# ECG


def ecg_patches(weights, ecg):
    """Steps 1 to 3: tokens with their positions, `(batch, patches, width)`."""
    stem = "ecg_encoder.feature_extractor.conv_layers"
    x = ecg
    for i in range(count(weights, rf"{re.escape(stem)}\.(\d+)\.0\.weight")):
        x = functional.conv1d(x, weights[f"{stem}.{i}.0.weight"], stride=2)
        if i == 0:
            x = functional.group_norm(
                x, x.shape[1], weights[f"{stem}.0.2.weight"], weights[f"{stem}.0.2.bias"], eps=1e-5
            )
        x = functional.gelu(x)
    x = layer_norm(weights, "ecg_encoder.layer_norm", x.transpose(1, 2), 1e-5)
    x = linear(weights, "ecg_encoder.post_extract_proj", x)
    position = "ecg_encoder.conv_pos.pos_conv.0"
    direction, gain = weights[f"{position}.weight_v"], weights[f"{position}.weight_g"]
    length = direction.square().sum(dim=0, keepdim=True).sum(dim=1, keepdim=True).sqrt()
    kernel = direction.shape[2]
    p = functional.conv1d(
        x.transpose(1, 2),
        gain * direction / length,
        weights[f"{position}.bias"],
        padding=kernel // 2,
        groups=direction.shape[0] // direction.shape[1],
    )
    if kernel % 2 == 0:
        p = p[:, :, :-1]
    return x + functional.gelu(p).transpose(1, 2)


def ecg_encoder(weights, ecg, heads, kept=None):
    """Steps 1 to 6: `(batch, 1 + patches kept, width)`, in the order of `kept`, places `(batch, kept)`."""
    x = ecg_patches(weights, ecg)
    if kept is not None:
        x = torch.stack([record[places] for record, places in zip(x, kept, strict=True)])
    cls = weights["class_embedding"].repeat(len(x), 1, 1)
    x = layer_norm(weights, "ecg_encoder.encoder.layer_norm", torch.cat([cls, x], dim=1), 1e-5)
    for i in range(count(weights, r"ecg_encoder\.encoder\.layers\.(\d+)\.")):
        name = f"ecg_encoder.encoder.layers.{i}"
        q, k, v = (linear(weights, f"{name}.self_attn.{part}_proj", x) for part in "qkv")
        attended = linear(weights, f"{name}.self_attn.out_proj", attention(q, k, v, heads.ecg))
        h = layer_norm(weights, f"{name}.self_attn_layer_norm", x + attended, 1e-5)
        inner = functional.gelu(linear(weights, f"{name}.fc1", h))
        x = layer_norm(weights, f"{name}.final_layer_norm", h + linear(weights, f"{name}.fc2", inner), 1e-5)
    return x


def ecg_vector(weights, ecg, heads, kept=None):
    """Step 7: u_e `(batch, width)`."""
    x = linear(weights, "multi_modal_ecg_proj", ecg_encoder(weights, ecg, heads, kept))
    return torch.tanh(linear(weights, "unimodal_ecg_pooler.dense", x[:, 0]))


# Text


def text_states(weights, config: T5Config, input_ids, attention_mask):
    """Step 8 without the projection, through transformers' T5 encoder; with the attention mask, see defect 5."""
    encoder = T5EncoderModel(config).eval()
    prefix = "language_encoder."
    encoder.load_state_dict({n.removeprefix(prefix): w for n, w in weights.items() if n.startswith(prefix)})
    return encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state


def text_vector(weights, states):
    """Step 8: u_t `(batch, width)`, of the first word piece."""
    x = linear(weights, "multi_modal_language_proj", states)
    return torch.tanh(linear(weights, "unimodal_language_pooler.dense", x[:, 0]))


# Fusion and heads


def fusion_layer(weights, name, x, x_mask, context, context_mask, heads):
    """A BERT layer with cross-attention; masks are added to scores."""
    for part, source, mask in (("attention", None, x_mask), ("crossattention", context, context_mask)):
        source = x if source is None else source
        q = linear(weights, f"{name}.{part}.self.query", x)
        k, v = (linear(weights, f"{name}.{part}.self.{which}", source) for which in ("key", "value"))
        attended = linear(weights, f"{name}.{part}.output.dense", attention(q, k, v, heads, mask))
        x = layer_norm(weights, f"{name}.{part}.output.LayerNorm", attended + x, 1e-12)
    inner = functional.gelu(linear(weights, f"{name}.intermediate.dense", x))
    return layer_norm(weights, f"{name}.output.LayerNorm", linear(weights, f"{name}.output.dense", inner) + x, 1e-12)


def fusion(weights, ecg_hidden, states, attention_mask, heads):
    """Steps 9 and 10: the text's and the ECG's streams before each layer and after the last."""
    types = weights["modality_type_embeddings.weight"]
    x = linear(weights, "multi_modal_language_proj", states) + types[0]
    y = linear(weights, "multi_modal_ecg_proj", ecg_hidden) + types[1]
    text_mask = (1.0 - attention_mask.float()) * torch.finfo(torch.float32).min
    streams = [(x, y)]
    for i in range(count(weights, r"multi_modal_ecg_layers\.(\d+)\.")):
        x, y = streams[-1]
        new_x = fusion_layer(weights, f"multi_modal_language_layers.{i}", x, text_mask, y, None, heads)
        new_y = fusion_layer(weights, f"multi_modal_ecg_layers.{i}", y, None, x, text_mask, heads)
        streams.append((new_x, new_y))
    return streams


def etm_logits(weights, x, y):
    """Step 11: `(batch, 2)`."""
    pooled = [
        torch.tanh(linear(weights, f"multi_modal_{stream}_pooler.dense", hidden[:, 0]))
        for stream, hidden in (("language", x), ("ecg", y))
    ]
    return linear(weights, "itm_head.fc", torch.cat(pooled, dim=-1))


def mlm_logits(weights, x):
    """Step 12: `(batch, tokens, vocabulary)`."""
    x = functional.gelu(linear(weights, "mlm_head.transform.dense", x))
    x = layer_norm(weights, "mlm_head.transform.LayerNorm", x, 1e-12)
    return x @ weights["mlm_head.decoder.weight"].T + weights["mlm_head.bias"]


def position_codes(length, width):
    """Step 13: sines and cosines `(length, width)`, place by place."""
    codes = torch.zeros(length, width, dtype=torch.float64)
    for place in range(length):
        for i in range(0, width, 2):
            angle = place / 10000.0 ** (i / width)
            codes[place, i], codes[place, i + 1] = math.sin(angle), math.cos(angle)
    return codes.float()


def decoded_patches(weights, y, kept, num_patches, heads):
    """Step 13: `(batch, patches, leads * patch)` from the stream that enters layer `mem_layer`."""
    y = linear(weights, "mim_head.decoder_embed", y)
    removed = [[place for place in range(num_patches) if place not in set(places.tolist())] for places in kept]
    shuffled = torch.cat([kept, torch.tensor(removed, dtype=torch.long)], dim=1)
    restore = shuffled.argsort(dim=1)
    mask_tokens = weights["mim_head.mask_token"].repeat(len(y), num_patches - kept.shape[1], 1)
    whole = torch.cat([y[:, 1:], mask_tokens], dim=1)
    whole = torch.stack([record[order] for record, order in zip(whole, restore, strict=True)])
    x = torch.cat([y[:, :1], whole], dim=1)
    x = x + position_codes(x.shape[1], x.shape[2])
    for i in range(count(weights, r"mim_head\.decoder\.resblocks\.(\d+)\.")):
        name = f"mim_head.decoder.resblocks.{i}"
        fused = functional.linear(
            layer_norm(weights, f"{name}.ln_1", x, 1e-5),
            weights[f"{name}.attn.in_proj_weight"],
            weights[f"{name}.attn.in_proj_bias"],
        )
        width = x.shape[2]
        q, k, v = fused[..., :width], fused[..., width : 2 * width], fused[..., 2 * width :]
        x = x + linear(weights, f"{name}.attn.out_proj", attention(q, k, v, heads))
        inner = linear(weights, f"{name}.mlp.c_fc", layer_norm(weights, f"{name}.ln_2", x, 1e-5))
        x = x + linear(weights, f"{name}.mlp.c_proj", inner * torch.sigmoid(1.702 * inner))
    return linear(weights, "mim_head.decoder_pred", layer_norm(weights, "mim_head.decoder_norm", x, 1e-5))[:, 1:]


# Losses


def target_patches(ecg, patch, normalised=True):
    """The MEM target `(batch, patches, leads * patch)`; each lead over the whole record, if normalised."""
    batch, leads, samples = ecg.shape
    patches = samples // patch
    ecg = ecg[:, :, : patches * patch]
    if normalised:
        ecg = (ecg - ecg.mean(dim=-1, keepdim=True)) / torch.sqrt(ecg.var(dim=-1, keepdim=True) + 1e-6)
    return torch.einsum("blpn->bpln", ecg.reshape(batch, leads, patches, patch)).reshape(batch, patches, leads * patch)


def mem_loss(decoded, target, kept):
    removed = torch.ones(decoded.shape[:2])
    for row, places in zip(removed, kept, strict=True):
        row[places] = 0
    return ((decoded - target).square().mean(dim=-1) * removed).sum() / removed.sum()


def ets_loss(u_e, u_t, aligned, reduction="mean"):
    """As released ("mean"), and as printed ("sum" over the number of records)."""
    total = torch.zeros(())
    for i in range(len(u_e)):
        for j in range(len(u_t)):
            label = 2 * float(aligned[i]) - 1 if i == j else -1.0
            total = total - functional.logsigmoid(label * (u_e[i] * u_t[j]).sum())
    return total / (len(u_e) * len(u_t) if reduction == "mean" else len(u_e))


def training_pass(weights, config: T5Config, heads: Heads, ecg, kept, input_ids, attention_mask, labels, aligned):
    """One pass as in training, without dropout: all that the model says, and its four losses, by name.

    Args:
        ecg: `(batch, leads, samples)`.
        kept: `(batch, kept)`, the places of the patches that are kept, in the order of the shuffle.
        input_ids: `(batch, tokens)`, masked.
        labels: `(batch, tokens)`, -100 where a token was not masked.
        aligned: `(batch,)`, 1 where the text is the ECG's own.
    """
    hidden = ecg_encoder(weights, ecg, heads, kept)
    states = text_states(weights, config, input_ids, attention_mask)
    u_e, u_t = ecg_vector(weights, ecg, heads, kept), text_vector(weights, states)
    streams = fusion(weights, hidden, states, attention_mask, heads.fusion)
    x, y = streams[-1]
    patch = 2 ** count(weights, r"ecg_encoder\.feature_extractor\.conv_layers\.(\d+)\.0\.weight")
    decoded = decoded_patches(weights, streams[heads.mem_layer][1], kept, ecg.shape[2] // patch, heads.decoder)
    mlm, etm = mlm_logits(weights, x), etm_logits(weights, x, y)
    return {
        "u_e": u_e,
        "u_t": u_t,
        "mlm_logits": mlm,
        "etm_logits": etm,
        "decoded": decoded,
        "mem_loss": mem_loss(decoded, target_patches(ecg, patch), kept),
        "mlm_loss": functional.cross_entropy(mlm.flatten(0, 1), labels.flatten(), ignore_index=-100),
        "etm_loss": functional.cross_entropy(etm, aligned.long()),
        "ets_loss": ets_loss(u_e, u_t, aligned),
    }
