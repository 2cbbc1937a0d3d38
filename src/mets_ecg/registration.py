"""Make `AutoModel`, `AutoProcessor` and `pipeline` of transformers know this package's classes.

Importing `mets_ecg` does this. Without the import a checkpoint of ours loads with `trust_remote_code=True` from
the code beside its weights.
"""

from __future__ import annotations

from transformers import (
    AutoConfig,
    AutoFeatureExtractor,
    AutoModel,
    AutoModelForPreTraining,
    AutoModelForSequenceClassification,
    AutoProcessor,
    Pipeline,
)
from transformers.pipelines import PIPELINE_REGISTRY

from .configuration_ecg_text import ECGClassificationConfig, ECGTextConfig
from .ecg_models import ECG_MODELS
from .feature_extraction_ecg import ECGFeatureExtractor
from .modeling_ecg_classification import ECGForSequenceClassification
from .modeling_ecg_text import ECGTextModel
from .modeling_ecg_text_pretraining import ECGTextForPreTraining
from .pipeline_ecg_classification import TASK as CLASSIFICATION
from .pipeline_ecg_classification import ECGClassificationPipeline
from .pipeline_zero_shot_ecg import TASKS, ZeroShotECGClassificationPipeline
from .processing_ecg import ECGProcessor


class ZeroShotClassificationDispatcher(Pipeline):
    """Stands for `"zero-shot-classification"`: our pipeline for our models, transformers' own for text models."""

    # None: what the checkpoint has is loaded. Text models have a tokenizer, ours a processor.
    _load_processor = None
    _load_tokenizer = None
    _load_feature_extractor = None
    _load_image_processor = False
    _load_video_processor = False

    def __new__(cls, *args, model=None, processor=None, feature_extractor=None, **kwargs):
        if model.config.model_type == ECGTextConfig.model_type:
            kwargs.pop("tokenizer", None)  # the processor holds it
            return ZeroShotECGClassificationPipeline(*args, model=model, processor=processor, **kwargs)
        if model.config.model_type == ECGClassificationConfig.model_type:
            raise ValueError(
                "this model classifies into the classes that it was trained on, and takes no labels in words: use "
                f"pipeline({CLASSIFICATION!r}, model=...)"
            )
        from transformers import ZeroShotClassificationPipeline

        return ZeroShotClassificationPipeline(*args, model=model, **kwargs)


def register() -> None:
    """Register the package's classes; doing it again changes nothing."""
    for model in (*ECG_MODELS.values(), ECGTextModel):
        config = model.config_class
        AutoConfig.register(config.model_type, config, exist_ok=True)
        AutoModel.register(config, model, exist_ok=True)
        AutoFeatureExtractor.register(config, ECGFeatureExtractor, exist_ok=True)
    AutoModelForPreTraining.register(ECGTextConfig, ECGTextForPreTraining, exist_ok=True)
    AutoProcessor.register(ECGTextConfig, ECGProcessor, exist_ok=True)
    AutoConfig.register(ECGClassificationConfig.model_type, ECGClassificationConfig, exist_ok=True)
    AutoModelForSequenceClassification.register(ECGClassificationConfig, ECGForSequenceClassification, exist_ok=True)
    AutoFeatureExtractor.register(ECGClassificationConfig, ECGFeatureExtractor, exist_ok=True)

    own, shared = TASKS
    dispatched = {
        CLASSIFICATION: (ECGClassificationPipeline, (AutoModelForSequenceClassification,), "multimodal"),
        own: (ZeroShotECGClassificationPipeline, (AutoModel,), "multimodal"),
        # Tried in this order: a text model keeps the head it had without this package.
        shared: (ZeroShotClassificationDispatcher, (AutoModelForSequenceClassification, AutoModel), "text"),
    }
    for task, (pipeline_class, model_classes, kind) in dispatched.items():
        before = PIPELINE_REGISTRY.supported_tasks.pop(task, {})  # registering over a task warns
        PIPELINE_REGISTRY.register_pipeline(
            task, pipeline_class, pt_model=model_classes, default=before.get("default"), type=kind
        )
