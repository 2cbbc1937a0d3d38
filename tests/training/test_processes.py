"""Several processes train as one would: real processes under `torchrun` and `accelerate launch`."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml
from transformers import AutoModel

from mets_ecg.data.simulator.simulate import run_simulate
from mets_ecg_cli.simulate import SimulateArguments

WORKERS = Path(__file__).parent / "workers"
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node"]


@pytest.fixture
def gradients(pretrain_arguments, tmp_path):
    def gradients(processes):
        fields = dataclasses.asdict(pretrain_arguments)
        kept = {name: fields[name] for name in ("output", "text_model", "model", "feature_extractor", "processor")}
        (tmp_path / "arguments.json").write_text(json.dumps(kept))
        command = [*TORCHRUN, str(processes), str(WORKERS / "gradients.py"), str(tmp_path / "arguments.json")]
        launch([*command, str(tmp_path), str(processes)])
        return torch.load(tmp_path / f"gradients-{processes}.pt")

    return gradients


def launch(command, **options):
    run = subprocess.run(command, capture_output=True, text=True, timeout=300, **options)
    assert run.returncode == 0, (run.stdout + run.stderr)[-4000:]
    return run.stdout


def check_parity(one, several):
    """Same losses and gradients, but for batch normalisation, whose statistics are each process' own on CPUs."""
    for variant in ("batch", "vocabulary"):
        largest = max(values.abs().max() for name, values in one[variant].items() if name != "loss")
        for name, values in one[variant].items():
            difference = (several[variant][name] - values).abs().max() / largest
            assert difference < 1e-6, (variant, name, float(difference))
        assert one[variant]["logit_scale"] != 0
    names = [name for name in one["batch-norm"] if name != "loss"]
    flat = [torch.cat([of["batch-norm"][name].flatten() for name in names]) for of in (one, several)]
    print(f"batch normalisation: relative difference {float((flat[1] - flat[0]).norm() / flat[0].norm()):.3f}")


def test_two_processes_have_the_gradient_of_one_on_the_whole_batch(gradients):
    check_parity(gradients(1), gradients(2))


@pytest.mark.slow
def test_three_processes_have_the_gradient_of_one_on_the_whole_batch(gradients):
    check_parity(gradients(1), gradients(3))


@pytest.fixture
def recipe(pretrain_arguments, tmp_path):
    """Write a recipe on a simulated corpus of 64 records, and return the command that trains it."""
    run_simulate(SimulateArguments(output=str(tmp_path / "corpus"), num_records=64, seed=2, num_proc=1))
    fields = dataclasses.asdict(pretrain_arguments) | {"data": [str(tmp_path / "corpus")], "test": ["none"]}
    fields["model"]["ecg_config"] |= {"norm": "group", "num_groups": 2}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(fields | {"logging_steps": 1, "epochs": 2}))
    os.environ.setdefault("HF_DATASETS_CACHE", str(tmp_path / "cache"))

    def command(processes, **flags):
        words = [word for name, value in flags.items() for word in (f"--{name.replace('_', '-')}", *str(value).split())]
        start = [*TORCHRUN, str(processes), "-m"] if processes else [sys.executable, "-m"]
        return [*start, "mets_ecg_cli", "pretrain", "--config", str(tmp_path / "recipe.yaml"), *words]

    return command


def log_of(output):
    return [json.loads(line) for line in (output / "log.jsonl").open()]


def test_a_run_in_two_processes_is_that_of_one_with_their_batches_together(recipe, tmp_path):
    for processes, batch in ((0, 16), (2, 8)):
        launch(recipe(processes, batch_size=batch, output=tmp_path / f"of-{processes}"))
    logs = [log_of(tmp_path / f"of-{processes}") for processes in (0, 2)]
    assert len(logs[0]) == len(logs[1])
    for one, two in zip(*logs, strict=True):
        assert one.keys() == two.keys()
        for name in one.keys() & {"step", "epoch", "loss", "learning_rate", "gradient_norm"}:
            assert one[name] == pytest.approx(two[name], rel=1e-3), name
    # Every validation row once: the loss is a mean over them.
    losses = [json.loads((tmp_path / f"of-{p}" / "metrics.json").read_text())["epochs"][-1] for p in (0, 2)]
    assert losses[0]["zero_shot_macro_auroc"] == pytest.approx(losses[1]["zero_shot_macro_auroc"], abs=0.02)
    for name in ("train_loss", "validation_loss"):
        assert losses[0][name] == pytest.approx(losses[1][name], rel=1e-3)
    models = [AutoModel.from_pretrained(tmp_path / f"of-{processes}") for processes in (0, 2)]
    for one, two in zip(models[0].parameters(), models[1].parameters(), strict=True):
        assert torch.allclose(one, two, atol=2e-3)


def test_a_process_that_dies_ends_the_job(recipe, tmp_path):
    command = recipe(2, batch_size=8, output=tmp_path / "out", validation="none", epochs=10_000)
    job = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        log = tmp_path / "out.training" / "log.jsonl"
        until = time.monotonic() + 120
        while not (log.is_file() and log.read_text().count("\n") > 3):
            assert time.monotonic() < until and job.poll() is None, job.communicate()[0][-3000:]
            time.sleep(0.2)
        os.kill(workers_of(job.pid)[1], signal.SIGKILL)
        died = time.monotonic()
        output, _ = job.communicate(timeout=60)
        assert job.returncode not in (0, None)
        assert "SIGKILL" in output or "Signal 9" in output
        print(f"the job ended {time.monotonic() - died:.1f} s after the process died")
    finally:
        job.kill()


def workers_of(pid):
    """The child processes of a launcher, by age."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_an_error_of_the_run_ends_all_processes_with_its_message(recipe, tmp_path):
    run = subprocess.run(recipe(2, batch_size=30, output=tmp_path / "out"), capture_output=True, text=True, timeout=120)
    assert run.returncode != 0
    assert "training records do not fill one step of 60" in run.stderr


@pytest.mark.parametrize("launched", ["bf16", "no"])
def test_the_launch_decides_the_precision(launched, recipe, tmp_path):
    """The recipe's own is for where no launch says one."""
    code = (
        "import sys; from mets_ecg_cli.parser import parse_arguments; "
        "from mets_ecg_cli.pretrain import PretrainArguments; "
        "from mets_ecg.training.processes import make_accelerator; "
        "print('precision', make_accelerator(parse_arguments(PretrainArguments, sys.argv[1:])).mixed_precision)"
    )
    script = tmp_path / "script.py"
    script.write_text(code)
    other = {"bf16": "no", "no": "bf16"}[launched]
    flags = ["--config", str(tmp_path / "recipe.yaml"), "--mixed-precision", other]
    start = [sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_processes", "1", "--num_machines", "1"]
    assert f"precision {launched}" in launch([*start, "--mixed_precision", launched, str(script), *flags])
    if launched == "no":
        assert f"precision {other}" in launch([sys.executable, str(script), *flags])


def test_fp16_is_refused(monkeypatch, pretrain_arguments):
    from mets_ecg.training.processes import make_accelerator

    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "fp16")
    with pytest.raises(ValueError, match="--mixed_precision fp16 is not supported: launch with bf16"):
        make_accelerator(pretrain_arguments)
