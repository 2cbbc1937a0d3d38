"""The README's snippets run and print what it says; `make demo` leaves what it says."""

import contextlib
import io
import json
import re
import shlex
from pathlib import Path

import pytest

from mets_ecg_cli import arguments_of
from mets_ecg_cli.parser import parse_arguments

ROOT = Path(__file__).parents[1]


def answers(output: str) -> dict[str, float]:
    return {line.split("  ", 1)[1]: float(line.split("  ", 1)[0]) for line in output.splitlines()}


def run(code: str) -> str:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, "README.md", "exec"), {})
    return printed.getvalue()


def marked(mark: str) -> tuple[str, str]:
    """Return the code and the output beneath a mark of the README."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return re.search(rf"<!-- {mark}.*?-->\n```python\n(.*?)```.*?```text\n(.*?)```", text, re.DOTALL).groups()


def test_the_snippet_prints_what_the_readme_says(monkeypatch):
    code, output = marked("snippet")
    monkeypatch.chdir(ROOT)
    assert len([line for line in code.splitlines() if line.strip()]) == 8
    got = answers(run(code))
    assert list(got) == list(answers(output))
    assert got == pytest.approx(answers(output), abs=0.011)


def test_the_snippets_of_details_and_of_a_service_print_what_the_readme_says(monkeypatch):
    monkeypatch.chdir(ROOT)
    (first, _), (details, remarks), (service, answer) = (marked(name) for name in ("snippet", "details", "service"))
    assert run(first + details + service).endswith(f"\n{remarks}{answer}")


def test_the_models_snippet_runs(monkeypatch):
    monkeypatch.chdir(ROOT)
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    code = re.search(r"## Models\n\n```python\n(.*?)```", text, re.DOTALL)[1]
    names = {}
    exec(compile(code, "README.md", "exec"), names)
    assert names["array"].shape == (12, 5000)


def test_every_command_has_the_flags_that_the_readme_gives_it(monkeypatch):
    monkeypatch.chdir(ROOT)
    text = (ROOT / "README.md").read_text(encoding="utf-8").replace("\\\n", " ")
    blocks = "\n".join(re.findall(r"```bash\n(.*?)```", text, re.DOTALL))
    lines = re.findall(r"^mets-ecg (.+)$", blocks, re.MULTILINE) + re.findall(r"`mets-ecg ([a-z]+ [^`]+)`", text)
    assert len(lines) > 10
    for line in lines:
        name, *flags = shlex.split(line.split(" > ")[0], comments=True)
        if not {"...", "--help"} & set(flags):
            parse_arguments(arguments_of(name), flags)


@pytest.mark.demo
def test_the_demo_leaves_what_the_readme_says():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    said = float(re.search(r"zero-shot macro AUROC is (0\.\d+) for 11 findings", text)[1])
    metrics = json.loads((ROOT / "demo-output" / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["zero_shot_macro_auroc"] == pytest.approx(said, abs=0.03)  # another processor rounds otherwise
    assert (ROOT / "demo-output" / "ecg.png").is_file()


def test_the_files_and_commands_that_the_readme_names_exist():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for path in re.findall(r"(?:examples|tests)/[\w./-]+\.(?:py|yaml|png)", text):
        assert (ROOT / path).is_file(), path
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"\bmake ([a-z-]+)", text)) <= targets
