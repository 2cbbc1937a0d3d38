"""`ECGForSequenceClassification`: an ECG encoder with a classification head."""

from __future__ import annotations

import torch
from torch import nn
from transformers.modeling_outputs import SequenceClassifierOutput
from transformers.utils import can_return_tuple, logging

from .configuration_ecg_text import ECG_CONFIGS, ECGClassificationConfig, ECGTextConfig
from .ecg_models import ECG_MODELS, load_ecg_model
from .modeling_ecg_encoder import ECGPreTrainedModel

logger = logging.get_logger(__name__)


class ECGForSequenceClassification(ECGPreTrainedModel):
    """An ECG encoder (`ecg_model`) and a linear head (`classifier`) on its pooled output.

    `from_pretrained` loads a classifier, and builds a new head on the encoder of a dual encoder's or an encoder's
    checkpoint: `ECGForSequenceClassification.from_pretrained("org/mets-ecg", num_labels=5)`.
    """

    config_class = ECGClassificationConfig
    _no_split_modules = ["ECGResNetBlock"]

    def __init__(self, config: ECGClassificationConfig):
        super().__init__(config)
        self.num_labels = config.num_labels
        self.ecg_model = ECG_MODELS[config.ecg_config.model_type](config.ecg_config)
        self.dropout = nn.Dropout(config.classifier_dropout)
        self.classifier = nn.Linear(config.ecg_config.hidden_size, config.num_labels)
        self.post_init()
        # transformers gathers the encoder's list; here the head is expected.
        self._keys_to_ignore_on_load_unexpected -= set(type(self.ecg_model)._keys_to_ignore_on_load_unexpected)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path, *model_args, **kwargs):
        """Load a classifier, or an ECG encoder and put a new head on it; see `ECGPreTrainedModel.from_pretrained`.

        Args:
            pretrained_model_name_or_path: folder or Hub id.
            model_args: as in transformers.
            kwargs: as in transformers; where a head is new, fields of `ECGClassificationConfig`, of which `num_labels`
                or `id2label` is needed.

        Raises:
            ValueError: the weights do not fit, a head is new and the classes are not given, or a classifier has another
                number of classes than is asked for.
        """
        config = kwargs.get("config")
        fields = (
            None if config is not None else ECGClassificationConfig.get_config_dict(pretrained_model_name_or_path)[0]
        )
        if fields is None or fields.get("model_type") not in (ECGTextConfig.model_type, *ECG_CONFIGS):
            return super().from_pretrained(pretrained_model_name_or_path, *model_args, **kwargs)
        if not {"num_labels", "id2label"} & kwargs.keys():
            raise ValueError(
                f"{pretrained_model_name_or_path!s} has an ECG encoder and no classification head: pass num_labels or "
                "id2label for a new one"
            )
        ecg_model = load_ecg_model(pretrained_model_name_or_path)
        model = cls(ECGClassificationConfig(ecg_config=ecg_model.config, **kwargs))
        model.ecg_model = ecg_model
        logger.warning(f"the classifier on the encoder of {pretrained_model_name_or_path!s} is new: train it")
        return model.eval()

    def save_pretrained(self, save_directory, **kwargs) -> None:
        """Save the model with its code; see `ECGPreTrainedModel.save_pretrained`."""
        # Imported here, because that is enough for the file to be copied beside this one.
        from .pipeline_ecg_classification import CUSTOM_PIPELINES

        self.config.custom_pipelines = CUSTOM_PIPELINES
        super().save_pretrained(save_directory, **kwargs)

    def get_probabilities(self, logits: torch.Tensor) -> torch.Tensor:
        """Return the probabilities `(batch, num_labels)` of logits: each class' own, or a softmax over the classes."""
        return logits.softmax(dim=-1) if self.config.problem_type == "single_label_classification" else logits.sigmoid()

    @can_return_tuple
    def forward(
        self,
        input_values: torch.FloatTensor,
        ecg_attention_mask: torch.Tensor | None = None,
        lead_mask: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        output_hidden_states: bool | None = None,
    ) -> SequenceClassifierOutput | tuple:
        """Classify recordings.

        Args:
            input_values: `(batch, leads, samples)` float, as `ECGFeatureExtractor` makes them.
            ecg_attention_mask: `(batch, samples)`, not 0 where a sample was recorded; None where all were.
            lead_mask: `(batch, leads)`, not 0 where a lead is present; None where all are.
            labels: for the loss: `(batch, num_labels)` of 0 and 1, or `(batch,)` class numbers if `problem_type` is
                `"single_label_classification"`.
            output_hidden_states: return the output of every block; default: as the config says.

        Returns:
            `logits (batch, num_labels)`, with `labels` the `loss`: binary cross-entropy, mean over classes, or
            cross-entropy.
        """
        output = self.ecg_model(
            input_values, ecg_attention_mask, lead_mask, output_hidden_states=output_hidden_states, return_dict=True
        )
        logits = self.classifier(self.dropout(output.pooler_output))
        loss = None
        if labels is not None:
            if self.config.problem_type == "single_label_classification":
                loss = nn.functional.cross_entropy(logits.float(), labels)
            else:
                loss = nn.functional.binary_cross_entropy_with_logits(logits.float(), labels.float())
        return SequenceClassifierOutput(loss=loss, logits=logits, hidden_states=output.hidden_states)


ECGForSequenceClassification.register_for_auto_class("AutoModelForSequenceClassification")
