"""Chapman-Shaoxing-Ningbo, PhysioNet's `ecg-arrhythmia`, in PhysioNet's layout.

Source: Zheng et al., "A large scale 12-lead electrocardiogram database for arrhythmia study", 1.0.0, PhysioNet,
DOI 10.13026/wgex-er52, licence CC BY 4.0. 45,152 recordings of 10 s at 500 Hz, 1 uV, as
`WFDBRecords/01/010/JS00001.hea` and `.mat`; headers hold SNOMED CT codes. `ConditionNames_SNOMED-CT.csv` names 55 codes
by 63 acronyms, several for some (164909002: LBBB, LBBBB, LFBBB); 43 more codes that headers use are not in it
(55827005, 55930002, ...). The package holds it in `mets_ecg.data.snomed`; the source's own file is not read.

What to know. `AF` is flutter here, `AFIB` fibrillation, `ST` sinus tachycardia, `SA` sinus irregularity. MERL (Liu et
al., ICML 2024) published splits of 23,026 of the recordings with 38 label columns, which later work uses. A code's
acronym there is the table's first one. Columns were made by asking whether a label is *part of* the line of acronyms,
so `VB` is found in `AVB`, and 3,817 rows have labels that they should not have (`released_labels`). The recordings
were chosen by their codes: all must be in the table, and one of them among the 38 labels, LVQRSAL or VPE; sinus
bradycardia (SB), the largest class of the database, has no column, and recordings of it alone are left out.
`kept_by_merl` reproduces that choice exactly.

Labels are null, not known, where a header's `Dx` is empty or missing, and otherwise `[]` where none of the classes is
named: every recording was labelled with its rhythm and its other findings (of 45,152, 949 have no rhythm of the
table's, and nearly all of these a pacing or other rhythm that it lacks). Words in `Dx` that are not codes are refused,
because the abbreviations mean other things here than in the Challenge. JS01052 and JS23074 have headers whose first two
lines have run into each other ("JS01052 12 500 500000/mV 16 0 15 31255 0 I"): a lead's line is lost, and `recordings`
leaves the two out. The headers of CinC's copies of them are whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from ..building.challenge_headers import list_wfdb, read_comments, read_twelve_leads
from ..building.corpus_builder import CorpusBuilder, CorpusInfo, Recording, first_names
from ..rows import signal_columns, statements_of
from ..snomed import CODES

DAMAGED = ("JS01052", "JS23074")

# The columns of MERL's files, in their order.
MERL_LABELS = tuple(
    "AQW UW SR WPW 2AVB AT VB ARS STTC SA STE VPB TWO STTU ALS APB 2AVB1 PRIE CCR CR AF AVB QTIE LBBB VEB SVT RBBB "
    "1AVB STDD MI AFIB TWC PWC ERV RVH LVH ST JEB".split()
)
# Labels that had recordings kept, although they have no column.
_KEPT_WITHOUT_COLUMN = ("LVQRSAL", "VPE")

ALL_ACRONYMS = tuple(code.acronyms[0] for code in CODES.values() if code.acronyms)


class CSN(CorpusBuilder):
    """Chapman-Shaoxing-Ningbo: one row a recording, in the order of names."""

    name = "csn"
    version = 1
    markers = ("WFDBRecords",)
    info = CorpusInfo(
        title="Chapman-Shaoxing-Ningbo, a large scale 12-lead electrocardiogram database for arrhythmia study",
        description=f"""\
45,152 12-lead ECGs of 10 s from Chapman University, Shaoxing People's Hospital and Ningbo First Hospital, with SNOMED
CT codes for rhythms and other findings. Two are left out: the publisher's headers of {" and ".join(DAMAGED)} have lost
a line.

- **Signals**: 12 leads, I, II, III, aVR, aVL, aVF, V1 to V6, at 500 Hz; integers of 1 uV (`gain` 1000 per mV),
  unfiltered. Some leads are flat, mostly among V1 to V6, some amplitudes are beyond 10 mV: they stay.
- **No splits** are published, nor patients (`patient_id` is null). The recordings are also those of `chapman_shaoxing`
  and `ningbo` in the PhysioNet/CinC Challenge 2021, under the same names: do not train on one and test on the other.
- **`statements`** holds all SNOMED CT codes of the header, among them some 40 that the publisher's own table lacks.
- **`labels_all`**: the acronyms of that table ({len(ALL_ACRONYMS)} codes). Where it gives a code several, the first
  stands for all: `LBBB` for LBBB, LBBBB and LFBBB; `MI` for MI, MIBW, MIFW, MILW and MISW; `IDC` for IDC and IVB;
  `WAVN` for WAVN and SAAWR. `AF` is atrial **flutter** and `AFIB` fibrillation, `ST` sinus tachycardia, `SB` sinus
  bradycardia, `SA` sinus irregularity, `STE` and `STDD` ST elevation and depression. Codes without an acronym are in
  `statements` alone.
- **`labels_csn`**: of these, the 38 labels that MERL (ICML 2024) chose and later work evaluates, in its order. They do
  not include sinus bradycardia, the largest class: a recording of it alone has `[]`.
- **`labels_csn_as_released` is faulty, for comparison only**: the label columns that MERL published. They were made by
  asking whether a label is part of the text of all acronyms: `VB` is found in `AVB` (916 rows where 3 are right), `AVB`
  in `1AVB` (913, 176), `AF` in `AFIB` (4,753, 3,340), `ST` in `STTC`, `STE`, `STTU` and `STDD` (6,338, 5,154), `SA` in
  `LVQRSAL` (2,828, 2,107), `CR` in `CCR` (216, 75), `2AVB` in `2AVB1` (38, 22). 3,817 of 23,026 rows are affected; of
  4,620 test rows 772, and a perfect reader scores a macro AUC of 0.953 there. Use `labels_csn`.
  The column is null for recordings that MERL's files do not hold: select the others for its 23,026 (23,025 here, for
  JS01052 is in its training file).
- **Age** is the header's, above 89 too (`age_over_89`).
- **Labels are null**, not known, where a header's `Dx` is empty or missing, as in copies without labels. Otherwise `[]`
  is none of the classes: every recording was labelled with its rhythm and its other findings.
""",
        version="1.0.0",
        licence="cc-by-4.0",
        doi="10.13026/wgex-er52",
        num_recordings=45_150,
        homepage="https://physionet.org/content/ecg-arrhythmia/1.0.0/",
        citation="""\
@misc{zheng2022large,
  title = {A large scale 12-lead electrocardiogram database for arrhythmia study},
  author = {Zheng, Jianwei and Guo, Hangyuan and Chu, Huimin},
  year = {2022},
  publisher = {PhysioNet},
  version = {1.0.0},
  doi = {10.13026/wgex-er52}
}
@article{zheng2020optimal,
  title = {Optimal Multi-Stage Arrhythmia Classification Approach},
  author = {Zheng, Jianwei and Chu, Huimin and Struppa, Daniele and Zhang, Jianming and Yacoub, Sir Magdi and
            El-Askary, Hesham and Chang, Anthony and Ehwerhemuepha, Louis and Abudayyeh, Islam and
            Barrett, Alexander and Fu, Guohua and Yao, Hai and Li, Dongbo and Guo, Hangyuan and Rakovski, Cyril},
  journal = {Scientific Reports},
  volume = {10},
  pages = {2898},
  year = {2020},
  doi = {10.1038/s41598-020-59821-7}
}
""",
        download_url="https://physionet.org/files/ecg-arrhythmia/1.0.0/",
    )

    @property
    def label_columns(self) -> Mapping[str, Sequence[str]]:
        return {"labels_csn": MERL_LABELS, "labels_csn_as_released": MERL_LABELS, "labels_all": ALL_ACRONYMS}

    @classmethod
    def download_patterns(cls, config: str) -> tuple[str, ...]:
        return ("WFDBRecords/*",)

    def recordings(self) -> list[Recording]:
        folder = self.source / "WFDBRecords"
        if not folder.is_dir():
            found = first_names(self.source)
            raise FileNotFoundError(
                f"no WFDBRecords in {self.source}, which {f'holds {found}' if found else 'is empty'}: give the folder "
                "of PhysioNet's ecg-arrhythmia 1.0.0, which holds WFDBRecords/01/010/JS00001.hea and so on"
            )
        found = list_wfdb(self.source, folder, split=self.splits[0])
        return [recording for recording in found if recording.record_id not in DAMAGED]

    def read(self, recording: Recording) -> Iterator[dict]:
        """Yield the row of a recording; its header tells diagnoses, age and sex too."""
        record = read_twelve_leads(self.source / recording.files[0])
        codes, fields = read_comments(record, {})
        yield {
            "record_id": recording.record_id,
            **recording.fields,
            **fields,
            "statements": statements_of(codes),
            **({} if codes is None else labels_of(codes)),
            **signal_columns(record),
        }


def labels_of(codes: Sequence[str]) -> dict[str, list[str] | None]:
    """Return the label columns of a recording by its SNOMED CT codes."""
    acronyms = acronyms_of(codes)
    return {
        "labels_csn": exact_labels(acronyms),
        "labels_csn_as_released": released_labels(acronyms) if kept_by_merl(codes) else None,
        "labels_all": [acronym for acronym in ALL_ACRONYMS if acronym in acronyms],
    }


def acronyms_of(codes: Iterable[str]) -> list[str]:
    """Return the acronym of each SNOMED CT code, the first one of the publisher's table; skip codes without one."""
    return [CODES[code].acronyms[0] for code in codes if code in CODES and CODES[code].acronyms]


def exact_labels(acronyms: Iterable[str]) -> list[str]:
    """Return which of MERL's 38 labels are among a recording's acronyms, in MERL's order."""
    given = _checked(acronyms)
    return [label for label in MERL_LABELS if label in given]


def released_labels(acronyms: Iterable[str]) -> list[str]:
    """Return the labels that MERL's files give a recording: faulty, and kept for comparison with published figures.

    Every label counts that is a part of the acronyms joined by commas, as `AF` is of `AFIB`.
    """
    text = ",".join(_checked(acronyms))
    return [label for label in MERL_LABELS if label in text]


def kept_by_merl(codes: Sequence[str]) -> bool:
    """Whether MERL's files hold a recording with these SNOMED CT codes."""
    acronyms = acronyms_of(codes)
    return len(acronyms) == len(codes) and not {*MERL_LABELS, *_KEPT_WITHOUT_COLUMN}.isdisjoint(acronyms)


def _checked(acronyms: Iterable[str]) -> list[str]:
    if isinstance(acronyms, str):
        raise TypeError(f"acronyms must be a list, got the string {acronyms!r}: write {acronyms.split(',')}")
    return list(acronyms)
