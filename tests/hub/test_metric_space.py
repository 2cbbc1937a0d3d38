"""A metric goes to the loopback Hub as a Space, and `evaluate` loads it from there."""

import json
from pathlib import Path

import pytest
import yaml

from mets_ecg.evaluation.statistics import auroc
from mets_ecg.hub.metric_space import space_files

METRICS = Path(__file__).parents[2] / "src" / "mets_ecg" / "evaluation" / "metrics"

PUSH = """
from mets_ecg.hub.push import push_folder
print(push_folder(*arguments))
"""
LOAD = """
import sys
sys.modules["mets_ecg"] = None
import json
import evaluate
metric = evaluate.load("user/macro-auroc", module_type="metric")
found = metric.compute(predictions=[[0.9], [0.2], [0.6]], references=[[1], [0], [0]])
print(json.dumps(found["macro"]))
"""


def test_a_metric_is_pushed_and_loaded_by_evaluate(loopback_hub, session, client):
    session.run(PUSH, str(METRICS / "macro_auroc"), "user/macro_auroc")
    repository = loopback_hub.repositories["spaces", "user/macro_auroc"]
    assert b'evaluate.load("user/macro_auroc")' in repository.files()["app.py"].content
    printed = client.run(LOAD.replace("macro-auroc", "macro_auroc"))
    assert json.loads(printed.splitlines()[-1]) == auroc([[True], [False], [False]], [[0.9], [0.2], [0.6]])[0]


@pytest.mark.parametrize("name", sorted(path.name for path in METRICS.iterdir()))
def test_the_card_of_each_metric_says_what_it_is_and_takes(name):
    files = space_files(METRICS / name)
    _, front, text = files["README.md"].decode().split("---\n", 2)
    metadata = yaml.safe_load(front)
    assert (metadata["sdk"], metadata["app_file"], metadata["license"]) == ("gradio", "app.py", "apache-2.0")
    assert {"evaluate", "metric"} <= set(metadata["tags"])
    assert f"# {name}" in text and "predictions:" in text
    compile(files["app.py"], "app.py", "exec")
