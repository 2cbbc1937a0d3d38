"""Readers: one file format a module, each from a path to a record. They know no other part of the package."""

from .record import INVALID_SAMPLE, DigitalRecord, ECGRecord
from .wfdb import read_wfdb, read_wfdb_digital

__all__ = ["INVALID_SAMPLE", "DigitalRecord", "ECGRecord", "read_wfdb", "read_wfdb_digital"]
