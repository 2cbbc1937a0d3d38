"""Checkpoints: folders that appear whole or not at all, and that load wherever a model of this package does."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from ..arguments import save_arguments
from ..hub.packaging import save_with_code


def prepare_output(folder: str | Path, *, overwrite: bool) -> Path:
    """Check that a checkpoint may be written to a folder.

    Raises:
        FileExistsError: there is something, and it may not be replaced.
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise FileExistsError(f"the output {str(folder)!r} is a file; name a folder")
    if folder.is_dir() and any(folder.iterdir()) and not overwrite:
        raise FileExistsError(f"the output folder {str(folder)!r} is not empty: name another, or pass --overwrite")
    if overwrite and folder.is_dir() and any(folder.iterdir()) and not (folder / "config.json").is_file():
        raise FileExistsError(
            f"the output folder {str(folder)!r} holds no checkpoint: it is not replaced, name another"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    return folder


def save_checkpoint(folder: Path, model, processor, *, metrics: dict, arguments) -> None:
    """Write a checkpoint beside its place and put it there at once; an older one stays until the new one is whole."""
    partial, replaced = folder.with_name(f".{folder.name}.partial"), folder.with_name(f".{folder.name}.replaced")
    for leftover in (partial, replaced):
        shutil.rmtree(leftover, ignore_errors=True)
    save_with_code(model, processor, partial)
    write_metrics(partial, metrics)
    save_arguments(arguments, partial / "training_args.yaml")
    if folder.exists():
        folder.rename(replaced)
    partial.rename(folder)
    shutil.rmtree(replaced, ignore_errors=True)


def write_metrics(folder: Path, metrics: dict) -> None:
    """Write `metrics.json` into a folder, at once."""
    partial = folder / ".metrics.json.partial"
    partial.write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
    partial.rename(folder / "metrics.json")
