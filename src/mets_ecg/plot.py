"""The command `mets-ecg plot`: recordings of one's own on clinical paper."""

from __future__ import annotations

from pathlib import Path

from mets_ecg_cli.plot import PlotArguments

from .plotting import plot_ecg
from .predict import FAILURES, Failures, list_recordings, picture_paths, read_file
from .remarks import recording_remarks


def run_plot(arguments: PlotArguments) -> None:
    """Draw each recording, and print where.

    Raises:
        ValueError, OSError: the recording cannot be read, ends before the page begins, or cannot be drawn.
        RuntimeError: some of several recordings failed; they were named as it went.
    """
    paths = list_recordings(arguments.files)
    failures = Failures(len(paths))
    for path, picture in zip(paths, picture_paths(arguments.output, paths), strict=True):
        try:
            _draw(path, picture, arguments, alone=len(paths) == 1)
        except FAILURES as error:
            failures.add(path, error)
        else:
            print(f"{path}: {picture}")
    failures.end()


def _draw(path: Path, picture: Path, arguments: PlotArguments, *, alone: bool) -> None:
    recording = read_file(path, arguments, alone=alone)
    figure = plot_ecg(
        recording.signal_mv,
        sampling_rate=recording.sampling_rate,
        lead_names=recording.lead_names,
        start=arguments.start,
        title=arguments.title or recording.record_id or path.name,
        remarks=recording_remarks(recording.assumed, recording.dropped_channels),
    )
    figure.savefig(picture)
