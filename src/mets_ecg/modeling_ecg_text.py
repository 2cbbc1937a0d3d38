"""`ECGTextModel`: an ECG encoder and a text encoder aligned in one space, and its contrastive losses.

The text encoder is frozen by default (METS): it stays in evaluation mode and has no gradients, after loading
too. Losses are plain functions of a similarity matrix and of a matrix that says which ECG and which text belong
together, so that equal reports, and several texts to a record, are one and the same code.

Source: METS, arXiv 2303.12311, section 2; dual encoder as CLIP in transformers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.modeling_outputs import BaseModelOutput
from transformers.utils import ModelOutput, can_return_tuple

from .configuration_ecg_text import ECGTextConfig
from .ecg_models import ECG_MODELS, load_ecg_model
from .modeling_ecg_encoder import PRETRAINING_KEYS, ECGEncoderOutput, ECGPreTrainedModel
from .text_models import build_text_model, load_text_model, text_model_digest


def pair_texts(
    text_ids: torch.Tensor, duplicate_text_policy: str, text_ids_per_record: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Say which ECG and which text of a batch belong together, where record i came with text i.

    Args:
        text_ids: `(batch,)` integer, equal where texts are equal.
        duplicate_text_policy: what a text is to another record that has it too: `"positives"`, `"ignored"` or
            `"negatives"`.
        text_ids_per_record: `(batch, most texts a record has)`, all texts of each record, of which `text_ids` are one
            each; -1 where a record has fewer. Default: a record has the one text it came with.

    Returns:
        `positives` and `ignored`, each bool `(batch ECGs, batch texts)`; `ignored` is None where nothing is.
    """
    own = torch.eye(len(text_ids), dtype=torch.bool, device=text_ids.device)
    text_ids_per_record = text_ids[:, None] if text_ids_per_record is None else text_ids_per_record
    equal = (text_ids_per_record[:, None, :] == text_ids[None, :, None]).any(dim=-1)
    if duplicate_text_policy == "positives":
        return equal, None
    if duplicate_text_policy == "ignored":
        return own, equal & ~own
    return own, None


def info_nce_loss(
    logits_per_ecg: torch.Tensor,
    positives: torch.Tensor,
    ignored: torch.Tensor | None = None,
    *,
    decoupled: bool = False,
) -> torch.Tensor:
    """InfoNCE in both directions, averaged: which text belongs to this ECG, and which ECG to this text.

    Several positives of a row share their mass: the loss is minus the log of what they get together, and how they
    divide it is free. (Asking for equal parts would, for equal frozen texts, be the same loss as counting them as
    negatives.)
    A row without a positive, or without anything to tell it from when decoupled, is left out of the mean.

    Args:
        logits_per_ecg: `(ECGs, texts)` scaled similarities.
        positives: bool `(ECGs, texts)`, True where the two belong together.
        ignored: bool `(ECGs, texts)`, True where a pair is neither positive nor negative.
        decoupled: leave the positives out of the denominator (an ablation; METS prints them in it).

    Source: METS Eq. 1-4 (arXiv 2303.12311); shared mass: MIL-NCE, arXiv 1912.06430; decoupled: arXiv 2110.06848.
    """
    logits = logits_per_ecg.float()
    per_ecg = _one_direction(logits, positives, ignored, decoupled)
    per_text = _one_direction(logits.T, positives.T, None if ignored is None else ignored.T, decoupled)
    return (per_ecg + per_text) / 2


def _one_direction(logits, positives, ignored, decoupled) -> torch.Tensor:
    left_out = positives if decoupled else torch.zeros_like(positives)
    if ignored is not None:
        left_out = left_out | ignored
    denominator = logits.masked_fill(left_out, -math.inf).logsumexp(dim=1)
    numerator = logits.masked_fill(~positives, -math.inf).logsumexp(dim=1)
    # A row with nothing in it comes out as -inf; it is replaced before the subtraction, so that its gradient stays 0.
    counted = positives.any(dim=1) & ~left_out.all(dim=1)
    zero = torch.zeros_like(denominator)
    loss = torch.where(counted, denominator, zero) - torch.where(counted, numerator, zero)
    return loss.sum() / counted.sum().clamp(min=1)


def vocabulary_loss(
    logits_per_ecg: torch.Tensor, text_ids_per_record: torch.Tensor, text_counts: torch.Tensor
) -> torch.Tensor:
    """Cross-entropy of each ECG over all distinct texts of a corpus, in place of those of a batch.

    A record's target is spread over its own texts in proportion to 1/sqrt(number of records that contain them). How
    common a text is, is added to its logit, in training only, and so need not go into the ECG's vector.

    Args:
        logits_per_ecg: `(ECGs, distinct texts)` scaled similarities.
        text_ids_per_record: `(ECGs, most texts a record has)`, which texts are the ECG's; -1 where it has fewer.
        text_counts: `(distinct texts,)`, how many records contain each, at least 1.

    Source: logit adjustment, arXiv 2007.07314.
    """
    logits = logits_per_ecg.float() + text_counts.log()
    own = text_ids_per_record.clamp(min=0)
    weights = text_counts[own].rsqrt() * (text_ids_per_record >= 0)
    weights = weights / weights.sum(dim=1, keepdim=True)
    return (logits.logsumexp(dim=1) - (weights * logits.gather(1, own)).sum(dim=1)).mean()


@dataclass
class ECGTextOutput(ModelOutput):
    """Output of `ECGTextModel`.

    Args:
        loss: scalar, where `return_loss` was asked for.
        logits_per_ecg: `(ECGs, texts)` scaled similarities, float32.
        logits_per_text: its transpose.
        ecg_embeds: `(ECGs, projection_dim)`, of length 1 where similarity is cosine.
        text_embeds: `(texts, projection_dim)`, of length 1 where similarity is cosine.
        logit_scale: scalar, the factor on similarities.
        ecg_model_output: the ECG encoder's `ECGEncoderOutput`.
        text_pooled: `(texts, text hidden size)`, the text encoder's pooled output before centring and projection.
        text_model_output: the text encoder's whole output; None where `text_pooled` was given.
    """

    loss: torch.FloatTensor | None = None
    logits_per_ecg: torch.FloatTensor | None = None
    logits_per_text: torch.FloatTensor | None = None
    ecg_embeds: torch.FloatTensor | None = None
    text_embeds: torch.FloatTensor | None = None
    logit_scale: torch.FloatTensor | None = None
    ecg_model_output: ECGEncoderOutput | None = None
    text_pooled: torch.FloatTensor | None = None
    text_model_output: BaseModelOutput | None = None

    def to_tuple(self) -> tuple:
        """Return the fields that are there, the encoders' outputs as tuples too."""
        return tuple(value.to_tuple() if isinstance(value, ModelOutput) else value for value in super().to_tuple())


def sigmoid_loss(
    logits: torch.Tensor, positives: torch.Tensor, ignored: torch.Tensor | None = None, *, reduction: str = "mean"
) -> torch.Tensor:
    """Say of each pair of an ECG and a text whether they belong together: minus the log of the sigmoid's probability.

    Args:
        logits: `(ECGs, texts)`.
        positives: bool `(ECGs, texts)`, True where the two belong together.
        ignored: bool `(ECGs, texts)`, True where a pair is neither positive nor negative.
        reduction: `"mean"` over the pairs that count, or their `"sum"` over the number of ECGs.

    Source: SigLIP, arXiv 2303.15343 (`"sum"`); C-MELT, arXiv 2410.02131: printed with `"sum"`, released with `"mean"`.
    """
    each = nn.functional.softplus(torch.where(positives, -logits.float(), logits.float()))
    counted = torch.ones_like(positives) if ignored is None else ~ignored
    total = (each * counted).sum()
    return total / (counted.sum() if reduction == "mean" else len(logits))


def _projection(config: ECGTextConfig, in_features: int) -> nn.Sequential:
    size = config.hidden_size
    if config.projection_type == "linear-tanh":
        return nn.Sequential(nn.Linear(in_features, size), nn.Linear(size, size), nn.Tanh())
    stack = []
    for i in range(config.projection_layers):
        stack += [nn.Linear(in_features if i == 0 else size, size), nn.GELU()]
    return nn.Sequential(*stack[:-1])


class ECGTextModel(ECGPreTrainedModel):
    """An ECG encoder (`ecg_model`) and a text encoder (`text_model`) with a projection each into one space.

    Building it from a config touches no network: both towers get new weights. `from_ecg_text_pretrained` starts from
    trained towers, `from_pretrained` loads a checkpoint. With `save_text_model=False` a checkpoint refers to its text
    encoder, which `from_pretrained(..., text_model=folder_or_id)` may take from elsewhere; its digest must agree.
    """

    config_class = ECGTextConfig
    _no_split_modules = ["ECGResNetBlock", "ECGTransformerLayer"]
    # What `ECGTextForPreTraining` has beside the dual encoder, which is taken out of its checkpoint.
    _keys_to_ignore_on_load_unexpected = list(PRETRAINING_KEYS)
    # Of the text encoder's layers alone: batch norm under checkpointing would count each step twice.
    supports_gradient_checkpointing = True

    def __init__(self, config: ECGTextConfig):
        super().__init__(config)
        self.ecg_model = ECG_MODELS[config.ecg_config.model_type](config.ecg_config)
        self.text_model = build_text_model(config.text_config)
        text_size = config.text_config.hidden_size
        self.ecg_projection = _projection(config, config.ecg_config.hidden_size)
        self.text_projection = None if config.projection_dim is None else _projection(config, text_size)
        scale = torch.tensor(float(config.logit_scale_init_value))
        if config.learn_logit_scale:
            self.logit_scale = nn.Parameter(scale)
        else:
            self.register_buffer("logit_scale", scale, persistent=False)
        if config.text_centering:
            self.register_buffer("text_mean", torch.zeros(text_size))
        if not config.save_text_model:
            self._keys_to_ignore_on_load_missing = [r"^text_model\."]
        self.post_init()
        # transformers gathers the towers' lists; what the ECG tower leaves over of a dual encoder is none of ours.
        left_out = set(type(self.ecg_model)._keys_to_ignore_on_load_unexpected)
        if config.pretraining_config is not None:
            left_out -= set(PRETRAINING_KEYS)
        self._keys_to_ignore_on_load_unexpected -= left_out
        self._freeze_text_model()

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if module is self:
            init.constant_(self.logit_scale, self.config.logit_scale_init_value)
            if self.config.text_centering:
                init.zeros_(self.text_mean)
        elif isinstance(module, nn.Linear):
            # Only the projections reach here (towers initialise themselves); scaled as CLIP's.
            init.normal_(module.weight, std=module.in_features**-0.5)

    @classmethod
    def from_ecg_text_pretrained(cls, ecg, text, **kwargs) -> ECGTextModel:
        """Join an ECG encoder and a text encoder, in evaluation mode; the projections are new.

        Args:
            ecg: an ECG encoder: a model, a config (new weights), or the folder or Hub id of a checkpoint, of an encoder
                or of a dual encoder.
            text: a text encoder: a model, or a folder or Hub id.
            kwargs: fields of `ECGTextConfig`.

        Raises:
            OSError: the text model is not there; the message says how to get one.
        """
        if isinstance(text, PreTrainedModel):
            text_model = text
        else:
            text_model = load_text_model(
                str(text),
                revision=kwargs.get("text_model_revision"),
                needs_pooler=kwargs.get("text_pooling") == "pooler",
            )
            if not Path(text).is_dir():
                kwargs.setdefault("text_model_id", str(text))
        ecg_model = ecg if isinstance(ecg, PreTrainedModel) else load_ecg_model(ecg)
        model = cls(ECGTextConfig(ecg_config=ecg_model.config, text_config=text_model.config, **kwargs))
        model.ecg_model = ecg_model.to(model.dtype)
        model.text_model = text_model.to(model.dtype)
        model._freeze_text_model()
        model.config.text_model_digest = None if model.config.save_text_model else text_model_digest(text_model)
        return model.eval()

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path, *model_args, text_model: str | None = None, **kwargs):
        """Load a checkpoint; see `ECGPreTrainedModel.from_pretrained`.

        Args:
            text_model: where to take a text encoder saved by reference from: a folder or Hub id; default the saved id.

        Raises:
            ValueError: the weights do not fit, or the text encoder is not the one the checkpoint was trained with.
        """
        loaded = super().from_pretrained(pretrained_model_name_or_path, *model_args, **kwargs)
        model = loaded[0] if isinstance(loaded, tuple) else loaded
        if not model.config.save_text_model:
            model._load_referenced_text_model(text_model)
        model._freeze_text_model()
        model._after_loading()
        return loaded

    def _after_loading(self) -> None:
        """A dual encoder that was taken out of a pre-training checkpoint has nothing else to save."""
        self.config.pretraining_config = None

    def save_pretrained(self, save_directory, *, save_text_model: bool | None = None, **kwargs) -> None:
        """Save the model, with or without its text encoder; see `ECGPreTrainedModel.save_pretrained`.

        Args:
            save_text_model: the field of the config, from now on; None leaves it as it is.
        """
        if save_text_model is not None:
            self.config.save_text_model = save_text_model
        # Imported here, because that is enough for the file to be copied beside this one.
        from .pipeline_zero_shot_ecg import CUSTOM_PIPELINES

        text_weights = {f"text_model.{name}" for name in self.text_model.state_dict()}
        self._keys_to_ignore_on_save -= text_weights
        if not self.config.save_text_model:
            self._keys_to_ignore_on_save |= text_weights
            # Weights that were cast to half precision have lost the digits that the digest knows.
            if self.config.text_model_digest is None or self.text_model.dtype == torch.float32:
                self.config.text_model_digest = text_model_digest(self.text_model)
        self.config.custom_pipelines = CUSTOM_PIPELINES
        # `AutoModel` on the checkpoint of a class that is made from this one gives the dual encoder.
        self.config.auto_map = {"AutoModel": f"{__name__.rpartition('.')[2]}.{ECGTextModel.__name__}"}
        super().save_pretrained(save_directory, **kwargs)

    def _load_referenced_text_model(self, text_model: str | None) -> None:
        source = text_model or self.config.text_model_id
        loaded = load_text_model(source, revision=None if text_model else self.config.text_model_revision)
        digest = text_model_digest(loaded)
        if digest != self.config.text_model_digest:
            raise ValueError(
                f"the text model {source!r} is not the one this checkpoint was trained with: its weights have digest "
                f"{digest[:12]}, expected {str(self.config.text_model_digest)[:12]} ({self.config.text_model_id})"
            )
        loaded.set_attn_implementation(self.text_model.config._attn_implementation)
        self.text_model = loaded.to(device=self.device, dtype=self.dtype)

    def _freeze_text_model(self) -> None:
        if self.config.freeze_text_model:
            self.text_model.requires_grad_(False).eval()
        elif self.config.text_pooling != "pooler" and getattr(self.text_model, "pooler", None) is not None:
            self.text_model.pooler.requires_grad_(False)  # not used: several processes would wait for its gradient

    def train(self, mode: bool = True) -> ECGTextModel:
        """Set training mode; a frozen text encoder stays in evaluation mode."""
        super().train(mode)
        if self.config.freeze_text_model:
            self.text_model.eval()
        return self

    def get_input_embeddings(self) -> nn.Module:
        """Return the text encoder's embedding of tokens."""
        return self.text_model.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replace the text encoder's embedding of tokens."""
        self.text_model.set_input_embeddings(value)

    def encode_text(self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None) -> torch.Tensor:
        """Return the text encoder's pooled output `(batch, text hidden size)`, before centring and projection."""
        return self._encode_text(input_ids, attention_mask)[0]

    def _encode_text(self, input_ids, attention_mask, output_hidden_states: bool = False):
        """Return the pooled output and the whole output of the text encoder."""
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.config.freeze_text_model):
            output = self.text_model(
                input_ids=input_ids,
                attention_mask=attention_mask,
                output_hidden_states=output_hidden_states,
                return_dict=True,
            )
            if self.config.text_pooling == "pooler":
                if getattr(output, "pooler_output", None) is None:
                    raise ValueError(
                        f"the text encoder ({self.config.text_config.model_type}) has no pooler: set text_pooling to "
                        "'mean' or 'cls'"
                    )
                return output.pooler_output, output
            if self.config.text_pooling == "cls":
                return output.last_hidden_state[:, 0], output
            weights = attention_mask[:, :, None].to(output.last_hidden_state.dtype)
            return (output.last_hidden_state * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1), output

    def project_text(self, text_pooled: torch.Tensor) -> torch.Tensor:
        """Centre and project pooled text `(batch, text hidden size)` to `(batch, projection_dim)`, not normalised."""
        text_pooled = text_pooled.to(self.logit_scale.dtype)  # what was encoded earlier may have been kept in another
        if self.config.text_centering:
            text_pooled = text_pooled - self.text_mean
        return text_pooled if self.text_projection is None else self.text_projection(text_pooled)

    def get_text_features(self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None) -> torch.Tensor:
        """Return text features `(batch, projection_dim)`, projected and not normalised."""
        return self.project_text(self.encode_text(input_ids, attention_mask))

    def get_ecg_features(
        self,
        input_values: torch.Tensor,
        ecg_attention_mask: torch.Tensor | None = None,
        lead_mask: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return ECG features `(batch, projection_dim)`, projected and not normalised; arguments as `forward`."""
        output = self.ecg_model(input_values, ecg_attention_mask, lead_mask, return_dict=True)
        return self.ecg_projection(output.pooler_output)

    def normalize_features(self, features: torch.Tensor) -> torch.Tensor:
        """Return features as they are compared: of length 1 where similarity is cosine."""
        return nn.functional.normalize(features, dim=-1) if self.config.similarity == "cosine" else features

    def get_logit_scale(self) -> torch.Tensor:
        """Return the factor on similarities, at most `logit_scale_max`."""
        limit = self.config.logit_scale_max
        if not self.training:
            return self.logit_scale.exp().clamp(max=limit)
        # The parameter is held at the limit, and what rounding leaves above it is taken off as a constant: a clamp in
        # the graph would leave the parameter at the limit without a gradient, for good.
        with torch.no_grad():
            self.logit_scale.clamp_(max=math.log(limit))
        scale = self.logit_scale.exp()
        return scale - (scale.detach() - limit).clamp(min=0)

    @can_return_tuple
    def forward(
        self,
        input_values: torch.FloatTensor,
        input_ids: torch.LongTensor | None = None,
        attention_mask: torch.Tensor | None = None,
        ecg_attention_mask: torch.Tensor | None = None,
        lead_mask: torch.Tensor | None = None,
        text_pooled: torch.FloatTensor | None = None,
        positives: torch.Tensor | None = None,
        ignored: torch.Tensor | None = None,
        return_loss: bool | None = None,
        output_hidden_states: bool | None = None,
    ) -> ECGTextOutput | tuple:
        """Compare ECGs with texts.

        Args:
            input_values: `(ECGs, leads, samples)` float, as `ECGFeatureExtractor` makes them.
            input_ids: `(texts, tokens)`.
            attention_mask: `(texts, tokens)`.
            ecg_attention_mask: `(ECGs, samples)`, not 0 where a sample was recorded; None where all were.
            lead_mask: `(ECGs, leads)`, not 0 where a lead is present; None where all are.
            text_pooled: `(texts, text hidden size)` from `encode_text`, in place of `input_ids` (a frozen text is
                encoded once).
            positives: bool `(ECGs, texts)`, which belong together; default: row i with row i, and equal `input_ids`
                as `config.duplicate_text_policy` says.
            ignored: bool `(ECGs, texts)`, pairs that are neither positive nor negative; only with `positives`.
            return_loss: compute the contrastive loss.
            output_hidden_states: return the outputs of all blocks and layers in `ecg_model_output` and
                `text_model_output`; default: as the config says.

        Raises:
            ValueError: neither or both of `input_ids` and `text_pooled` are given; `ignored` is given without
                `positives`; or a loss is asked for, `positives` is not given, and there is not one text to each ECG.
        """
        if (input_ids is None) == (text_pooled is None):
            raise ValueError("give the texts either as input_ids or as text_pooled (the output of encode_text)")
        if positives is None and ignored is not None:
            raise ValueError("ignored says which pairs to leave out beside positives: give both")
        if output_hidden_states is None:
            output_hidden_states = self.config.output_hidden_states
        ecg_output = self.ecg_model(
            input_values,
            ecg_attention_mask,
            lead_mask,
            output_hidden_states=output_hidden_states,
            return_dict=True,
        )
        text_output = None
        if text_pooled is None:
            text_pooled, text_output = self._encode_text(input_ids, attention_mask, output_hidden_states)
        ecg_embeds = self.normalize_features(self.ecg_projection(ecg_output.pooler_output))
        text_embeds = self.normalize_features(self.project_text(text_pooled))
        logit_scale = self.get_logit_scale()
        # Not in half precision, which at a scale near its limit would round logits to halves.
        with torch.autocast(ecg_embeds.device.type, enabled=False):
            logits_per_ecg = logit_scale * ecg_embeds.float() @ text_embeds.float().T

        loss = None
        if return_loss:
            if positives is None:
                positives, ignored = self._pair_batch(len(logits_per_ecg), input_ids, attention_mask, text_pooled)
            loss = info_nce_loss(logits_per_ecg, positives, ignored, decoupled=self.config.loss_type == "decoupled")
        return ECGTextOutput(
            loss=loss,
            logits_per_ecg=logits_per_ecg,
            logits_per_text=logits_per_ecg.T,
            ecg_embeds=ecg_embeds,
            text_embeds=text_embeds,
            logit_scale=logit_scale,
            ecg_model_output=ecg_output,
            text_pooled=text_pooled,
            text_model_output=text_output,
        )

    def _pair_batch(self, num_ecgs, input_ids, attention_mask, text_pooled):
        texts = text_pooled if input_ids is None else input_ids
        if len(texts) != num_ecgs:
            raise ValueError(
                f"{num_ecgs} ECGs and {len(texts)} texts: pass positives=(ECGs, texts) to say which belong together"
            )
        if input_ids is not None and attention_mask is not None:
            texts = input_ids.masked_fill(attention_mask == 0, -1)
        text_ids = torch.unique(texts, dim=0, return_inverse=True)[1]
        return pair_texts(text_ids, self.config.duplicate_text_policy)


ECGTextModel.register_for_auto_class("AutoModel")
