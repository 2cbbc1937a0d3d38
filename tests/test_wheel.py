"""A wheel works outside the checkout: commands, recipes and the demo's recordings travel in it."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """A folder with nothing but the wheel's contents."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(build, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def run(site: Path, code: str, cwd: Path) -> str:
    environment = os.environ | {"PYTHONPATH": str(site)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=cwd, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_the_demo_command_is_there(site, tmp_path):
    text = run(site, "import mets_ecg_cli; raise SystemExit(mets_ecg_cli.main(['demo', '--help']))", tmp_path)
    assert "--source" in text
    assert "example: mets-ecg demo" in text


def test_a_recording_of_the_demo_is_asked(site, tmp_path, tiny_checkpoint):
    code = f"""
import json, mets_ecg
from transformers import pipeline
from mets_ecg_cli.resources import resource
assert {str(site)!r} in mets_ecg.__file__
assert {str(site)!r} in str(resource("configs", "demo.yaml"))
record = resource("records", "00338_hr.hea").with_suffix("")
pipe = pipeline("zero-shot-classification", model={str(tiny_checkpoint)!r})
print(json.dumps(pipe(record, candidate_labels=["sinus rhythm", "lbbb"])))
"""
    answers = json.loads(run(site, code, tmp_path).splitlines()[-1])
    assert {answer["label"] for answer in answers} == {"sinus rhythm", "lbbb"}


def test_a_corpus_is_built_with_its_card(site, tmp_path, ptb_xl_source):
    code = f"""
import mets_ecg_cli
flags = ["--source", {str(ptb_xl_source)!r}, "--output", "corpus"]
raise SystemExit(mets_ecg_cli.main(["build", "ptb-xl", *flags]))
"""
    run(site, code, tmp_path)
    assert "# PTB-XL" in (tmp_path / "corpus" / "README.md").read_text(encoding="utf-8")


def test_what_a_wheel_must_carry_is_in_it(site):
    for path in (
        "mets_ecg/py.typed",
        "mets_ecg_cli/__init__.py",
        "mets_ecg/data/reports/glossary.tsv",
        "mets_ecg/data/snomed.tsv",
        "mets_ecg/resources/records/LICENSE.txt",
        "mets_ecg/resources/configs/c-melt-small.yaml",
        "mets_ecg/resources/cards/model.md.jinja",
        "mets_ecg/checkpoints/mets-small/model.safetensors",
        "mets_ecg/checkpoints/mets-small/README.md",
    ):
        assert (site / path).is_file(), path
