"""`kill -9` at random moments, then the same command: what it leaves is what an undisturbed run leaves, bit for bit."""

import contextlib
import dataclasses
import hashlib
import itertools
import json
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
def command(pretrain_arguments, finetune_arguments, c_melt_arguments, tmp_path, monkeypatch):
    """Return the command of a run that takes some ten seconds, on rows prepared beforehand."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    run_simulate(SimulateArguments(output=str(tmp_path / "corpus"), num_records=200, seed=2, num_proc=1))
    extractor = {"feature_extractor": pretrain_arguments.feature_extractor}
    (tmp_path / "extractor.yaml").write_text(yaml.safe_dump(extractor))
    words = [str(tmp_path / "corpus"), "--output", str(tmp_path / "prepared"), "--num-proc", "1"]
    run_prepare(parse_arguments(PrepareArguments, [*words, "--config", str(tmp_path / "extractor.yaml")]))
    changes = {"data": [str(tmp_path / "prepared")], "epochs": 12, "save_steps": 7, "logging_steps": 5, "batch_size": 8}
    changes |= {"time_shift": 0.3, "lead_dropout": 0.2, "ema_decay": 0.9}
    pretraining = {"text_column": "findings", "test": ["none"]}
    finetuning = extractor | {"classifier_dropout": 0.1, "class_weights": "balanced", "layer_decay": 0.8}
    for name, own, more in (
        ("pretrain", pretrain_arguments, pretraining),
        ("finetune", finetune_arguments, finetuning),
        ("c-melt", c_melt_arguments, {"test": ["none"]}),
    ):
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(dataclasses.asdict(own) | changes | more))

    def command(kind, output):
        launcher = (
            ["torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m"] if kind == "processes" else []
        )
        streaming = ["--streaming"] if kind == "streaming" else []
        recipe = kind if kind in ("finetune", "c-melt") else "pretrain"
        name = "finetune" if kind == "finetune" else "pretrain"
        flags = ["--config", str(tmp_path / f"{recipe}.yaml"), "--output", str(output), *streaming]
        return [sys.executable, "-m", *launcher, "mets_ecg_cli", name, *flags]

    return command


def descendants(pid):
    children = Path(f"/proc/{pid}/task/{pid}/children")
    own = [int(child) for child in children.read_text().split()] if children.is_file() else []
    return [pid, *(one for child in own for one in descendants(child))]


def found_in(output):
    """What a run left, but for what the clock gives: a digest of the weights, the config, and the figures."""
    weights = hashlib.sha256((output / "model.safetensors").read_bytes()).hexdigest()
    return weights, json.loads((output / "config.json").read_text()), without_times(output / "metrics.json")


def without_times(path):
    def leave_out(fields):
        return {name: value for name, value in fields.items() if name not in ("seconds", "records_per_second")}

    return json.loads(path.read_text(), object_hook=leave_out)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "kills"), [("memory-mapped", 10), ("streaming", 5), ("processes", 5), ("finetune", 4), ("c-melt", 4)]
)
def test_a_killed_run_ends_as_one_that_was_not(kind, kills, command, tmp_path):
    started = time.monotonic()
    subprocess.run(command(kind, tmp_path / "whole"), check=True, capture_output=True)
    whole, expected = time.monotonic() - started, found_in(tmp_path / "whole")
    print(f"{kind}: {whole:.1f} s, epoch {expected[2]['best_epoch']} of {len(expected[2]['epochs'])} is kept")
    moments = random.Random(f"{kind} {os.environ.get('METS_ECG_KILL_SEED', 0)}")
    cut_off = 0
    for i in itertools.count():
        output = tmp_path / f"killed-{i}"
        job = subprocess.Popen(command(kind, output), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        waited = moments.uniform(0.3, 0.95) * whole  # before that Python still imports
        time.sleep(waited)
        for pid in descendants(job.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        job.wait()
        working = tmp_path / f"killed-{i}.training"
        finished = output.is_dir() and not working.is_dir()  # at the end of Python
        states = ", ".join(sorted(path.name for path in working.glob("step-*")))
        print(f"{kind} {i}: killed {'when finished' if finished else f'with states {states}'}")
        if finished:
            whole = waited  # the machine is faster now: that run does not count
        else:
            cut_off += 1
            resumed = subprocess.run(command(kind, output), capture_output=True, text=True)
            assert resumed.returncode == 0, resumed.stdout[-2000:] + resumed.stderr[-2000:]
        assert found_in(output) == expected
        if cut_off == kills:
            break
