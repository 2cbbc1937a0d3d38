"""The command `mets-ecg predict`: recordings of one's own to scores, and to what each answer stands on.

A recording that cannot be read is reported and passed over; the command then ends with status 1.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import yaml
from tqdm.auto import tqdm
from transformers import pipeline

from mets_ecg_cli.predict import PredictArguments, RecordingArguments

from .evaluation.checkpoints import Checkpoint
from .io import recordings_in_folder
from .leads import MAX_LIMB_LEAD_ERROR
from .plotting import plot_ecg, plot_scores, require_matplotlib
from .recordings import Recording, read_recording
from .shipped import shipped

# What a recording may fail with that is its own fault; others are ours, and end the command.
FAILURES = (ValueError, TypeError, OSError, ImportError)
PICTURES = (".png", ".svg", ".pdf")


def run_predict(arguments: PredictArguments) -> None:
    """Ask each recording, print its scores and draw it.

    Raises:
        ValueError, OSError: there are no recordings or no labels, or the checkpoint is not there.
        RuntimeError: some of several recordings failed; they were named as it went.
    """
    paths, labels = list_recordings(arguments.files), read_labels(arguments.labels)
    pictures = picture_paths(arguments.picture, paths)
    ask = _Asking(arguments, labels)
    write = (
        _write_json
        if arguments.json
        else _CSVWriter()
        if arguments.csv
        else partial(_write_text, over_time=arguments.over_time)
    )
    failures = Failures(len(paths))
    for path, picture in zip(tqdm(paths, unit="recording", disable=len(paths) == 1 or None), pictures, strict=True):
        try:
            recording = read_file(path, arguments, default_leads=ask.extractor.lead_names)
            answer = ask(recording)
        except FAILURES as error:
            write({"file": str(path), "error": failures.add(path, error)})
            continue
        write({"file": str(path), **answer})
        if picture is not None:
            try:
                ask.draw(recording, answer, picture)
            except FAILURES as error:
                failures.add(path, error)
    failures.end()


class Failures:
    """Recordings that failed: of several they are named and passed over, a single one ends the command."""

    def __init__(self, num_recordings: int):
        self.num_recordings, self.failed = num_recordings, 0

    def add(self, path: Path, error: Exception) -> str:
        """Name a recording and why it failed, and return that; of a single one raise the error again."""
        if self.num_recordings == 1:
            raise error
        self.failed += 1
        reason = " ".join(str(error).split())
        tqdm.write(reason if reason.startswith(str(path)) else f"{path}: {reason}", file=sys.stderr)
        return reason

    def end(self) -> None:
        """Raise RuntimeError if some failed."""
        if self.failed:
            raise RuntimeError(f"{self.failed} of {self.num_recordings} recordings failed, as said above")


def read_file(path: Path, arguments: RecordingArguments, **options) -> Recording:
    """Return the recording of a file, with what the arguments state of it.

    Raises:
        ValueError, OSError, ImportError: as `read_recording`; the way out is told in flags.
    """
    try:
        return read_recording(str(path), **arguments.stated(), **options, label=str(path))
    except ValueError as error:
        if not any(f"{name}=" in str(error) for name in arguments.stated()):
            raise
        flags = "--sampling-rate, --lead-names with - in place of None, --units"
        raise ValueError(f"{error} (here: {flags})") from error


def list_recordings(files: Sequence[str]) -> list[Path]:
    """Return files as they are named, and the recordings in folders.

    Raises:
        FileNotFoundError: a folder has no recordings.
    """
    paths: list[Path] = []
    for name in files:
        found = recordings_in_folder(name) if Path(name).is_dir() else [Path(name)]
        if not found:
            raise FileNotFoundError(
                f"there is no recording in {name!r}: neither a WFDB header nor a file of another format that is read"
            )
        paths += found
    return paths


def read_labels(labels: Sequence[str]) -> list[str] | dict[str, list[str]] | None:
    """Return labels; one that is a file's name stands for what is in it: a label a line, or in YAML phrases by label.

    Raises:
        ValueError: the file has no labels, or cannot be read as YAML.
    """
    if len(labels) != 1 or not os.path.isfile(labels[0]):
        return list(labels) or None
    text = Path(labels[0]).read_text(encoding="utf-8")
    if Path(labels[0]).suffix in (".yaml", ".yml"):
        try:
            read = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ValueError(f"{labels[0]!r} cannot be read as YAML: {error}") from error
        if not isinstance(read, dict) or not read or not all(isinstance(own, (str, list)) for own in read.values()):
            raise ValueError(f"{labels[0]!r} must have labels with their phrases, as `infarction: [inferior infarct.]`")
        return {str(label): [own] if isinstance(own, str) else own for label, own in read.items()}
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        raise ValueError(f"{labels[0]!r} has no labels: write one a line")
    return lines


def picture_paths(picture: str | None, paths: Sequence[Path]) -> list[Path | None]:
    """Return where each recording's picture goes: a file for one, a folder's files for several.

    Raises:
        ValueError: a file is named for several recordings, or it is of no known kind.
    """
    if picture is None:
        return [None] * len(paths)
    require_matplotlib()
    given = Path(picture)
    if given.suffix.lower() in PICTURES:
        if len(paths) > 1:
            raise ValueError(f"{picture!r} is one picture, and there are {len(paths)} recordings: name a folder")
        given.parent.mkdir(parents=True, exist_ok=True)
        return [given]
    if given.suffix and not given.is_dir():
        raise ValueError(f"{picture!r}: pictures are {', '.join(PICTURES)} files, or a folder of them")
    given.mkdir(parents=True, exist_ok=True)
    stems = [path.with_suffix("").name for path in paths]
    return [
        given / (f"{stem}.png" if stems.count(stem) == 1 else f"{i + 1}-{stem}.png") for i, stem in enumerate(stems)
    ]


class _Asking:
    """A checkpoint's pipeline, with what is asked."""

    def __init__(self, arguments: PredictArguments, labels):
        name = arguments.model or shipped()
        checkpoint = Checkpoint.open(name)
        if checkpoint.classifies and labels is not None:
            raise ValueError(f"{name} is a classifier of classes that it was trained on: leave --labels out")
        if not checkpoint.classifies and labels is None:
            raise ValueError('say what is asked, by --labels "atrial fibrillation" "normal ecg", or a file of labels')
        task = "ecg-classification" if checkpoint.classifies else "zero-shot-classification"
        self.pipeline = pipeline(task, model=name)
        self.extractor, self.arguments = checkpoint.feature_extractor, arguments
        self.call: dict = {"return_details": True, "top_k": arguments.top_k, "batch_size": arguments.batch_size}
        if labels is not None:
            self.call |= {"candidate_labels": labels, "multi_label": arguments.multi_label}

    def __call__(self, recording: Recording) -> dict:
        """Return the answer: scores, and what they stand on."""
        crop = {"crop": "windows"} if self.arguments.windows or self.arguments.over_time else {}
        given = {
            "signal": recording.signal_mv,
            "sampling_rate": recording.sampling_rate,
            "lead_names": list(recording.lead_names),
            "units": "mV",
            "record_id": recording.record_id,
        }
        answer = self.pipeline(given, **self.call, **crop)
        return answer | {"assumed": dict(recording.assumed), "dropped_channels": list(recording.dropped_channels)}

    def draw(self, recording: Recording, answer: dict, picture: Path) -> None:
        """Write the picture: the first window that was read with the scores, or the scores over time."""
        if self.arguments.over_time:
            labels = [one["label"] for one in answer["scores"]]
            times, scores = zip(*((start, own) for start, own, _ in _over_time(answer["windows"])), strict=True)
            values = np.array([[own.get(label, np.nan) for label in labels] for own in scores])
            figure = plot_scores(times, values, labels, title=picture.stem)
        else:
            first = round(answer["windows"][0]["start"] * recording.sampling_rate)
            figure = plot_ecg(
                recording.signal_mv[:, first:],
                sampling_rate=recording.sampling_rate,
                lead_names=recording.lead_names,
                title=recording.record_id or picture.stem,
                scores=answer["scores"],
            )
        figure.savefig(picture)


def _over_time(windows: Sequence[dict]) -> Iterator[tuple[float, dict[str, float], str]]:
    """Yield when each window begins (s), its scores by label and a remark; parts that were left out have no scores."""
    stop = windows[0]["start"]
    for window in windows:
        if window["start"] > stop + 0.01:
            yield stop, {}, "left out"
        yield window["start"], _by_label(window["scores"]), "" if window["num_qrs"] else "no beat"
        stop = window["stop"]


def _by_label(scores: Iterable[dict]) -> dict[str, float]:
    return {one["label"]: one["score"] for one in scores}


# What is printed.


def _write_json(answer: dict) -> None:
    tqdm.write(json.dumps(answer, default=float), file=sys.stdout)


def _write_text(answer: dict, over_time: bool) -> None:
    if "error" not in answer:
        tqdm.write("\n".join(_lines(answer, over_time)), file=sys.stdout)


class _CSVWriter:
    """A line for each recording, with a column for each label of the first one."""

    def __init__(self):
        self.labels: list[str] | None = None

    def __call__(self, answer: dict) -> None:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        scores = _by_label(answer.get("scores", ()))
        if self.labels is None and scores:
            self.labels = sorted(scores)
            writer.writerow(["file", *self.labels, "duration", "qrs_found", "masked", "assumed"])
        if scores:
            notes = [answer["duration"], answer["qrs_found"], " ".join(_masked(answer)), " ".join(answer["assumed"])]
            writer.writerow([answer["file"], *(f"{scores[label]:.4f}" for label in self.labels), *notes])


def _masked(answer: dict) -> dict[str, str]:
    """Return the leads that are masked in any window, with the reason."""
    return {lead: why for window in answer["windows"] for lead, why in window["masked"].items()}


def _lines(answer: dict, over_time: bool) -> Iterator[str]:
    windows = answer["windows"]
    read = f"read {windows[0]['start']:.1f} to {windows[-1]['stop']:.1f} s"
    if len(windows) > 1:
        read += f" by {len(windows)} windows"
    yield f"{answer['file']}: {answer['duration']:.1f} s at {answer['sampling_rate']:g} Hz, {read}"
    for one in answer["scores"]:
        present = "" if one.get("present") is None else "  present" if one["present"] else ""
        yield f"  {one['score']:.2f}  {one['label']}{present}"
    if not answer["qrs_found"]:
        yield "  no heart beat was found: the scores mean nothing"
    by_reason: dict[str, list[str]] = {}
    for lead, why in _masked(answer).items():
        by_reason.setdefault(why, []).append(lead)
    for words, found in (
        ("masked", "; ".join(f"{why} {', '.join(leads)}" for why, leads in by_reason.items())),
        ("derived", ", ".join(dict.fromkeys(lead for window in windows for lead in window["derived"]))),
        ("left out", ", ".join(answer["dropped_channels"])),
        ("assumed", ", ".join(f"{name} {value}" for name, value in answer["assumed"].items())),
    ):
        if found:
            width = max(40, shutil.get_terminal_size((80, 24)).columns)
            yield textwrap.fill(f"{words}: {found}", width, initial_indent="  ", subsequent_indent="    ")
    if (answer["limb_lead_error"] or 0) > MAX_LIMB_LEAD_ERROR:
        yield "  the limb leads do not fit each other: are they what they are called?"
    if over_time:
        labels = [one["label"] for one in answer["scores"]]
        yield "  " + "  ".join(["    from s", *(label[:18].rjust(18) for label in labels)])
        for start, scores, remark in _over_time(windows):
            cells = [f"{scores[label]:18.2f}" if label in scores else f"{'-':>18}" for label in labels]
            yield "  " + "  ".join([f"{start:10.0f}", *cells, remark]).rstrip()
