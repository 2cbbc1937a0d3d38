"""What `import mets_ecg` says, brings and costs."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

import mets_ecg

TRANSFORMERS_ALONE = "from transformers import PreTrainedModel, AutoModel, AutoProcessor, Pipeline"


def run(code: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)


def test_it_prints_nothing_and_leaves_alone_what_costs_time():
    heavy = {"scipy.signal", "wfdb", "datasets", "matplotlib", "pandas", "sklearn"}
    check = f'import sys, mets_ecg; print(*({heavy} & sys.modules.keys()), end="")'
    done = run(check)
    assert (done.stdout, done.stderr) == ("", "")


def test_every_public_name_is_there_and_documented():
    for name in mets_ecg.__all__:
        assert getattr(mets_ecg, name) is not None
    assert mets_ecg.__all__ == sorted(mets_ecg.__all__, key=lambda name: (name.islower(), not name.isupper(), name))
    assert mets_ecg.__version__[0].isdigit()


@pytest.mark.slow
def test_it_costs_no_more_than_15_percent_over_what_it_needs_of_transformers():
    times = {"import mets_ecg": [], TRANSFORMERS_ALONE: []}
    for _ in range(5):
        for code, seconds in times.items():
            start = time.perf_counter()
            run(code)
            seconds.append(time.perf_counter() - start)
    ours, theirs = (min(seconds) for seconds in times.values())
    assert ours <= 1.15 * theirs, f"{ours:.2f} s and {theirs:.2f} s"
