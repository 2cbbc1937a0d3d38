"""Checkpoints: folders that appear whole or not at all, and that load wherever a model of this package does."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

from mets_ecg_cli.parser import save_arguments

from ..evaluation.statistics import plain_values


def prepare_output(folder: str | Path, *, overwrite: bool) -> Path:
    """Check that a checkpoint may be written to a folder.

    Raises:
        FileExistsError: there is something, and it may not be replaced.
    """
    folder = Path(folder).resolve()
    partial, replaced = _beside(folder)
    if replaced.exists() and not folder.exists():
        replaced.rename(folder)  # a run was cut off between the two renames of `save_checkpoint`
    if folder.exists() and not folder.is_dir():
        raise FileExistsError(f"the output {str(folder)!r} is a file; name a folder")
    if folder.is_dir() and any(folder.iterdir()) and not overwrite:
        raise FileExistsError(f"the output folder {str(folder)!r} is not empty: name another, or pass --overwrite")
    if overwrite and folder.is_dir() and any(folder.iterdir()) and not (folder / "training_args.yaml").is_file():
        raise FileExistsError(
            f"the output folder {str(folder)!r} holds no checkpoint: it is not replaced, name another"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    return folder


def save_checkpoint(folder: Path, model, processor, *, metrics: dict, arguments) -> None:
    """Write a checkpoint beside its place and put it there at once; an older one stays until the new one is whole.

    The arguments are saved without the folders of this machine: of a path its last part stays.
    """
    partial, replaced = _beside(folder)
    shutil.rmtree(partial, ignore_errors=True)
    model.save_pretrained(partial)
    processor.save_pretrained(partial)
    write_metrics(partial, metrics)
    paths = {name: _without_folder(getattr(arguments, name)) for name in ("output", "source", "text_model")}
    paths["data"] = [_without_folder(path) for path in arguments.data]
    save_arguments(dataclasses.replace(arguments, **paths), partial / "training_args.yaml")
    if folder.exists():
        folder.rename(replaced)
    partial.rename(folder)
    shutil.rmtree(replaced, ignore_errors=True)


def _without_folder(path: str | None) -> str | None:
    return Path(path).name if path is not None and Path(path).is_absolute() else path


def _beside(folder: Path) -> tuple[Path, Path]:
    return folder.with_name(f".{folder.name}.partial"), folder.with_name(f".{folder.name}.replaced")


def write_metrics(folder: Path, metrics: dict) -> None:
    """Write `metrics.json` into a folder, at once."""
    partial = folder / ".metrics.json.partial"
    partial.write_text(json.dumps(plain_values(metrics), indent=2, allow_nan=False) + "\n", encoding="utf-8")
    partial.rename(folder / "metrics.json")
