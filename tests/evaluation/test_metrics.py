"""The metrics as modules of `evaluate`: loaded by their folder, in a process that lacks this package."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mets_ecg.evaluation.cinc2021 import cinc2021_score
from mets_ecg.evaluation.statistics import bootstrap_auroc, f_max, single_label_metrics

FOLDER = Path(__file__).parents[2] / "src" / "mets_ecg" / "evaluation" / "metrics"


def compute(name, tmp_path, **inputs):
    """What a module gives, from a copy of its folder alone, where importing this package fails."""
    copied = tmp_path / name
    shutil.copytree(FOLDER / name, copied, ignore=shutil.ignore_patterns("__pycache__"))
    code = (
        "import json, sys; sys.modules['mets_ecg'] = None; import evaluate; "
        "inputs = json.load(sys.stdin); print(json.dumps(evaluate.load(sys.argv[1]).compute(**inputs)))"
    )
    environment = {
        "HF_HOME": str(tmp_path / "hf"),
        "HF_HUB_OFFLINE": "1",
        "PATH": "",
        "HF_MODULES_CACHE": str(tmp_path),
    }
    run = subprocess.run(
        [sys.executable, "-c", code, str(copied)],
        input=json.dumps(inputs),
        capture_output=True,
        text=True,
        env=environment,
        cwd=tmp_path,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    return json.loads(run.stdout.strip().splitlines()[-1])


@pytest.fixture
def scored():
    rng = np.random.default_rng(0)
    labels = rng.random((60, 3)) < [0.5, 0.3, 0.1]
    return labels, labels * 0.5 + rng.random((60, 3)), rng.integers(20, size=60)


def test_macro_auroc(scored, tmp_path):
    labels, scores, patients = scored
    inputs = {"predictions": scores.tolist(), "references": labels.astype(int).tolist()}
    found = compute("macro_auroc", tmp_path, **inputs, patients=patients.tolist(), num_resamples=50)
    expected = bootstrap_auroc(labels, scores, patients, num_resamples=50)
    for name in ("macro", "macro_low", "macro_frequent", "macro_frequent_high", "num_patients", "num_frequent"):
        assert found[name] == pytest.approx(getattr(expected, name))
    assert found["per_class"] == pytest.approx(expected.per_class.tolist())


def test_f_max_and_the_same_threshold_elsewhere(scored, tmp_path):
    labels, scores, _ = scored
    inputs = {"predictions": scores.tolist(), "references": labels.astype(int).tolist()}
    found = compute("f_max", tmp_path, **inputs)
    value, threshold = f_max(labels, scores)
    assert found == {"f_max": pytest.approx(value), "threshold": pytest.approx(threshold)}


def test_single_label(tmp_path):
    references, predictions = [0, 1, 2, 2, 1], [0, 1, 1, 2, 0]
    found = compute("single_label", tmp_path, references=references, predictions=predictions, num_classes=3)
    expected = single_label_metrics(np.array(references), np.array(predictions), 3)
    assert found["f1"] == pytest.approx(expected.f1) and found["accuracy"] == pytest.approx(0.6)


def test_cinc2021_score(tmp_path):
    labels, predictions = np.random.default_rng(0).random((2, 20, 26)) < 0.1
    inputs = {"references": labels.astype(int).tolist(), "predictions": predictions.astype(int).tolist()}
    found = compute("cinc2021_score", tmp_path, **inputs)
    assert found["cinc2021_score"] == pytest.approx(cinc2021_score(labels, predictions))
