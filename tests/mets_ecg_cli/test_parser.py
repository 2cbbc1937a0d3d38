"""Flags and recipes from one dataclass."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest
import yaml

from mets_ecg_cli.parser import argument, parse_arguments, read_recipe, save_arguments
from mets_ecg_cli.pretrain import PretrainArguments

CONFIGS = Path(__file__).parents[2] / "examples" / "configs"


@dataclass
class Cooking:
    """Cook a dish.

    What is not shown in the help.
    """

    dish: str = argument(help="what is cooked")
    oven_degrees: float = argument(180.0, help="heat")
    num_guests: int = argument(4, help="mouths")
    side: str | None = argument(None, help="beside it")
    method: Literal["bake", "fry"] = argument("bake", help="how")
    spices: list[str] = argument(default_factory=lambda: ["salt"], help="what is added")
    sauce: dict = argument(default_factory=dict, help="its parts")
    quick: bool = argument(False, help="in a hurry")


def recipe(tmp_path: Path, text: str) -> str:
    path = tmp_path / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_defaults_are_the_dataclasses():
    assert parse_arguments(Cooking, ["--dish", "pie"]) == Cooking(dish="pie")
    assert parse_arguments(PretrainArguments, ["--output", "o"]) == PretrainArguments(output="o")


@dataclass
class Baking:
    """Bake a dish."""

    dish: str = argument(help="what is cooked", positional=True)
    num_guests: int = argument(4, help="mouths")


@dataclass
class Serving:
    """Serve a dish."""

    config: str | None = argument(None, help="how the table is laid")


def test_a_dataclass_may_have_a_config_of_its_own(tmp_path, capsys):
    path = recipe(tmp_path, "forks: left\n")
    assert parse_arguments(Serving, ["--config", path]) == Serving(config=path)
    assert parse_arguments(Serving, []) == Serving()
    with pytest.raises(SystemExit):
        parse_arguments(Serving, ["--help"])
    said = capsys.readouterr().out
    assert "how the table is laid" in said and "a recipe that sets fields" not in said


def test_a_field_may_be_written_without_its_flag(capsys):
    for flags in (["pie", "--num-guests", "2"], ["--num-guests", "2", "pie"]):
        assert parse_arguments(Baking, flags) == Baking(dish="pie", num_guests=2)
    for arguments_type, flags in ((Cooking, ["pie"]), (Baking, []), (Baking, ["--dish", "pie"])):
        with pytest.raises(SystemExit):
            parse_arguments(arguments_type, flags)
    capsys.readouterr()
    with pytest.raises(SystemExit):
        parse_arguments(Baking, ["--help"])
    assert "what is cooked" in capsys.readouterr().out


def test_flags_are_read_with_hyphens_and_types():
    arguments = parse_arguments(
        Cooking,
        ["--dish", "pie", "--oven-degrees", "200", "--num-guests", "7", "--method", "fry", "--quick"]
        + ["--spices", "salt", "pepper", "--sauce", '{"cream": 1, "wine": [2, 3]}', "--side", "rice"],
    )
    assert arguments == Cooking("pie", 200.0, 7, "rice", "fry", ["salt", "pepper"], {"cream": 1, "wine": [2, 3]}, True)
    assert isinstance(arguments.oven_degrees, float)


def test_a_list_of_choices_takes_those_and_no_others(capsys):
    arguments = parse_arguments(PretrainArguments, ["--output", "o", "--log-with", "tensorboard", "wandb"])
    assert arguments.log_with == ["tensorboard", "wandb"]
    with pytest.raises(SystemExit):
        parse_arguments(PretrainArguments, ["--output", "o", "--log-with", "paper"])
    assert "choose from" in capsys.readouterr().err


def test_a_recipe_sets_fields_and_flags_win(tmp_path):
    path = recipe(
        tmp_path,
        "dish: pie\noven_degrees: 1e2\nnum_guests: 9\nspices: [dill]\nsauce: {cream: 2}\nquick: true\nside: null\n",
    )
    expected = Cooking("pie", 100.0, 9, None, "bake", ["dill"], {"cream": 2}, True)
    assert parse_arguments(Cooking, ["--config", path]) == expected
    assert parse_arguments(Cooking, ["--config", path, "--num-guests", "2", "--spices", "a", "b"]) == (
        dataclasses.replace(expected, num_guests=2, spices=["a", "b"])
    )
    assert parse_arguments(Cooking, [f"--config={path}", "--dish", "stew"]).dish == "stew"


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("dis: pie", TypeError, "no field 'dis' .did you mean 'dish'"),
        ("num_guests: many", ValueError, "num_guests must be int, got 'many'"),
        ("num_guests: 1.5", ValueError, "num_guests must be int"),
        ("num_guests: true", ValueError, "num_guests must be int"),
        ("num_guests: null", ValueError, "num_guests must be int"),
        ("oven_degrees: hot", ValueError, "oven_degrees must be float"),
        ("method: boil", ValueError, "method must be .*bake"),
        ("spices: salt", ValueError, "spices must be list.str."),
        ("spices: [1]", ValueError, "spices must be list.str."),
        ("sauce: cream", ValueError, "sauce must be dict"),
        ("quick: 1", ValueError, "quick must be bool"),
        ("- dish", ValueError, "name: value.*list"),
        ("dish: [", ValueError, "is not YAML"),
    ],
)
def test_a_wrong_recipe_is_refused_with_its_path(tmp_path, text, error, message):
    path = recipe(tmp_path, text)
    with pytest.raises(error, match=message) as raised:
        parse_arguments(Cooking, ["--config", path, "--dish", "pie"])
    assert path in str(raised.value)


def test_a_recipe_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no-recipe\.yaml"):
        parse_arguments(Cooking, ["--config", str(tmp_path / "no-recipe.yaml")])


@pytest.mark.parametrize(
    "flags",
    [[], ["--dish"], ["--dish", "pie", "--unknown", "1"], ["--dish", "pie", "--num-guests", "x"]]
    + [["--dish", "pie", "--method", "boil"], ["--dish", "pie", "--sauce", "[1]"], ["--dish", "pie", "--sauce", "{"]],
)
def test_wrong_flags_end_with_status_2(flags, capsys):
    with pytest.raises(SystemExit) as raised:
        parse_arguments(Cooking, flags, prog="cook")
    assert raised.value.code == 2
    assert "usage: cook" in capsys.readouterr().err


def test_the_help_shows_summary_flags_defaults_and_example(capsys):
    with pytest.raises(SystemExit) as raised:
        parse_arguments(Cooking, ["--help"], prog="cook", example="cook --dish pie")
    assert raised.value.code == 0
    shown = " ".join(capsys.readouterr().out.split())
    for part in (
        "usage: cook",
        "Cook a dish.",
        "--oven-degrees",
        "heat (default: 180.0)",
        "--config",
        "cook --dish pie",
    ):
        assert part in shown
    assert "not shown" not in shown and "(default: None)" not in shown
    assert "--num_guests" not in shown


def test_saved_arguments_are_a_recipe(tmp_path):
    arguments = Cooking("pie", sauce={"cream": [1, 2]}, side=None, oven_degrees=1e-5)
    save_arguments(arguments, tmp_path / "saved.yaml")
    assert parse_arguments(Cooking, ["--config", str(tmp_path / "saved.yaml")]) == arguments


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_recipes_in_examples_fit_their_arguments(path):
    fields = read_recipe(PretrainArguments, path)
    assert fields == yaml.safe_load(path.read_text())
    filled = parse_arguments(PretrainArguments, ["--config", str(path), "--output", "o"])
    assert {name: getattr(filled, name) for name in fields} == fields


def test_a_flag_of_fields_changes_those_and_keeps_the_rest_of_the_recipe(tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("model: {text_pooling: mean, ecg_config: {hidden_sizes: [8, 9], depths: [1, 1]}}")
    flags = ["--output", "o", "--config", str(recipe), "--model", '{"ecg_config": {"depths": [2, 2]}}']
    expected = {"text_pooling": "mean", "ecg_config": {"hidden_sizes": [8, 9], "depths": [2, 2]}}
    assert parse_arguments(PretrainArguments, flags).model == expected
