"""Encoders as ONNX, run by onnxruntime alone."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoModelForSequenceClassification, AutoProcessor, pipeline

from mets_ecg.hub import export
from mets_ecg.hub.export import export_onnx

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

TEXTS = ["sinus rhythm.", "atrial fibrillation with rapid response."]


def run(path, **inputs):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {name: np.asarray(values) for name, values in inputs.items()})[0]


@pytest.fixture(scope="module", params=["tiny-mets", "tiny-c-melt"])
def exported(request, trained, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    return trained[request.param], folder, export_onnx(str(trained[request.param]), str(folder))


def test_both_encoders_are_there_with_what_prepares_their_input(exported):
    _, folder, differences = exported
    files = {path.name for path in folder.iterdir()}
    assert files == {"ecg.onnx", "text.onnx", "processor_config.json", "tokenizer.json", "tokenizer_config.json"}
    assert all(difference < 1e-4 for difference in differences.values())


@torch.no_grad()
@pytest.mark.parametrize(("count", "samples"), [(1, 1000), (5, 1000), (2, 417), (3, 2500)])
def test_recordings_of_any_number_and_length_have_the_models_vectors(exported, count, samples):
    source, folder, _ = exported
    model = AutoModel.from_pretrained(source)
    values = torch.randn(count, 12, samples, generator=torch.Generator().manual_seed(7))
    lead_mask = torch.ones(count, 12, dtype=torch.long)
    lead_mask[-1, 3:] = 0
    expected = model.normalize_features(model.get_ecg_features(values, lead_mask=lead_mask))
    found = run(folder / "ecg.onnx", input_values=values, lead_mask=lead_mask)
    np.testing.assert_allclose(found, expected, atol=1e-4)


@torch.no_grad()
def test_texts_have_the_models_vectors(exported):
    source, folder, _ = exported
    model, processor = AutoModel.from_pretrained(source), AutoProcessor.from_pretrained(source)
    for texts in (TEXTS, TEXTS[:1], [*TEXTS, "st depression in lateral leads, old inferior infarct."]):
        inputs = processor(text=texts, return_tensors="pt")
        inputs = {name: inputs[name] for name in ("input_ids", "attention_mask")}
        expected = model.normalize_features(model.get_text_features(**inputs))
        np.testing.assert_allclose(run(folder / "text.onnx", **inputs), expected, atol=1e-4)


@torch.no_grad()
def test_a_classifier_gives_its_logits(trained, tmp_path):
    export_onnx(str(trained["tiny-classifier"]), str(tmp_path))
    assert {path.name for path in tmp_path.iterdir()} == {"ecg.onnx", "preprocessor_config.json"}
    values = torch.randn(3, 12, 800)
    lead_mask = torch.ones(3, 12, dtype=torch.long)
    expected = AutoModelForSequenceClassification.from_pretrained(trained["tiny-classifier"])(values).logits
    np.testing.assert_allclose(
        run(tmp_path / "ecg.onnx", input_values=values, lead_mask=lead_mask), expected, atol=1e-4
    )


def test_what_differs_from_the_model_is_not_kept(trained, tmp_path, monkeypatch):
    monkeypatch.setattr(export, "TOLERANCE", 0.0)
    with pytest.raises(ValueError, match="ecg.onnx differs from the model by .* not kept"):
        export_onnx(str(trained["tiny-mets"]), str(tmp_path))
    assert not list(tmp_path.rglob("*onnx*"))


def test_the_example_asks_by_onnxruntime_alone(exported, tmp_path):
    source, folder, _ = exported
    pipe = pipeline("zero-shot-classification", model=str(source), device="cpu")
    signal = np.random.default_rng(0).normal(size=(12, 1000))
    np.save(tmp_path / "ecg.npy", pipe.feature_extractor(signal, sampling_rate=100)["input_values"][0])
    code = (
        "import runpy, sys\n"
        "for name in ('torch', 'transformers', 'mets_ecg'): sys.modules[name] = None\n"
        "sys.argv = ['onnx_inference.py', *sys.argv[1:]]\n"
        "runpy.run_path('examples/onnx_inference.py', run_name='__main__')\n"
    )
    flags = ["--model", str(folder), "--recording", str(tmp_path / "ecg.npy"), "--labels", *TEXTS]

    def run_example():
        return subprocess.run([sys.executable, "-c", code, *flags], capture_output=True, text=True)

    done = run_example()
    assert done.returncode == 0, done.stderr
    found = {line.split("  ", 1)[1]: float(line.split("  ", 1)[0]) for line in done.stdout.splitlines()}
    assert set(found) == set(TEXTS)
    template = json.loads((folder / "processor_config.json").read_text())["hypothesis_template"]
    assert template.count("{}") == 1
    scores = {one["label"]: one["score"] for one in pipe(signal, TEXTS, sampling_rate=100)}
    assert found == pytest.approx(scores, abs=1.1e-3)
    wrong_ones = [(np.ones((2, 700)), "expected 12 leads"), (np.ones((12, 5000)), "has 5000 samples: the model reads")]
    for wrong, reason in [*wrong_ones, (np.full((12, 700), np.nan), "no lead that can be")]:
        np.save(tmp_path / "ecg.npy", wrong)
        done = run_example()
        assert done.returncode == 2 and reason in done.stderr
