"""The README's round over the Hub, command by command: corpus, pre-training, model, question, classifier.

pytest -m slow -s tests/hub/test_user_sentence.py
"""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from transformers import AutoConfig

ROOT = Path(__file__).parents[2]
# 33 recordings of folds 1 to 8 are few: smaller batches, an epoch, other folds.
SMALL = "--batch-size 4 --epochs 1 --train 1-6 --validation 7 --test 8".split()


def read_readme() -> tuple[list[str], str]:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    commands, code = re.search(
        r"<!-- over the hub.*?-->\n```bash\n(.*?)```.*?```python\n(.*?)```", text, re.DOTALL
    ).groups()
    return commands.replace("\\\n", " ").splitlines(), code


def as_run_here(command: str, source: Path) -> list[str]:
    words = [word.replace("org/", "clinic/") for word in shlex.split(command, comments=True)]
    words = [str(source) if word == "PTB-XL" else word for word in words]
    if words[0] == "mets-ecg":
        return [sys.executable, "-m", "mets_ecg_cli", *words[1:]]
    assert words[:2] == ["accelerate", "launch"], command
    return [
        sys.executable,
        "-m",
        "accelerate.commands.launch",
        "--num_processes",
        "1",
        str(ROOT / words[2]),
        *words[3:],
        *SMALL,
    ]


@pytest.mark.slow
def test_the_readme_s_round_over_the_hub(loopback_hub, client, ptb_xl_source, tmp_path):
    commands, code = read_readme()
    assert len(commands) == 8
    environment = client.env() | {"OMP_NUM_THREADS": "2", "HF_HOME": str(tmp_path / "home")}
    for command in commands:
        call = as_run_here(command, ptb_xl_source)
        done = subprocess.run(call, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=600)
        print(f"$ {command}\n{done.stdout}", end="")
        assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
    shards = [
        path for method, path in loopback_hub.requests if "ptb-xl-prepared/resolve" in path and ".parquet" in path
    ]
    assert shards  # streamed from there, and kept nowhere
    assert not list((tmp_path / "home").rglob("*ptb-xl-prepared*parquet"))

    (tmp_path / "ask.py").write_text("import sys\nsys.modules['mets_ecg'] = None\n" + code.replace("org/", "clinic/"))
    recording = ptb_xl_source / "records500" / "00000" / "00338_hr"
    ask = [
        sys.executable,
        "-c",
        f"import wfdb; recording = wfdb.rdrecord({str(recording)!r})\n" + (tmp_path / "ask.py").read_text(),
    ]
    done = subprocess.run(ask, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=600)
    print(f"$ python\n{done.stdout}", end="")
    assert done.returncode == 0, done.stderr
    assert re.search(r"^0\.\d\d  left bundle branch block$", done.stdout, re.MULTILINE)

    files = loopback_hub.repositories["models", "clinic/mets-ecg-super"].files()
    card = files["README.md"].content.decode()
    assert "base_model:\n- clinic/mets-ecg" in card and "- clinic/ptb-xl-prepared\n- clinic/ptb-xl\n" in card
    (tmp_path / "config.json").write_bytes(files["config.json"].content)
    assert AutoConfig.from_pretrained(tmp_path).id2label[0] == "NORM"
