"""A Hub on this machine, and the real client libraries to speak with it."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest


def _load_loopback():
    """The helper beside this file; under `--import-mode=importlib` it has no name to be imported by."""
    spec = importlib.util.spec_from_file_location("loopback", Path(__file__).with_name("loopback.py"))
    module = sys.modules["loopback"] = importlib.util.module_from_spec(spec)  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


LoopbackHub = _load_loopback().LoopbackHub

# Runs the code of each line of its input, and answers with what it printed or with the error.
SESSION = """
import contextlib, io, json, os, sys
for line in sys.stdin:
    asked, printed = json.loads(line), io.StringIO()
    os.environ["HF_TOKEN"] = asked["token"]
    try:
        with contextlib.redirect_stdout(printed):
            exec(asked["code"], {"arguments": asked["arguments"]})
        answer = {"printed": printed.getvalue()}
    except Exception as error:
        answer = {"error": type(error).__name__, "message": str(error)}
    print(json.dumps(answer), flush=True)
"""


class Client:
    """Runs code against a hub, in a process of its own because the libraries read their settings when imported."""

    def __init__(self, hub, home: Path):
        self.hub = hub
        self.home = home
        home.mkdir(parents=True, exist_ok=True)

    def env(self, user: str | None = "user") -> dict[str, str]:
        """Environment of a process that knows this hub and no other, with the token of `user`."""
        kept = {name: os.environ[name] for name in ("PATH", "SYSTEMROOT") if name in os.environ}
        return kept | {
            "HF_ENDPOINT": self.hub.endpoint,
            "HF_HOME": str(self.home / (user or "anonymous")),  # what one has downloaded, another must not find
            "HF_TOKEN": f"hf_{user}" if user else "",
            "HF_HUB_OFFLINE": "0",
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "HOME": str(self.home),
            "OMP_NUM_THREADS": "1",
            "TOKENIZERS_PARALLELISM": "false",
        }

    def start(self, code: str, *arguments, user: str | None = "user") -> subprocess.CompletedProcess:
        """Run the code and return how it ended."""
        return subprocess.run(
            [sys.executable, "-c", code, *map(str, arguments)],
            cwd=self.home,
            env=self.env(user),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=180,
        )

    def run(self, code: str, *arguments, user: str | None = "user") -> str:
        """Return what the code printed; it must succeed."""
        done = self.start(code, *arguments, user=user)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


class Session:
    """A client process that stays, for code with slow imports."""

    def __init__(self, client: Client):
        self.log = client.home / "session.log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", SESSION],
                cwd=client.home,
                env=client.env(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    def ask(self, code: str, *arguments, user: str | None = "user") -> dict[str, str]:
        """Run code that finds its `arguments`; return `printed`, or `error` (its type) and `message`."""
        token = f"hf_{user}" if user else ""
        self.process.stdin.write(json.dumps({"code": code, "arguments": arguments, "token": token}) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        assert answer, self.log.read_text()
        return json.loads(answer)

    def run(self, code: str, *arguments, user: str | None = "user") -> str:
        """Return what the code printed; it must succeed."""
        answer = self.ask(code, *arguments, user=user)
        assert "error" not in answer, answer
        return answer["printed"]


@pytest.fixture(scope="session")
def trained(tmp_path_factory, make_pretrain_arguments, make_c_melt_arguments, simulated_corpus) -> dict[str, Path]:
    """Folders of finished runs on simulated recordings: METS, C-MELT, and a classifier from METS' encoder."""
    from mets_ecg.evaluation.tasks import simulated_task
    from mets_ecg.training.finetune import run_finetune
    from mets_ecg.training.pretrain import run_pretrain
    from mets_ecg_cli.finetune import FinetuneArguments

    folder = tmp_path_factory.mktemp("trained")
    folders = {name: folder / name for name in ("tiny-mets", "tiny-c-melt", "tiny-classifier")}
    task = simulated_task()
    run_pretrain(make_pretrain_arguments(folders["tiny-mets"]), corpus=simulated_corpus, task=task)
    run_pretrain(make_c_melt_arguments(folders["tiny-c-melt"]), corpus=simulated_corpus, task=task)
    fine = {"task": "simulated", "model": str(folders["tiny-mets"]), "epochs": 1, "batch_size": 32}
    arguments = FinetuneArguments(output=str(folders["tiny-classifier"]), **fine)
    run_finetune(arguments, corpus=simulated_corpus, task=task)
    return folders


@pytest.fixture
def checkpoint(trained, tmp_path) -> Path:
    """A copy of the METS checkpoint, to be damaged."""
    return Path(shutil.copytree(trained["tiny-mets"], tmp_path / "tiny-mets"))


@pytest.fixture(scope="module")
def loopback_hub():
    """A Hub with the users `user` (in the organisation `clinic`) and `other`; their tokens are `hf_` and the name."""
    with LoopbackHub() as hub:
        hub.add_user("user", "clinic")
        hub.add_user("other")
        yield hub


@pytest.fixture(scope="module")
def client(loopback_hub, tmp_path_factory) -> Client:
    """Runs code in a process that knows no Hub but `loopback_hub`."""
    return Client(loopback_hub, tmp_path_factory.mktemp("client-home"))


@pytest.fixture(scope="module")
def session(client):
    """A process like those of `client` that stays for all tests of a module."""
    session = Session(client)
    yield session
    session.process.kill()  # it holds nothing that must be put away
    session.process.wait()
