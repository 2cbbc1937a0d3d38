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
from safetensors.torch import load_file

from mets_ecg.data.simulator.simulate import run_simulate
from mets_ecg_cli.simulate import SimulateArguments

WORKERS = Path(__file__).parent / "workers"
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node"]


@pytest.fixture
def gradients(pretrain_arguments, c_melt_arguments, tmp_path):
    def gradients(processes):
        c_melt_arguments.text_config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
        c_melt_arguments.model["pretraining_config"] |= {"fusion_dropout": 0.0}
        fields = {own.method: dataclasses.asdict(own) for own in (pretrain_arguments, c_melt_arguments)}
        (tmp_path / "arguments.json").write_text(json.dumps(fields))
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
    for variant in ("batch", "vocabulary", "c-melt"):
        largest = max(values.abs().max() for name, values in one[variant].items() if name != "loss")
        for name, values in one[variant].items():
            difference = (several[variant][name] - values).abs().max() / largest
            assert difference < 1e-6, (variant, name, float(difference))
        assert variant == "c-melt" or one[variant]["logit_scale"] != 0
    names = [name for name in one["batch-norm"] if name != "loss"]
    flat = [torch.cat([of["batch-norm"][name].flatten() for name in names]) for of in (one, several)]
    print(f"batch normalisation: relative difference {float((flat[1] - flat[0]).norm() / flat[0].norm()):.3f}")


def test_two_processes_have_the_gradient_of_one_on_the_whole_batch(gradients):
    check_parity(gradients(1), gradients(2))


@pytest.mark.slow
def test_three_processes_have_the_gradient_of_one_on_the_whole_batch(gradients):
    check_parity(gradients(1), gradients(3))


@pytest.fixture
def recipe(pretrain_arguments, finetune_arguments, tmp_path):
    """Write a recipe for each command on a simulated corpus, and return the command line that trains one.

    Of its 77 records 64 are trained on, and 7 validate: a number that processes cannot share evenly.
    """
    run_simulate(SimulateArguments(output=str(tmp_path / "corpus"), num_records=77, seed=2, num_proc=1))
    group_norm = {"norm": "group", "num_groups": 2}
    pretrain_arguments.model["ecg_config"] |= group_norm
    finetune_arguments.ecg_config |= group_norm
    changes = {"data": [str(tmp_path / "corpus")], "test": ["none"], "logging_steps": 1, "epochs": 2}
    for name, arguments in (("pretrain", pretrain_arguments), ("finetune", finetune_arguments)):
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(dataclasses.asdict(arguments) | changes))
    os.environ.setdefault("HF_DATASETS_CACHE", str(tmp_path / "cache"))

    def command(processes, name="pretrain", **flags):
        words = [word for name, value in flags.items() for word in (f"--{name.replace('_', '-')}", *str(value).split())]
        start = [*TORCHRUN, str(processes), "-m"] if processes else [sys.executable, "-m"]
        return [*start, "mets_ecg_cli", name, "--config", str(tmp_path / f"{name}.yaml"), *words]

    return command


def log_of(output):
    return [json.loads(line) for line in (output / "log.jsonl").open()]


@pytest.mark.parametrize("name", ["pretrain", "finetune"])
def test_a_run_in_two_processes_is_that_of_one_with_their_batches_together(name, recipe, tmp_path):
    outputs = [tmp_path / f"of-{processes}" for processes in (0, 2)]
    for output, processes, batch in zip(outputs, (0, 2), (16, 8), strict=True):
        launch(recipe(processes, name, batch_size=batch, output=output))
    # Every validation row counts once, and with its own labels: the figures of the epochs are in the log too.
    for one, two in zip(*map(log_of, outputs), strict=True):
        assert one.keys() == two.keys()
        for figure in one.keys() - {"seconds", "records_per_second", "zero_shot_macro_auroc"}:
            assert one[figure] == pytest.approx(two[figure], rel=1e-3), figure
    metrics = [json.loads((output / "metrics.json").read_text()) for output in outputs]
    assert metrics[0]["counts"] == metrics[1]["counts"] and metrics[0]["counts"]["validation"] % 2 == 1
    assert metrics[0]["best_epoch"] == metrics[1]["best_epoch"]
    if name == "pretrain":
        zero_shot = [own["epochs"][-1]["zero_shot_macro_auroc"] for own in metrics]
        assert zero_shot[0] == pytest.approx(zero_shot[1], abs=0.02)
    configs = [json.loads((output / "config.json").read_text()) for output in outputs]
    thresholds = [config.pop("thresholds", []) for config in configs]
    assert configs[0] == configs[1]
    assert bool(thresholds[0]) == (name == "finetune") and thresholds[0] == pytest.approx(thresholds[1], rel=1e-3)
    weights = [load_file(output / "model.safetensors") for output in outputs]
    torch.testing.assert_close(*weights, atol=2e-3, rtol=0)


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
    run = subprocess.run(recipe(2, batch_size=40, output=tmp_path / "out"), capture_output=True, text=True, timeout=120)
    assert run.returncode != 0
    assert "training records do not fill one step of 80" in run.stderr


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
    flags = ["--config", str(tmp_path / "pretrain.yaml"), "--mixed-precision", other]
    start = [sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_processes", "1", "--num_machines", "1"]
    assert f"precision {launched}" in launch([*start, "--mixed_precision", launched, str(script), *flags])
    if launched == "no":
        assert f"precision {other}" in launch([sys.executable, str(script), *flags])


def test_fp16_is_refused(monkeypatch, pretrain_arguments):
    from mets_ecg.training.processes import make_accelerator

    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "fp16")
    with pytest.raises(ValueError, match="--mixed_precision fp16 is not supported: launch with bf16"):
        make_accelerator(pretrain_arguments)
