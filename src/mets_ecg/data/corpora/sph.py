"""The ECG database of Shandong Provincial Hospital (SPH), as its publisher lays it out.

Source: Liu et al., "A large-scale multi-label 12-lead electrocardiogram database with standardized diagnostic
statements", Sci Data 9, 272 (2022), DOI 10.1038/s41597-022-01403-5; figshare, DOI 10.6084/m9.figshare.c.5779802,
licence CC BY 4.0. 25,770 recordings of 10 to 60 s from 24,666 patients, 2019/08 to 2020/08, 500 Hz: `metadata.csv`
beside `records/` with one HDF5 file a recording, dataset `ecg`, float16, (12, samples), millivolt. Mains hum,
baseline wander and muscle noise were removed by the machine. Statements are AHA/ACC/HRS codes: 44 primary ones, 15
modifiers.

What to know: a file names no leads and no unit. On the ten files at hand the rows are in the standard order (the limb
leads follow from I and II within 2.1 uV), amplitudes are plausible in millivolts, and every sample is a whole multiple
of 0.8 uV rounded to float16: so 1,250 units per mV keep a file's values to 0.4 uV and, below 1 mV, give the recorder's
own integers back. Lengths vary. Some copies write file names in `ECG_ID` and append columns (`fs`, SNOMED codes, `SR`)
and lack rows.

Decided here: the order of the rows is tested on every file that is read, and a file is refused where a limb lead
departs from its law by more than 30 % of the limb leads' amplitude (on the ten files the right order departs by 1 % at
most, aVL and aVF swapped by 54 % and more); lesser breaks are kept, as artefacts are. A file without a row in
`metadata.csv` is kept, with null in place of what the table would tell. A file whose length is not that of its row, or
with a value that is not finite, is refused. `statements` is null where the table has none: a cardiologist's list names
at least one, 1 being a normal ECG. There are no label columns.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import datetime

from ...io.hdf5 import open_dataset, read_hdf5
from ...leads import MAX_LIMB_LEAD_ERROR, STANDARD_LEADS, limb_lead_error
from ..building.corpus_builder import CorpusBuilder, CorpusInfo, Recording, is_apple_double, read_table
from ..rows import age_columns, encode_signal, statements_of

_logger = logging.getLogger(__name__)

_SAMPLING_RATE = 500.0
_UNITS_PER_MV = 1250.0  # the recorder's step is 0.8 uV

# How a cell of each column that must be there is read; an empty one is null.
_COLUMNS = {
    "ECG_ID": lambda cell: cell.removesuffix(".h5"),
    "AHA_Code": lambda cell: statements_of(filter(None, cell.replace(" ", "").split(";"))) or None,
    "Patient_ID": str,
    "Age": float,
    "Sex": {"M": "male", "F": "female"}.__getitem__,
    "N": int,
    "Date": lambda cell: datetime.fromisoformat(cell).date().isoformat(),
}


class SPH(CorpusBuilder):
    """SPH: one row a recording, in the order of the table; files that it does not list follow."""

    name = "sph"
    version = 1
    markers = ("metadata.csv",)
    info = CorpusInfo(
        title="Shandong Provincial Hospital 12-lead ECG database (SPH)",
        description="""\
25,770 clinical 12-lead ECGs of 10 to 60 s from 24,666 patients of Shandong Provincial Hospital (August 2019 to August
2020), each with a cardiologist's statements in AHA/ACC/HRS codes.

- **Signals**: 12 leads in the standard order I, II, III, aVR, aVL, aVF, V1 to V6, at 500 Hz; lengths vary. The files
  name no leads: the order is tested on each by Einthoven's and Goldberger's laws, and a file that breaks them as a
  whole is refused. Published as float16 millivolts; here integers of 0.8 uV (`gain` 1250 per mV), the recorder's step,
  within 0.4 uV of the published values. float16 itself is coarser than that above 1 mV (1 uV to 2 mV, 2 uV to 4 mV).
  The machine had removed baseline wander, mains hum and muscle noise.
- **Splits**: one, `full`; the publisher gives none. Split by `patient_id`: some patients have several recordings.
- **Labels**: `statements` holds the AHA codes as published, a modifier joined to its statement by `+` (`30+310`);
  1 is a normal ECG. There are no likelihoods and no reports. A recording that the publisher's table does not list has
  null in place of patient, statements, age, sex and date: null is not "no finding", and such a recording may be
  of a patient who has others.
- **Age** is the table's, above 89 too (`age_over_89`).
- **Date**: `start_time` is the day only, as `2020-03-04`.
""",
        version="1",
        licence="cc-by-4.0",
        doi="10.6084/m9.figshare.c.5779802",
        homepage="https://doi.org/10.6084/m9.figshare.c.5779802",
        citation="""\
@article{liu2022sph,
  title = {A large-scale multi-label 12-lead electrocardiogram database with standardized diagnostic statements},
  author = {Liu, Hui and Chen, Dan and Chen, Da and Zhang, Xiyu and Li, Huijie and Bian, Lipan and Shu, Minglei and
            Wang, Yinglong},
  journal = {Scientific Data},
  volume = {9},
  pages = {272},
  year = {2022},
  doi = {10.1038/s41597-022-01403-5}
}
""",
    )

    def recordings(self) -> list[Recording]:
        folder = "records/" if (self.source / "records").is_dir() else ""
        recordings = []
        for line in read_table(self.source / "metadata.csv", tuple(_COLUMNS)):
            cells = {}
            for column, parse in _COLUMNS.items():
                try:
                    cells[column] = parse(line[column].strip()) if (line[column] or "").strip() else None
                except (ValueError, KeyError) as error:
                    raise ValueError(
                        f"{self.source / 'metadata.csv'}: {line['ECG_ID']} has {line[column]!r} in column {column}, "
                        "which cannot be: give the table as published"
                    ) from error
            if cells["ECG_ID"] is None or cells["N"] is None:
                raise ValueError(f"{self.source / 'metadata.csv'} has a row without ECG_ID or N: {line}")
            fields = {
                "patient_id": cells["Patient_ID"],
                "statements": cells["AHA_Code"],
                **age_columns(cells["Age"]),
                "sex": cells["Sex"],
                "start_time": cells["Date"],
                "num_samples": cells["N"],
            }
            recordings.append(Recording(cells["ECG_ID"], (f"{folder}{cells['ECG_ID']}.h5",), self.splits[0], fields))
        listed = {recording.record_id for recording in recordings}
        found = (path for path in (self.source / folder).glob("*.h5") if not is_apple_double(path.name))
        others = sorted(path.stem for path in found if path.stem not in listed)
        if others:
            _logger.warning(
                f"SPH: {len(others)} recordings in {self.source / folder} have no row in metadata.csv, and are kept "
                f"without patient, statements, age, sex and date: {', '.join(others[:5])}"
                + (", ..." if len(others) > 5 else "")
            )
        return recordings + [Recording(name, (f"{folder}{name}.h5",), self.splits[0]) for name in others]

    def read(self, recording: Recording) -> Iterator[dict]:
        """Yield the row of a recording, once its row order has been tested."""
        path = self.source / recording.files[0]
        dataset = open_dataset(path, "ecg")
        with dataset.file:
            if dataset.ndim != 2 or dataset.shape[0] != len(STANDARD_LEADS) or dataset.dtype.kind != "f":
                raise ValueError(
                    f"SPH recording {path} holds {dataset.dtype} of shape {dataset.shape}; floats of shape "
                    "(12, samples) are expected: give the file as published"
                )
            signal = read_hdf5(dataset)
        listed = recording.fields.get("num_samples", signal.shape[1])
        if signal.shape[1] != listed:
            raise ValueError(
                f"SPH recording {path} has {signal.shape[1]} samples, but {listed} by metadata.csv: download both again"
            )
        departure = limb_lead_error(signal, STANDARD_LEADS)
        if departure is not None and departure > MAX_LIMB_LEAD_ERROR:
            raise ValueError(
                f"SPH recording {path} is not in the order {', '.join(STANDARD_LEADS)}: a limb lead departs from "
                f"what leads I and II give by {departure:.0%} of the amplitude; download it again, or leave it out"
            )
        try:
            columns = encode_signal(signal, _UNITS_PER_MV)
        except ValueError as error:
            raise ValueError(
                f"SPH recording {path} is not in millivolts or damaged ({error}): download it again, or leave it out"
            ) from error
        yield {
            "record_id": recording.record_id,
            **recording.fields,
            **columns,
            "sampling_rate": _SAMPLING_RATE,
            "lead_names": list(STANDARD_LEADS),
        }
