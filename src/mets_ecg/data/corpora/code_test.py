"""CODE-test: 827 ECGs of the Telehealth Network of Minas Gerais with the annotations of several readers.

Source: Ribeiro et al., "Automatic diagnosis of the 12-lead ECG using a deep neural network", Nat Commun 11, 1760
(2020), DOI 10.1038/s41467-020-15432-4; Zenodo, DOI 10.5281/zenodo.3765780 (all versions: 3625006). Licence CC BY 4.0
as far as is known: Zenodo's page was not at hand, and the annotations' copy on GitHub is MIT. `ecg_tracings.hdf5`,
dataset `tracings`, (827, 4096, 12) at 400 Hz; `attributes.csv` and `annotations/*.csv` hold a line a tracing, in its
order. The gold standard has 28 1dAVb, 34 RBBB, 30 LBBB, 16 SB, 13 AF, 37 ST; 681 recordings have none of them. The
file gives neither patient nor recording ids: one recording a patient, named by its index from 0.

What to know, and what is decided here on the file that is read, by up to 64 recordings spread over it, because the
publisher's texts contradict each other and the tracings were not at hand:

- **Lead order**: the repository's README says `DI DII DIII AVR AVL AVF V1-6`, the data's own `DI DII DIII AVL AVF AVR
  V1-6`. The order is taken by which Einthoven's and Goldberger's laws hold in nine of ten recordings (they depart by
  less than 30 % of the amplitude; on 300 recordings of PTB-XL the right order by 1 %, the other by 160 % and more);
  where neither does, the file is refused.
- **Unit**: "at the scale 1e-4V", and "if the signal is in V it should be multiplied by 1000", which makes millivolts.
  The unit is taken in which the median QRS amplitude (the median over recordings and leads of the 90th percentile of
  the peak-to-peak in windows of 0.2 s) is 0.5 to 3 mV; where neither is, the file is refused. This tells factors of 10
  apart, not of 2: PTB-XL measures 1.1 mV so, ten recordings of CODE-15% (a sister set, no unit stated) 2.1 of their
  units. Whoever compares voltages with other sets must know.
- **Padding**: 10-s recordings (4,000 samples) and 7-s ones (2,800) were filled with zeros to 4,096, equally at both
  ends. Samples of which all leads are zero are cut at both ends alike, as many as the end with fewer has: so a
  recording that begins or ends with true zeros loses none of them.

Only `gold_standard.csv` becomes labels. It has a 0 or 1 for every class and recording, so 681 recordings have `[]`,
none of the six, and none has null. The other readers' files and `dnn.csv` are binary: an AUC from them is that of one
operating point, no match for a model's scores.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np

from ...io.hdf5 import open_dataset, read_hdf5
from ...leads import MAX_LIMB_LEAD_ERROR, canonical_leads, limb_lead_error
from ..building.corpus_builder import CorpusBuilder, CorpusInfo, Recording, read_table
from ..rows import age_columns, encode_signal

CLASSES = ("1dAVb", "RBBB", "LBBB", "SB", "AF", "ST")

_TRACINGS = "ecg_tracings.hdf5"
_SAMPLING_RATE = 400.0
_NUM_PROBES = 64
# As published; V1 to V6 follow.
_LIMB_LEAD_ORDERS = (("DI", "DII", "DIII", "AVR", "AVL", "AVF"), ("DI", "DII", "DIII", "AVL", "AVF", "AVR"))
_MV_BY_UNIT = {"1e-4 V": 0.1, "mV": 1.0}
_PLAUSIBLE_QRS_MV = (0.5, 3.0)


class CodeTest(CorpusBuilder):
    """CODE-test: one row a tracing, in their order in the file."""

    name = "code-test"
    version = 1
    markers = (_TRACINGS, "annotations/gold_standard.csv")
    splits = ("test",)
    one_file = True
    info = CorpusInfo(
        title="CODE-test: an annotated 12-lead ECG dataset",
        description="""\
827 clinical 12-lead ECGs of 7 or 10 s, one a patient, from the Telehealth Network of Minas Gerais, Brazil, with a gold
standard of six diagnoses by two to three cardiologists. A test set: not for training.

- **Signals**: 12 leads at 400 Hz, named by the standard; integers of 1 uV (`gain` 1000 per mV). The published zero
  padding to 4,096 samples is cut off, equally at both ends: 10-s recordings have 4,000 samples, 7-s ones 2,800.
- **Lead order and unit** are published in two contradicting ways each. Both were decided on the tracings themselves:
  the order (aVR before or after aVL and aVF) by Goldberger's equations, the unit (1e-4 V or mV) by the amplitude of the
  QRS complexes, which tells a factor of 10 but not of 2: be careful with comparisons of voltages across data sets.
- **Labels**: `labels_code_test` is the gold standard: 1dAVb (first degree AV block, 28 recordings), RBBB (34), LBBB
  (30), SB (sinus bradycardia, 16), AF (13), ST (sinus tachycardia, 37); 681 recordings have `[]`, none of the six,
  which counts as negative and is not a normal ECG. No label is null.
- **Published comparisons** with other readers and with `dnn.csv` are binary: their AUC is that of one operating point.
- **Age** is the table's, above 89 too (`age_over_89`).
- **Licence**: not verified. CC BY 4.0 as far as is known, but Zenodo's page was not at hand; the annotations' copy on
  GitHub is MIT. Look there before you pass the data on.
- **`record_id`** is the index in the publisher's file, from 0. There are no patient ids.
""",
        version="1.0",
        licence="cc-by-4.0",
        doi="10.5281/zenodo.3765780",
        homepage="https://doi.org/10.5281/zenodo.3765780",
        citation="""\
@article{ribeiro2020automatic,
  title = {Automatic diagnosis of the 12-lead {ECG} using a deep neural network},
  author = {Ribeiro, Ant{\\^o}nio H. and Ribeiro, Manoel Horta and Paix{\\~a}o, Gabriela M. M. and
            Oliveira, Derick M. and Gomes, Paulo R. and Canazart, J{\\'e}ssica A. and Ferreira, Milton P. S. and
            Andersson, Carl R. and Macfarlane, Peter W. and Meira Jr., Wagner and Sch{\\"o}n, Thomas B. and
            Ribeiro, Antonio Luiz P.},
  journal = {Nature Communications},
  volume = {11},
  pages = {1760},
  year = {2020},
  doi = {10.1038/s41467-020-15432-4}
}
""",
    )

    @property
    def label_columns(self) -> Mapping[str, Sequence[str]]:
        return {"labels_code_test": CLASSES}

    @cached_property
    def _gold_standard(self) -> list[list[str]]:
        """Class names by recording."""
        path = self.source / "annotations" / "gold_standard.csv"
        labels = []
        for index, line in enumerate(read_table(path, CLASSES)):
            wrong = [f"{name} is {line[name]!r}" for name in CLASSES if line[name] not in ("0", "1")]
            if wrong:
                raise ValueError(f"{path}, recording {index}: {wrong[0]}, neither 0 nor 1: download it again")
            labels.append([name for name in CLASSES if line[name] == "1"])
        return labels

    def recordings(self) -> list[Recording]:
        path = self.source / "attributes.csv"
        attributes = read_table(path, ("age", "sex"))
        if len(attributes) != len(self._gold_standard):
            raise ValueError(
                f"{path} has {len(attributes)} lines and annotations/gold_standard.csv has {len(self._gold_standard)}, "
                "but each must have one for every tracing: download both again"
            )
        recordings = []
        for index, (line, labels) in enumerate(zip(attributes, self._gold_standard, strict=True)):
            try:
                age = float(line["age"]) if line["age"] else None
                sex = {"M": "male", "F": "female", "": None}[line["sex"]]
            except (ValueError, KeyError) as error:
                raise ValueError(
                    f"{path}, recording {index}: age {line['age']!r} or sex {line['sex']!r} cannot be; ages are "
                    "numbers, the sexes M and F: download it again"
                ) from error
            fields = {
                "labels_code_test": labels,
                **age_columns(age),
                "sex": sex,
            }
            recordings.append(Recording(str(index), (_TRACINGS,), "test", fields))
        return recordings

    def find(self) -> tuple[list[Recording], list[Recording]]:
        """Return the recordings; what is wrong with the one file of all is said here, once."""
        found = super().find()
        self._open_tracings()
        return found

    def read(self, recording: Recording) -> Iterator[dict]:
        """Yield the row of a recording; the file stays open for the next one."""
        tracings = self._open_tracings()
        where = f"{self.source / _TRACINGS}, recording {recording.record_id}"
        signal = _read_trimmed(tracings.dataset, int(recording.record_id))
        if not signal.size:
            raise ValueError(f"{where} holds nothing but zeros: download it again, or leave it out")
        try:
            columns = encode_signal(signal * tracings.mv_per_unit)
        except ValueError as error:
            raise ValueError(f"{where}: {error}; download it again, or leave it out") from error
        yield {
            "record_id": recording.record_id,
            **recording.fields,
            **columns,
            "sampling_rate": _SAMPLING_RATE,
            "lead_names": list(tracings.lead_names),
        }

    def _open_tracings(self) -> _Tracings:
        path = self.source / _TRACINGS
        state = path.stat()
        tracings = _open_tracings(path, os.getpid(), (state.st_size, state.st_mtime_ns))
        if len(tracings.dataset) != len(self._gold_standard):
            raise ValueError(
                f"{path} has {len(tracings.dataset)} tracings, but annotations/gold_standard.csv has "
                f"{len(self._gold_standard)} lines: they are of one order, so give both as published"
            )
        return tracings


@dataclass(frozen=True)
class _Tracings:
    """The open file, and what was found out about it.

    Attributes:
        dataset: `(recordings, samples, leads)`.
        lead_names: standard names, in the order of the file.
        mv_per_unit: millivolts.
    """

    dataset: object
    lead_names: tuple[str, ...]
    mv_per_unit: float


@lru_cache(maxsize=1)
def _open_tracings(path: Path, process: int, state: tuple[int, int]) -> _Tracings:
    """Open the file and decide lead order and unit, once a `process` (a fork must not share a handle) and `state`."""
    dataset = open_dataset(path, "tracings")
    if dataset.ndim != 3 or dataset.shape[2] != 12 or not len(dataset) or dataset.dtype.kind != "f":
        raise ValueError(
            f"{path} holds {dataset.dtype} of shape {dataset.shape}; floats of shape (recordings, samples, 12) are "
            "expected: give the file as published"
        )
    indices = np.unique(np.linspace(0, len(dataset) - 1, _NUM_PROBES).astype(int)).tolist()
    probes = []
    for index in indices:
        with suppress(ValueError):  # damaged: `read` names it, and it may be left out
            signal = _read_trimmed(dataset, index)
            probes += [signal] if signal.size else []
    return _Tracings(dataset, _find_lead_order(path, probes), _find_unit(path, probes))


def _read_trimmed(dataset, index: int) -> np.ndarray:
    """Return `(leads, samples)` without its padding."""
    signal = read_hdf5(dataset, index).T
    recorded = np.flatnonzero(signal.any(axis=0))
    if not recorded.size:
        return signal[:, :0]
    padding = min(recorded[0], signal.shape[1] - 1 - recorded[-1])
    return signal[:, padding : signal.shape[1] - padding]


def _find_lead_order(path: Path, probes: Sequence[np.ndarray]) -> tuple[str, ...]:
    found = []
    for limb_leads in _LIMB_LEAD_ORDERS:
        order = canonical_leads((*limb_leads, *(f"V{i}" for i in range(1, 7))))
        errors = [error for signal in probes if (error := limb_lead_error(signal, order)) is not None]
        part = np.mean(np.array(errors) <= MAX_LIMB_LEAD_ERROR) if errors else 0.0
        if part >= 0.9:
            return order
        found.append(f"{' '.join(limb_leads)} in {part:.0%}")
    raise ValueError(
        f"{path}: neither published lead order fits Einthoven's and Goldberger's laws: of {len(probes)} recordings, "
        f"{' and '.join(found)}; give the tracings as published"
    )


def _find_unit(path: Path, probes: Sequence[np.ndarray]) -> float:
    amplitude = float(np.median([_qrs_amplitude(signal) for signal in probes]))
    low, high = _PLAUSIBLE_QRS_MV
    for mv_per_unit in _MV_BY_UNIT.values():
        if low <= amplitude * mv_per_unit <= high:
            return mv_per_unit
    raise ValueError(
        f"{path}: QRS complexes are {amplitude:.3g} units high, and in neither published unit "
        f"({' or '.join(_MV_BY_UNIT)}) is that {low:g} to {high:g} mV: give the tracings as published"
    )


def _qrs_amplitude(signal: np.ndarray) -> float:
    """Return the median over leads of a high percentile of the peak-to-peak in short windows: wander hardly enters."""
    width = min(int(0.2 * _SAMPLING_RATE), signal.shape[1])
    windows = signal[:, : signal.shape[1] // width * width].reshape(len(signal), -1, width)
    return float(np.median(np.percentile(np.ptp(windows, axis=2), 90, axis=1)))
