"""Prepared rows through ECG encoders: pooled output, vectors in the space of texts, or a classifier's probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from tqdm.auto import tqdm

from ..data.prepared_rows import PreparedRows
from ..modeling_ecg_classification import ECGForSequenceClassification
from ..modeling_ecg_text import ECGTextModel


@dataclass(frozen=True)
class EncodedECGs:
    """What a model makes of recordings, on the CPU; of one that is read in windows, the mean over them.

    Attributes:
        pooled: `(records, encoder hidden size)`, float32: the ECG encoder's pooled output.
        outputs: of a dual encoder `(records, projection_dim)`, the vectors that are compared with texts; of a
            classifier `(records, classes)`, probabilities in double precision.
    """

    pooled: torch.Tensor
    outputs: torch.Tensor


@torch.no_grad()
def encode_ecgs(
    models: Sequence[ECGTextModel | ECGForSequenceClassification],
    rows: PreparedRows,
    *,
    batch_size: int = 256,
    progress: bool = False,
) -> list[EncodedECGs]:
    """Return what several models make of all rows, which are read once.

    Args:
        models: dual encoders or classifiers; they are in evaluation mode meanwhile.
        rows: prepared rows.
        batch_size: rows in one forward pass.
        progress: show a bar, on a terminal.
    """
    was_training = [model.training for model in models]
    pooled: list[torch.Tensor] = []
    outputs: list[torch.Tensor] = []
    windows = torch.zeros(len(rows), 1)
    for model in models:
        model.eval()
    bar = tqdm(total=len(rows), desc="encoding recordings", unit="record", disable=None if progress else True)
    for batch in rows.in_order(batch_size):
        index = batch["index"].cpu()
        windows.index_add_(0, index, torch.ones(len(index), 1))
        for i, model in enumerate(models):
            on_device = {name: values.to(model.device) for name, values in batch.items()}
            lead_mask = None if bool(on_device["lead_mask"].all()) else on_device["lead_mask"]
            output = model.ecg_model(on_device["input_values"], on_device.get("ecg_attention_mask"), lead_mask)
            found = [output.pooler_output.float().cpu(), _output_of(model, output.pooler_output).cpu()]
            if i == len(pooled):
                for whole, own in zip((pooled, outputs), found, strict=True):
                    whole.append(own.new_zeros(len(rows), own.shape[1]))
            pooled[i].index_add_(0, index, found[0])
            outputs[i].index_add_(0, index, found[1])
        bar.update(len(index))
    bar.close()
    for model, training in zip(models, was_training, strict=True):
        model.train(training)
    if bool((windows > 1).any()):
        pooled, outputs = ([own / windows for own in each] for each in (pooled, outputs))
        outputs = [
            model.normalize_features(own) if isinstance(model, ECGTextModel) else own
            for model, own in zip(models, outputs, strict=True)
        ]
    return [EncodedECGs(*own) for own in zip(pooled, outputs, strict=True)]


def _output_of(model, pooled: torch.Tensor) -> torch.Tensor:
    if isinstance(model, ECGForSequenceClassification):
        return model.get_probabilities(model.classifier(pooled).double())
    return model.normalize_features(model.ecg_projection(pooled)).float()


def with_random_ecg_encoder(model: ECGTextModel | ECGForSequenceClassification, seed: int):
    """Return the same model with a new ECG encoder and ECG projection or head: what any training must surpass."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        other = type(model)(model.config)
    if isinstance(model, ECGForSequenceClassification):
        return other.to(model.device).eval()
    other.text_model, other.text_projection = model.text_model, model.text_projection
    if model.config.text_centering:
        other.text_mean = model.text_mean
    with torch.no_grad():
        other.logit_scale.copy_(model.logit_scale)
    return other.to(model.device).eval()
