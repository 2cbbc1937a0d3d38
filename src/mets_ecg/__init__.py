"""mets-ecg: ask an ECG a question in words.

METS (arXiv 2303.12311) and C-MELT (arXiv 2410.02131) as Hugging Face models. Importing the package registers them, so
that `AutoModel`, `AutoProcessor` and `pipeline("zero-shot-classification")` of transformers load their checkpoints.
Corpora, training, evaluation and plots are in the subpackages `mets_ecg.data`, `.training`, `.evaluation`, `.io` and
`.hub`, and the module `.plotting`, imported when asked for.
"""

from importlib.metadata import PackageNotFoundError, version

from .configuration_ecg_text import (
    ECGClassificationConfig,
    ECGResNetConfig,
    ECGTextConfig,
    ECGTextPreTrainingConfig,
    ECGTransformerConfig,
)
from .feature_extraction_ecg import ECGFeatureExtractor
from .leads import STANDARD_LEADS
from .modeling_ecg_classification import ECGForSequenceClassification
from .modeling_ecg_encoder import ECGEncoderOutput
from .modeling_ecg_resnet import ECGResNetModel
from .modeling_ecg_text import ECGTextModel, ECGTextOutput, info_nce_loss, sigmoid_loss, vocabulary_loss
from .modeling_ecg_text_pretraining import ECGTextForPreTraining, ECGTextPreTrainingOutput, c_melt_config
from .modeling_ecg_transformer import ECGTransformerModel
from .pipeline_ecg_classification import ECGClassificationPipeline
from .pipeline_zero_shot_ecg import ZeroShotECGClassificationPipeline
from .processing_ecg import ECGProcessor
from .registration import register
from .shipped import shipped

try:
    __version__ = version("mets-ecg")
except PackageNotFoundError:  # run from a source tree that was not installed
    __version__ = "0.0.0"

__all__ = [
    "STANDARD_LEADS",
    "ECGClassificationConfig",
    "ECGClassificationPipeline",
    "ECGEncoderOutput",
    "ECGFeatureExtractor",
    "ECGForSequenceClassification",
    "ECGProcessor",
    "ECGResNetConfig",
    "ECGResNetModel",
    "ECGTextConfig",
    "ECGTextForPreTraining",
    "ECGTextModel",
    "ECGTextOutput",
    "ECGTextPreTrainingConfig",
    "ECGTextPreTrainingOutput",
    "ECGTransformerConfig",
    "ECGTransformerModel",
    "ZeroShotECGClassificationPipeline",
    "c_melt_config",
    "info_nce_loss",
    "shipped",
    "sigmoid_loss",
    "vocabulary_loss",
]

register()
