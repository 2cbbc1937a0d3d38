"""What the pipelines share is tested where they are used; here, that both take the same inputs and refuse the same."""

import numpy as np
import pytest
from transformers import pipeline

from mets_ecg import ECGFeatureExtractor, ECGForSequenceClassification


@pytest.fixture(params=["zero-shot-ecg-classification", "ecg-classification"])
def ask(request, tiny_checkpoint, tmp_path):
    """Ask a pipeline, whatever it needs beside the recording."""
    if request.param == "ecg-classification":
        ECGForSequenceClassification.from_pretrained(tiny_checkpoint, num_labels=2).save_pretrained(tmp_path / "c")
        ECGFeatureExtractor.from_pretrained(tiny_checkpoint).save_pretrained(tmp_path / "c")
        return pipeline(request.param, model=str(tmp_path / "c"), device="cpu")
    pipe = pipeline(request.param, model=str(tiny_checkpoint), device="cpu")
    return lambda *args, **kwargs: pipe(*args, candidate_labels=["sinus rhythm", "lbbb"], **kwargs)


def test_a_path_an_array_and_a_generator_are_recordings(ask, ptb_xl_source):
    path = str(ptb_xl_source / "records500/00000/00338_hr")
    signal = np.random.default_rng(0).standard_normal((12, 1000))
    assert len(ask(path)) == 2
    assert ask(signal, sampling_rate=100) == ask([signal], sampling_rate=100)[0]
    assert [len(own) for own in ask((one for one in [signal, signal]), sampling_rate=100)] == [2, 2]


def test_the_same_inputs_are_refused(ask):
    signal = np.random.default_rng(0).standard_normal((12, 1000))
    with pytest.raises(ValueError, match="sampling_rate"):
        ask(signal)
    with pytest.raises(ValueError, match="top_k must be 1 or more"):
        ask(signal, sampling_rate=100, top_k=0)
    with pytest.raises(ValueError, match="crop='random' is for training"):
        ask(signal, sampling_rate=100, crop="random")
    with pytest.raises(TypeError, match="return_details must be True or False"):
        ask(signal, sampling_rate=100, return_details="yes")
