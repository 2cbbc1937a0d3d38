"""The command `mets-ecg convert`: a checkpoint that others released becomes one of this package's.

A new kind of checkpoint is a module in `converters/`, and a line here.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import pickle
import shutil
from collections.abc import Mapping
from pathlib import Path

import torch
from torch.serialization import safe_globals

from mets_ecg_cli.convert import ConvertArguments

from .converters.converter import Converter
from .converters.dbeta import DBETA
from .model_card import write_model_card

CONVERTERS = {"dbeta": DBETA}


def run_convert(arguments: ConvertArguments) -> None:
    """Convert a checkpoint, and print what came of it.

    Raises:
        ValueError, OSError: as `convert_checkpoint`.
    """
    convert_checkpoint(
        CONVERTERS[arguments.kind], arguments.checkpoint, arguments.output, tokenizer=arguments.tokenizer
    )
    print(f"converted: {arguments.output}, with its processor and card")


def convert_checkpoint(converter: Converter, checkpoint: str, output: str, *, tokenizer: str | None = None) -> None:
    """Write a released checkpoint as a folder of this package's: weights, configs, processor, code and card.

    Args:
        converter: of its kind.
        checkpoint: file.
        output: folder; it appears whole or not at all.
        tokenizer: folder or Hub id of the text encoder's; default the one that it was trained with.

    Raises:
        ValueError: the file carries code, which is not run, is damaged, or holds other tensors than the model has; the
            message names them.
        OSError: the file or the tokenizer is not there, or the output folder is not empty.
    """
    folder = Path(output)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(f"{output!r} is there already: name another folder, or remove it")
    processor = converter.processor(tokenizer or converter.tokenizer)
    released = converter_weights(converter, checkpoint)
    model = converter.model()
    converter.load(model, released)
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        model.save_pretrained(partial)
        processor.save_pretrained(partial)
        source = f"The file `{Path(checkpoint).name}` has SHA-256 `{_digest(checkpoint)}`."
        origin = dataclasses.replace(converter.origin, text=f"{source} {converter.origin.text}")
        write_model_card(partial, name=folder.resolve().name, origin=origin)
        if folder.is_dir():
            folder.rmdir()
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def converter_weights(converter: Converter, checkpoint: str) -> Mapping[str, torch.Tensor]:
    """Return the tensors of a released file, by their released names; no code in it is run.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it carries code, or is no such checkpoint.
    """
    path = Path(checkpoint)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {checkpoint!r}")
    try:
        # Old training scripts put a namespace beside the weights, which is only fields.
        with safe_globals([argparse.Namespace]):
            held = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        carried = str(error).split("GLOBAL ")[-1].split(" ")[0] if "GLOBAL " in str(error) else None
        what = (
            f"carries code ({carried}), which is not run" if carried else "is no file of torch.save, or a damaged one"
        )
        raise ValueError(
            f"{checkpoint!r} {what}: save its tensors alone, as torch.save({{'model': state_dict}})"
        ) from error
    except (RuntimeError, EOFError, KeyError, UnicodeDecodeError) as error:
        raise ValueError(f"{checkpoint!r} is no file of torch.save, or a damaged one: download it again") from error
    try:
        weights = converter.weights(held)
        tensors = {name: tensor for name, tensor in weights.items() if isinstance(tensor, torch.Tensor)}
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise ValueError(f"{checkpoint!r} does not hold what such a checkpoint does: {error!r} is missing") from error
    if others := sorted(weights.keys() - tensors.keys()):
        raise ValueError(f"{checkpoint!r} holds something else than a tensor under {others[0]!r}")
    return tensors


def _digest(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
