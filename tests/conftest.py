"""Fixtures shared by all tests. Nothing here, and no test, reaches a network."""

import os
import shutil
from pathlib import Path

# Read by the libraries at import, so before any of them.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import pytest

FIXTURES = Path(__file__).parent / "fixtures"


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
