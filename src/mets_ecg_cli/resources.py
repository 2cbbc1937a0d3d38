"""Files that commands need from outside the package's code: recipes, card templates and two recordings.

In a wheel they are inside the package, in a checkout they are where they are edited: `examples/configs`, `hub_cards`
and the tests' fixtures.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

_PACKAGE = Path(__file__).parents[1] / "mets_ecg"
_CHECKOUT = _PACKAGE.parents[1]

# Place in a wheel -> place in a checkout, for each kind; pyproject.toml maps the same.
_PLACES = {
    "cards": (_PACKAGE / "resources" / "cards", _CHECKOUT / "hub_cards"),
    "configs": (_PACKAGE / "resources" / "configs", _CHECKOUT / "examples" / "configs"),
    "records": (
        _PACKAGE / "resources" / "records",
        _CHECKOUT / "tests" / "fixtures" / "ptb-xl" / "records500" / "00000",
    ),
}


def resource(kind: str, name: str) -> Path:
    """Return the path of a file: kind `"cards"`, `"configs"` or `"records"`.

    Raises:
        FileNotFoundError: it is neither in the installed package nor in a checkout.
    """
    for folder in _PLACES[kind]:
        if (folder / name).is_file():
            return folder / name
    raise FileNotFoundError(f"{name} is not among the {kind} of this installation: install mets-ecg again")


def find_recipe(name: str | Path) -> Path:
    """Return the path of a recipe: of a file, or of one of the package's own, as `mets-small`.

    Raises:
        FileNotFoundError: there is neither.
    """
    path = Path(name)
    if path.is_file():
        return path
    with contextlib.suppress(FileNotFoundError):
        return resource("configs", f"{str(name).removesuffix('.yaml')}.yaml")
    own = sorted({file.stem for folder in _PLACES["configs"] for file in folder.glob("*.yaml")})
    raise FileNotFoundError(f"there is no file {str(name)!r}, and no recipe of that name: there are {', '.join(own)}")
