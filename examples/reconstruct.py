"""Draw what a C-MELT checkpoint makes of the parts of a recording that it does not see.

    python examples/reconstruct.py --model c-melt-small --recording recording.hea --output masked.png

A part of the ECG's tokens is dropped, as in training; what is decoded in their places is drawn in red over the
recording.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from transformers import AutoModelForPreTraining, AutoProcessor

import mets_ecg  # noqa: F401 - registers the models
from mets_ecg.plotting import plot_ecg
from mets_ecg.training.masking import draw_kept_tokens


def main() -> None:
    """Read a recording, drop tokens, decode them, and draw."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--model", required=True, help="checkpoint of ECGTextForPreTraining")
    parser.add_argument("--recording", required=True, help="path of a recording")
    parser.add_argument("--text", default="ecg.", help="what is known of it in words")
    parser.add_argument("--seed", type=int, default=0, help="of the tokens that are dropped")
    parser.add_argument("--output", required=True, help="picture")
    options = parser.parse_args()
    model = AutoModelForPreTraining.from_pretrained(options.model)
    processor = AutoProcessor.from_pretrained(options.model)
    inputs = processor(ecg=options.recording, text=[options.text], return_tensors="pt")
    inputs.pop("ecg_attention_mask")
    ratio, rate = model.config.pretraining_config.mem_ratio, model.config.ecg_config.sampling_rate
    num_tokens = model.ecg_model.num_tokens(inputs["input_values"].shape[2])
    generator = torch.Generator().manual_seed(options.seed)
    kept = draw_kept_tokens(1, num_tokens, ratio, generator)
    with torch.no_grad():
        output = model(**inputs, whole_input_ids=inputs["input_ids"], kept_tokens=kept)
    signal = inputs["input_values"][0].numpy()
    decoded = np.full_like(signal, np.nan)
    length = output.reconstruction.shape[2]
    seen = signal[:, :length]
    scale, offset = seen.std(axis=1, ddof=1, keepdims=True), seen.mean(axis=1, keepdims=True)
    dropped = torch.ones(num_tokens, dtype=torch.bool).index_fill(0, kept[0], False)
    dropped = dropped.repeat_interleave(model.config.ecg_config.frame_stride).numpy()
    decoded[:, :length] = np.where(dropped, output.reconstruction[0].numpy() * scale + offset, np.nan)
    title = f"{kept.shape[1]} of {num_tokens} tokens seen, the others decoded"
    names = processor.feature_extractor.lead_names
    plot_ecg(signal, sampling_rate=rate, lead_names=names, title=title, overlay=decoded).savefig(options.output)


if __name__ == "__main__":
    main()
