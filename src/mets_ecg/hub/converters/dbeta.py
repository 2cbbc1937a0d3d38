"""D-BETA, the released checkpoint of C-MELT's authors (arXiv 2410.02131): a `.pt` of 645 tensors, 321 M parameters.

Its own preprocessing: twelve leads in raw millivolts at 500 Hz, 10 s, no filter and no scaling; text in lower case, of
254 tokens at most, to Flan-T5's tokenizer.
"""

from __future__ import annotations

import re

import torch

from ...data.corpora import CORPORA
from ...feature_extraction_ecg import ECGFeatureExtractor
from ...modeling_ecg_text_pretraining import ECGTextForPreTraining, c_melt_config, sinusoid
from ...processing_ecg import ECGProcessor
from ...text_models import load_text_tokenizer
from ..model_card import Origin
from .converter import Converter

_TOKENIZER = "google/flan-t5-base"
_STREAMS = (("language", "text"), ("ecg", "ecg"))
_ECG_LAYER = {
    "self_attn.q_proj": "attention.query",
    "self_attn.k_proj": "attention.key",
    "self_attn.v_proj": "attention.value",
    "self_attn.out_proj": "attention.output",
    "self_attn_layer_norm": "attention_norm",
    "fc1": "intermediate",
    "fc2": "output",
    "final_layer_norm": "output_norm",
}
_FUSION_LAYER = {
    f"{theirs}.{part}": f"{ours}.{own}"
    for theirs, ours in (("attention", "attention"), ("crossattention", "cross_attention"))
    for part, own in (
        ("self.query", "query"),
        ("self.key", "key"),
        ("self.value", "value"),
        ("output.dense", "output"),
        ("output.LayerNorm", "norm"),
    )
} | {"intermediate.dense": "intermediate", "output.dense": "output", "output.LayerNorm": "norm"}
_DECODER_LAYER = {
    "attn.in_proj_": "query_key_value.",
    "attn.out_proj.": "attention_output.",
    "ln_1.": "attention_norm.",
    "ln_2.": "output_norm.",
    "mlp.c_fc.": "intermediate.",
    "mlp.c_proj.": "output.",
}
# What they call masked ECG modelling "mim", and matching "itm".
RULES = (
    ("class_embedding", "ecg_model.class_token"),
    (r"ecg_encoder\.feature_extractor\.conv_layers\.(\d+)\.0\.weight", r"ecg_model.tokens.convolutions.\1.weight"),
    (r"ecg_encoder\.feature_extractor\.conv_layers\.0\.2\.(\w+)", r"ecg_model.tokens.channel_norm.\1"),
    (r"ecg_encoder\.layer_norm\.(\w+)", r"ecg_model.tokens.norm.\1"),
    (r"ecg_encoder\.post_extract_proj\.(\w+)", r"ecg_model.tokens.projection.\1"),
    (r"ecg_encoder\.conv_pos\.pos_conv\.0\.weight_g", "ecg_model.positions.gain"),
    (r"ecg_encoder\.conv_pos\.pos_conv\.0\.weight_v", "ecg_model.positions.direction"),
    (r"ecg_encoder\.conv_pos\.pos_conv\.0\.bias", "ecg_model.positions.bias"),
    (r"ecg_encoder\.encoder\.layer_norm\.(\w+)", r"ecg_model.norm.\1"),
    *(
        (rf"ecg_encoder\.encoder\.layers\.(\d+)\.{re.escape(part)}\.(\w+)", rf"ecg_model.encoder_layers.\1.{own}.\2")
        for part, own in _ECG_LAYER.items()
    ),
    (r"language_encoder\.(.+)", r"text_model.\1"),
    *((rf"multi_modal_{theirs}_proj\.(\w+)", rf"{ours}_projection.0.\1") for theirs, ours in _STREAMS),
    *((rf"unimodal_{theirs}_pooler\.dense\.(\w+)", rf"{ours}_projection.1.\1") for theirs, ours in _STREAMS),
    *((rf"multi_modal_{theirs}_pooler\.dense\.(\w+)", rf"{ours}_fusion_pooler.\1") for theirs, ours in _STREAMS),
    *(
        (rf"multi_modal_{theirs}_layers\.(\d+)\.{re.escape(part)}\.(\w+)", rf"{ours}_fusion_layers.\1.{own}.\2")
        for theirs, ours in _STREAMS
        for part, own in _FUSION_LAYER.items()
    ),
    (r"modality_type_embeddings\.weight", "modality_embeddings.weight"),
    (r"mim_head\.mask_token", "mem_head.mask_token"),
    (r"mim_head\.decoder_embed\.(\w+)", r"mem_head.embedding.\1"),
    (r"mim_head\.decoder_norm\.(\w+)", r"mem_head.norm.\1"),
    (r"mim_head\.decoder_pred\.(\w+)", r"mem_head.prediction.\1"),
    *(
        (rf"mim_head\.decoder\.resblocks\.(\d+)\.{re.escape(part)}(\w+)", rf"mem_head.decoder_layers.\1.{own}\2")
        for part, own in _DECODER_LAYER.items()
    ),
    (r"mlm_head\.transform\.dense\.(\w+)", r"mlm_head.dense.\1"),
    (r"mlm_head\.transform\.LayerNorm\.(\w+)", r"mlm_head.norm.\1"),
    (r"mlm_head\.decoder\.weight", "mlm_head.decoder.weight"),
    (r"mlm_head\.bias", "mlm_head.decoder.bias"),
    (r"itm_head\.fc\.(\w+)", r"etm_head.\1"),
)


def _model() -> ECGTextForPreTraining:
    return ECGTextForPreTraining(c_melt_config(text_model_id=_TOKENIZER))


def _processor(tokenizer: str) -> ECGProcessor:
    return ECGProcessor(
        ECGFeatureExtractor(sampling_rate=500, bandpass=None, max_duration=10.0),
        load_text_tokenizer(tokenizer),
        hypothesis_template="{}",
        report_template="{}",
        neutral_phrase=None,
        languages=["en"],
        lowercase=True,
        max_length=254,
    )


def _position_codes(shape: torch.Size) -> torch.Tensor:
    return sinusoid(*shape[-2:])[None]


_MIMIC = CORPORA["mimic-iv-ecg"].info
DBETA = Converter(
    weights=lambda held: held["model"],
    rules=RULES,
    computed={"mim_head.decoder_pos_embed.pe": _position_codes},
    unused=frozenset({"ecg_encoder.mask_emb"}),
    model=_model,
    processor=_processor,
    tokenizer=_TOKENIZER,
    origin=Origin(
        summary=(
            "D-BETA (C-MELT), the weights that its authors released, as an `ECGTextForPreTraining` of mets-ecg: an ECG "
            "transformer and Flan-T5's encoder, fusion layers, and heads for masked ECGs, masked texts and matching; "
            "321,387,330 parameters. `AutoModel` gives the dual encoder, which is asked in words."
        ),
        text=(
            "Not trained here: converted from the released file. By its authors' paper it was pre-trained for 300,000 "
            "steps of 128 pairs of recordings and reports. Which of them were held out is not stated. The released "
            "code has defects that the weights may carry: texts were encoded without their attention mask in training, "
            "and the order of aVL and aVF is not known for certain (compare both on data of your own). Trained on:"
        ),
        licence="cc-by-nc-4.0",
        base_model="Manhph2211/D-BETA",
        corpora=(
            {
                "ids": ["mimic-iv-ecg"],
                "title": _MIMIC.title,
                "homepage": _MIMIC.homepage,
                "doi": _MIMIC.doi,
                "licence": _MIMIC.licence,
                "parts": "about 780,000 pairs",
            },
        ),
    ),
)
