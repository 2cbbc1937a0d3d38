"""Rules that hold for all files of the repository."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# mets_ecg_cli has argument dataclasses; a metric's folder has links to what its module imports.
SOURCES = sorted(path for path in (ROOT / "src" / "mets_ecg").rglob("*.py") if not path.is_symlink())
OWN = Path(__file__)
COMMAND_FILES = (
    "build compare convert coverage demo embed evaluate export finetune plot prepare pretrain probe push retrieval run "
    "simulate".split()
)


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def test_every_module_has_its_test_file():
    missing = []
    for module in SOURCES:
        parts = module.relative_to(ROOT / "src").parts
        folder = ROOT / "tests" / Path(*parts[1:-1])
        if "metrics" in parts:
            folder, parts = folder.parents[1], (*parts[:-2], "metrics.py")  # one file for all
        if parts[-1] != "__init__.py" and not (folder / f"test_{parts[-1]}").is_file():
            missing.append("/".join(parts))
    assert missing == ["mets_ecg/io/record.py", "mets_ecg/training/method.py"]  # a dataclass and a contract: no code


def test_nothing_bound_to_one_machine_is_tracked():
    found = []
    for path in tracked():
        if path.suffix in {".py", ".md", ".toml", ".yaml", ".json", ".txt", ""} and path != OWN:
            text = path.read_text(encoding="utf-8", errors="ignore")
            found += [
                f"{path.name}: {m}" for m in re.findall(r"(?<![\w.])/(?:home|root|work|tmp|Users)/[\w./-]*", text)
            ]
    assert found == []


@pytest.mark.parametrize(
    ("pattern", "allowed"),
    [
        (r"from \S+ import \*", set()),
        (r"\bpickle\.(load|dump)|allow_pickle=True", set()),
        (r"^\s*print\(", {*(name + ".py" for name in COMMAND_FILES)}),
        (r"[\"']aVL[\"']\s*,\s*[\"']aVF[\"']", {"leads.py"}),
        (r"\beval\(|\bexec\(", set()),
    ],
)
def test_the_package_keeps_to_its_rules(pattern, allowed):
    found = [
        f"{path.name}: {line.strip()}"
        for path in SOURCES
        if path.name not in allowed
        for line in path.read_text(encoding="utf-8").splitlines()
        if re.search(pattern, line) and ".eval()" not in line
    ]
    assert found == []


def test_the_repository_stays_small():
    shipped = ROOT / "src" / "mets_ecg" / "checkpoints" / "mets-small" / "model.safetensors"
    assert [str(path) for path in tracked() if path.stat().st_size > 1024 * 1024 and path != shipped] == []
    assert shipped.stat().st_size < 3 * 1024 * 1024
