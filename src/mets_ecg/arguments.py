"""Typed arguments: one dataclass a command, its flags made from it, its YAML recipes checked against it.

A default stands once, in the dataclass. `--config recipe.yaml` sets fields, flags given beside it win.
"""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import json
import types
import typing
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
        arguments_type: a dataclass; each field is a flag. A field of type `dict` takes JSON. Its class attribute
            `POSITIONAL` may name a field that is written without a flag.
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
    positional = getattr(arguments_type, "POSITIONAL", None)
    if positional is not None:
        (flag,) = (action for action in parser._actions if action.dest == positional)
        parser._remove_action(flag)
        for group in parser._action_groups:
            group._group_actions = [action for action in group._group_actions if action is not flag]
        for spelling in flag.option_strings:
            del parser._option_string_actions[spelling]
        parser.add_argument(positional, help=flag.help)
    hints = typing.get_type_hints(arguments_type)
    for action in parser._actions:
        action.option_strings.sort(key=lambda flag: "_" in flag)  # the spelling with hyphens is shown first
        if action.dest in recipe:
            action.required = False
        if dict in (hints.get(action.dest), typing.get_origin(hints.get(action.dest))):
            action.type = _json_object
    parser.set_defaults(**recipe)
    given = vars(parser.parse_args(argv))
    for name, value in recipe.items():
        if isinstance(value, dict) and isinstance(given[name], dict):
            given[name] = _merge(value, given[name])
    return arguments_type(**{field.name: given[field.name] for field in dataclasses.fields(arguments_type)})


def _merge(recipe: dict, given: dict) -> dict:
    """The recipe's fields, with those of a flag in their place; blocks within blocks too."""
    nested = {key: _merge(recipe[key], own) for key, own in given.items()
              if isinstance(own, dict) and isinstance(recipe.get(key), dict)}  # fmt: skip
    return recipe | given | nested


class _HelpFormatter(ArgumentDefaultsHelpFormatter):
    """Show the defaults that say something, and an example on one line, to be copied."""

    def _get_help_string(self, action):
        silent = action.default in (None, SUPPRESS, {}) or action.default == []
        return action.help if silent else super()._get_help_string(action)

    def _fill_text(self, text, width, indent):
        return text if text.startswith("example: ") else super()._fill_text(text, width, indent)


def read_recipe(arguments_type: type, path: str | Path) -> dict:
    """Return the fields that a recipe sets.

    Raises:
        TypeError: it names a field that there is not.
        ValueError: it is no YAML mapping, or a value is not of its field's type.
        OSError: it cannot be read.
    """
    recipe = read_yaml(path)
    known = {field.name for field in dataclasses.fields(arguments_type)}
    refuse_unknown(f"{path}: {arguments_type.__name__}", [name for name in recipe if name not in known], known)
    hints = typing.get_type_hints(arguments_type)
    for name, value in recipe.items():
        if hints[name] is float and isinstance(value, str):  # YAML reads 1e-3 as a text, and 1.0e-3 as a number
            with contextlib.suppress(ValueError):
                value = recipe[name] = float(value)
        if not _is_of_type(value, hints[name]):
            raise ValueError(f"{path}: {name} must be {inspect.formatannotation(hints[name])}, got {value!r}")
    return recipe


def read_yaml(path: str | Path) -> dict:
    """Return the fields of a recipe, whosever they are.

    Raises:
        ValueError: it is no YAML mapping.
        OSError: it cannot be read.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no recipe {str(path)!r}")
    try:
        recipe = yaml.safe_load(Path(path).read_text(encoding="utf-8")) or {}
    except yaml.YAMLError as error:
        raise ValueError(f"the recipe {str(path)!r} is no YAML: {error}") from error
    if not isinstance(recipe, dict):
        raise ValueError(
            f"the recipe {str(path)!r} must set fields as `name: value`, it holds a {type(recipe).__name__}"
        )
    return recipe


def _is_of_type(value, wanted) -> bool:
    origin, inner = typing.get_origin(wanted), typing.get_args(wanted)
    if origin in (typing.Union, types.UnionType):
        return any(_is_of_type(value, one) for one in inner)
    if origin is typing.Literal:
        return value in inner
    if origin is list:
        return isinstance(value, list) and all(_is_of_type(one, inner[0]) for one in value)
    if wanted in (int, float):
        return isinstance(value, (int, wanted)) and not isinstance(value, bool)
    return isinstance(value, origin or wanted)


def _json_object(text: str) -> dict:
    fields = json.loads(text)
    if not isinstance(fields, dict):
        raise ValueError(f"{text!r} is no JSON object")
    return fields


def save_arguments(arguments, path: str | Path) -> None:
    """Write a filled dataclass as a recipe that `--config` reads."""
    Path(path).write_text(yaml.safe_dump(dataclasses.asdict(arguments), sort_keys=False), encoding="utf-8")
