"""`dataset_scripts/`: one entry a corpus, which builds it."""

import subprocess
import sys
from pathlib import Path

from datasets import load_dataset

from mets_ecg.data.corpora import CORPORA

SCRIPTS = Path(__file__).parents[1] / "dataset_scripts"


def test_every_corpus_has_its_entry_and_no_other():
    expected = {kind.__module__.rsplit(".", 1)[1]: name for name, kind in CORPORA.items()}
    del expected["table"]  # nobody publishes it
    assert {path.stem for path in SCRIPTS.glob("*.py")} == set(expected)
    for module, name in expected.items():
        assert f'main(["build", "{name}", *sys.argv[1:]])' in (SCRIPTS / f"{module}.py").read_text(encoding="utf-8")


def test_an_entry_builds_its_corpus(ptb_xl_source, tmp_path):
    command = [sys.executable, str(SCRIPTS / "ptb_xl.py"), "--source", str(ptb_xl_source), "--output", "corpus"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert "ptb-xl 100hz: 33 rows" in run.stdout
    rows = load_dataset(str(tmp_path / "corpus"), cache_dir=str(tmp_path / "cache"))
    assert sum(map(len, rows.values())) == 33
