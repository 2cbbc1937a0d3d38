"""The console script: what it says without importing anything, exit codes, and each command's flags."""

from __future__ import annotations

import dataclasses
import importlib
import shutil
import subprocess
import sys
import time
import types
from dataclasses import dataclass
from pathlib import Path

import pytest

from mets_ecg_cli import COMMANDS, arguments_of, main
from mets_ecg_cli.parser import argument


@dataclass
class FailArguments:
    """Fail in a chosen way."""

    how: str = argument("value", help="the error")


def fail(arguments: FailArguments) -> None:
    raise {
        "value": ValueError("the reason\n  in two lines"),
        "key": KeyError("column"),
        "empty": RuntimeError(),
        "stopped": KeyboardInterrupt(),
    }[arguments.how]


@pytest.fixture
def failing(monkeypatch):
    module = types.ModuleType("failing_command")
    module.FailArguments, module.fail = FailArguments, fail
    monkeypatch.setitem(sys.modules, "failing_command", module)
    monkeypatch.setitem(sys.modules, "mets_ecg_cli.fail", module)
    monkeypatch.setitem(COMMANDS, "fail", ("failing_command", "fail", "fail", "mets-ecg fail"))


def test_help_answers_at_once_without_torch():
    script = shutil.which("mets-ecg", path=str(Path(sys.executable).parent))
    assert script, "the console script is not installed"
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        done = subprocess.run([script, "--help"], capture_output=True, text=True, timeout=60)
        seconds.append(time.perf_counter() - start)
        assert done.returncode == 0 and not done.stderr
    assert min(seconds) < 0.5
    assert all(name in done.stdout and entry[2] in done.stdout for name, entry in COMMANDS.items())
    modules = "import sys, mets_ecg_cli; mets_ecg_cli.main(['--help']); sys.exit(' '.join(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", modules], capture_output=True, text=True, timeout=60).stderr.split()
    assert "mets_ecg_cli" in loaded
    assert not {"torch", "transformers", "numpy", "mets_ecg", "yaml"} & set(loaded)


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("mets-ecg 0.")


def test_called_without_a_command_it_shows_its_usage(capsys):
    assert main([]) == 2
    shown = capsys.readouterr()
    assert shown.err.startswith("usage: mets-ecg") and not shown.out


def test_an_unknown_command_is_status_2_and_names_the_known_ones(capsys):
    assert main(["pretrian"]) == 2
    shown = capsys.readouterr()
    assert f"no command 'pretrian'; there are {', '.join(COMMANDS)}" in shown.err and not shown.out


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_each_command_lists_its_flags_with_hyphens_and_an_example(name, capsys):
    with pytest.raises(SystemExit) as raised:
        main([name, "--help"])
    assert raised.value.code == 0
    shown = " ".join(capsys.readouterr().out.split())
    module, function, _, example = COMMANDS[name]
    assert example in shown and f"usage: mets-ecg {name}" in shown
    assert callable(getattr(importlib.import_module(module), function))
    for field in dataclasses.fields(arguments_of(name)):
        if not field.metadata["positional"]:
            assert f"--{field.name.replace('_', '-')}" in shown
        assert field.metadata["help"].split()[0] in shown


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_the_flags_of_each_example_are_known(name):
    words = COMMANDS[name][3].split()
    assert words[:2] == ["mets-ecg", name]
    fields = {field.name for field in dataclasses.fields(arguments_of(name))}
    flags = {word[2:].replace("-", "_") for word in words if word.startswith("--")}
    assert flags <= fields | {"config"}


def test_an_unknown_flag_is_status_2(failing, capsys):
    with pytest.raises(SystemExit) as raised:
        main(["fail", "--hwo", "value"])
    assert raised.value.code == 2
    assert "--hwo" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("value", "mets-ecg fail: the reason in two lines\n"),
        ("key", "mets-ecg fail: KeyError: 'column'\n"),
        ("empty", "mets-ecg fail: RuntimeError: \n"),
        ("stopped", "mets-ecg fail: stopped\n"),
    ],
)
def test_a_failure_is_status_1_and_its_reason_one_line(failing, capsys, how, said):
    assert main(["fail", "--how", how]) == 1
    shown = capsys.readouterr()
    assert shown.err == said and not shown.out


def test_debug_shows_the_traceback(failing):
    with pytest.raises(ValueError, match="the reason"):
        main(["fail", "--debug"])


def test_a_recipe_with_an_unknown_field_is_status_1(failing, capsys, tmp_path):
    (tmp_path / "recipe.yaml").write_text("hwo: value\n")
    assert main(["fail", "--config", str(tmp_path / "recipe.yaml")]) == 1
    assert "no field 'hwo' (did you mean 'how'?)" in capsys.readouterr().err


def test_flags_win_over_the_recipe(failing, capsys, tmp_path):
    (tmp_path / "recipe.yaml").write_text("how: key\n")
    assert main(["fail", "--config", str(tmp_path / "recipe.yaml")]) == 1
    assert "KeyError" in capsys.readouterr().err
    assert main(["fail", "--config", str(tmp_path / "recipe.yaml"), "--how", "value"]) == 1
    assert "the reason" in capsys.readouterr().err


def test_a_success_is_status_0(monkeypatch, failing):
    monkeypatch.setattr(sys.modules["failing_command"], "fail", lambda arguments: None)
    assert main(["fail"]) == 0


def test_a_real_command_that_fails_says_why(capsys, tmp_path):
    assert main(["evaluate", "--model", str(tmp_path / "none"), "--task", "no-task", "--source", str(tmp_path)]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("mets-ecg evaluate: ")


@pytest.mark.parametrize(
    "flags",
    [["build", "no-corpus", "--output", "o"], ["pretrain", "--output", "o", "--batch-size", "1"], ["evaluate"]],
)
def test_a_wrong_argument_is_said_before_torch_is_imported(flags):
    code = (
        "import sys, mets_ecg_cli\n"
        "try:\n    status = mets_ecg_cli.main(sys.argv[1:])\n"
        "except SystemExit as error:\n    status = error.code\n"
        "heavy = {'torch', 'transformers', 'numpy', 'mets_ecg'} & set(sys.modules)\n"
        "print(status, *heavy)"
    )
    done = subprocess.run([sys.executable, "-c", code, *flags], capture_output=True, text=True, timeout=60)
    assert done.stdout.split() in (["1"], ["2"]) and done.stderr


def test_the_corpora_that_build_knows_are_those_there_are():
    from mets_ecg.data.corpora import CORPORA
    from mets_ecg_cli.build import corpus_names

    assert corpus_names() == sorted(CORPORA)
