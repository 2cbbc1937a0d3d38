"""Ask a recording in words by onnxruntime alone: no torch, no transformers, no mets-ecg.

    mets-ecg export mets-small onnx
    python examples/onnx_inference.py --model onnx --recording ecg.npy --labels "atrial fibrillation" "normal ecg"

`ecg.npy` is `(leads, samples)` in mV as the model reads it: at its rate, of its length and with its leads in order, as
`processor_config.json` says. Filters and resampling are not done here; a lead that is flat or not finite is masked.
Scores compare the labels with each other, as the pipeline's do. Needs onnxruntime, tokenizers and NumPy.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import onnxruntime
from tokenizers import Tokenizer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--model", required=True, type=Path, help="folder that mets-ecg export wrote")
    parser.add_argument("--recording", required=True, help=".npy file")
    parser.add_argument("--labels", required=True, nargs="+", help="what is asked, in words")
    options = parser.parse_args()
    processor = json.loads((options.model / "processor_config.json").read_text(encoding="utf-8"))

    reading = processor["feature_extractor"]
    values = np.load(options.recording).astype(np.float32)
    leads, rate, seconds = reading["lead_names"], reading["sampling_rate"], reading["max_duration"]
    if values.ndim != 2 or len(values) != len(leads):
        parser.error(
            f"{options.recording} has the shape {values.shape}: expected {len(leads)} leads, {' '.join(leads)}"
        )
    if seconds is not None and values.shape[1] > round(seconds * rate):
        parser.error(f"{options.recording} has {values.shape[1]} samples: the model reads {seconds:g} s at {rate:g} Hz")
    usable = np.isfinite(values).all(axis=1) & (np.ptp(np.nan_to_num(values), axis=1) > 0)
    if not usable.any() or np.abs(values[usable]).max() > reading["amplitude_range"][1]:
        parser.error(f"{options.recording} has no lead that can be an ECG in mV")
    values[~usable] = 0.0
    lead_mask = usable.astype(np.int64)
    ecg = run(options.model / "ecg.onnx", input_values=values[None], lead_mask=lead_mask[None])

    tokenizer = Tokenizer.from_file(str(options.model / "tokenizer.json"))
    tokenizer.enable_padding()
    texts = [processor["hypothesis_template"].format(label) for label in options.labels]
    encoded = tokenizer.encode_batch([text.lower() if processor["lowercase"] else text for text in texts])
    ids = np.array([one.ids for one in encoded], dtype=np.int64)
    mask = np.array([one.attention_mask for one in encoded], dtype=np.int64)
    text = run(options.model / "text.onnx", input_ids=ids, attention_mask=mask)

    # By the cosine, whatever the model was trained by.
    ecg, text = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True) for vectors in (ecg, text))
    logits = processor["comparison_scale"] * (ecg @ text.T)[0]
    scores = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
    for label, score in sorted(zip(options.labels, scores, strict=True), key=lambda own: -own[1]):
        print(f"{score:.3f}  {label}")


def run(path: Path, **inputs: np.ndarray) -> np.ndarray:
    """Return what an ONNX file gives."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, inputs)[0]


if __name__ == "__main__":
    main()
