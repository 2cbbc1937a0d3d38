"""Typed arguments: one dataclass a command, its flags made from it, its YAML recipes checked against it.

A default is stated once, in the dataclass. `--config recipe.yaml` sets fields, flags given beside it win. Where a
dataclass has a field `config` of its own, `--config` is that field.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import difflib
import inspect
import json
import types
import typing
from pathlib import Path

import yaml

from .resources import find_recipe


def argument(default=dataclasses.MISSING, *, help: str, positional: bool = False, **options):
    """Return a dataclass field with the help text of its flag; other options are those of `dataclasses.field`.

    Args:
        default: of the field.
        help: of the flag.
        positional: the field is written without a flag.
        options: for example `default_factory`.
    """
    if default is not dataclasses.MISSING:
        options["default"] = default
    return dataclasses.field(metadata={"help": help, "positional": positional}, **options)


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
        ValueError: a value of the recipe is of the wrong type, or the dataclass refuses a value.
        OSError: the recipe cannot be read.
    """
    recipe_parser, recipe = argparse.ArgumentParser(add_help=False), {}
    if not any(field.name == "config" for field in dataclasses.fields(arguments_type)):
        recipe_help = "a recipe that sets fields, a file or a name as mets-small; flags given beside it win"
        recipe_parser.add_argument("--config", metavar="RECIPE", help=recipe_help)
        recipe_path = recipe_parser.parse_known_args(argv)[0].config
        recipe = read_recipe(arguments_type, recipe_path) if recipe_path else {}

    parser = argparse.ArgumentParser(
        prog=prog,
        description=(arguments_type.__doc__ or "").split("\n\n")[0],
        epilog=f"example: {example}" if example else None,
        parents=[recipe_parser],
        formatter_class=_HelpFormatter,
        allow_abbrev=False,
    )
    hints = typing.get_type_hints(arguments_type)
    for field in dataclasses.fields(arguments_type):
        _add_field(parser, field, hints[field.name], recipe)
    given = vars(parser.parse_args(argv))
    for name, value in recipe.items():
        if isinstance(value, dict) and isinstance(given[name], dict):
            given[name] = _merge(value, given[name])
    return arguments_type(**{field.name: given[field.name] for field in dataclasses.fields(arguments_type)})


def _add_field(parser: argparse.ArgumentParser, field: dataclasses.Field, hint, recipe: dict) -> None:
    options = {"help": field.metadata["help"]}
    required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    if field.name in recipe:
        options["default"] = recipe[field.name]
    elif not required:
        options["default"] = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
    kinds = [kind for kind in typing.get_args(hint) if kind is not types.NoneType]
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        (hint,) = kinds
    if typing.get_origin(hint) is typing.Literal:
        options["choices"] = typing.get_args(hint)
    elif typing.get_origin(hint) is list:
        (kind,) = typing.get_args(hint)
        literal = typing.get_origin(kind) is typing.Literal
        options |= {"nargs": "+"} | ({"choices": typing.get_args(kind)} if literal else {"type": kind})
    elif hint is bool:
        options["action"] = "store_true"
    else:
        options["type"] = _json_object if hint is dict else hint
    if field.metadata["positional"]:
        if "default" in options:
            options["nargs"] = "?"
        parser.add_argument(field.name, **options)
    else:
        required = required and field.name not in recipe
        parser.add_argument(f"--{field.name.replace('_', '-')}", dest=field.name, required=required, **options)


def _merge(recipe: dict, given: dict) -> dict:
    """Return the recipe's fields, with those of a flag in their place; blocks within blocks too."""
    nested = {key: _merge(recipe[key], own) for key, own in given.items()
              if isinstance(own, dict) and isinstance(recipe.get(key), dict)}  # fmt: skip
    return recipe | given | nested


class _HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Show the defaults that say something, and an example on one line, to be copied."""

    def _get_help_string(self, action):
        silent = action.default in (None, argparse.SUPPRESS, {}, False) or action.default == []
        return action.help if silent else super()._get_help_string(action)

    def _fill_text(self, text, width, indent):
        return text if text.startswith("example: ") else super()._fill_text(text, width, indent)


def read_recipe(arguments_type: type, path: str | Path) -> dict:
    """Return the fields that a recipe sets.

    Args:
        arguments_type: whose fields they are.
        path: of the recipe, or the name of one of the package's own.

    Raises:
        TypeError: it names a field that there is not.
        ValueError: it is not a YAML mapping, or a value is not of its field's type.
        OSError: it cannot be read.
    """
    recipe = read_yaml(find_recipe(path))
    known = [field.name for field in dataclasses.fields(arguments_type)]
    for name in recipe:
        if name not in known:
            nearest = difflib.get_close_matches(str(name), known, n=1)
            hint = f" (did you mean {nearest[0]!r}?)" if nearest else ""
            raise TypeError(
                f"{path}: {arguments_type.__name__} has no field {name!r}{hint}; its fields are {', '.join(known)}"
            )
    hints = typing.get_type_hints(arguments_type)
    for name, value in recipe.items():
        if hints[name] is float and isinstance(value, str):  # YAML reads 1e-3 as a text, and 1.0e-3 as a number
            with contextlib.suppress(ValueError):
                value = recipe[name] = float(value)
        if not _is_of_type(value, hints[name]):
            raise ValueError(f"{path}: {name} must be {inspect.formatannotation(hints[name])}, got {value!r}")
    return recipe


def read_yaml(path: str | Path) -> dict:
    """Return the fields of a YAML file.

    Raises:
        ValueError: it is not a YAML mapping.
        OSError: it cannot be read.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no file {str(path)!r}")
    try:
        fields = yaml.safe_load(Path(path).read_text(encoding="utf-8")) or {}
    except yaml.YAMLError as error:
        raise ValueError(f"{str(path)!r} is not YAML: {error}") from error
    if not isinstance(fields, dict):
        raise ValueError(f"{str(path)!r} must set fields as `name: value`, it has a {type(fields).__name__}")
    return fields


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
        raise ValueError(f"{text!r} is not a JSON object")
    return fields


def save_arguments(arguments, path: str | Path) -> None:
    """Write a filled dataclass as a recipe that `--config` reads."""
    Path(path).write_text(yaml.safe_dump(dataclasses.asdict(arguments), sort_keys=False), encoding="utf-8")
