"""Ask a recording in words by onnxruntime alone: no torch, no transformers, no mets-ecg.

    mets-ecg export mets-small onnx
    python examples/onnx_inference.py --model onnx --recording ecg.npy --labels "atrial fibrillation" "normal ecg"

`ecg.npy` is `(leads, samples)` in mV as the model reads it: at its rate and with its leads in their order, as
`processor_config.json` says. Filters and resampling are not done here. Needs onnxruntime, tokenizers and NumPy.
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

    values = np.load(options.recording).astype(np.float32)[None]
    lead_mask = np.ones(values.shape[:2], dtype=np.int64)
    ecg = run(options.model / "ecg.onnx", input_values=values, lead_mask=lead_mask)

    tokenizer = Tokenizer.from_file(str(options.model / "tokenizer.json"))
    tokenizer.enable_padding()
    texts = [processor["hypothesis_template"].format(label) for label in options.labels]
    encoded = tokenizer.encode_batch([text.lower() if processor["lowercase"] else text for text in texts])
    ids = np.array([one.ids for one in encoded], dtype=np.int64)
    mask = np.array([one.attention_mask for one in encoded], dtype=np.int64)
    text = run(options.model / "text.onnx", input_ids=ids, attention_mask=mask)

    for label, similarity in sorted(zip(options.labels, (ecg @ text.T)[0], strict=True), key=lambda own: -own[1]):
        print(f"{similarity:.3f}  {label}")


def run(path: Path, **inputs: np.ndarray) -> np.ndarray:
    """Return what an ONNX file gives."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, inputs)[0]


if __name__ == "__main__":
    main()
