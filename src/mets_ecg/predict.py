"""The command `mets-ecg predict`: recordings of one's own to scores, with remarks on each answer.

A recording that cannot be read is reported and passed over; the command then ends with status 1.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import yaml
from tqdm.auto import tqdm
from transformers import pipeline
from transformers.utils.logging import disable_progress_bar, enable_progress_bar, is_progress_bar_enabled

from mets_ecg_cli.predict import PredictArguments, RecordingArguments

from .answers import CSVWriter, JSONWriter, TextWriter, over_time
from .evaluation.checkpoints import Checkpoint
from .io import read_ecg, recordings_in_folder
from .leads import is_lead
from .plotting import plot_ecg, plot_scores, require_matplotlib
from .recordings import Recording, read_recording
from .shipped import shipped

# What a recording may fail with that is its own fault; others are ours, and end the command.
FAILURES = (ValueError, TypeError, OSError, ImportError)
PICTURES = (".png", ".svg", ".pdf")
# A label that ends so is the name of a file that is not there.
_FILE_NAME = re.compile(r"\.(txt|csv|tsv|ya?ml|json|md|docx?|xlsx?|pdf)$", re.IGNORECASE)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Leave out what remarks say of each answer."""
    loggers = [logging.getLogger(f"mets_ecg.{name}") for name in ("feature_extraction_ecg", "recordings")]
    levels = [one.level for one in loggers]
    for one in loggers:
        one.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for one, level in zip(loggers, levels, strict=True):
            one.setLevel(level)


@contextlib.contextmanager
def _no_progress() -> Iterator[None]:
    """Leave out the progress of loading, which is over at once."""
    shown = is_progress_bar_enabled()
    disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            enable_progress_bar()


@_quiet()
def run_predict(arguments: PredictArguments) -> None:
    """Ask each recording, print its scores and draw it.

    Raises:
        ValueError, OSError: there are no recordings or no labels, or the checkpoint is not there.
        RuntimeError: some of several recordings failed; they were named as it went.
    """
    paths, labels = list_recordings(arguments.files), read_labels(arguments.labels)
    pictures = picture_paths(arguments.picture, paths)
    ask = _Asking(arguments, labels)
    if arguments.json:
        write = JSONWriter()
    elif arguments.csv:
        write = CSVWriter(ask.labels, windows=arguments.over_time)
    else:
        write = TextWriter(windows=arguments.over_time)
    failures, alone = Failures(len(paths)), len(paths) == 1
    for path, picture in zip(tqdm(paths, unit="recording", disable=alone or None), pictures, strict=True):
        try:
            recording = read_file(path, arguments, alone=alone, default_leads=ask.extractor.lead_names)
            with in_flags(path):
                answer = ask(recording, str(path))
        except FAILURES as error:
            write({"file": str(path), "error": failures.add(path, error)})
            continue
        write({"file": str(path), **answer})
        if picture is not None:
            try:
                ask.draw(recording, answer, picture)
                if isinstance(write, TextWriter):
                    tqdm.write(f"  drawn: {picture}")
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


def read_file(path: Path, arguments: RecordingArguments, *, alone: bool, **options) -> Recording:
    """Return the recording of a file, with what the arguments state of it.

    Args:
        path: of the file.
        arguments: of the command.
        alone: whether it is the only file. What is stated of several is of those that do not state it themselves.
        options: of `read_recording`.

    Raises:
        ValueError, OSError, ImportError: as `read_recording`; the way out is told in flags.
    """
    stated = {name: value for name, value in arguments.stated().items() if value is not None}
    with in_flags(path):
        record = read_ecg(path)
        if not alone:
            says = {
                "sampling_rate": record.sampling_rate is not None,
                "lead_names": record.lead_names is not None and all(map(is_lead, record.lead_names)),
                "units": record.units is not None and all(record.units),
            }
            stated = {name: value for name, value in stated.items() if not says[name]}
        recording = read_recording(replace(record, record_id=str(path)), **stated, **options)
        return replace(recording, record_id=record.record_id)


@contextlib.contextmanager
def in_flags(path: Path) -> Iterator[None]:
    """Tell the ways out of an error, which are arguments in Python, as flags of the command."""
    try:
        yield
    except ValueError as error:
        words = str(error).replace(str(path), "\0")
        if "lead_names=" in words or "lead names" in words:
            words = re.sub(r"\bNone\b", "-", words)
        words = re.sub(
            r", or pass the signal as an array[^:]*|, or pass a corpus row or a path, which [^:]*", "", words
        )
        words = re.sub(r"crop='windows'", "--windows", words)
        words = re.sub(r"\b(sampling_rate|lead_names|units)=('(\w+)')?", _flag, words)
        raise ValueError(words.replace("\0", str(path))) from error


def _flag(match: re.Match) -> str:
    return f"--{match[1].replace('_', '-')}" + (f" {match[3]}" if match[3] else "")


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
        ValueError: a name of a file stands among labels or is of none, the file has no labels, or is no such text.
    """
    if not labels:
        return None
    if len(labels) > 1 or not os.path.isfile(labels[0]):
        for label in labels:
            if _FILE_NAME.search(label) or (len(labels) == 1 and os.path.isdir(label)):
                there = "is to be given alone" if os.path.isfile(label) else "is not there"
                raise ValueError(f"{label!r} is no label: a file with a label a line {there}")
        return list(labels)
    try:
        text = Path(labels[0]).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{labels[0]!r} is not a text in UTF-8 with a label a line: save it as one") from error
    if Path(labels[0]).suffix in (".csv", ".tsv", ".json"):
        raise ValueError(
            f"{labels[0]!r} is no file of labels: write a label a line (.txt), or phrases by label (.yaml)"
        )
    if Path(labels[0]).suffix in (".yaml", ".yml"):
        return _read_phrases(text, labels[0])
    lines = [line.strip().strip("\"'") for line in text.splitlines() if line.strip() and line.strip()[0] != "#"]
    if not lines:
        raise ValueError(f"{labels[0]!r} has no labels: write one a line")
    return lines


def _read_phrases(text: str, name: str) -> dict[str, list[str]]:
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise ValueError(f"{name!r} cannot be read as YAML: {error}") from error
    pairs = node.value if isinstance(node, yaml.MappingNode) else []
    labels = [label.value for label, _ in pairs]  # as it is written: `no` is a word here
    phrases = [own.value if isinstance(own, yaml.SequenceNode) else [own] for _, own in pairs]
    texts = [[one.value for one in own] for own in phrases]
    if not labels or not all(isinstance(one, str) and one for own in [labels, *texts] for one in own):
        raise ValueError(f"{name!r} must have labels with their phrases, as `infarction: [inferior infarct.]`")
    if len({*labels}) < len(labels):
        raise ValueError(f"{name!r} has a label twice: put all its phrases into one list")
    return dict(zip(labels, texts, strict=True))


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
    names = [path.with_suffix("").name for path in paths]
    if len({*names}) < len(names):
        names = [path.name for path in paths]
    if len({*names}) < len(names):
        names = [f"{i}-{name}" for i, name in enumerate(names, start=1)]
    return [given / f"{name}.png" for name in names]


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
        with _no_progress():
            self.pipeline = pipeline(task, model=checkpoint.name)
        self.extractor, self.arguments = checkpoint.feature_extractor, arguments
        self.labels = list(labels or self.pipeline.model.config.id2label.values())
        self.on_its_own = labels is not None and (arguments.multi_label or len(labels) == 1)
        self.call: dict = {"return_details": True, "top_k": arguments.top_k, "batch_size": arguments.batch_size}
        if labels is not None:
            self.call |= {"candidate_labels": labels, "multi_label": arguments.multi_label}

    def __call__(self, recording: Recording, label: str) -> dict:
        """Return the answer: scores, details and remarks; errors call the recording by its label."""
        crop = {"crop": "windows"} if self.arguments.windows or self.arguments.over_time else {}
        answer = self.pipeline(replace(recording, record_id=label), **self.call, **crop)
        if self.on_its_own:
            answer["remarks"].append(
                "each label was judged on its own: such scores rank recordings, and have no threshold"
            )
        return answer | {"record_id": recording.record_id}

    def draw(self, recording: Recording, answer: dict, picture: Path) -> None:
        """Write the picture: the first window that was read with the scores, or the scores over time."""
        title = recording.record_id or picture.stem
        if self.arguments.over_time:
            labels = [one["label"] for one in answer["scores"]]
            # Scores of a part without a heart beat mean nothing, and are not drawn.
            drawn = [(start, {} if remark else scores) for start, scores, remark in over_time(answer)]
            values = np.array([[scores.get(label, np.nan) for label in labels] for _, scores in drawn])
            times = [start for start, _ in drawn]
            figure = plot_scores(times, values, labels, title=title, remarks=answer["remarks"])
        else:
            figure = plot_ecg(
                recording.signal_mv,
                sampling_rate=recording.sampling_rate,
                lead_names=recording.lead_names,
                start=answer["windows"][0]["start"],
                title=title,
                scores=answer["scores"],
                remarks=answer["remarks"],
            )
        figure.savefig(picture)
