"""`kill -9` at random moments, then the same command: the weights are those of an undisturbed run, bit for bit."""

import contextlib
import dataclasses
import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import datasets
import pytest
import yaml

from mets_ecg.data.prepare import run_prepare
from mets_ecg.data.simulator.simulate import run_simulate
from mets_ecg_cli.parser import parse_arguments
from mets_ecg_cli.prepare import PrepareArguments
from mets_ecg_cli.simulate import SimulateArguments


@pytest.fixture
def command(pretrain_arguments, tmp_path, monkeypatch):
    """Return the command of a run that takes some ten seconds, on rows prepared beforehand."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    run_simulate(SimulateArguments(output=str(tmp_path / "corpus"), num_records=200, seed=2, num_proc=1))
    recipe = dataclasses.asdict(pretrain_arguments) | {"data": [str(tmp_path / "prepared")], "test": ["none"]}
    recipe |= {"epochs": 12, "time_shift": 0.3, "lead_dropout": 0.2, "text_column": "findings", "ema_decay": 0.9}
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe | {"save_steps": 7, "logging_steps": 5, "batch_size": 8}))
    words = [str(tmp_path / "corpus"), "--output", str(tmp_path / "prepared"), "--num-proc", "1"]
    (tmp_path / "extractor.yaml").write_text(yaml.safe_dump({"feature_extractor": recipe["feature_extractor"]}))
    run_prepare(parse_arguments(PrepareArguments, [*words, "--config", str(tmp_path / "extractor.yaml")]))

    def command(kind, output):
        launcher = (
            ["torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m"] if kind == "processes" else []
        )
        streaming = ["--streaming"] if kind == "streaming" else []
        flags = ["--config", str(path), "--output", str(output), *streaming]
        return [sys.executable, "-m", *launcher, "mets_ecg_cli", "pretrain", *flags]

    return command


def descendants(pid):
    children = Path(f"/proc/{pid}/task/{pid}/children")
    own = [int(child) for child in children.read_text().split()] if children.is_file() else []
    return [pid, *(one for child in own for one in descendants(child))]


def weights_of(output):
    return hashlib.sha256((output / "model.safetensors").read_bytes()).hexdigest()


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "kills"), [("memory-mapped", 10), ("streaming", 5), ("processes", 5)])
def test_a_killed_run_ends_with_the_weights_of_one_that_was_not(kind, kills, command, tmp_path):
    started = time.monotonic()
    subprocess.run(command(kind, tmp_path / "whole"), check=True, capture_output=True)
    whole, expected = time.monotonic() - started, weights_of(tmp_path / "whole")
    moments = random.Random(f"{kind} {os.environ.get('METS_ECG_KILL_SEED', 0)}")
    for i in range(kills):
        output = tmp_path / f"killed-{i}"
        job = subprocess.Popen(command(kind, output), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(moments.uniform(0.3, 0.95) * whole)  # before that Python still imports
        for pid in descendants(job.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        job.wait()
        working = tmp_path / f"killed-{i}.training"
        finished = output.is_dir() and not working.is_dir()  # at the end of Python
        states = ", ".join(sorted(path.name for path in working.glob("step-*")))
        print(f"{kind} {i}: killed {'when finished' if finished else f'with states {states}'}")
        if not finished:
            resumed = subprocess.run(command(kind, output), capture_output=True, text=True)
            assert resumed.returncode == 0, resumed.stdout[-2000:] + resumed.stderr[-2000:]
        assert weights_of(output) == expected
