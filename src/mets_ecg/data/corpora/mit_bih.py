"""The MIT-BIH Arrhythmia Database 1.0.0 in PhysioNet's layout, cut into 10-s windows.

Source: Moody and Mark, "The impact of the MIT-BIH Arrhythmia Database", IEEE Eng. in Med. and Biol. 20(3), 2001;
PhysioNet, DOI 10.13026/C2F305, licence ODC-By 1.0. 48 recordings of 30 min from 47 subjects, two channels, 360 Hz,
format 212: 11 bits, 200 units per mV, 0 mV at 1024. Cardiologists annotated every beat, and the rhythm wherever it
changes.

What to know: most records hold MLII and V1, but 114 has V5 before MLII, and 102 and 104 have no MLII: go by the names.
201 and 202 are one person, whom the customary split DS1 / DS2 puts on both sides. 102, 104, 107 and 217 are paced and
customarily left out. Headers begin their comments with age and sex; they are null where not. Ventricular flutter
waves (`!`, in 207) and blocked P waves (`x`) are not beats. Rhythm codes come with or without a trailing zero byte.
Labels are never null and never `[]`: a row is an annotated beat, or a window inside one annotated rhythm.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from datasets import List, Value

from ...io import age_and_sex, read_wfdb_digital
from ..building.corpus_builder import CorpusBuilder, CorpusInfo, Recording
from ..rows import signal_columns, statements_of

WINDOW_SECONDS = 10

# De Chazal et al. (2004); no person but 201 / 202 is in two of them.
_RECORDS = {
    "ds1": "101 106 108 109 112 114 115 116 118 119 122 124 201 203 205 207 208 209 215 220 223 230",
    "ds2": "100 103 105 111 113 117 121 123 200 202 210 212 213 214 219 221 222 228 231 232 233 234",
    "paced": "102 104 107 217",
}

# Beat annotations by symbol: what PhysioNet calls them, and their class by ANSI/AAMI EC57.
BEATS = {
    "N": ("normal beat", "N"),
    "L": ("left bundle branch block beat", "N"),
    "R": ("right bundle branch block beat", "N"),
    "e": ("atrial escape beat", "N"),
    "j": ("nodal (junctional) escape beat", "N"),
    "A": ("atrial premature beat", "S"),
    "a": ("aberrated atrial premature beat", "S"),
    "J": ("nodal (junctional) premature beat", "S"),
    "S": ("supraventricular premature or ectopic beat (atrial or nodal)", "S"),
    "V": ("premature ventricular contraction", "V"),
    "E": ("ventricular escape beat", "V"),
    "F": ("fusion of ventricular and normal beat", "F"),
    "/": ("paced beat", "Q"),
    "f": ("fusion of paced and normal beat", "Q"),
    "Q": ("unclassifiable beat", "Q"),
}
AAMI_CLASSES = ("N", "S", "V", "F", "Q")

# Rhythms by the code of their annotation.
RHYTHMS = {
    "(N": "normal sinus rhythm",
    "(SBR": "sinus bradycardia",
    "(AB": "atrial bigeminy",
    "(AFIB": "atrial fibrillation",
    "(AFL": "atrial flutter",
    "(SVTA": "supraventricular tachyarrhythmia",
    "(PREX": "pre-excitation (WPW)",
    "(NOD": "nodal (A-V junctional) rhythm",
    "(BII": "second degree heart block",
    "(B": "ventricular bigeminy",
    "(T": "ventricular trigeminy",
    "(IVR": "idioventricular rhythm",
    "(VT": "ventricular tachycardia",
    "(VFL": "ventricular flutter",
    "(P": "paced rhythm",
}


class MITBIH(CorpusBuilder):
    """MIT-BIH: one row a beat (config `beats`) or one row a window inside one rhythm (config `rhythm`)."""

    name = "mit-bih"
    version = 1
    configs = ("beats", "rhythm")
    markers = ("[12]??.atr",)
    default_parts = {"train": ("none",), "validation": ("ds1",), "test": ("ds2",)}
    shared_patients = ("201",)
    splits = tuple(_RECORDS)
    recordings_per_shard = 1  # whose 2,300 windows overlap
    info = CorpusInfo(
        title="MIT-BIH Arrhythmia Database",
        description="""\
48 half-hour ambulatory ECGs of two channels from 47 subjects, every beat annotated by cardiologists, cut into windows
of 10 s (3,600 samples at 360 Hz).

- **Signals**: two leads, named as in the files and in their order: mostly MLII (a modified lead II) and V1, but record
  114 has V5 first and MLII second, and 102 and 104 have V5 and V2. Choose leads by `lead_names`. Integers of 5 uV
  (`gain` 200 per mV, `baseline` 1024), unfiltered.
- **Config `beats`**: a row for every annotated beat, centred in its window but where the recording ends;
  `beat_sample` is its place in the window. `labels_beat` is the type of that beat and `labels_aami` its class by
  ANSI/AAMI EC57 (N, S, V, F, Q). A window holds some ten beats, which may be of several types: `window_symbols` lists
  the annotation symbols of all of them in order, to choose windows without doubt (ventricular flutter waves, in record
  207, are not beats and not among them). Neighbouring windows overlap: a record's rows are not independent.
- **Labels** are known for every row, one class in each column.
- **Config `rhythm`**: consecutive windows that do not overlap, each inside one annotated rhythm, from where the rhythm
  begins; a run of less than 10 s gives none. `labels_rhythm` is its name, the code is in `statements`.
- **Splits** are the customary DS1 and DS2 of 22 records each, and `paced`, the four records of patients with a
  pacemaker, which most evaluations leave out; column `fold` is 1, 2 and 3. Records 201 (DS1) and 202 (DS2) are one
  person, with one `patient_id`. Draw samples by patient: most classes come from a few.
- **Age and sex** are from the headers, ages above 89 too; null where they are not given.
""",
        version="1.0.0",
        licence="odc-by",
        doi="10.13026/C2F305",
        homepage="https://physionet.org/content/mitdb/1.0.0/",
        citation="""\
@article{moody2001mitbih,
  title = {The impact of the {MIT-BIH} Arrhythmia Database},
  author = {Moody, George B. and Mark, Roger G.},
  journal = {IEEE Engineering in Medicine and Biology Magazine},
  volume = {20},
  number = {3},
  pages = {45--50},
  year = {2001},
  doi = {10.1109/51.932724}
}
@misc{mitdb,
  title = {{MIT-BIH} Arrhythmia Database},
  author = {Moody, George B. and Mark, Roger G.},
  year = {2005},
  publisher = {PhysioNet},
  version = {1.0.0},
  doi = {10.13026/C2F305}
}
""",
        download_url="https://physionet.org/files/mitdb/1.0.0/",
    )

    @property
    def label_columns(self) -> Mapping[str, Sequence[str]]:
        if self.config == "rhythm":
            return {"labels_rhythm": tuple(RHYTHMS.values())}
        return {"labels_beat": tuple(name for name, _ in BEATS.values()), "labels_aami": AAMI_CLASSES}

    @property
    def extra_columns(self) -> Mapping[str, object]:
        if self.config == "rhythm":
            return {}
        return {"beat_sample": Value("int32"), "window_symbols": List(Value("string"))}

    @classmethod
    def download_patterns(cls, config: str) -> tuple[str, ...]:
        return ("[12]??.hea", "[12]??.dat", "[12]??.atr")  # not the other versions of some records beside them

    def recordings(self) -> list[Recording]:
        return [
            Recording(
                record_id=name,
                files=(f"{name}.hea", f"{name}.dat", f"{name}.atr"),
                split=split,
                fields={"patient_id": "201" if name == "202" else name, "fold": fold},
            )
            for fold, (split, names) in enumerate(_RECORDS.items(), start=1)
            for name in names.split()
        ]

    def read(self, recording: Recording) -> Iterator[dict]:
        """Yield a row for every window of a recording; its files are read once."""
        record = read_wfdb_digital(self.source / recording.files[0])
        num_samples = record.signal.shape[1]
        length = round(WINDOW_SECONDS * record.sampling_rate)
        if num_samples < length:
            raise ValueError(
                f"MIT-BIH record {recording.record_id} has {num_samples} samples, less than a window of "
                f"{WINDOW_SECONDS} s: give the recordings of 30 min as published"
            )
        annotation = read_annotation(self.source / recording.files[2], num_samples)
        windows = _rhythm_windows if self.config == "rhythm" else _beat_windows
        for at, start, columns in windows(annotation, length):
            yield {
                "record_id": f"{recording.record_id}_{at:06d}",
                **recording.fields,
                **age_and_sex(record.comments[:1]),  # `75 F 1011 654 x1`; free text follows
                **signal_columns(replace(record, signal=record.signal[:, start : start + length])),
                **columns,
            }


@dataclass(frozen=True)
class Annotation:
    """A record's annotations in the order of time.

    Attributes:
        name: of the file.
        samples: where each one is.
        symbols: its code, one letter.
        notes: its text, for example `"(AFIB"` beside the symbol `+`; `""` where it has none.
        num_samples: of the record.
    """

    name: str
    samples: np.ndarray
    symbols: np.ndarray
    notes: list[str]
    num_samples: int

    def rhythm_runs(self) -> list[tuple[str, int, int]]:
        """Return code, first sample and end of each run of one rhythm; none holds what precedes the first annotation.

        Raises:
            ValueError: a code is not one of `RHYTHMS`.
        """
        changes = np.flatnonzero(self.symbols == "+").tolist()
        begins = self.samples[changes].tolist()
        runs = []
        for i, begin, end in zip(changes, begins, [*begins[1:], self.num_samples], strict=False):
            if self.notes[i] not in RHYTHMS:
                raise ValueError(
                    f"MIT-BIH annotation {self.name} has the rhythm {self.notes[i]!r} at sample {begin}: known ones "
                    f"are {', '.join(RHYTHMS)}; download {self.name} again"
                )
            runs.append((self.notes[i], begin, end))
        return runs


def read_annotation(path: str | os.PathLike[str], num_samples: int) -> Annotation:
    """Read a record's reference annotation.

    Args:
        path: the `.atr` file.
        num_samples: of the record.

    Raises:
        ValueError: the file cannot be parsed, or holds what cannot be.
    """
    import wfdb  # costs most of a second, which importing the package must not

    path = Path(path)
    try:
        annotation = wfdb.rdann(str(path.with_suffix("")), path.suffix[1:])
    except Exception as error:  # it raises any kind
        raise ValueError(f"MIT-BIH annotation {path.name} cannot be read ({error}): download {path} again") from error
    samples = np.asarray(annotation.sample, dtype=np.int64)
    if not len(samples) or samples.min() < 0 or samples.max() >= num_samples or (np.diff(samples) < 0).any():
        raise ValueError(
            f"MIT-BIH annotation {path.name} is damaged: it has {len(samples)} annotations, which must be some, in the "
            f"order of time and within the record's {num_samples} samples; download {path} again"
        )
    notes = [note.rstrip("\0").strip() for note in annotation.aux_note]
    return Annotation(path.name, samples, np.array(annotation.symbol), notes, num_samples)


def _beat_windows(annotation: Annotation, length: int) -> Iterator[tuple[int, int, dict]]:
    """Yield the sample of each beat, the start of its window, and the columns that describe it."""
    is_beat = np.isin(annotation.symbols, list(BEATS))
    samples, symbols = annotation.samples[is_beat], annotation.symbols[is_beat].tolist()
    starts = np.clip(samples - length // 2, 0, annotation.num_samples - length)
    first, last = np.searchsorted(samples, starts), np.searchsorted(samples, starts + length)
    for i, (sample, start) in enumerate(zip(samples.tolist(), starts.tolist(), strict=True)):
        name, aami_class = BEATS[symbols[i]]
        columns = {
            "statements": statements_of([symbols[i]]),
            "labels_beat": [name],
            "labels_aami": [aami_class],
            "beat_sample": sample - start,
            "window_symbols": symbols[first[i] : last[i]],
        }
        yield sample, start, columns


def _rhythm_windows(annotation: Annotation, length: int) -> Iterator[tuple[int, int, dict]]:
    """Yield the start of each window inside one rhythm, twice, and the columns that describe it."""
    for code, begin, end in annotation.rhythm_runs():
        columns = {"statements": statements_of([code]), "labels_rhythm": [RHYTHMS[code]]}
        for start in range(begin, end - length + 1, length):
            yield start, start, columns
