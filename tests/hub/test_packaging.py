"""Checkpoints that carry their own code, in processes where this package cannot be imported."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from transformers import AutoModel, AutoProcessor, pipeline
from transformers.dynamic_module_utils import get_relative_import_files

import mets_ecg
from mets_ecg.hub.packaging import save_with_code

SOURCE = Path(mets_ecg.__file__).parent
LABELS = ["sinus rhythm", "atrial fibrillation", "left bundle branch block"]
MODEL_FILES = {
    "configuration_ecg_text.py",
    "feature_extraction_ecg.py",
    "leads.py",
    "modeling_ecg_encoder.py",
    "modeling_ecg_resnet.py",
    "modeling_ecg_text.py",
    "pipeline_zero_shot_ecg.py",
    "processing_ecg.py",
    "signals.py",
    "text_models.py",
    "zero_shot_scoring.py",
}

# Run in a process of its own: a folder with code -> scores of both tasks, and what is saved from there.
REMOTE = """
import json, sys
sys.modules["mets_ecg"] = None  # as if it were not installed
import numpy as np
from transformers import AutoFeatureExtractor, AutoModel, AutoProcessor, pipeline

folder, saved, record, labels = *sys.argv[1:4], json.loads(sys.argv[4])
trust = {"trust_remote_code": True}
result = {}
for task in ("zero-shot-classification", "zero-shot-ecg-classification"):
    pipe = pipeline(task, model=folder, device="cpu", **trust)
    result[task] = pipe([record, record], candidate_labels=labels, batch_size=2)[1]
signal = np.random.default_rng(0).standard_normal((12, 1000)).astype("float32")
result["array"] = pipe(signal, candidate_labels=labels, sampling_rate=100, multi_label=True)
pipe.save_pretrained(f"{saved}/pipeline")
model = AutoModel.from_pretrained(folder, **trust)
model.train()
result["frozen"] = [
    not any(p.requires_grad for p in model.text_model.parameters()),
    not model.text_model.training,
    model.ecg_model.training,
]
model.eval().save_pretrained(f"{saved}/parts")
AutoProcessor.from_pretrained(folder, **trust).save_pretrained(f"{saved}/parts")
result["extractor"] = AutoFeatureExtractor.from_pretrained(folder, **trust).sampling_rate
again = pipeline("zero-shot-classification", model=f"{saved}/pipeline", device="cpu", **trust)
result["again"] = again(record, candidate_labels=labels)
result["modules"] = sorted({type(part).__module__.split(".")[0] for part in (pipe, pipe.model, pipe.processor)})
print("RESULT" + json.dumps(result))
"""


def run_remote(folder, saved, record, home) -> dict:
    done = subprocess.run(
        [sys.executable, "-c", REMOTE, str(folder), str(saved), str(record), json.dumps(LABELS)],
        cwd=home,
        env={"HF_HOME": str(home), "HF_HUB_OFFLINE": "1", "PATH": "", "HOME": str(home), "OMP_NUM_THREADS": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.split("RESULT")[1])


def assert_same(left, right) -> None:
    assert [entry["label"] for entry in left] == [entry["label"] for entry in right]
    np.testing.assert_allclose([e["score"] for e in left], [e["score"] for e in right], atol=1e-5)


@pytest.fixture(scope="module")
def packaged(tmp_path_factory, tiny_model, tiny_processor) -> Path:
    return save_with_code(tiny_model, tiny_processor, tmp_path_factory.mktemp("packaged") / "tiny.ecg-model")


@pytest.fixture(scope="module")
def record(ptb_xl_source) -> str:
    return str(ptb_xl_source / "records100" / "00000" / "00012_lr")


@pytest.fixture(scope="module")
def remote(packaged, record, tmp_path_factory) -> tuple[dict, Path]:
    saved = tmp_path_factory.mktemp("saved")
    return run_remote(packaged, saved, record, tmp_path_factory.mktemp("home")), saved


@pytest.fixture(scope="module")
def local(packaged, record) -> dict:
    pipe = pipeline("zero-shot-classification", model=str(packaged), device="cpu")
    signal = np.random.default_rng(0).standard_normal((12, 1000)).astype("float32")
    return {
        "path": pipe(record, candidate_labels=LABELS),
        "array": pipe(signal, candidate_labels=LABELS, sampling_rate=100, multi_label=True),
    }


def test_the_folder_holds_weights_files_and_just_the_model_files(packaged):
    found = {path.name for path in packaged.iterdir()}
    files = {"config.json", "model.safetensors", "processor_config.json", "tokenizer.json", "tokenizer_config.json"}
    assert found == files | MODEL_FILES
    for name in MODEL_FILES:
        assert (packaged / name).read_bytes() == (SOURCE / name).read_bytes()


def test_its_json_names_classes_that_are_there(packaged):
    config = json.loads((packaged / "config.json").read_text())
    processor = json.loads((packaged / "processor_config.json").read_text())
    references = [
        *config["auto_map"].values(),
        *(entry["impl"] for entry in config["custom_pipelines"].values()),
        *processor["auto_map"].values(),
        *processor["feature_extractor"]["auto_map"].values(),
    ]
    assert set(config["custom_pipelines"]) == {"zero-shot-classification", "zero-shot-ecg-classification"}
    assert len(references) == 6
    for reference in references:
        module, name = reference.split(".")
        assert f"class {name}(" in (packaged / f"{module}.py").read_text()


def test_packaging_twice_is_the_same_and_packages_nothing_later(packaged, tmp_path, tiny_model, tiny_processor):
    again = save_with_code(tiny_model, tiny_processor, tmp_path / "again")
    for path in packaged.iterdir():
        assert path.read_bytes() == (again / path.name).read_bytes(), path.name
    tiny_model.save_pretrained(tmp_path / "plain")
    tiny_processor.save_pretrained(tmp_path / "plain")
    assert not list((tmp_path / "plain").glob("*.py"))
    assert "auto_map" not in json.loads((tmp_path / "plain" / "config.json").read_text())


def test_with_the_package_imported_its_own_classes_serve_the_folder(packaged):
    for trust in ({}, {"trust_remote_code": True}):
        assert type(AutoModel.from_pretrained(packaged, **trust)) is mets_ecg.ECGTextModel
        assert type(AutoProcessor.from_pretrained(packaged, **trust)) is mets_ecg.ECGProcessor


def test_without_the_package_both_tasks_give_equal_scores(remote, local):
    result, _ = remote
    assert result["modules"] == ["transformers_modules"]
    assert_same(result["zero-shot-classification"], local["path"])
    assert_same(result["zero-shot-ecg-classification"], local["path"])
    assert_same(result["array"], local["array"])


def test_without_the_package_the_text_tower_is_frozen_and_the_extractor_loads(remote):
    assert remote[0]["frozen"] == [True, True, True]
    assert remote[0]["extractor"] == 100


@pytest.mark.parametrize("name", ["pipeline", "parts"])
def test_what_is_saved_without_the_package_loads_with_it(remote, local, record, name):
    pipe = pipeline("zero-shot-classification", model=str(remote[1] / name), device="cpu")
    assert type(pipe.model) is mets_ecg.ECGTextModel
    assert pipe.processor.max_length == 33
    assert_same(pipe(record, candidate_labels=LABELS), local["path"])


def test_what_is_saved_without_the_package_loads_without_it(remote, local):
    result, saved = remote
    assert_same(result["again"], local["path"])
    assert {path.name for path in (saved / "pipeline").glob("*.py")} == MODEL_FILES


# The layout that remote code needs.


def test_the_model_files_reach_each_other_and_nothing_else():
    reached = set()
    for entry in ("configuration_ecg_text", "modeling_ecg_text", "processing_ecg", "pipeline_zero_shot_ecg"):
        reached |= {
            Path(file).name for file in (SOURCE / f"{entry}.py", *get_relative_import_files(SOURCE / f"{entry}.py"))
        }
    assert reached == MODEL_FILES


def imports(tree: ast.Module):
    """Yield `(statement, inside a try, at the top level)` for each import."""

    def walk(node, inside_try, top_level):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, (ast.Import, ast.ImportFrom)):
                yield child, inside_try, top_level
            else:
                nested = isinstance(child, (ast.FunctionDef, ast.ClassDef))
                yield from walk(child, inside_try or isinstance(child, ast.Try), top_level and not nested)

    yield from walk(tree, False, True)


@pytest.mark.parametrize("name", sorted(MODEL_FILES))
def test_a_model_file_imports_only_what_is_surely_there(name):
    text = (SOURCE / name).read_text()
    for statement, inside_try, top_level in imports(ast.parse(text)):
        where = f"{name}:{statement.lineno}"
        if isinstance(statement, ast.ImportFrom) and statement.level:
            assert statement.level == 1 and statement.module and "." not in statement.module, where
            continue
        modules = [alias.name for alias in statement.names] if isinstance(statement, ast.Import) else [statement.module]
        for module in (module.split(".")[0] for module in modules):
            if module == "scipy":
                assert not top_level, f"{where}: scipy at the top level costs import time"
            elif module not in {"torch", "transformers", "numpy", "safetensors", *sys.stdlib_module_names}:
                assert inside_try and module in {"wfdb", "mets_ecg"}, f"{where}: {module}"
    # transformers finds relative imports by a pattern in the raw text, docstrings included.
    for module in re.findall(r"^\s*(?:import|from)\s+\.(\S*)", text, flags=re.MULTILINE):
        assert f"{module}.py" in MODEL_FILES, f"{name}: .{module}"
