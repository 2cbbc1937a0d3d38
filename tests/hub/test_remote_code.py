"""Every save carries its code: folders that load in processes where this package cannot be imported."""

from __future__ import annotations

import ast
import json
import re
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoProcessor, Trainer, TrainingArguments, pipeline
from transformers.dynamic_module_utils import get_relative_import_files

import mets_ecg

SOURCE = Path(mets_ecg.__file__).parent
LABELS = ["sinus rhythm", "atrial fibrillation", "left bundle branch block"]
MODEL_FILES = {
    "configuration_ecg_text.py",
    "ecg_models.py",
    "feature_extraction_ecg.py",
    "leads.py",
    "modeling_ecg_encoder.py",
    "modeling_ecg_resnet.py",
    "modeling_ecg_text.py",
    "modeling_ecg_transformer.py",
    "pipeline_ecg.py",
    "pipeline_zero_shot_ecg.py",
    "processing_ecg.py",
    "recordings.py",
    "remarks.py",
    "signals.py",
    "text_models.py",
    "zero_shot_scoring.py",
}

CLASSIFIER_FILES = {
    *(MODEL_FILES - {"modeling_ecg_text.py", "pipeline_zero_shot_ecg.py", "processing_ecg.py"}),
    "modeling_ecg_classification.py",
    "pipeline_ecg_classification.py",
} - {"text_models.py", "zero_shot_scoring.py"}

SURELY_THERE = {"huggingface_hub", "numpy", "safetensors", "torch", "transformers", *sys.stdlib_module_names}

# Run in a process of its own: a folder with code -> scores of both tasks, and what is saved from there.
REMOTE = """
import json, sys
sys.modules["mets_ecg"] = None  # as if it were not installed
import numpy as np
import wfdb
from transformers import AutoFeatureExtractor, AutoModel, AutoProcessor, pipeline

folder, saved, path, labels = *sys.argv[1:4], json.loads(sys.argv[4])
trust = {"trust_remote_code": True}
record = wfdb.rdrecord(path)
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
for name in ("pipeline", "parts"):
    again = pipeline("zero-shot-classification", model=f"{saved}/{name}", device="cpu", **trust)
    result[f"again from {name}"] = again(record, candidate_labels=labels)
try:
    again(path, candidate_labels=labels)
except ImportError as error:
    result["path"] = str(error)
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
    folder = tmp_path_factory.mktemp("packaged") / "tiny.ecg-model"
    tiny_model.save_pretrained(folder)
    tiny_processor.save_pretrained(folder)
    return folder


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
    assert len(set(references)) == 5
    for reference in references:
        module, name = reference.split(".")
        assert f"class {name}(" in (packaged / f"{module}.py").read_text()


def by_auto_model(folder: Path, packaged: Path) -> None:
    AutoModel.from_pretrained(packaged).save_pretrained(folder)
    AutoProcessor.from_pretrained(packaged).save_pretrained(folder)


def by_pipeline(folder: Path, packaged: Path) -> None:
    pipeline("zero-shot-classification", model=str(packaged), device="cpu").save_pretrained(folder)


def by_trainer(folder: Path, packaged: Path) -> None:
    trainer = Trainer(
        model=AutoModel.from_pretrained(packaged),
        args=TrainingArguments(output_dir=str(folder), report_to="none", use_cpu=True),
        processing_class=AutoProcessor.from_pretrained(packaged),
    )
    trainer.save_model(str(folder))
    (folder / "training_args.bin").unlink()


@pytest.mark.parametrize("save", [by_auto_model, by_pipeline, by_trainer])
def test_what_is_saved_again_in_any_way_is_the_same_folder(packaged, tmp_path, save):
    save(tmp_path / "again", packaged)
    assert {path.name for path in (tmp_path / "again").iterdir()} == {path.name for path in packaged.iterdir()}
    for path in packaged.iterdir():
        saved = (tmp_path / "again" / path.name).read_bytes()
        if save is by_trainer and path.name == "config.json":  # Trainer adds a field of its own
            saved = saved.replace(b',\n  "use_cache": false', b"")
        assert path.read_bytes() == saved, path.name


@pytest.mark.parametrize("save", [by_auto_model, by_pipeline, by_trainer])
def test_what_is_saved_again_loads_without_the_package_in_both_tasks(packaged, tmp_path, local, record, save):
    save(tmp_path / "again", packaged)
    (tmp_path / "home").mkdir()
    result = run_remote(tmp_path / "again", tmp_path / "saved", record, tmp_path / "home")
    assert_same(result["zero-shot-classification"], local["path"])
    assert_same(result["zero-shot-ecg-classification"], local["path"])


def test_a_folder_that_a_trainer_saved_loads_without_a_warning(packaged, tmp_path, transformers_log):
    by_trainer(tmp_path / "trained", packaged)
    transformers_log.clear()
    pipeline("zero-shot-classification", model=str(tmp_path / "trained"), device="cpu")
    assert not [entry for entry in transformers_log.records if entry.levelname in ("WARNING", "ERROR")]


def test_an_encoder_and_an_extractor_saved_alone_carry_their_code_too(packaged, tmp_path):
    mets_ecg.ECGResNetModel.from_pretrained(packaged).save_pretrained(tmp_path)
    mets_ecg.ECGFeatureExtractor(sampling_rate=250).save_pretrained(tmp_path)
    code = """
import json, sys
sys.modules["mets_ecg"] = None
import torch
from transformers import AutoFeatureExtractor, AutoModel
encoder = AutoModel.from_pretrained(sys.argv[1], trust_remote_code=True)
extractor = AutoFeatureExtractor.from_pretrained(sys.argv[1], trust_remote_code=True)
print(extractor.sampling_rate, encoder(torch.ones(1, 12, 300)).pooler_output.sum().item())
"""
    env = {"HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1", "PATH": "", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with torch.no_grad():
        expected = AutoModel.from_pretrained(packaged).ecg_model(torch.ones(1, 12, 300)).pooler_output.sum()
    rate, total = done.stdout.split()
    assert rate == "250" and float(total) == pytest.approx(float(expected), abs=1e-4)


PUSH = """
import sys
from transformers import pipeline
import mets_ecg
how, folder = arguments
pipe = pipeline("zero-shot-classification", model=folder, device="cpu")
if how == "save":  # uploads inside save_pretrained
    for part in (pipe.model, pipe.processor):
        part.save_pretrained("saved", push_to_hub=True, repo_id="user/by-save")
else:
    for part in (pipe.model, pipe.processor):
        part.push_to_hub("user/by-push")
"""
ASK = """
import json, sys
sys.modules["mets_ecg"] = None
import wfdb
from transformers import pipeline
pipe = pipeline("zero-shot-classification", model=sys.argv[1], device="cpu", trust_remote_code=True)
print("RESULT" + json.dumps(pipe(wfdb.rdrecord(sys.argv[2]), candidate_labels=json.loads(sys.argv[3]))))
"""


@pytest.mark.parametrize("how", ["save", "push"])
def test_what_is_pushed_loads_from_the_hub_without_the_package(packaged, session, client, record, local, how):
    session.run(PUSH, how, str(packaged))
    done = client.run(ASK, f"user/by-{how}", record, json.dumps(LABELS))
    assert_same(json.loads(done.split("RESULT")[1]), local["path"])


def test_another_account_can_read_the_weights(packaged):
    for path in packaged.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE((packaged / "config.json").stat().st_mode), path.name


def test_saving_changes_neither_the_model_nor_the_processor(tiny_model, tiny_processor, tmp_path):
    before = json.dumps(tiny_processor.feature_extractor.to_dict())
    tiny_model.save_pretrained(tmp_path)
    tiny_processor.save_pretrained(tmp_path)
    tiny_processor.feature_extractor.save_pretrained(tmp_path)
    assert json.dumps(tiny_processor.feature_extractor.to_dict()) == before
    pipeline("zero-shot-classification", model=tiny_model, processor=tiny_processor, device="cpu")


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
    for name in ("pipeline", "parts"):
        assert_same(result[f"again from {name}"], local["path"])
        assert {path.name for path in (saved / name).glob("*.py")} == MODEL_FILES


def test_without_the_package_a_path_is_refused_with_the_way_out(remote):
    assert "wfdb.rdrecord" in remote[0]["path"] and "mets-ecg" in remote[0]["path"]


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


def test_a_classifier_has_its_files_and_loads_without_the_package(tiny_checkpoint, tmp_path, client, record):
    folder = tmp_path / "classifier"
    model = mets_ecg.ECGForSequenceClassification.from_pretrained(tiny_checkpoint, id2label={0: "NORM", 1: "MI"})
    model.save_pretrained(folder)
    mets_ecg.ECGFeatureExtractor.from_pretrained(tiny_checkpoint).save_pretrained(folder)
    assert {path.name for path in folder.glob("*.py")} == CLASSIFIER_FILES
    expected = pipeline("ecg-classification", model=str(folder), device="cpu")(record)
    code = """
import json, sys
sys.modules["mets_ecg"] = None
import wfdb
from transformers import pipeline
pipe = pipeline("ecg-classification", model=sys.argv[1], device="cpu", trust_remote_code=True)
print("RESULT" + json.dumps(pipe(wfdb.rdrecord(sys.argv[2]))))
"""
    done = client.run(code, str(folder), record)
    assert_same(json.loads(done.split("RESULT")[1]), expected)


@pytest.mark.parametrize("name", sorted(MODEL_FILES | CLASSIFIER_FILES))
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
            elif module not in SURELY_THERE:
                assert inside_try and module == "mets_ecg", f"{where}: {module}"
    # transformers finds relative imports by a pattern in the raw text, docstrings included.
    for module in re.findall(r"^\s*(?:import|from)\s+\.(\S*)", text, flags=re.MULTILINE):
        assert f"{module}.py" in MODEL_FILES | CLASSIFIER_FILES, f"{name}: .{module}"
