"""Checkpoints that come with the package, so that the first answer about a recording comes from a trained model."""

from __future__ import annotations

from pathlib import Path

_FOLDER = Path(__file__).parent / "checkpoints"


def shipped(name: str = "mets-small") -> str:
    """Return the folder of a checkpoint that comes with the package.

    `mets-small` is METS, trained by the recipe of that name on folds 1 to 8 of PTB-XL (CC BY 4.0, DOI
    10.13026/kfzx-aw45). Its text encoder is loaded from `sentence-transformers/all-MiniLM-L6-v2`, which the extra
    `offline` brings. Its `README.md` is its card.

    Example:
        >>> AutoModel.from_pretrained(mets_ecg.shipped("mets-small"))

    Raises:
        FileNotFoundError: there is none of this name.
    """
    if name not in shipped_names():
        raise FileNotFoundError(f"no checkpoint {name!r} comes with the package: there is {', '.join(shipped_names())}")
    return str(_FOLDER / name)


def shipped_names() -> list[str]:
    """Return the names of the checkpoints that come with the package."""
    return sorted(path.parent.name for path in _FOLDER.glob("*/config.json"))
