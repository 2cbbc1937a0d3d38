import pytest

from mets_ecg import ECGFeatureExtractor
from mets_ecg.training.ecg_text_method import new_ecg_config


def test_a_new_encoder_takes_what_the_feature_extractor_gives():
    extractor = ECGFeatureExtractor(sampling_rate=100, bandpass=None)
    config = new_ecg_config(extractor, {"model_type": "ecg_transformer", "hidden_size": 96})
    assert (config.num_leads, config.sampling_rate, config.hidden_size) == (12, 100, 96)
    with pytest.raises(ValueError, match="the encoder has sampling_rate=500, the feature extractor gives 100"):
        new_ecg_config(extractor, {"sampling_rate": 500})
