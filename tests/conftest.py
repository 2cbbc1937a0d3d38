"""Fixtures shared by all tests. Nothing here, and no test, reaches a network."""

import logging
import os
import shutil
import signal
from pathlib import Path

# Read by the libraries at import, so before any of them.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # the models here are too small to share work between threads

import pytest

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell that starts tests in the background has it ignored

FIXTURES = Path(__file__).parent / "fixtures"


@pytest.fixture(autouse=True)
def no_texts_of_earlier_tests(tmp_path, monkeypatch):
    """What text encoders made is kept from run to run; a test shall not find what another left."""
    from mets_ecg.data import text_cache

    monkeypatch.setattr(text_cache, "cache_folder", lambda: tmp_path / "texts")


@pytest.fixture(scope="session")
def ptb_xl_source() -> Path:
    """33 real recordings in PTB-XL's own layout."""
    return FIXTURES / "ptb-xl"


@pytest.fixture
def tiny_checkpoint(tmp_path) -> Path:
    """A copy of the tiny checkpoint, which a test may damage."""
    return Path(shutil.copytree(FIXTURES / "tiny-checkpoint", tmp_path / "tiny-checkpoint"))


@pytest.fixture(scope="session")
def tiny_model():
    """The tiny checkpoint's model, not to be changed."""
    from mets_ecg import ECGTextModel

    return ECGTextModel.from_pretrained(FIXTURES / "tiny-checkpoint")


@pytest.fixture(scope="session")
def tiny_processor():
    """The tiny checkpoint's processor, not to be changed."""
    from mets_ecg import ECGProcessor

    return ECGProcessor.from_pretrained(FIXTURES / "tiny-checkpoint")


@pytest.fixture(scope="session")
def tiny_text_model(tmp_path_factory, tiny_model, tiny_processor) -> str:
    """Folder of the tiny checkpoint's text encoder and tokenizer alone."""
    folder = tmp_path_factory.mktemp("tiny-text-model")
    tiny_model.text_model.save_pretrained(folder)
    tiny_processor.tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="session")
def simulated_corpus(tmp_path_factory):
    """160 simulated recordings at 100 Hz."""
    from mets_ecg.data.simulator.corpus import simulate_corpus

    return simulate_corpus(160, seed=3, cache_dir=tmp_path_factory.mktemp("simulated"))


@pytest.fixture
def transformers_log(caplog):
    """The library's own logger does not propagate."""
    logger = logging.getLogger("transformers")
    logger.addHandler(caplog.handler)
    yield caplog
    logger.removeHandler(caplog.handler)


@pytest.fixture(scope="session")
def make_pretrain_arguments(tiny_text_model):
    """Makes the arguments of a METS run that takes seconds, for an output folder."""
    from mets_ecg_cli.pretrain import PretrainArguments

    def make(output):
        return PretrainArguments(
            output=str(output),
            text_model=tiny_text_model,
            model={
                "ecg_config": {"hidden_sizes": [6, 10, 14], "depths": [1, 1, 1]},
                "projection_dim": 17,
                "text_pooling": "mean",
                "text_centering": True,
            },
            feature_extractor={"sampling_rate": 100, "max_duration": 10.0, "bandpass": None},
            processor={"report_template": "{}", "max_length": 40},
            task="simulated",
            epochs=2,
            batch_size=16,
            optimizer="adamw",
            learning_rate=3e-3,
        )

    return make


@pytest.fixture
def pretrain_arguments(tmp_path, make_pretrain_arguments):
    """Arguments of a METS run that takes seconds; override by `dataclasses.replace`."""
    return make_pretrain_arguments(tmp_path / "checkpoint")


@pytest.fixture(scope="session")
def make_c_melt_arguments(tiny_text_model):
    """Makes the arguments of a C-MELT run that takes seconds, for an output folder."""
    from mets_ecg_cli.pretrain import PretrainArguments

    def make(output):
        return PretrainArguments(
            output=str(output),
            method="c-melt",
            text_column="report_en",
            text_config={
                "model_type": "bert",
                "hidden_size": 20,
                "num_hidden_layers": 1,
                "num_attention_heads": 2,
                "intermediate_size": 28,
            },
            model={
                "ecg_config": {
                    "model_type": "ecg_transformer",
                    "conv_hidden_sizes": [10, 10, 10, 10],
                    "hidden_size": 24,
                    "num_hidden_layers": 1,
                    "num_attention_heads": 2,
                    "intermediate_size": 26,
                    "position_kernel_size": 8,
                    "num_position_groups": 4,
                },
                "projection_dim": 16,
                "text_pooling": "mean",
                "pretraining_config": {
                    "num_fusion_layers": 2,
                    "num_fusion_attention_heads": 2,
                    "fusion_intermediate_size": 22,
                    "mem_layer": 1,
                    "mem_hidden_size": 12,
                    "num_mem_layers": 1,
                    "num_mem_attention_heads": 2,
                },
            },
            feature_extractor={"sampling_rate": 100, "bandpass": None},
            processor={"neutral_phrase": None, "report_template": "{}"},
            negative_embedder=tiny_text_model,
            negative_candidates=5,
            epochs=2,
            batch_size=16,
            learning_rate=0.003,
            optimizer="adamw",
        )

    return make
