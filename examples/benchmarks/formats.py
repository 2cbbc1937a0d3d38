"""Write one recording in every clinical format, read it back, and read folders of other files; print Markdown tables.

    python examples/benchmarks/formats.py [FOLDER ...] > examples/benchmarks/results/formats.md

The writers are those of the tests (`tests/io/clinical_files.py`): PTB-XL record 338, a man of 61 years. Scores are of
the checkpoint that ships, and compared with those of the WFDB record.
"""

from __future__ import annotations

import argparse
import importlib.util
import logging
import shlex
import sys
import tempfile
from pathlib import Path

import numpy as np
from transformers import pipeline

import mets_ecg
from mets_ecg.io import read_ecg, recordings_in_folder

REPOSITORY = Path(__file__).parents[2]
LABELS = ["left bundle branch block", "right bundle branch block", "normal ecg"]


def load_writers():
    spec = importlib.util.spec_from_file_location("clinical_files", REPOSITORY / "tests/io/clinical_files.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main(folders: list[str]) -> None:
    files, source = load_writers(), REPOSITORY / "tests/fixtures/ptb-xl/records500/00000/00338_hr"
    known = read_ecg(source)
    ask = pipeline("zero-shot-classification", model=mets_ecg.shipped("mets-small"), device="cpu")

    def scores(path) -> np.ndarray:
        answers = ask(str(path), candidate_labels=LABELS)
        return np.array([next(one["score"] for one in answers if one["label"] == label) for label in LABELS])

    wanted = scores(source)
    print("# Clinical formats: what is read of them\n")
    print(f"    {shlex.join(['python', 'examples/benchmarks/formats.py', *folders])}\n")
    print("PTB-XL record 338 (12 leads, 10 s, 500 Hz, steps of 1 uV), written and read back:\n")
    print("| format | samples, largest error (uV) | leads | rate | age | sex | start | scores, largest difference |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        for kind, write in files.WRITERS.items():
            path = write(Path(folder), known.signal, files.STANDARD_LEADS, 500)
            record = read_ecg(path)
            error = 1000 * np.abs(record.signal - known.signal).max()
            cells = [
                f"{error:.3f}",
                said(record.lead_names, files.STANDARD_LEADS),
                said(record.sampling_rate, 500),
                said(record.age, 61),
                said(record.sex, "male"),
                said(record.start_time, files.START.isoformat()),
                f"{np.abs(scores(path) - wanted).max():.0e}",
            ]
            print(f"| {kind} | {' | '.join(cells)} |")
    for name in folders:
        print(f"\nFiles of `{name}`:\n")
        print("| file | what is read |\n| --- | --- |")
        for path in recordings_in_folder(name):
            print(f"| {path.relative_to(name)} | {outcome(path)} |")


def said(value, wanted) -> str:
    return "not stated" if value is None else "right" if value == wanted else f"WRONG: {value}"


def outcome(path: Path) -> str:
    try:
        record = read_ecg(path)
    except ValueError as error:
        return f"refused: {str(error).removeprefix(str(path)).lstrip(': ')}"
    leads, samples = record.signal.shape
    widest = np.nanmax(np.ptp(np.nan_to_num(record.signal), axis=1))
    units = "/".join(sorted({unit or "no unit" for unit in record.units or [None]}))
    patient = ", ".join(str(own) for own in (record.age, record.sex, record.start_time) if own is not None)
    rate = "no stated rate" if record.sampling_rate is None else f"{record.sampling_rate:g} Hz"
    return f"{leads} x {samples} at {rate}, up to {widest:.2f} {units} wide; {patient or 'no patient'}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", metavar="FOLDER")
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    sys.exit(main(arguments.folders))
