"""The ECG encoders by model type, and how one is made or taken out of a checkpoint."""

from __future__ import annotations

from .configuration_ecg_text import ECGTextConfig
from .modeling_ecg_resnet import ECGResNetModel
from .modeling_ecg_transformer import ECGTransformerModel

# What a dual encoder or a classifier can hold: a new encoder adds its line here and in configuration_ecg_text.py.
ECG_MODELS = {model.config_class.model_type: model for model in (ECGResNetModel, ECGTransformerModel)}


def load_ecg_model(ecg):
    """Return an ECG encoder.

    Args:
        ecg: a config (new weights), or the folder or Hub id of a checkpoint that holds an encoder: one itself, a dual
            encoder's or a classifier's.

    Raises:
        ValueError: it holds no ECG encoder, or the weights do not fit.
        OSError: there is no such checkpoint.
    """
    if not hasattr(ecg, "model_type"):
        fields, _ = ECGTextConfig.get_config_dict(ecg)
        model_type = fields.get("ecg_config", fields).get("model_type")
        if model_type not in ECG_MODELS:
            raise ValueError(
                f"{ecg!s} holds no ECG encoder (model type {model_type!r}); known are {', '.join(ECG_MODELS)}"
            )
        return ECG_MODELS[model_type].from_pretrained(ecg)
    if ecg.model_type not in ECG_MODELS:
        raise ValueError(f"{ecg.model_type!r} is no ECG encoder; known are {', '.join(ECG_MODELS)}")
    return ECG_MODELS[ecg.model_type](ecg)
