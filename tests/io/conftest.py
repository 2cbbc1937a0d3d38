"""Makes `clinical_files`, the writers beside this file, importable: `--import-mode=importlib` gives it no name."""

import importlib.util
import sys
from pathlib import Path

_spec = importlib.util.spec_from_file_location("clinical_files", Path(__file__).with_name("clinical_files.py"))
sys.modules["clinical_files"] = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(sys.modules["clinical_files"])
