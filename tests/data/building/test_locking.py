"""A folder that one process writes at a time."""

import subprocess
import sys

import pytest

from mets_ecg.data.building.locking import locked

HOLD = """
import sys
from pathlib import Path
from mets_ecg.data.building.locking import locked

with locked(Path(sys.argv[1]), "builds here"):
    print("locked", flush=True)
    sys.stdin.readline()
"""


def test_what_another_process_writes_is_left_to_it_until_it_ends(tmp_path):
    path = tmp_path / ".corpus.lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "locked\n"
        with (
            pytest.raises(RuntimeError, match=r"another process builds here \(it has locked '.*corpus.lock'\): wait"),
            locked(path, "builds here"),
        ):
            pass
        other.communicate("\n")
    with locked(path, "builds here"):
        pass
