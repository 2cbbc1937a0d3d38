import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_every_planted_fault_is_noticed():
    run = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("plant_faults.py"))], capture_output=True, text=True
    )
    print(run.stdout)
    assert run.returncode == 0, run.stdout + run.stderr
