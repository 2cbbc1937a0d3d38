"""The folders of a run: the best model in `output`, and beside it, until the run is finished, `<output>.training`.

`<output>.training` holds what resuming needs: saved states, each a folder that appears whole or not at all, and the
log. When the run is finished the log, and what trackers wrote, are moved beside the model, and the folder is removed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

from accelerate import Accelerator
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from mets_ecg_cli.parser import read_yaml, save_arguments
from mets_ecg_cli.training import TrainingArguments

from ..data.building.locking import locked
from ..evaluation.statistics import plain_values

# Arguments that do not change what is trained: a run may be resumed with other values. Whether the corpus is the same
# is told by the ids of its records, wherever it lies.
_FREE = {"output", "overwrite", "source", "data", "num_proc", "save_steps", "save_total_limit", "logging_steps", "log_with"}  # fmt: skip  # noqa: E501
_ARGUMENTS = "training_args.yaml"
_MANIFEST = "state.json"
LOG = "log.jsonl"
DATA_LOCK = ".data.lock"


class RunFolder:
    """The folders of one run. The main process writes the model and the log.

    Args:
        arguments: of the run.
        method: its name.
    """

    def __init__(self, arguments: TrainingArguments, method: str):
        self.arguments, self.method = arguments, method
        self.output = Path(arguments.output).resolve()
        self.working = self.output.with_name(f"{self.output.name}.training")
        self._partial, self._replaced, self._finished = (
            self.output.with_name(f".{self.output.name}.{end}") for end in ("partial", "replaced", "finished")
        )

    @contextlib.contextmanager
    def opened(self, accelerator: Accelerator) -> Iterator[RunFolder]:
        """Check that the run may write here and lock the folders; a run that fails before its first step leaves none.

        Raises:
            FileExistsError: there is something in `output` that may not be replaced.
            ValueError: an unfinished run is here, with other arguments.
            RuntimeError: another process trains into this folder.
        """
        with contextlib.ExitStack() as stack:
            if accelerator.is_main_process:
                lock = self.output.with_name(f".{self.output.name}.lock")
                lock.parent.mkdir(parents=True, exist_ok=True)
                stack.enter_context(locked(lock, "trains into this folder"))
                stack.callback(lock.unlink, missing_ok=True)
                self._prepare()
                stack.callback(self._tidy)
            accelerator.wait_for_everyone()
            yield self

    def _prepare(self) -> None:
        shutil.rmtree(self._finished, ignore_errors=True)
        if self._replaced.exists() and not self.output.exists():
            self._replaced.rename(self.output)  # a run was cut off between the two renames of `save_model`
        if self.output.exists() and not self.output.is_dir():
            raise FileExistsError(f"the output {str(self.output)!r} is a file; name a folder")
        filled = self.output.is_dir() and any(self.output.iterdir())
        if (self.working / _ARGUMENTS).is_file():
            self._check_same_run()  # which is resumed; what is in `output` is its own, or what it replaces
        elif self.working.is_dir() and {path.name for path in self.working.iterdir()} - {f".{_ARGUMENTS}.partial"}:
            raise FileExistsError(f"{str(self.working)!r} is where the run keeps its state, and holds other files")
        elif filled and not self.arguments.overwrite:
            raise FileExistsError(
                f"the output folder {str(self.output)!r} is not empty: name another, or pass --overwrite"
            )
        elif filled and not (self.output / _ARGUMENTS).is_file():
            raise FileExistsError(
                f"the output folder {str(self.output)!r} holds no checkpoint: it is not replaced, name another"
            )
        if not (self.working / _ARGUMENTS).is_file():
            with self.explained("the arguments of the run"):
                self.working.mkdir(exist_ok=True)
                partial = self.working / f".{_ARGUMENTS}.partial"
                save_arguments(self.arguments, partial)
                partial.rename(self.working / _ARGUMENTS)

    def _check_same_run(self) -> None:
        before, now = read_yaml(self.working / _ARGUMENTS), dataclasses.asdict(self.arguments)
        changed = [name for name in now if name not in _FREE and before.get(name) != now[name]]
        if changed and self.arguments.overwrite:
            shutil.rmtree(self.working)
        elif changed:
            name = changed[0]
            raise ValueError(
                f"an unfinished run for {str(self.output)!r} was started with {name}={before.get(name)!r}, this one "
                f"has {now[name]!r}: pass the same arguments to resume it, or --overwrite, or another --output"
            )

    def _tidy(self) -> None:
        if self.working.is_dir() and {path.name for path in self.working.iterdir()} <= {_ARGUMENTS, DATA_LOCK}:
            shutil.rmtree(self.working)

    def save_model(self, model, processor, metrics: dict) -> None:
        """Write the model beside its place and put it there at once; an older one stays until the new one is whole.

        The arguments are saved without the folders of this machine: of a path its last part stays.
        """
        shutil.rmtree(self._partial, ignore_errors=True)
        with self.explained("the model"):
            model.save_pretrained(self._partial)
            processor.save_pretrained(self._partial)
            write_metrics(self._partial, metrics)
            save_arguments(_without_folders(self.arguments), self._partial / _ARGUMENTS)
        if self.output.exists():
            shutil.rmtree(self._replaced, ignore_errors=True)
            self.output.rename(self._replaced)
        self._partial.rename(self.output)
        shutil.rmtree(self._replaced, ignore_errors=True)

    def save_state(self, accelerator: Accelerator, step: int, rows: str) -> None:
        """Save what resuming from a step needs, on all processes together; it appears whole or not at all.

        Args:
            accelerator: with the model and the optimiser, and what was registered for checkpointing.
            step: of the whole job.
            rows: digest of the training records.

        Raises:
            OSError: it cannot be written; the states that were there stay.
        """
        folder = self.working / f"step-{step:08d}"
        partial = self.working / f".{folder.name}.partial"
        with self.explained("the state of the run"):
            if accelerator.is_main_process:
                shutil.rmtree(partial, ignore_errors=True)
                partial.mkdir()
            accelerator.wait_for_everyone()
            accelerator.save_state(str(partial))
            accelerator.wait_for_everyone()
            if not accelerator.is_main_process:
                return
            files = {path.name: path.stat().st_size for path in sorted(partial.iterdir())}
            manifest = {"step": step, "method": self.method, "num_processes": accelerator.num_processes}
            manifest |= {"rows": rows, "files": files}
            (partial / _MANIFEST).write_text(json.dumps(manifest, indent=2), encoding="utf-8")
            shutil.rmtree(folder, ignore_errors=True)  # when the run was resumed from an older state
            partial.rename(folder)
        for old in self._states()[: -self.arguments.save_total_limit]:
            shutil.rmtree(old)

    @contextlib.contextmanager
    def explained(self, what: str) -> Iterator[None]:
        """Remove what was half written, and say in the error which state is kept."""
        try:
            yield
        except (OSError, RuntimeError, SafetensorError) as error:  # torch has a RuntimeError for a full disk
            shutil.rmtree(self._partial, ignore_errors=True)
            for partial in self.working.glob(".*.partial"):
                shutil.rmtree(partial) if partial.is_dir() else partial.unlink()
            reason = " ".join(str(error).split())
            states = self._states()
            kept = f"the state of step {int(states[-1].name[5:])} is kept" if states else "no state was saved yet"
            raise OSError(
                f"{what} cannot be written to {str(self.output.parent)!r} ({reason}); {kept}. Free space, or correct "
                "what is reported, and run the same command again"
            ) from error

    def _states(self) -> list[Path]:
        """The saved states, oldest first."""
        return sorted(self.working.glob("step-*"))

    def load_state(self, accelerator: Accelerator, rows: str) -> bool:
        """Load the last state on every process; return False if there is none.

        Raises:
            ValueError: it is a state of another method, of other records or of another number of processes.
            FileNotFoundError: a file of it is missing or truncated.
        """
        states = self._states()
        if not states:
            return False
        folder = states[-1]
        manifest = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
        again = f"or remove {str(self.working)!r} to start again"
        if manifest["num_processes"] != accelerator.num_processes:
            raise ValueError(
                f"the run in {str(self.working)!r} was started with {manifest['num_processes']} processes, this launch "
                f"has {accelerator.num_processes}: launch as many, {again}"
            )
        if manifest["method"] != self.method:
            raise ValueError(f"the run in {str(self.working)!r} trains by {manifest['method']}, not by {self.method}")
        if manifest["rows"] != rows:
            raise ValueError(
                f"the run in {str(self.working)!r} was started on other training records: pass the same corpus, {again}"
            )
        for name, size in manifest["files"].items():
            if not (folder / name).is_file() or (folder / name).stat().st_size != size:
                raise FileNotFoundError(
                    f"{str(folder / name)!r} is missing or truncated, and the run cannot be resumed without it: "
                    f"remove {str(folder)!r} to resume from the state before, {again}"
                )
        accelerator.load_state(str(folder))
        return True

    def finish(self, metrics: dict) -> None:
        """Write the final metrics, put the log and what trackers wrote beside the model, and remove the rest."""
        write_metrics(self.output, metrics)
        for path in self.working.iterdir():
            if path.name == _ARGUMENTS or path.name.startswith((".", "step-")):
                continue
            if path.is_dir():  # of a run that was killed here, some may be there already
                shutil.copytree(path, self.output / path.name, dirs_exist_ok=True)
            else:
                path.rename(self.output / path.name)
        self.working.rename(self._finished)  # at once: a half-removed state must not be resumed from
        shutil.rmtree(self._finished, ignore_errors=True)


def save_trained_weights_only(accelerator: Accelerator) -> None:
    """Leave frozen weights out of saved states: `build` loads them again."""

    def save(models: list, weights: list, folder: str) -> None:
        weights.clear()
        if accelerator.is_main_process:
            save_file(_trained_state(accelerator.unwrap_model(models[0])), Path(folder) / "model.safetensors")

    def load(models: list, folder: str) -> None:
        model = accelerator.unwrap_model(models.pop())
        weights, expected = load_file(Path(folder) / "model.safetensors"), _trained_state(model)
        shapes = [{name: values.shape for name, values in state.items()} for state in (weights, expected)]
        if shapes[0] != shapes[1]:
            name = sorted(name for name, _ in shapes[0].items() ^ shapes[1].items())[0]
            raise ValueError(f"the state in {folder!r} is of a model of another architecture: they differ in {name}")
        model.load_state_dict(weights, strict=False)

    accelerator.register_save_state_pre_hook(save)
    accelerator.register_load_state_pre_hook(load)


def _trained_state(model) -> dict:
    frozen = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    return {name: values.contiguous() for name, values in model.state_dict().items() if name not in frozen}


def _without_folders(arguments: TrainingArguments) -> TrainingArguments:
    """Return the arguments without the folders of this machine."""

    def shorten(value):
        if isinstance(value, list):
            return [shorten(one) for one in value]
        return Path(value).name if isinstance(value, str) and Path(value).is_absolute() else value

    fields = {field.name: shorten(getattr(arguments, field.name)) for field in dataclasses.fields(arguments)}
    return dataclasses.replace(arguments, **fields)


def write_metrics(folder: Path, metrics: dict) -> None:
    """Write `metrics.json` into a folder, at once."""
    partial = folder / ".metrics.json.partial"
    partial.write_text(json.dumps(plain_values(metrics), indent=2, allow_nan=False) + "\n", encoding="utf-8")
    partial.rename(folder / "metrics.json")
