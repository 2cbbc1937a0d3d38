"""Typed arguments: one dataclass a command, its flags made from it, its YAML recipes checked against it.

A default stands once, in the dataclass. `--config recipe.yaml` sets fields, flags given beside it win.
"""

from __future__ import annotations

import dataclasses
import json
from argparse import SUPPRESS, ArgumentDefaultsHelpFormatter
from pathlib import Path

import yaml
from transformers import HfArgumentParser

from .configuration_ecg_text import refuse_unknown


def argument(default=dataclasses.MISSING, *, help: str, **options):
    """Return a dataclass field with the help text of its flag; other options are those of `dataclasses.field`."""
    if default is not dataclasses.MISSING:
        options["default"] = default
    return dataclasses.field(metadata={"help": help}, **options)


def parse_arguments(arguments_type: type, argv: list[str] | None = None, *, prog: str | None = None, example: str = ""):
    """Return the dataclass filled from flags and, if `--config` names one, from a recipe.

    Args:
        arguments_type: a dataclass; each field is a flag. A field of type `dict` takes JSON.
        argv: the flags; default those of the process.
        prog: name of the program in its help.
        example: shown at the end of the help.

    Raises:
        SystemExit: a flag is unknown or misused (status 2), or help was asked for (status 0).
        TypeError: the recipe names a field that there is not.
        OSError: the recipe cannot be read.
    """
    recipe_parser = HfArgumentParser([], add_help=False, formatter_class=_HelpFormatter)
    recipe_parser.add_argument("--config", metavar="YAML", help="a recipe that sets fields; flags given beside it win")
    recipe_path, _ = recipe_parser.parse_known_args(argv)
    recipe = read_recipe(arguments_type, recipe_path.config) if recipe_path.config else {}

    parser = HfArgumentParser(
        arguments_type,
        prog=prog,
        description=(arguments_type.__doc__ or "").split("\n\n")[0],
        epilog=f"example: {example}" if example else None,
        parents=[recipe_parser],
        formatter_class=_HelpFormatter,
    )
    fields = {field.name: field for field in dataclasses.fields(arguments_type)}
    for action in parser._actions:
        action.option_strings.sort(key=lambda flag: "_" in flag)  # the spelling with hyphens is shown first
        if action.dest in recipe:
            action.required = False
        if action.dest in fields and str(fields[action.dest].type).startswith("dict"):
            action.type = json.loads
    parser.set_defaults(**recipe)
    given = vars(parser.parse_args(argv))
    return arguments_type(**{name: given[name] for name in fields})


class _HelpFormatter(ArgumentDefaultsHelpFormatter):
    """Show the defaults that say something."""

    def _get_help_string(self, action):
        silent = action.default in (None, SUPPRESS, {}) or action.default == []
        return action.help if silent else super()._get_help_string(action)


def read_recipe(arguments_type: type, path: str | Path) -> dict:
    """Return the fields that a recipe sets.

    Raises:
        TypeError: it names a field that there is not.
        OSError: it cannot be read.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no recipe {str(path)!r}")
    recipe = yaml.safe_load(Path(path).read_text(encoding="utf-8")) or {}
    known = {field.name for field in dataclasses.fields(arguments_type)}
    refuse_unknown(f"{path}: {arguments_type.__name__}", [name for name in recipe if name not in known], known)
    return recipe


def save_arguments(arguments, path: str | Path) -> None:
    """Write a filled dataclass as a recipe that `--config` reads."""
    Path(path).write_text(yaml.safe_dump(dataclasses.asdict(arguments), sort_keys=False), encoding="utf-8")
