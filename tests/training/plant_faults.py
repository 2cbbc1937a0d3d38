"""Plant faults in the training code one by one, and see whether the training tests notice.

    python tests/training/plant_faults.py

A fault is a change of the source's text, made in a copy of the package. Prints a line for each fault, and ends with
status 1 if one survived: a test is missing then.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Fault:
    """A change of the source: `old` stands once in a file of `mets_ecg` and becomes `new`; tests that should notice."""

    name: str
    file: str
    old: str
    new: str
    tests: str


FAULTS = (
    Fault(
        "encoder left in evaluation mode", "training/loop.py", "self.model.train()", "self.model.eval()", "test_mets"
    ),
    Fault(
        "validation in training mode",
        "evaluation/encoding.py",
        "        model.eval()\n    bar",
        "        model.train()\n    bar",
        "test_mets",
    ),
    Fault(
        "texts encoded in training mode",
        "data/text_embeddings.py",
        "    model.eval()\n",
        "    model.train()\n    model.text_model.train()\n",
        "test_mets",
    ),
    Fault(
        "the same order every epoch",
        "training/loop.py",
        "epoch=state.epoch,\n            start",
        "epoch=1,\n            start",
        "test_loop",
    ),
    Fault(
        "the same draws every epoch",
        "training/loop.py",
        "self._seed(step, 0)",
        "self._seed(step % self.steps_per_epoch, 0)",
        "test_loop",
    ),
    Fault(
        "the same draws for every seed",
        "training/loop.py",
        "words = [self.arguments.seed, step",
        "words = [0, step",
        "test_loop",
    ),
    Fault("no warm-up", "training/schedules.py", "round(arguments.warmup_fraction * total_steps)", "0", "test_loop"),
    Fault(
        "weight decay ignored",
        "training/loop.py",
        "weight_decay=arguments.weight_decay",
        "weight_decay=0.0",
        "test_loop",
    ),
    Fault("Adam for AdamW", "training/loop.py", '"adamw": torch.optim.AdamW', '"adamw": torch.optim.Adam', "test_loop"),
    Fault("lead dropout ignored", "training/augmentation.py", "lead_mask & ~dropped", "lead_mask", "test_mets"),
    Fault(
        "lead dropout not passed on", "training/augmentation.py", "if arguments.lead_dropout:", "if False:", "test_mets"
    ),
    Fault(
        "lead mask not passed to the model",
        "training/mets.py",
        '("input_values", "ecg_attention_mask", "lead_mask")',
        '("input_values", "ecg_attention_mask")',
        "test_mets",
    ),
    Fault(
        "time shift not passed on",
        "training/augmentation.py",
        "max_shift = round(arguments.time_shift * sampling_rate)",
        "max_shift = 0",
        "test_mets",
    ),
    Fault(
        "mixed precision not passed on",
        "training/processes.py",
        "None if launched else arguments.mixed_precision",
        "None",
        "test_processes",
    ),
    Fault(
        "the launch's precision overruled",
        "training/processes.py",
        '"ACCELERATE_MIXED_PRECISION" in os.environ',
        "False",
        "test_processes",
    ),
    Fault(
        "accumulated batches added, not averaged",
        "training/loop.py",
        "sum(terms.values()) / len(batches)",
        "sum(terms.values())",
        "test_loop",
    ),
    Fault(
        "gradients not clipped",
        "training/loop.py",
        "if self.arguments.max_grad_norm is not None:",
        "if False:",
        "test_loop",
    ),
    Fault(
        "the moving average not saved",
        "training/loop.py",
        "with self.ema.applied() if self.ema is not None else",
        "with contextlib.nullcontext() if self.ema is not None else",
        "test_loop",
    ),
    Fault(
        "dropout not seeded by the step",
        "training/loop.py",
        "        torch.manual_seed(self._seed(self.state.step, 1))",
        "        # torch.manual_seed(self._seed(self.state.step, 1))",
        "test_loop",
    ),
    Fault(
        "a resumed epoch begins at its first record",
        "training/loop.py",
        "start=state.step_of_epoch * self.accumulation * arguments.batch_size",
        "start=0",
        "test_run_folder",
    ),
    Fault(
        "the optimiser not resumed",
        "training/run_folder.py",
        "        accelerator.load_state(str(folder))",
        "        accelerator._optimizers.clear()\n        accelerator.load_state(str(folder))",
        "test_run_folder",
    ),
    Fault("the moving average not resumed", "training/ema.py", "averaged.copy_(saved)", "pass", "test_run_folder"),
    Fault(
        "missing files of a state not noticed",
        "training/run_folder.py",
        'for name, size in manifest["files"].items():',
        "for name, size in ():",
        "test_run_folder",
    ),
    Fault("the last epoch kept, not the best", "training/loop.py", "if self._is_best(epoch):", "if True:", "test_loop"),
    Fault("a poisoned step taken", "training/loop.py", "if not math.isfinite(value):", "if False:", "test_loop"),
    Fault(
        "gradients of other processes' rows lost",
        "training/processes.py",
        "[process_index()] * num_processes()",
        "[process_index()]",
        "test_processes",
    ),
    Fault(
        "negatives of one process only",
        "training/mets.py",
        "gather(output.ecg_embeds).float() @ gather(output.text_embeds).float().T",
        "output.ecg_embeds.float() @ output.text_embeds.float().T",
        "test_processes",
    ),
    Fault(
        "each process validates a share, and none all",
        "training/processes.py",
        "        whole[rank :: len(parts)] = part",
        "        whole[rank :: len(parts)] = values[: len(part)]",
        "test_processes",
    ),
    Fault(
        "no prior on the vocabulary",
        "modeling_ecg_text.py",
        "logits_per_ecg.float() + text_counts.log()",
        "logits_per_ecg.float()",
        "test_mets",
    ),
    Fault(
        "texts centred over distinct texts",
        "training/mets.py",
        "encoded.mean()",
        "encoded.pooled.mean(dim=0)",
        "test_pretrain",
    ),
    Fault(
        "a text drawn from another record",
        "training/mets.py",
        'self.texts.draw(batch["index"], generator)',
        'self.texts.draw(batch["index"].roll(1), generator)',
        "test_mets",
    ),
    Fault(
        "a trained text encoder stays frozen",
        "modeling_ecg_text.py",
        "torch.set_grad_enabled(torch.is_grad_enabled() and not self.config.freeze_text_model)",
        "torch.set_grad_enabled(False)",
        "test_mets",
    ),
    Fault(
        "classifier: validated on one process' share",
        "training/classification.py",
        "gather_in_order(encoded.outputs, len(self.validation_rows)).numpy()",
        "encoded.outputs.numpy(); self.validation = load_labels(own_share(self.validation_rows), self.task)",
        "test_processes",
    ),
    Fault(
        "classifier: probabilities of the processes one after another",
        "training/classification.py",
        "gather_in_order(encoded.outputs, len(self.validation_rows)).numpy()",
        "torch.cat(__import__('accelerate').utils.gather_object([encoded.outputs])).numpy()",
        "test_processes",
    ),
    Fault(
        "classifier: labels looked up by the position in the batch",
        "training/classification.py",
        'self.labels[batch["index"]]',
        'self.labels[: len(batch["index"])]',
        "test_classification",
    ),
    Fault(
        "classifier: class weights dropped",
        "training/classification.py",
        "pos_weight=self.weights",
        "pos_weight=None",
        "test_classification",
    ),
    Fault(
        "classifier: thresholds not set",
        "training/classification.py",
        "        if self.task.multi_label:\n            self.model.config.thresholds",
        "        if False:\n            self.model.config.thresholds",
        "test_classification",
    ),
)


def survives(fault: Fault, folder: Path) -> bool:
    """Plant a fault in a copy of the package, and say whether the tests pass all the same."""
    source = folder / "src"
    shutil.rmtree(source, ignore_errors=True)
    shutil.copytree(ROOT / "src", source, ignore=shutil.ignore_patterns("__pycache__"))
    path = source / "mets_ecg" / fault.file
    text = path.read_text(encoding="utf-8")
    if text.count(fault.old) != 1:
        raise ValueError(f"{fault.name}: {fault.old!r} stands {text.count(fault.old)} times in {fault.file}, not once")
    path.write_text(text.replace(fault.old, fault.new), encoding="utf-8")
    tests = [str(ROOT / "tests" / "training" / f"{name}.py") for name in fault.tests.split()]
    command = [sys.executable, "-m", "pytest", "-x", "-p", "no:cacheprovider", "--rootdir", str(ROOT), *tests]
    environment = {**os.environ, "PYTHONPATH": str(source), "PYTHONDONTWRITEBYTECODE": "1"}
    run = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)
    if run.returncode not in (0, 1):  # 1: a test failed
        raise RuntimeError(f"{fault.name}: the tests did not run:\n{run.stdout[-3000:]}{run.stderr[-1000:]}")
    noticed = [line for line in run.stdout.splitlines() if line.startswith("FAILED")]
    print(f"{fault.name}: {noticed[0].split('::')[-1].split(' - ')[0] if noticed else 'SURVIVED'}", flush=True)
    return not noticed


def main() -> int:
    """Plant all faults; return how many survived."""
    chosen = [fault for fault in FAULTS if not sys.argv[1:] or any(word in fault.name for word in sys.argv[1:])]
    with tempfile.TemporaryDirectory() as folder:
        survivors = [fault.name for fault in chosen if survives(fault, Path(folder))]
    print(f"{len(chosen) - len(survivors)} of {len(chosen)} faults were noticed")
    return len(survivors)


if __name__ == "__main__":
    sys.exit(min(main(), 1))
