"""Configurations of an ECG encoder, of one aligned with a text encoder, and of one with a classification head.

All are strict dataclasses of huggingface_hub: a field is checked for type and range whenever it is set, the rules
between fields on construction, loading and saving. An unknown name is an error that names the nearest known one: a
misspelt field would otherwise train another model than the one asked for. Only when a saved file is read is an unknown
name a warning, because a newer version may have written it.
"""

# No `from __future__ import annotations` here: `strict` does not check types that are strings.
import dataclasses
import difflib
import functools
import inspect
import math
import re
from typing import Literal

from huggingface_hub.dataclasses import as_validated_field, strict
from huggingface_hub.errors import StrictDataclassError
from transformers import CONFIG_MAPPING, AutoConfig, PretrainedConfig
from transformers.utils import logging

from .leads import NUM_STANDARD_LEADS

logger = logging.get_logger(__name__)

# What transformers itself passes to a config or saves in one, beside the fields of PretrainedConfig.
_TRANSFORMERS_NAMES = {
    "attn_implementation",
    "auto_map",
    "bos_token_id",
    "custom_pipelines",
    "eos_token_id",
    "experts_implementation",
    "model_type",
    "name_or_path",
    "num_labels",
    "output_attentions",
    "pad_token_id",
    "torch_dtype",
    "use_cache",
    "_attn_implementation_internal",
    "_commit_hash",
    "_experts_implementation_internal",
    "_name_or_path",
}


def refuse_unknown(owner: str, unknown: list[str], known: set[str]) -> None:
    """Raise a `TypeError` that names the unknown fields and the nearest known ones, if there are unknown fields."""
    if unknown:
        nearest = {name: difflib.get_close_matches(name, known, n=1) for name in unknown}
        hints = [f"{name!r} (did you mean {near[0]!r}?)" if near else repr(name) for name, near in nearest.items()]
        raise TypeError(f"{owner} has no field {', '.join(hints)}; its fields are {', '.join(sorted(known))}")


# Fields with a range. The type is checked first.


@as_validated_field
def finite(value):
    """Declare a field whose value is finite."""
    if not -math.inf < value < math.inf:
        raise ValueError("must be finite")


@as_validated_field
def positive(value):
    """Declare a field whose value is finite and above 0, or None where its type allows that."""
    if value is not None and not 0 < value < math.inf:
        raise ValueError("must be finite and above 0")


@as_validated_field
def odd(value):
    """Declare a field whose value is odd and at least 3."""
    if value < 3 or value % 2 == 0:
        raise ValueError("must be at least 3 and odd, so that frames stay centred")


@as_validated_field
def stages(values):
    """Declare a field that has an entry of 1 or more for each stage."""
    if not values or min(values) < 1:
        raise ValueError("must hold at least one stage, each 1 or more")


@as_validated_field
def probability(value):
    """Declare a field whose value is from 0 to below 1."""
    if not 0 <= value < 1:
        raise ValueError("must be from 0 to below 1")


@as_validated_field
def weight(value):
    """Declare a field whose value is finite and at least 0."""
    if not 0 <= value < math.inf:
        raise ValueError("must be finite and at least 0")


@as_validated_field
def hub_id(value):
    """Declare a field whose value is the id of a repository on the Hub, or None."""
    if value is not None and not re.fullmatch(r"(\w[\w.-]*/)?\w[\w.-]*", value):
        raise ValueError("must be an id on the Hub (owner/name), as a folder means nothing on another machine")


def _raise_builtin_errors(method):
    """Let `__setattr__` or `validate` of a strict dataclass raise a `TypeError` or `ValueError`, as its checks do."""

    @functools.wraps(method)
    def wrapped(config, *args):
        try:
            method(config, *args)
        except StrictDataclassError as error:
            problem = error.__cause__
            if args:
                name, value = args
                expected = inspect.formatannotation(config.__dataclass_fields__[name].type)
                rule = f"must be {expected}" if isinstance(problem, TypeError) else problem
                problem = type(problem)(f"{name} {rule}, got {value!r}")
            raise type(problem)(f"{type(config).__name__}: {problem}") from None

    return wrapped


def _forget_code(fields: dict) -> None:
    """Take out what a saved file says of the code beside it, which every save writes anew.

    With the package imported its own classes and pipelines serve the checkpoint; left in place, these two would make
    `pipeline()` ask for `trust_remote_code` all the same.
    """
    if not __name__.startswith("transformers_modules"):
        fields.pop("auto_map", None)
        fields.pop("custom_pipelines", None)


class StrictConfig(PretrainedConfig):
    """A `PretrainedConfig` that refuses unknown names and checks its fields; the parent of this package's configs."""

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)  # makes it a dataclass
        strict(cls)
        cls.__setattr__ = _raise_builtin_errors(cls.__setattr__)
        cls.validate = _raise_builtin_errors(cls.validate)

    def __post_init__(self, **kwargs):
        refuse_unknown(type(self).__name__, self._unknown_names(kwargs), self._field_names())
        _forget_code(kwargs)
        super().__post_init__(**kwargs)

    def save_pretrained(self, save_directory, **kwargs) -> None:
        """Save the config and its code; see `transformers.PretrainedConfig.save_pretrained`."""
        super().save_pretrained(save_directory, **kwargs)
        _forget_code(vars(self))

    @classmethod
    def _field_names(cls) -> set[str]:
        return {f.name for f in dataclasses.fields(cls)} - {f.name for f in dataclasses.fields(PretrainedConfig)}

    @classmethod
    def _unknown_names(cls, names) -> list[str]:
        known = {f.name for f in dataclasses.fields(cls)} | _TRANSFORMERS_NAMES
        return [name for name in names if name not in known]

    @classmethod
    def from_dict(cls, config_dict, **kwargs):
        """Build the config from a saved file's contents; names it does not know are left out with a warning.

        Raises:
            ValueError: it is the configuration of another type of model.
        """
        if isinstance(config_dict.get("ecg_config"), dict):
            config_dict = {**config_dict, "ecg_config": build_ecg_config(config_dict["ecg_config"], saved=True)}
        saved_type = config_dict.get("model_type", cls.model_type)
        if saved_type != cls.model_type:
            raise ValueError(f"this is the configuration of a model of type {saved_type!r}, not {cls.model_type!r}")
        unknown = cls._unknown_names(config_dict)
        if unknown:
            logger.warning(
                f"{cls.__name__}: the saved configuration has fields that this version does not know, left out: "
                f"{', '.join(unknown)}. It may have been written by a newer version of mets-ecg."
            )
        loaded = super().from_dict({name: config_dict[name] for name in config_dict if name not in unknown}, **kwargs)
        (loaded[0] if isinstance(loaded, tuple) else loaded).validate()  # again: keywords were set after __init__
        return loaded

    def to_dict(self) -> dict:
        """Return the fields as they are saved: without the folders that encoders came from, and with one dtype."""
        fields = super().to_dict()
        for name in self.sub_configs:
            fields[name] |= {"_name_or_path": "", "dtype": fields.get("dtype")}
        if isinstance(fields.get("pretraining_config"), dict):
            known = ECGTextPreTrainingConfig._field_names()
            fields["pretraining_config"] = {n: v for n, v in fields["pretraining_config"].items() if n in known}
        return fields


class ECGResNetConfig(StrictConfig):
    """Configuration of `ECGResNetModel`, a 1-D ResNet of basic blocks. The defaults are METS' ResNet1d-18.

    Args:
        num_leads: rows of the input.
        sampling_rate: of the recordings it is trained on, Hz.
        depths: basic blocks in each stage.
        hidden_sizes: channels of each stage; every stage but the first halves the time axis.
        kernel_size: of the convolutions in the blocks, odd.
        stem_kernel_size: of the first convolution, odd.
        stem_stride: of the first convolution, samples.
        stem_pooling: halve the time axis again by a max-pool (kernel 3) after the first convolution.
        norm: `"batch"` or `"group"` (independent of the batch, also in training).
        num_groups: groups of a group norm; must divide every hidden size.
        pooling: of the frames to one vector: `"average"`, `"max"` or `"attention"` (one learned query).
        initializer_range: standard deviation of new linear weights; convolutions follow He et al.

    Source: METS (arXiv 2303.12311) says "ResNet1d-18"; stem and widths as ResNet-18 (arXiv 1512.03385) with 1-D
        kernels.
    """

    model_type = "ecg_resnet"
    base_config_key = "ecg_config"

    num_leads: int = positive(default=NUM_STANDARD_LEADS)
    sampling_rate: int | float = positive(default=500)
    depths: list[int] | tuple[int, ...] = stages(default=(2, 2, 2, 2))
    hidden_sizes: list[int] | tuple[int, ...] = stages(default=(64, 128, 256, 512))
    kernel_size: int = odd(default=3)
    stem_kernel_size: int = odd(default=7)
    stem_stride: int = positive(default=2)
    stem_pooling: bool = True
    norm: Literal["batch", "group"] = "batch"
    num_groups: int = positive(default=8)
    pooling: Literal["average", "max", "attention"] = "average"
    initializer_range: int | float = positive(default=0.02)

    def __post_init__(self, **kwargs):
        self.depths, self.hidden_sizes = list(self.depths), list(self.hidden_sizes)  # as a saved file gives them
        super().__post_init__(**kwargs)

    @property
    def hidden_size(self) -> int:
        """Channels of the last stage: the width of a frame and of the pooled vector."""
        return self.hidden_sizes[-1]

    @property
    def frame_stride(self) -> int:
        """Samples between one output frame and the next: the shortest recording that the encoder takes."""
        return self.stem_stride * (2 if self.stem_pooling else 1) * 2 ** (len(self.depths) - 1)

    def validate_stages(self):
        """Check that `depths` and `hidden_sizes` have the same length."""
        if len(self.depths) != len(self.hidden_sizes):
            raise ValueError(f"depths {self.depths} and hidden_sizes {self.hidden_sizes} must name as many stages")

    def validate_groups(self):
        """Check that a group norm can be built."""
        if self.norm == "group" and any(size % self.num_groups for size in self.hidden_sizes):
            raise ValueError(f"num_groups={self.num_groups} must divide every hidden size, got {self.hidden_sizes}")


class ECGTransformerConfig(StrictConfig):
    """Configuration of `ECGTransformerModel`: convolutional tokens and positions, then a transformer.

    The defaults are the ECG encoder of C-MELT (62,022,528 parameters with the class token).

    Args:
        num_leads: rows of the input.
        sampling_rate: of the recordings it is trained on, Hz.
        conv_hidden_sizes: channels of the convolutions that make the tokens; each has kernel 2 and stride 2, so that a
            token is 2 to the power of their number of samples long.
        hidden_size: width of a token.
        num_hidden_layers: layers of the transformer.
        num_attention_heads: of each layer; must divide `hidden_size`.
        intermediate_size: of the feed-forward part of a layer.
        position_kernel_size: tokens that the position convolution reaches over.
        num_position_groups: of that convolution; must divide `hidden_size`.
        norm_order: `"post"`: after each residual sum, as C-MELT's, or `"pre"`: before each sublayer, and once at the
            end.
        hidden_dropout: of tokens and of the output of sublayers, in training.
        attention_dropout: of attention weights, in training.
        layer_norm_eps: of all layer norms.
        initializer_range: standard deviation of new linear weights; convolutions follow He et al.

    Source: C-MELT (arXiv 2410.02131) and its released code; convolutional positions: wav2vec 2.0, arXiv 2006.11477.
    """

    model_type = "ecg_transformer"
    base_config_key = "ecg_config"

    num_leads: int = positive(default=NUM_STANDARD_LEADS)
    sampling_rate: int | float = positive(default=500)
    conv_hidden_sizes: list[int] | tuple[int, ...] = stages(default=(256, 256, 256, 256))
    hidden_size: int = positive(default=768)
    num_hidden_layers: int = positive(default=8)
    num_attention_heads: int = positive(default=12)
    intermediate_size: int = positive(default=3072)
    position_kernel_size: int = positive(default=128)
    num_position_groups: int = positive(default=16)
    norm_order: Literal["post", "pre"] = "post"
    hidden_dropout: int | float = probability(default=0.1)
    attention_dropout: int | float = probability(default=0.1)
    layer_norm_eps: int | float = positive(default=1e-5)
    initializer_range: int | float = positive(default=0.02)

    def __post_init__(self, **kwargs):
        self.conv_hidden_sizes = list(self.conv_hidden_sizes)  # as a saved file gives them
        super().__post_init__(**kwargs)

    @property
    def frame_stride(self) -> int:
        """Samples of a token: the shortest recording that the encoder takes."""
        return 2 ** len(self.conv_hidden_sizes)

    def validate_width(self):
        """Check that heads and groups divide the width."""
        for name in ("num_attention_heads", "num_position_groups"):
            if self.hidden_size % getattr(self, name):
                raise ValueError(f"{name}={getattr(self, name)} must divide hidden_size={self.hidden_size}")


# What a dual encoder or a classifier can hold: a new encoder adds its line here and in ecg_models.py.
ECG_CONFIGS = {config.model_type: config for config in (ECGResNetConfig, ECGTransformerConfig)}


class ECGTextPreTrainingConfig(StrictConfig):
    """What `ECGTextForPreTraining` (C-MELT) has beside the two encoders: `ECGTextConfig.pretraining_config`.

    The defaults are C-MELT's. Each ratio and weight is of training alone.

    Args:
        num_fusion_layers: pairs of layers in which the texts' tokens and the ECGs' attend to each other.
        num_fusion_attention_heads: of each; must divide the width of the shared space.
        fusion_intermediate_size: of the feed-forward part of a layer.
        fusion_dropout: of attention and of the output of sublayers, in training.
        fusion_layer_norm_eps: of the layer norms.
        mem_layer: the ECG tokens that enter this fusion layer, from 0, are what a masked ECG is decoded from.
        mem_hidden_size: width of the decoder.
        num_mem_layers: layers of the decoder.
        num_mem_attention_heads: of each; must divide `mem_hidden_size`.
        mem_target_norm: reconstruct each lead with mean 0 and variance 1 over the recording.
        mem_ratio: part of the tokens of an ECG that are dropped, and reconstructed.
        mem_tokens: which tokens' error counts: `"dropped"`, as released, or `"all"`: small models learn first to carry
            what they see, and by that to tell what they do not.
        mlm_probability: part of the tokens of a text that are masked, and predicted.
        mem_weight, mlm_weight, etm_weight, ets_weight: of masked ECG modelling, masked language modelling, ECG-text
            matching and the ECG-text sigmoid contrast; 0 leaves a part out.
        ets_type: `"mean"` (of all pairs, as released), `"sum"` (over pairs, a batch's mean over records, as printed) or
            `"siglip"` (the same with a learned scale and bias on vectors of length 1).
        ets_inputs: what is contrasted: `"masked"`, masked ECGs and masked texts, some of them another record's, in one
            pass, as released; `"whole"`, whole ECGs and their own whole texts, in a second pass of both encoders.
        initializer_range: standard deviation of new linear weights outside the two encoders.

    Source: C-MELT (arXiv 2410.02131) and its released code.
    """

    model_type = "ecg_text_pretraining"

    num_fusion_layers: int = positive(default=6)
    num_fusion_attention_heads: int = positive(default=12)
    fusion_intermediate_size: int = positive(default=3072)
    fusion_dropout: int | float = probability(default=0.1)
    fusion_layer_norm_eps: int | float = positive(default=1e-12)
    mem_layer: int = 3
    mem_hidden_size: int = positive(default=384)
    num_mem_layers: int = positive(default=4)
    num_mem_attention_heads: int = positive(default=6)
    mem_target_norm: bool = True
    mem_ratio: int | float = probability(default=0.75)
    mem_tokens: Literal["dropped", "all"] = "dropped"
    mlm_probability: int | float = probability(default=0.25)
    mem_weight: int | float = weight(default=1.0)
    mlm_weight: int | float = weight(default=1.0)
    etm_weight: int | float = weight(default=1.0)
    ets_weight: int | float = weight(default=1.0)
    ets_type: Literal["mean", "sum", "siglip"] = "mean"
    ets_inputs: Literal["masked", "whole"] = "masked"
    initializer_range: int | float = positive(default=0.02)

    def validate_mem(self):
        """Check that the decoder can be built, and that it reads a layer's input."""
        if not 0 <= self.mem_layer <= self.num_fusion_layers:
            raise ValueError(
                f"mem_layer={self.mem_layer} must be from 0 to num_fusion_layers={self.num_fusion_layers}, whose "
                "output is then read"
            )
        if self.mem_hidden_size % self.num_mem_attention_heads or self.mem_hidden_size % 2:
            raise ValueError(
                f"mem_hidden_size={self.mem_hidden_size} must be even, and num_mem_attention_heads="
                f"{self.num_mem_attention_heads} must divide it"
            )


class ECGTextConfig(StrictConfig):
    """Configuration of `ECGTextModel`: an ECG encoder and a text encoder in one space.

    Args:
        ecg_config: of the ECG encoder: a config, a dict with its `model_type` (default `ecg_resnet`), or None.
        text_config: of the text encoder: a config of any type that transformers knows, a dict with its `model_type`
            (default `bert`), or None.
        projection_dim: width of the shared space. None: the space is the text encoder's own, there is no text head, and
            the ECG head projects to the text encoder's hidden size.
        projection_layers: linear layers of each head, with GELU between them.
        projection_type: `"mlp"`, or `"linear-tanh"`: two linear layers and a tanh, as C-MELT's; what is between the two
            are then the tokens that its fusion layers take.
        text_pooling: of the tokens to one vector: `"cls"` (the first token), `"mean"` (over the attention mask) or
            `"pooler"` (the encoder's own pooler, if it has one).
        text_centering: subtract `text_mean`, the mean over the training records, from the pooled text. Sentence
            embeddings share a large common direction which hides what differs between them.
        similarity: `"cosine"` or `"dot"`.
        logit_scale_init_value: log of the scale at the start; 2.6592 is ln(1 / 0.07).
        logit_scale_max: upper limit of the scale itself, not of its log.
        learn_logit_scale: whether the scale is a weight; else it stays as it begins, and is not saved.
        loss_type: `"info-nce"` (METS Eq. 1-4: the positive stands in the denominator) or `"decoupled"` (it does not).
        duplicate_text_policy: what two records with the same text are to each other: `"positives"`, `"ignored"` or
            `"negatives"` (METS as printed).
        freeze_text_model: keep the text encoder as it is, in evaluation mode and without gradients.
        save_text_model: save the text encoder's weights with the model; False saves a reference to it.
        text_model_id: Hub id that the text encoder came from; needed to save it by reference.
        text_model_revision: commit of `text_model_id`, or None.
        text_model_digest: SHA-256 of its weights; written on saving by reference and checked on loading.
        pretraining_config: of C-MELT's other parts: a config, a dict, or None where there are none.

    Source: METS, arXiv 2303.12311, section 2.
    """

    model_type = "ecg_text"
    sub_configs = {"ecg_config": AutoConfig, "text_config": AutoConfig}

    # Not the classes themselves: code loaded from a Hub repository may come as two copies of this module.
    ecg_config: dict | PretrainedConfig | None = None
    text_config: dict | PretrainedConfig | None = None
    projection_dim: int | None = positive(default=128)
    projection_layers: int = positive(default=1)
    projection_type: Literal["mlp", "linear-tanh"] = "mlp"
    text_pooling: Literal["cls", "mean", "pooler"] = "cls"
    text_centering: bool = False
    similarity: Literal["cosine", "dot"] = "cosine"
    logit_scale_init_value: int | float = finite(default=2.6592)
    logit_scale_max: int | float = positive(default=100.0)
    learn_logit_scale: bool = True
    loss_type: Literal["info-nce", "decoupled"] = "info-nce"
    duplicate_text_policy: Literal["positives", "ignored", "negatives"] = "positives"
    freeze_text_model: bool = True
    save_text_model: bool = True
    text_model_id: str | None = hub_id(default=None)
    text_model_revision: str | None = None
    text_model_digest: str | None = None
    pretraining_config: dict | PretrainedConfig | None = None

    def __post_init__(self, **kwargs):
        self.ecg_config = build_ecg_config(self.ecg_config)
        self.text_config = build_text_config(self.text_config)
        if isinstance(self.pretraining_config, dict):
            fields = {name: value for name, value in self.pretraining_config.items() if name != "model_type"}
            self.pretraining_config = ECGTextPreTrainingConfig(**fields)
        super().__post_init__(**kwargs)

    @property
    def hidden_size(self) -> int:
        """Width of the shared space."""
        return self.text_config.hidden_size if self.projection_dim is None else self.projection_dim

    def validate_logit_scale(self):
        """Check that the scale starts below its limit."""
        if self.logit_scale_init_value > math.log(self.logit_scale_max):
            raise ValueError(
                f"logit_scale_init_value={self.logit_scale_init_value} must not be above "
                f"{math.log(self.logit_scale_max):.4g}, the log of logit_scale_max={self.logit_scale_max}"
            )

    def validate_reference_to_text_model(self):
        """Check that the text encoder can be saved by reference, where it is."""
        if not self.save_text_model and self.text_model_id is None:
            raise ValueError(
                "save_text_model=False saves a reference to the text encoder, which needs text_model_id, its id on "
                "the Hub"
            )
        if not self.save_text_model and not self.freeze_text_model:
            raise ValueError(
                "save_text_model=False saves a reference to a frozen text encoder; one that is trained "
                "(freeze_text_model=False) has weights of its own, which must be saved"
            )

    def validate_projection(self):
        """Check that what has its own layers is not told how many."""
        if self.projection_type == "linear-tanh" and (self.projection_layers != 1 or self.projection_dim is None):
            raise ValueError("projection_type 'linear-tanh' has two layers of its own, and needs a projection_dim")

    def validate_pretraining(self):
        """Check that fusion layers can be put on the two encoders."""
        own = self.pretraining_config
        if own is None:
            return
        if self.projection_type != "linear-tanh" or self.text_centering or self.freeze_text_model:
            raise ValueError(
                "pretraining_config needs projection_type 'linear-tanh', text_centering False and freeze_text_model "
                "False: its fusion layers take the tokens of both encoders, which are trained"
            )
        if own.ets_type == "siglip" and not (self.learn_logit_scale and self.similarity == "cosine"):
            raise ValueError("ets_type 'siglip' needs similarity 'cosine' and learn_logit_scale True")
        if self.hidden_size % own.num_fusion_attention_heads:
            raise ValueError(
                f"num_fusion_attention_heads={own.num_fusion_attention_heads} must divide projection_dim="
                f"{self.hidden_size}"
            )
        if self.ecg_config.model_type != "ecg_transformer":
            raise ValueError(
                f"pretraining_config needs an ECG encoder that drops tokens, ecg_transformer; ecg_config is of type "
                f"{self.ecg_config.model_type!r}"
            )

    def validate_text_pooling(self):
        """Check that the text encoder has a pooler, if it is used."""
        if self.text_pooling == "pooler" and self.text_config.model_type == "t5":
            raise ValueError("a T5 encoder has no pooler; text_pooling must be 'mean' or 'cls'")


class ECGClassificationConfig(StrictConfig):
    """Configuration of `ECGForSequenceClassification`: an ECG encoder and a head.

    Classes are `id2label` or `num_labels`, and `problem_type` is `"multi_label_classification"` (a recording may have
    several classes) or `"single_label_classification"`, as in transformers.

    Args:
        ecg_config: of the ECG encoder: a config, a dict with its `model_type` (default `ecg_resnet`), or None.
        classifier_dropout: before the head, in training.
        thresholds: of each class, the probability from which it is said to be present; None: 0.5.
    """

    model_type = "ecg_classification"
    sub_configs = {"ecg_config": AutoConfig}

    ecg_config: dict | PretrainedConfig | None = None
    problem_type: Literal["multi_label_classification", "single_label_classification"] = "multi_label_classification"
    classifier_dropout: int | float = 0.0
    thresholds: list[float] | tuple[float, ...] | None = None

    def __post_init__(self, **kwargs):
        self.ecg_config = build_ecg_config(self.ecg_config)
        self.thresholds = None if self.thresholds is None else [float(value) for value in self.thresholds]
        super().__post_init__(**kwargs)

    def validate_thresholds(self):
        """Check that there is a threshold for each class."""
        if self.thresholds is not None and len(self.thresholds) != self.num_labels:
            raise ValueError(f"{len(self.thresholds)} thresholds for {self.num_labels} classes: one for each is needed")

    def validate_dropout(self):
        """Check that the dropout is a probability."""
        if not 0 <= self.classifier_dropout < 1:
            raise ValueError(f"classifier_dropout must be from 0 to below 1, got {self.classifier_dropout}")


def build_ecg_config(ecg_config, *, saved: bool = False) -> PretrainedConfig:
    """Return the config of an ECG encoder from a config, a dict or None; see `ECGTextConfig`.

    Args:
        ecg_config: the config, its fields, or None for the default.
        saved: the fields come from a file, where an unknown name is a warning.
    """
    if ecg_config is None:
        return ECGResNetConfig()
    if isinstance(ecg_config, dict):
        model_type = ecg_config.get("model_type", ECGResNetConfig.model_type)
        if model_type not in ECG_CONFIGS:
            raise ValueError(f"ECGTextConfig: ecg_config is of type {model_type!r}, known are {', '.join(ECG_CONFIGS)}")
        config_class = ECG_CONFIGS[model_type]
        return config_class.from_dict(ecg_config) if saved else config_class(**ecg_config)
    # By model_type and not by class: code loaded from a Hub repository may come as two copies of this module.
    if getattr(ecg_config, "model_type", None) not in ECG_CONFIGS:
        raise TypeError(
            f"ECGTextConfig: ecg_config must be a config of an ECG encoder or a dict, got {type(ecg_config).__name__}"
        )
    return ecg_config


def build_text_config(text_config) -> PretrainedConfig:
    """Return the config of a text encoder from a config, a dict or None; see `ECGTextConfig`."""
    if text_config is None:
        text_config = {}
    if isinstance(text_config, dict):
        fields = {name: value for name, value in text_config.items() if name not in ("model_type", "_name_or_path")}
        model_type = text_config.get("model_type", "bert")
        if model_type not in CONFIG_MAPPING:
            raise ValueError(f"ECGTextConfig: text_config is of type {model_type!r}, which transformers does not know")
        return CONFIG_MAPPING[model_type](**fields)
    return text_config


ECGResNetConfig.register_for_auto_class()
ECGTransformerConfig.register_for_auto_class()
ECGTextConfig.register_for_auto_class()
ECGClassificationConfig.register_for_auto_class()
