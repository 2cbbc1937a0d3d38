"""Readers: one file format a module, each from a path to a record. They know no other part of the package."""

from .header_fields import age_and_sex, parse_age, parse_sex
from .read import read_ecg, recordings_in_folder
from .record import INVALID_SAMPLE, DigitalRecord, ECGRecord
from .wfdb import read_wfdb, read_wfdb_digital

__all__ = [
    "INVALID_SAMPLE",
    "DigitalRecord",
    "ECGRecord",
    "age_and_sex",
    "parse_age",
    "parse_sex",
    "read_ecg",
    "read_wfdb",
    "read_wfdb_digital",
    "recordings_in_folder",
]
