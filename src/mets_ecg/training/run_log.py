"""The log of a run: JSON lines, trackers of Accelerate, and a progress bar with the time left."""

from __future__ import annotations

import dataclasses
import json

from accelerate import Accelerator
from tqdm.auto import tqdm

from mets_ecg_cli.training import TrainingArguments

from .run_folder import LOG, RunFolder


class RunLog:
    """The log of a run, written by the main process; a context manager.

    Args:
        accelerator: with the trackers.
        arguments: of the run.
        run: where the JSON lines are written.
        step: the step that the run resumes from; lines of later steps are removed.
        total_steps: of the whole job.
        records_per_step: of all processes.
    """

    def __init__(
        self,
        accelerator: Accelerator,
        arguments: TrainingArguments,
        run: RunFolder,
        *,
        step: int,
        total_steps: int,
        records_per_step: int,
    ):
        self.accelerator, self.run, self.records_per_step = accelerator, run, records_per_step
        self.path = run.working / LOG
        self._main = accelerator.is_main_process
        if arguments.log_with:
            fields = dataclasses.asdict(arguments).items()
            flat = {name: value if isinstance(value, (int, float)) else str(value) for name, value in fields}
            accelerator.init_trackers("mets-ecg", config=flat)
        if self._main:
            self._cut_off_after(step)
        self._bar = tqdm(
            total=total_steps * records_per_step,
            initial=step * records_per_step,
            unit="record",
            unit_scale=True,
            disable=None if self._main else True,
        )

    def _cut_off_after(self, step: int) -> None:
        lines = self.path.read_text(encoding="utf-8").splitlines() if self.path.is_file() else []
        kept = [line for line in lines if (_step_of(line) or step + 1) <= step]
        if kept != lines:
            with self.run.explained(LOG):
                partial = self.path.with_name(f".{LOG}.partial")
                partial.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")
                partial.rename(self.path)

    def __enter__(self) -> RunLog:
        return self

    def __exit__(self, *error) -> None:
        self._bar.close()

    def step(self) -> None:
        """Advance the bar by a step."""
        self._bar.update(self.records_per_step)

    def write(self, step: int, values: dict) -> None:
        """Log figures of a step."""
        if self._main:
            with self.run.explained(LOG), open(self.path, "a", encoding="utf-8") as file:
                file.write(json.dumps({"step": step, **values}) + "\n")
        if self.accelerator.trackers:
            self.accelerator.log(values, step=step)

    def say(self, text: str) -> None:
        """Print a line above the bar."""
        if self._main:
            tqdm.write(text)

    def describe(self, text: str) -> None:
        """Set the text before the bar."""
        self._bar.set_description(text)


def _step_of(line: str) -> int | None:
    try:
        return json.loads(line)["step"]
    except (ValueError, KeyError, TypeError):  # the run was killed while it wrote
        return None
