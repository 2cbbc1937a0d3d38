"""Configurations: `ECGResNetConfig`, an ECG encoder, and `ECGTextConfig`, an ECG encoder and a text encoder aligned.

Every field is checked for type and range on construction, and an unknown name is an error that names the nearest known
one: a misspelt field would otherwise train another model than the one asked for. Only when a saved file is read is an
unknown name a warning, because a newer version may have written it.
"""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import math
import re

from transformers import CONFIG_MAPPING, AutoConfig, PretrainedConfig
from transformers.utils import logging

from .leads import NUM_STANDARD_LEADS

logger = logging.get_logger(__name__)

# What transformers itself hands to a config's __init__ beside the fields of PretrainedConfig.
_PASSED_THROUGH = {field.name for field in dataclasses.fields(PretrainedConfig)} | {
    "attn_implementation",
    "auto_map",
    "custom_pipelines",
    "experts_implementation",
    "model_type",
    "name_or_path",
    "num_labels",
    "output_attentions",
    "torch_dtype",
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


def _check_integer(config: PretrainedConfig, name: str, low: int) -> None:
    value = getattr(config, name)
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{type(config).__name__}: {name} must be an int, got {value!r}")
    if value < low:
        raise ValueError(f"{type(config).__name__}: {name} must be at least {low}, got {value}")


def _check_number(config: PretrainedConfig, name: str, above: float = -math.inf) -> None:
    value = getattr(config, name)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{type(config).__name__}: {name} must be a number, got {value!r}")
    if not (math.isfinite(value) and value > above):
        raise ValueError(f"{type(config).__name__}: {name} must be finite and above {above:g}, got {value!r}")


def _check_flag(config: PretrainedConfig, name: str) -> None:
    value = getattr(config, name)
    if not isinstance(value, bool):
        raise TypeError(f"{type(config).__name__}: {name} must be True or False, got {value!r}")


def _check_choice(config: PretrainedConfig, name: str, choices: tuple[str, ...]) -> None:
    value = getattr(config, name)
    if value not in choices:
        raise ValueError(f"{type(config).__name__}: {name} must be one of {', '.join(choices)}, got {value!r}")


class StrictConfig(PretrainedConfig):
    """A `PretrainedConfig` that refuses unknown names and checks its fields; the parent of this package's configs."""

    def __init__(self, **kwargs):
        refuse_unknown(type(self).__name__, self._unknown_names(kwargs), self._field_names())
        if not __name__.startswith("transformers_modules"):
            # With the package imported its own classes and pipelines serve the checkpoint. Left in place, these
            # two would make `pipeline()` ask for `trust_remote_code` all the same, and be saved again without
            # the code they name.
            kwargs.pop("auto_map", None)
            kwargs.pop("custom_pipelines", None)
        super().__init__(**kwargs)
        self.check()

    @classmethod
    def _field_names(cls) -> set[str]:
        return set(inspect.signature(cls.__init__).parameters) - {"self", "kwargs"}

    @classmethod
    def _unknown_names(cls, names) -> list[str]:
        return [name for name in names if name not in _PASSED_THROUGH and name not in cls._field_names()]

    @classmethod
    def from_dict(cls, config_dict, **kwargs):
        """Build the config from a saved file's contents; names it does not know are left out with a warning.

        Raises:
            ValueError: it is the configuration of another type of model.
        """
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
        (loaded[0] if isinstance(loaded, tuple) else loaded).check()  # again: keyword overrides were set after __init__
        return loaded

    def check(self) -> None:
        """Check types and ranges of all fields.

        Raises:
            TypeError: a field is of the wrong type.
            ValueError: a field is out of its range; the message names field, value and what is allowed.
        """


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

    def __init__(
        self,
        num_leads=NUM_STANDARD_LEADS,
        sampling_rate=500,
        depths=(2, 2, 2, 2),
        hidden_sizes=(64, 128, 256, 512),
        kernel_size=3,
        stem_kernel_size=7,
        stem_stride=2,
        stem_pooling=True,
        norm="batch",
        num_groups=8,
        pooling="average",
        initializer_range=0.02,
        **kwargs,
    ):
        self.num_leads = num_leads
        self.sampling_rate = sampling_rate
        self.depths = list(depths) if isinstance(depths, (tuple, list)) else depths
        self.hidden_sizes = list(hidden_sizes) if isinstance(hidden_sizes, (tuple, list)) else hidden_sizes
        self.kernel_size = kernel_size
        self.stem_kernel_size = stem_kernel_size
        self.stem_stride = stem_stride
        self.stem_pooling = stem_pooling
        self.norm = norm
        self.num_groups = num_groups
        self.pooling = pooling
        self.initializer_range = initializer_range
        super().__init__(**kwargs)

    @property
    def hidden_size(self) -> int:
        """Channels of the last stage: the width of a frame and of the pooled vector."""
        return self.hidden_sizes[-1]

    @property
    def frame_stride(self) -> int:
        """Samples between one output frame and the next: the shortest recording that the encoder takes."""
        return self.stem_stride * (2 if self.stem_pooling else 1) * 2 ** (len(self.depths) - 1)

    def check(self) -> None:
        """See `StrictConfig.check`."""
        for name in ("num_leads", "stem_stride", "num_groups"):
            _check_integer(self, name, low=1)
        for name in ("kernel_size", "stem_kernel_size"):
            _check_integer(self, name, low=3)
            if getattr(self, name) % 2 == 0:
                raise ValueError(
                    f"ECGResNetConfig: {name} must be odd, so that frames stay centred, got {getattr(self, name)}"
                )
        _check_number(self, "sampling_rate", above=0)
        _check_number(self, "initializer_range", above=0)
        _check_flag(self, "stem_pooling")
        _check_choice(self, "norm", ("batch", "group"))
        _check_choice(self, "pooling", ("average", "max", "attention"))
        for name in ("depths", "hidden_sizes"):
            values = getattr(self, name)
            if not isinstance(values, list) or not all(isinstance(v, int) and not isinstance(v, bool) for v in values):
                raise TypeError(f"ECGResNetConfig: {name} must be a list of ints, got {values!r}")
            if not values or min(values) < 1:
                raise ValueError(f"ECGResNetConfig: {name} must hold at least one stage, each 1 or more, got {values}")
        if len(self.depths) != len(self.hidden_sizes):
            raise ValueError(
                f"ECGResNetConfig: depths {self.depths} and hidden_sizes {self.hidden_sizes} must name as many stages"
            )
        if self.norm == "group" and any(size % self.num_groups for size in self.hidden_sizes):
            raise ValueError(
                f"ECGResNetConfig: num_groups={self.num_groups} must divide every hidden size, got {self.hidden_sizes}"
            )


# The ECG encoders a dual encoder can hold: a new encoder adds its line here and in modeling_ecg_text.py.
ECG_CONFIGS = {config.model_type: config for config in (ECGResNetConfig,)}


class ECGTextConfig(StrictConfig):
    """Configuration of `ECGTextModel`: an ECG encoder and a text encoder in one space.

    Args:
        ecg_config: of the ECG encoder: a config, a dict with its `model_type` (default `ecg_resnet`), or None.
        text_config: of the text encoder: a config of any type that transformers knows, a dict with its `model_type`
            (default `bert`), or None.
        projection_dim: width of the shared space. None: the space is the text encoder's own, there is no text head, and
            the ECG head projects to the text encoder's hidden size.
        projection_layers: linear layers of each head, with GELU between them.
        text_pooling: of the tokens to one vector: `"cls"` (the first token), `"mean"` (over the attention mask) or
            `"pooler"` (the encoder's own pooler, if it has one).
        text_centering: subtract `text_mean`, the mean over the training records, from the pooled text. Sentence
            embeddings share a large common direction which hides what differs between them.
        similarity: `"cosine"` or `"dot"`.
        logit_scale_init_value: log of the scale at the start; 2.6592 is ln(1 / 0.07).
        logit_scale_max: upper limit of the scale itself, not of its log.
        loss_type: `"info-nce"` (METS Eq. 1-4: the positive stands in the denominator) or `"decoupled"` (it does not).
        equal_texts: what two records with the same text are to each other: `"positives"`, `"ignored"` or `"negatives"`
            (METS as printed).
        freeze_text_model: keep the text encoder as it is, in evaluation mode and without gradients.
        save_text_model: save the text encoder's weights with the model; False saves a reference to it.
        text_model_id: Hub id that the text encoder came from; needed to save it by reference.
        text_model_revision: commit of `text_model_id`, or None.
        text_model_digest: SHA-256 of its weights; written on saving by reference and checked on loading.

    Source: METS, arXiv 2303.12311, section 2.
    """

    model_type = "ecg_text"
    sub_configs = {"ecg_config": AutoConfig, "text_config": AutoConfig}

    def __init__(
        self,
        ecg_config=None,
        text_config=None,
        projection_dim=128,
        projection_layers=1,
        text_pooling="cls",
        text_centering=False,
        similarity="cosine",
        logit_scale_init_value=2.6592,
        logit_scale_max=100.0,
        loss_type="info-nce",
        equal_texts="positives",
        freeze_text_model=True,
        save_text_model=True,
        text_model_id=None,
        text_model_revision=None,
        text_model_digest=None,
        **kwargs,
    ):
        self.ecg_config = build_ecg_config(ecg_config)
        self.text_config = build_text_config(text_config)
        self.projection_dim = projection_dim
        self.projection_layers = projection_layers
        self.text_pooling = text_pooling
        self.text_centering = text_centering
        self.similarity = similarity
        self.logit_scale_init_value = logit_scale_init_value
        self.logit_scale_max = logit_scale_max
        self.loss_type = loss_type
        self.equal_texts = equal_texts
        self.freeze_text_model = freeze_text_model
        self.save_text_model = save_text_model
        self.text_model_id = text_model_id
        self.text_model_revision = text_model_revision
        self.text_model_digest = text_model_digest
        super().__init__(**kwargs)

    @property
    def hidden_size(self) -> int:
        """Width of the shared space."""
        return self.text_config.hidden_size if self.projection_dim is None else self.projection_dim

    @classmethod
    def from_dict(cls, config_dict, **kwargs):
        """See `StrictConfig.from_dict`; it holds for the ECG encoder's part of the file too."""
        if isinstance(config_dict.get("ecg_config"), dict):
            config_dict = {**config_dict, "ecg_config": build_ecg_config(config_dict["ecg_config"], saved=True)}
        return super().from_dict(config_dict, **kwargs)

    def to_dict(self) -> dict:
        """Return the fields as they are saved: without the folders that encoders came from, and with one dtype."""
        fields = super().to_dict()
        for name in self.sub_configs:
            fields[name] |= {"_name_or_path": "", "dtype": fields.get("dtype")}
        return fields

    def check(self) -> None:
        """See `StrictConfig.check`."""
        if self.projection_dim is not None:
            _check_integer(self, "projection_dim", low=1)
        _check_integer(self, "projection_layers", low=1)
        for name in ("text_centering", "freeze_text_model", "save_text_model"):
            _check_flag(self, name)
        _check_choice(self, "text_pooling", ("cls", "mean", "pooler"))
        _check_choice(self, "similarity", ("cosine", "dot"))
        _check_choice(self, "loss_type", ("info-nce", "decoupled"))
        _check_choice(self, "equal_texts", ("positives", "ignored", "negatives"))
        _check_number(self, "logit_scale_init_value")
        _check_number(self, "logit_scale_max", above=0)
        if self.logit_scale_init_value > math.log(self.logit_scale_max):
            raise ValueError(
                f"ECGTextConfig: logit_scale_init_value={self.logit_scale_init_value} is the log of "
                f"{math.exp(self.logit_scale_init_value):.4g}, above logit_scale_max={self.logit_scale_max}"
            )
        for name in ("text_model_id", "text_model_revision", "text_model_digest"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, str):
                raise TypeError(f"ECGTextConfig: {name} must be a string or None, got {value!r}")
        if self.text_model_id is not None and not re.fullmatch(r"(\w[\w.-]*/)?\w[\w.-]*", self.text_model_id):
            raise ValueError(
                f"ECGTextConfig: text_model_id must be an id on the Hub (owner/name), got {self.text_model_id!r}; a "
                "folder means nothing on another machine"
            )
        if not self.save_text_model and self.text_model_id is None:
            raise ValueError(
                "ECGTextConfig: save_text_model=False saves a reference to the text encoder, which needs "
                "text_model_id, its id on the Hub"
            )
        if not self.save_text_model and not self.freeze_text_model:
            raise ValueError(
                "ECGTextConfig: save_text_model=False saves a reference to a frozen text encoder; one that is trained "
                "(freeze_text_model=False) has weights of its own, which must be saved"
            )
        if self.text_pooling == "pooler" and self.text_config.model_type == "t5":
            raise ValueError("ECGTextConfig: a T5 encoder has no pooler; text_pooling must be 'mean' or 'cls'")


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
    if not isinstance(text_config, PretrainedConfig):
        raise TypeError(f"ECGTextConfig: text_config must be a config or a dict, got {type(text_config).__name__}")
    return text_config
