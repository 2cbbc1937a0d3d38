"""Readers: one file format a module, each from a path to an `ECGRecord`. They know no other part of the package."""

from .record import ECGRecord
from .wfdb import read_wfdb

__all__ = ["ECGRecord", "read_wfdb"]
