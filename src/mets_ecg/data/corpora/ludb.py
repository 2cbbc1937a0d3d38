"""The Lobachevsky University Electrocardiography Database (LUDB) 1.0.1 in PhysioNet's layout.

Source: Kalyakulina et al., "LUDB: A New Open-Access Validation Tool for Electrocardiogram Delineation Algorithms", IEEE
Access 8, 2020; PhysioNet, DOI 10.13026/eegm-h675, licence ODC-By 1.0. 200 recordings of 10 s, one a person, 12 leads at
500 Hz, from a Schiller Cardiovit AT-101.

What to know: the gains and baselines in its headers are not the recorder's. Each lead has its own, such that what is
called millivolt spans exactly 1 from peak to peak, and Einthoven's law fails. The integers of the files themselves obey
it, to half a unit of rounding and with 0 as their common baseline, and one of them is about 1 uV: rows hold 1,000 units
per mV and baseline 0. Lead names are lower case. Cells of `ludb.csv` hold line breaks: one statement a line, and one
after every age and sex; `>89` is an age. The table says of all people with a pacemaker that there is one, the headers'
comments do not. The delineation of each lead is not part of the rows. `labels_rhythm` is never null and never `[]`: the
table names one of seven rhythms for everybody, and another table is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ..building.corpus_builder import CorpusBuilder, CorpusInfo, Recording, read_table
from ..rows import age_columns, statements_of
from ..text_cells import is_empty

_TABLE = "ludb.csv"
# Their cells hold one statement a line.
_STATEMENT_COLUMNS = (
    "Rhythms",
    "Electric axis of the heart",
    "Conduction abnormalities",
    "Extrasystolies",
    "Hypertrophies",
    "Cardiac pacing",
    "Ischemia",
    "Non-specific repolarization abnormalities",
    "Other states",
)
_SEX = {"M": "male", "F": "female"}
_HIDDEN_AGE = ">89"

# Rhythms as the table spells them; everybody has one. What may stand beside it is a statement and no class.
RHYTHMS = {
    "Sinus rhythm": "sinus rhythm",
    "Sinus tachycardia": "sinus tachycardia",
    "Sinus bradycardia": "sinus bradycardia",
    "Sinus arrhythmia": "sinus arrhythmia",
    "Irregular sinus rhythm": "irregular sinus rhythm",
    "Atrial fibrillation": "atrial fibrillation",
    "Atrial flutter, typical": "atrial flutter",
}
UNITS_PER_MILLIVOLT = 1000.0


class LUDB(CorpusBuilder):
    """LUDB: one row a recording, in the order of the publisher's table."""

    name = "ludb"
    version = 1
    markers = (_TABLE,)
    info = CorpusInfo(
        title="Lobachevsky University Electrocardiography Database",
        description="""\
200 12-lead ECGs of 10 s at 500 Hz, each of another person, with cardiologists' diagnoses. Small: give every result
on it with its confidence interval.

- **Signals**: leads i, ii, iii, avr, avl, avf, v1 to v6 (lower case, as in the files); integers of about 1 uV (`gain`
  1000 per mV, `baseline` 0). **These are not the gains of the publisher's headers**, which scale every lead to a
  peak-to-peak amplitude of 1, so that Einthoven's law fails; in the integers of the files it holds.
- **Labels**: `labels_rhythm` is the one rhythm of the recording (7 classes), known for all. `statements` holds every
  line of the publisher's table, wording unchanged: rhythm, electrical axis, conduction, extrasystoles, hypertrophy,
  pacing, ischaemia, repolarisation and other states; they have no likelihood. A wandering pacemaker (3 recordings) and
  aberrant conduction (1) stand beside a rhythm and are statements only.
- **Age** is null where the publisher writes `>89`; `age_over_89` is true there.
- **Splits**: one, `full`; the publisher gives none. The delineation of waves is not included.
""",
        version="1.0.1",
        licence="odc-by",
        doi="10.13026/eegm-h675",
        homepage="https://physionet.org/content/ludb/1.0.1/",
        citation="""\
@article{kalyakulina2020ludb,
  title = {{LUDB}: A New Open-Access Validation Tool for Electrocardiogram Delineation Algorithms},
  author = {Kalyakulina, Alena I. and Yusipov, Igor I. and Moskalenko, Viktor A. and Nikolskiy, Alexander V. and
            Kosonogov, Konstantin A. and Osipov, Grigory V. and Zolotykh, Nikolai Yu. and Ivanchenko, Mikhail V.},
  journal = {IEEE Access},
  volume = {8},
  pages = {186181--186190},
  year = {2020},
  doi = {10.1109/ACCESS.2020.3029211}
}
@misc{ludb,
  title = {Lobachevsky University Electrocardiography Database},
  author = {Kalyakulina, Alena and Yusipov, Igor and Moskalenko, Viktor and Nikolskiy, Alexander and
            Kosonogov, Konstantin and Zolotykh, Nikolai and Ivanchenko, Mikhail},
  year = {2021},
  publisher = {PhysioNet},
  version = {1.0.1},
  doi = {10.13026/eegm-h675}
}
""",
        download_url="https://physionet.org/files/ludb/1.0.1/",
    )

    @property
    def label_columns(self) -> Mapping[str, Sequence[str]]:
        return {"labels_rhythm": tuple(RHYTHMS.values())}

    @classmethod
    def download_patterns(cls, config: str) -> tuple[str, ...]:
        return (_TABLE, "data/*.hea", "data/*.dat")  # not the delineation

    def recordings(self) -> list[Recording]:
        lines = read_table(self.source / _TABLE, ("ID", "Sex", "Age", *_STATEMENT_COLUMNS))
        return [self._recording(line) for line in lines]

    def _recording(self, line: Mapping[str, str | None]) -> Recording:
        cells = {column: (line[column] or "").strip() for column in ("ID", "Sex", "Age")}
        name, age = cells["ID"], cells["Age"]

        def wrong(column: str, expected: str) -> ValueError:
            return ValueError(
                f"{self.source / _TABLE}, ID {name!r}: {column} is {(line[column] or '')!r}; {expected} is expected: "
                "download the table again"
            )

        if not name.isdecimal():
            raise wrong("ID", "a number")
        if age not in ("", _HIDDEN_AGE) and not age.isdecimal():
            raise wrong("Age", f"a number or {_HIDDEN_AGE!r}")
        if cells["Sex"] not in ("", *_SEX):
            raise wrong("Sex", " or ".join(_SEX))
        statements = [
            text.strip()
            for column in _STATEMENT_COLUMNS
            for text in (line[column] or "").splitlines()
            if not is_empty(text)
        ]
        rhythms = [RHYTHMS[text] for text in statements if text in RHYTHMS]
        if len(rhythms) != 1:
            raise wrong("Rhythms", f"one of {', '.join(map(repr, RHYTHMS))}")
        fields = {
            "patient_id": name,
            "statements": statements_of(statements),
            "labels_rhythm": rhythms,
            **age_columns(float(age) if age.isdecimal() else None, hidden=age == _HIDDEN_AGE),
            "sex": _SEX.get(cells["Sex"]),
            "device": "Schiller Cardiovit AT-101",
        }
        return Recording(name, (f"data/{name}.hea", f"data/{name}.dat"), self.splits[0], fields)

    def read(self, recording: Recording) -> Iterator[dict]:
        for row in super().read(recording):
            leads = len(row["lead_names"])
            yield {**row, "gain": [UNITS_PER_MILLIVOLT] * leads, "baseline": [0] * leads}
