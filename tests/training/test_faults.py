import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("plant_faults.py")


def test_every_fault_can_still_be_planted():
    spec = importlib.util.spec_from_file_location("plant_faults", SCRIPT)
    plant_faults = sys.modules["plant_faults"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(plant_faults)
    source = plant_faults.ROOT / "src" / "mets_ecg"
    gone = [own.name for own in plant_faults.FAULTS if (source / own.file).read_text().count(own.old) != 1]
    assert gone == []


@pytest.mark.slow
def test_every_planted_fault_is_noticed():
    run = subprocess.run([sys.executable, str(SCRIPT)], capture_output=True, text=True)
    print(run.stdout)
    assert run.returncode == 0, run.stdout + run.stderr
