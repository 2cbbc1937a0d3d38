"""CPSC2018, the training set of the China Physiological Signal Challenge 2018 (ICBEB), in its original MATLAB form.

Source: Liu et al., "An Open Access Database for Evaluating the Algorithms of Electrocardiogram Rhythm and Morphology
Abnormality Detection", J. Med. Imaging Health Inform. 8(7), 2018, DOI 10.1166/jmihi.2018.2442 (the paper's; the data
have none). Licence CC BY 4.0 as far as is known: PhysioNet's CinC 2021, which holds the same recordings, is under it;
what the challenge itself states was not at hand. 6,877 recordings of 6 to 144 s at 500 Hz: `TrainingSet/A0001.mat` (or
in `TrainingSet1`, `TrainingSet2`, `TrainingSet3`, as the three archives unpack, or beside the table), a struct `ECG` of
`sex`, `age` and `data`; `REFERENCE.csv` has one to three of nine labels for each.

What to know. `data` are millivolts as doubles, 12 rows in the order I, II, III, aVR, aVL, aVF, V1 to V6, which the
files do not say. They were filtered and are multiples of no unit, so there are no source integers to be found; rows
hold 1 uV, 0.5 uV off at most, as CinC's `cpsc_2018` does. Ages that are NaN or below 0 are unknown. Labels are never
null and never `[]`: each recording was labelled for all nine classes, of which normal is one, and a line of the table
without a label is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from ...io import parse_age
from ...leads import STANDARD_LEADS
from ..building.corpus_builder import CorpusBuilder, CorpusInfo, Recording, read_table
from ..rows import encode_signal, statements_of

SAMPLING_RATE = 500.0

# By number, from 1, as REFERENCE.csv has them; named as MERL does.
LABELS = ("NORM", "AFIB", "1AVB", "CLBBB", "CRBBB", "PAC", "VPC", "STD", "STE")

_TABLE = "REFERENCE.csv"
_LABEL_COLUMNS = ("First_label", "Second_label", "Third_label")
_SEX = {"male": "male", "female": "female"}


class CPSC2018(CorpusBuilder):
    """CPSC2018: one row a recording, in the order of the publisher's table."""

    name = "cpsc2018"
    version = 1
    markers = (_TABLE, "TrainingSet*")
    info = CorpusInfo(
        title="China Physiological Signal Challenge 2018 (ICBEB), training set",
        description="""\
6,877 12-lead ECGs from eleven hospitals in China, each with one to three of nine labels.

- **Signals**: 12 leads, I, II, III, aVR, aVL, aVF, V1 to V6, at 500 Hz; 6 to 144 s, mostly 10 to 20 s, and labels are
  for all of it: what is cut off may hold the beat that gave the label. The files hold filtered millivolts as real
  numbers, here rounded to 1 uV (`gain` 1000 per mV).
- **No splits** are published, nor patients (`patient_id` is null). The same recordings are `cpsc_2018` in the
  PhysioNet/CinC Challenge 2021, under the same names: do not train on one and test on the other.
- **`labels_cpsc2018`**: `NORM` normal (918), `AFIB` atrial fibrillation (1,221), `1AVB` first-degree AV block (722),
  `CLBBB` left bundle branch block (236), `CRBBB` right bundle branch block (1,857), `PAC` premature atrial contraction
  (616), `VPC` premature ventricular contraction (700), `STD` ST depression (869), `STE` ST elevation (220). The names
  are MERL's; the publisher does not say that the bundle branch blocks are complete. `statements` holds the numbers 1 to
  9 of the published table, in its order. Every recording was labelled for all nine and has at least one: what is not
  named is absent.
- **Age and sex** are those of the files, ages above 89 too (`age_over_89`); ages that cannot be are null.
- **Licence**: not verified. CC BY 4.0 is that of the PhysioNet/CinC Challenge 2021, which holds the same recordings;
  what the challenge of 2018 itself states was not at hand. Look there before you pass the data on.
- **The DOI** is the paper's; the data have none.
""",
        version="2018",
        licence="cc-by-4.0",
        doi="10.1166/jmihi.2018.2442",
        homepage="http://2018.icbeb.org/Challenge.html",
        citation="""\
@article{liu2018open,
  title = {An Open Access Database for Evaluating the Algorithms of Electrocardiogram Rhythm and Morphology
           Abnormality Detection},
  author = {Liu, Feifei and Liu, Chengyu and Zhao, Lina and Zhang, Xiangyu and Wu, Xiaoling and Xu, Xiaoyan and
            Liu, Yulin and Ma, Caiyun and Wei, Shoushui and He, Zhiqiang and Li, Jianqing and Ng, Eddie Yin Kwee},
  journal = {Journal of Medical Imaging and Health Informatics},
  volume = {8},
  number = {7},
  pages = {1368--1373},
  year = {2018},
  doi = {10.1166/jmihi.2018.2442}
}
""",
    )

    @property
    def label_columns(self) -> Mapping[str, Sequence[str]]:
        return {"labels_cpsc2018": LABELS}

    def recordings(self) -> list[Recording]:
        folders = sorted(path for path in self.source.glob("TrainingSet*") if path.is_dir())
        places = [self.source, *folders]
        table = next((place / _TABLE for place in places if (place / _TABLE).is_file()), self.source / _TABLE)
        where = {
            path.name: path.relative_to(self.source).as_posix() for place in places for path in place.glob("*.mat")
        }
        default = folders[0].name if folders else "TrainingSet"
        recordings = []
        for line in read_table(table, ("Recording", *_LABEL_COLUMNS)):
            name = f"{line['Recording']}.mat"
            numbers = [line[column].strip() for column in _LABEL_COLUMNS if (line[column] or "").strip()]
            if not numbers or not set(numbers) <= set("123456789"):
                raise ValueError(
                    f"{table}: recording {line['Recording']!r} has the labels {', '.join(numbers) or 'none'}; one to "
                    f"three of 1 to {len(LABELS)} are expected: download the table again"
                )
            fields = {
                "statements": statements_of(dict.fromkeys(numbers)),
                "labels_cpsc2018": [label for i, label in enumerate(LABELS, start=1) if str(i) in numbers],
            }
            files = (where.get(name, f"{default}/{name}"),)
            recordings.append(Recording(line["Recording"], files, self.splits[0], fields))
        return recordings

    def read(self, recording: Recording) -> Iterator[dict]:
        """Yield the row of a recording, its millivolts as integers of 1 uV."""
        path = self.source / recording.files[0]
        ecg = _read_struct(path)
        signal = np.asarray(ecg["data"])
        if signal.ndim != 2 or len(signal) != len(STANDARD_LEADS) or not signal.size or signal.dtype.kind not in "fiu":
            raise ValueError(
                f"CPSC2018 recording {recording.record_id}: ECG.data in {path} has the shape {signal.shape} of "
                f"{signal.dtype}; numbers of {len(STANDARD_LEADS)} leads by samples are expected: download it again"
            )
        try:
            columns = encode_signal(signal)
        except ValueError as error:
            raise ValueError(
                f"CPSC2018 recording {recording.record_id}: {error}; ECG.data in {path} is not in mV or damaged, "
                "download it again or leave it out"
            ) from error
        yield {
            "record_id": recording.record_id,
            **recording.fields,
            **parse_age(str(ecg["age"])),
            "sex": _SEX.get(str(ecg["sex"]).strip().lower()),
            **columns,
            "sampling_rate": SAMPLING_RATE,
            "lead_names": list(STANDARD_LEADS),
        }


def _read_struct(path: Path) -> dict:
    from scipy.io import loadmat

    try:
        content = loadmat(path, simplify_cells=True)
    except FileNotFoundError:
        raise
    except Exception as error:  # it raises any kind on files that are cut or no MATLAB files
        raise ValueError(
            f"CPSC2018 recording {path.stem} cannot be read ({error}): {path} is no MATLAB file or truncated; "
            "download it again"
        ) from error
    ecg = content.get("ECG")
    missing = [name for name in ("sex", "age", "data") if not isinstance(ecg, dict) or name not in ecg]
    if missing:
        own = ", ".join(ecg if isinstance(ecg, dict) else (name for name in content if not name.startswith("__")))
        raise ValueError(
            f"CPSC2018 recording {path.stem}: {path} lacks a struct ECG with {', '.join(missing)}, and has "
            f"{own or 'nothing'}: give the challenge's original files (of PhysioNet's .hea and .mat, build cinc)"
        )
    return ecg
