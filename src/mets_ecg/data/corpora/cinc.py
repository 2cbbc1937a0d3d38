"""The training set of the PhysioNet/Computing in Cardiology Challenge 2021, in PhysioNet's layout.

Source: Reyna et al., "Will Two Do? Varying Dimensions in Electrocardiography: The PhysioNet/Computing in Cardiology
Challenge 2021", 1.0.3, PhysioNet, DOI 10.13026/34va-7q14, licence CC BY 4.0. 88,253 recordings of eight databases, each
a `.hea` beside a `.mat` (or, as WFDB has it, a `.dat`), in `training/<database>/g1/`, `g2/` and so on. A flat
`training/<database>/` is read as well, as is a source that is `training` or one database's folder.

What to know. Integers are microvolts in all databases, 1000 per mV, but headers of the Challenge of 2020, which are
still about, state other gains for the same integers; these are read as 1000 per mV (`true_gain`):

- PTB-XL 200: HR00599 and HR20715 are 5.00 times PTB-XL's own recordings at 200 per mV.
- Georgia 4880: integers are whole multiples of the recorder's unit, 4.88 uV, cut off; E00001 has 4880 in one release
  and 1000 in another.
- St Petersburg 240,000 to 1,041,000 and PTB 2,000,000, a thousand times the gain of the original files: I0001 begins
  with 3794 in lead I where INCART's I01 has 1161 units of 306 per mV, which is 3.794 mV; S0001 is PTB's `s0010_re` to
  0.5 uV at 1000 per mV.

At 1000 per mV, 16 bits end at 32.768 mV: lower samples sit at WFDB's marker of "not recorded" and are read as that. The
time in record lines is that of the conversion, no `start_time`. Ages are NaN, -1 and, as in PTB-XL, 300 for over 89.
Georgia has record lines `E00015.mat 12 500 5000`, units are `mV` or `mv`, comments `#Dx:` or `# Dx:`, `Dx` may hold a
code twice or, in headers of the first phase of 2020, abbreviations (`AF,RBBB`). Ningbo's S23074.hea names JS23074.mat.

Labels: an empty or missing `Dx` (copies are about, as every team's test folder had them) is null, not known. Codes that
name none of the 26 scored classes are `[]`, none of them, only in Chapman-Shaoxing and Ningbo, where every recording
was labelled with its rhythm and its other findings: of 45,152 recordings, 955 have none of the 26, and nearly all of
these a rhythm that is not scored. Elsewhere they are null: the 26 classes include sinus rhythm, and lists there often
have no rhythm. CPSC2018 was labelled for nine classes, two of them not scored; PTB and INCART have diagnoses of the
patient; in PTB-XL a statement of a kind may be missing (`corpora/ptb_xl.py`); of Georgia and CPSC-Extra nothing is
known. The Challenge's own scoring counts all of these as negatives: `statements` has their codes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from ..building.challenge_headers import list_wfdb, read_comments, read_twelve_leads
from ..building.corpus_builder import CorpusBuilder, CorpusInfo, Recording, first_names
from ..rows import signal_columns, statements_of
from ..snomed import CHALLENGE_ABBREVIATIONS, SCORED_2021, scored_classes

# Splits, by the folder of each database in PhysioNet's layout.
DATABASES = {
    "cpsc_2018": "cpsc_2018",
    "cpsc_2018_extra": "cpsc_2018_extra",
    "st_petersburg_incart": "st_petersburg_incart",
    "ptb": "ptb",
    "ptb-xl": "ptb_xl",
    "georgia": "georgia",
    "chapman_shaoxing": "chapman_shaoxing",
    "ningbo": "ningbo",
}

# Databases whose lists of diagnoses are complete for the 26 classes; see above.
_COMPLETE = ("chapman_shaoxing", "ningbo")

_MICROVOLTS = 1000.0
# Gains that early headers state for integers that are microvolts; see above.
_MISSTATED_GAINS = {"ptb_xl": 200.0, "georgia": 4880.0}
_IMPOSSIBLE_GAIN = 100_000.0  # 16 bits would span less than 0.7 mV: that of St Petersburg and PTB


class CinC(CorpusBuilder):
    """CinC 2021: one row a recording, database by database, in the order of names."""

    name = "cinc"
    version = 1
    markers = ("training", *DATABASES)
    splits = tuple(DATABASES.values())
    info = CorpusInfo(
        title="PhysioNet/Computing in Cardiology Challenge 2021, training set",
        description="""\
88,253 12-lead ECGs of eight databases from China, Germany, Russia and the USA, with SNOMED CT codes for diagnoses. The
Challenge's validation and test sets were never published.

- **Splits** are the databases: `cpsc_2018` (6,877 recordings), `cpsc_2018_extra` (3,453), `st_petersburg_incart` (74),
  `ptb` (516), `ptb_xl` (21,837), `georgia` (10,344), `chapman_shaoxing` (10,247) and `ningbo` (34,905). There is no
  official division into training and test.
- **They are other data sets' recordings**: `ptb_xl` is all of PTB-XL 1.0.1 at 500 Hz (HR00001 is its `ecg_id` 1),
  `chapman_shaoxing` and `ningbo` together are Chapman-Shaoxing-Ningbo, `cpsc_2018` is CPSC2018, `ptb` and
  `st_petersburg_incart` are most of PTB and INCART. Do not train on one and test on the other.
- **Patients** are not told (`patient_id` is null), and in `ptb`, `ptb_xl` and `st_petersburg_incart` several recordings
  are of one person: do not split these at random.
- **Signals**: 12 leads, I, II, III, aVR, aVL, aVF, V1 to V6. Rate and length vary: 500 Hz and mostly 10 s (5 to 144 s),
  but 1000 Hz and 32 to 120 s in `ptb`, 257 Hz and 30 min in `st_petersburg_incart`. Integers of 1 uV (`gain` 1000 per
  mV). Some leads are flat, some amplitudes are beyond 10 mV or clipped at 32.767 mV: they stay.
- **One correction**: the integers are microvolts, but headers of `st_petersburg_incart` state a gain of 240,000 to
  1,041,000 per mV, and early copies of `georgia` 4880, of `ptb` 2,000,000 and of `ptb_xl` 200. All are read as 1000 per
  mV; as those headers have it, ECGs would be 5 to 2000 times too small or, in `ptb_xl`, 5 times too large.
- **Labels**: `statements` holds all SNOMED CT codes, each once (no likelihoods are given). `labels_cinc2021` holds the
  26 classes that the Challenge scores, with its abbreviations; pairs that it scores as one diagnosis are one class, as
  `CRBBB|RBBB`. It is null where the classes are not known: where a header's `Dx` is empty or missing, as in copies
  without labels, and where its codes name none of the 26, except in `chapman_shaoxing` and `ningbo`, whose lists are
  complete: there it is `[]`, none of the 26. (The Challenge's scoring counts those of all databases as negatives.) The
  databases were labelled by different rules: a class that one of them never uses is not absent from its ECGs.
- **Age and sex** are from the headers, ages above 89 too. 300 hides an age above 89: it is null, `age_over_89` true.
  Other numbers that cannot be, as -1, are null.
""",
        version="1.0.3",
        licence="cc-by-4.0",
        doi="10.13026/34va-7q14",
        num_recordings=88_253,
        homepage="https://physionet.org/content/challenge-2021/1.0.3/",
        citation="""\
@inproceedings{reyna2021will,
  title = {Will Two Do? {V}arying Dimensions in Electrocardiography:
           The {PhysioNet}/{Computing} in {Cardiology} {Challenge} 2021},
  author = {Reyna, Matthew A. and Sadr, Nadi and Perez Alday, Erick A. and Gu, Annie and Shah, Amit J. and
            Robichaux, Chad and Rad, Ali Bahrami and Elola, Andoni and Seyedi, Salman and Ansari, Sardar and
            Ghanbari, Hamid and Li, Qiao and Sharma, Ashish and Clifford, Gari D.},
  booktitle = {Computing in Cardiology},
  volume = {48},
  pages = {1--4},
  year = {2021},
  doi = {10.23919/CinC53138.2021.9662687}
}
@misc{challenge2021,
  title = {Will Two Do? {V}arying Dimensions in Electrocardiography:
           The {PhysioNet}/{Computing} in {Cardiology} {Challenge} 2021},
  author = {Reyna, Matthew and others},
  year = {2022},
  publisher = {PhysioNet},
  version = {1.0.3},
  doi = {10.13026/34va-7q14}
}
""",
        download_url="https://physionet.org/files/challenge-2021/1.0.3/",
    )

    @property
    def label_columns(self) -> Mapping[str, Sequence[str]]:
        return {"labels_cinc2021": tuple(SCORED_2021)}

    @classmethod
    def download_patterns(cls, config: str) -> tuple[str, ...]:
        return ("training/*",)

    def recordings(self) -> list[Recording]:
        root = self.source / "training"
        root = root if root.is_dir() else self.source
        folders = {name: root / name for name in DATABASES if (root / name).is_dir()}
        if not folders and (own := self.source.resolve().name) in DATABASES:
            folders = {own: self.source}
        if not folders:
            found = first_names(root)
            raise FileNotFoundError(
                f"{root} has no folder of a database, {f'but {found}' if found else 'it is empty'}: give the folder "
                f"that holds training/, that one itself, or one of {', '.join(DATABASES)}"
            )
        return [
            recording
            for name, folder in folders.items()
            for recording in list_wfdb(self.source, folder, split=DATABASES[name])
        ]

    def read(self, recording: Recording) -> Iterator[dict]:
        """Yield the row of a recording; its header tells diagnoses, age and sex too."""
        record = read_twelve_leads(self.source / recording.files[0])
        codes, fields = read_comments(record, CHALLENGE_ABBREVIATIONS)
        classes = scored_classes(codes or ())
        if not classes and not (codes and recording.split in _COMPLETE):
            classes = None
        record = replace(record, gain=true_gain(record.gain, recording.split))
        yield {
            "record_id": recording.record_id,
            **recording.fields,
            **fields,
            "statements": statements_of(codes),
            "labels_cinc2021": classes,
            **signal_columns(record),
        }


def true_gain(gain: np.ndarray, database: str) -> np.ndarray:
    """Return gains per mV with those that headers of this database (a split) are known to misstate put right."""
    wrong = (gain >= _IMPOSSIBLE_GAIN) | (gain == _MISSTATED_GAINS.get(database))
    return np.where(wrong, _MICROVOLTS, gain)
