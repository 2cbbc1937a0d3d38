"""Outputs of frozen text encoders, cached on disk for all runs and processes of this machine.

There is one folder for each text encoder (weights, tokenizer, pooling and maximum length) in the cache of `datasets`.
Files in it appear whole, so an interrupted run loses only what was not written yet.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path

import datasets
import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from ..modeling_ecg_text import ECGTextModel
from ..text_models import text_model_digest

_DIGEST_SIZE = 16


def cache_folder() -> Path:
    """Return the folder with the caches of all text encoders."""
    return Path(datasets.config.HF_DATASETS_CACHE) / "mets-ecg" / "texts"


class TextCache:
    """Pooled outputs by text, in a folder."""

    def __init__(self, folder: Path):
        self.folder = folder

    @classmethod
    def of(cls, model: ECGTextModel, processor) -> TextCache:
        """Return the cache of a model's text encoder."""
        tokenizer = processor.tokenizer
        if tokenizer.is_fast:
            words = json.loads(tokenizer.backend_tokenizer.to_str())
            del words["padding"], words["truncation"]  # what the last call set
        else:
            words = tokenizer.get_vocab()
        settings = [
            text_model_digest(model.text_model),
            model.config.text_pooling,
            str(model.text_model.dtype),
            hashlib.sha256(json.dumps(words, sort_keys=True).encode()).hexdigest(),
            processor.max_length,
        ]
        key = hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:16]
        return cls(cache_folder() / key)

    def read(self, texts: Sequence[str], *, out: torch.Tensor) -> np.ndarray:
        """Write the cached outputs into `out (texts, text hidden size)`; return the positions of texts without one."""
        wanted = {_digest(text): i for i, text in enumerate(texts)}
        for path in sorted(
            self.folder.glob("*.safetensors")
        ):  # the oldest first: where two have a text, that one counts
            try:
                with safe_open(path, "pt") as file:
                    digests = [row.tobytes() for row in file.get_tensor("digests").numpy()]
                    found = [(row, wanted.pop(own)) for row, own in enumerate(digests) if own in wanted]
                    if found:
                        rows, places = zip(*found, strict=True)
                        out[list(places)] = file.get_tensor("pooled")[list(rows)]
            except (SafetensorError, OSError):  # damaged, or removed meanwhile: encoded again
                continue
        return np.array(sorted(wanted.values()), dtype=np.int64)

    def add(self, texts: Sequence[str], pooled: torch.Tensor) -> None:
        """Add the pooled outputs of texts, `(texts, text hidden size)`."""
        self.folder.mkdir(parents=True, exist_ok=True)
        digests = np.stack([np.frombuffer(_digest(text), np.uint8) for text in texts])
        path = self.folder / f"{time.time_ns():020d}-{os.getpid()}.safetensors"
        partial = path.with_suffix(".partial")
        try:
            save_file({"digests": torch.from_numpy(digests), "pooled": pooled.contiguous()}, partial)
            partial.rename(path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()[:_DIGEST_SIZE]
