"""The command `mets-ecg export`: a checkpoint's encoders as ONNX, each compared with the model before it is kept.

`ecg.onnx` takes `input_values (batch, leads, samples)`, float32 as the checkpoint's processor makes it, and `lead_mask
(batch, leads)`, 1 where a lead is there; any batch, any length from 1 s. Of a dual encoder it gives `ecg_embeds (batch,
projection_dim)`, and `text.onnx` gives `text_embeds` of `input_ids` and `attention_mask (batch, tokens)`; their product
is the similarity. Of a classifier it gives `logits`.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.export import Dim
from transformers import AutoProcessor

from mets_ecg_cli.export import ExportArguments

from ..evaluation.checkpoints import Checkpoint
from ..modeling_ecg_classification import ECGForSequenceClassification
from ..modeling_ecg_text import ECGTextModel

# What ONNX may differ by from the model, of vectors of length 1 and of logits.
TOLERANCE = 1e-4


@dataclass(frozen=True)
class _Graph:
    """A module to be exported, its inputs' names with the axes that may have any size, and its output's name."""

    module: nn.Module
    inputs: dict[str, dict[int, str]]
    output: str


class _ECGEncoder(nn.Module):
    def __init__(self, model: ECGTextModel):
        super().__init__()
        self.model = model

    def forward(self, input_values: torch.Tensor, lead_mask: torch.Tensor) -> torch.Tensor:
        return self.model.normalize_features(self.model.get_ecg_features(input_values, lead_mask=lead_mask))


class _TextEncoder(nn.Module):
    def __init__(self, model: ECGTextModel):
        super().__init__()
        self.model = model

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        return self.model.normalize_features(self.model.get_text_features(input_ids, attention_mask))


class _Classifier(nn.Module):
    def __init__(self, model: ECGForSequenceClassification):
        super().__init__()
        self.model = model

    def forward(self, input_values: torch.Tensor, lead_mask: torch.Tensor) -> torch.Tensor:
        return self.model(input_values, lead_mask=lead_mask).logits


def run_export(arguments: ExportArguments) -> None:
    """Export a checkpoint, and print what was written.

    Raises:
        ValueError, OSError, ImportError: as `export_onnx`.
    """
    for path, largest in export_onnx(arguments.model, arguments.output).items():
        print(f"{path}: {path.stat().st_size / 1e6:.1f} MB, at most {largest:.1e} from the model")


def export_onnx(checkpoint: str, output: str) -> dict[Path, float]:
    """Write the encoders of a checkpoint as ONNX, and its processor's files beside them.

    Args:
        checkpoint: folder or Hub id.
        output: folder, made if it is not there.

    Returns:
        The largest difference from the model by file, over several batch sizes and lengths.

    Raises:
        ImportError: the extra `export` is not installed.
        ValueError: it is no dual encoder and no classifier; or ONNX differs from the model by more than 1e-4: then
            nothing is left of it.
        OSError: there is no such checkpoint.
    """
    try:
        import onnxruntime
        import onnxscript  # noqa: F401 - torch.onnx needs it
    except ImportError as error:
        raise ImportError(f'ONNX needs the extra "export": pip install "mets-ecg[export]" ({error})') from error
    opened, folder = Checkpoint.open(checkpoint), Path(output)
    model = opened.load_model().cpu().float().eval()
    folder.mkdir(parents=True, exist_ok=True)
    (opened.feature_extractor if opened.classifies else AutoProcessor.from_pretrained(checkpoint)).save_pretrained(
        folder
    )
    for code in folder.glob("*.py"):  # a checkpoint carries it; what runs ONNX has no use for it
        code.unlink()
    differences = {}
    for name, graph in _graphs(model).items():
        path, partial = folder / f"{name}.onnx", folder / f".{name}.onnx.partial"
        try:
            _write(graph, partial, model)
            session = onnxruntime.InferenceSession(str(partial), providers=["CPUExecutionProvider"])
            largest = max(_difference(graph, session, model, size) for size in ((1, 1.0), (3, 0.5), (2, 1.37)))
            if not largest <= TOLERANCE:
                raise ValueError(
                    f"{name}.onnx differs from the model by {largest:.1e}, more than {TOLERANCE:g}: not kept"
                )
            shutil.move(partial, path)
        finally:
            partial.unlink(missing_ok=True)
        differences[path] = largest
    return differences


def _graphs(model) -> dict[str, _Graph]:
    ecg = {"input_values": {0: "batch", 2: "samples"}, "lead_mask": {0: "batch"}}
    if isinstance(model, ECGForSequenceClassification):
        return {"ecg": _Graph(_Classifier(model), ecg, "logits")}
    text = {"input_ids": {0: "batch", 1: "tokens"}, "attention_mask": {0: "batch", 1: "tokens"}}
    return {
        "ecg": _Graph(_ECGEncoder(model), ecg, "ecg_embeds"),
        "text": _Graph(_TextEncoder(model), text, "text_embeds"),
    }


def _write(graph: _Graph, path: Path, model) -> None:
    names = sorted({name for axes in graph.inputs.values() for name in axes.values()})
    shortest = {"samples": int(model.config.ecg_config.sampling_rate)}
    dims = {name: Dim(name, min=shortest.get(name, 1)) for name in names}
    shapes = {name: {axis: dims[dim] for axis, dim in axes.items()} for name, axes in graph.inputs.items()}
    torch.onnx.export(
        graph.module,
        tuple(_example(graph, model, (2, 1.0)).values()),
        path,
        input_names=list(graph.inputs),
        output_names=[graph.output],
        dynamic_shapes=shapes,
        dynamo=True,
        external_data=False,
        verbose=False,
    )


def _example(graph: _Graph, model, size: Sequence[float]) -> dict[str, torch.Tensor]:
    """Return inputs: `size` is how many, and how long in windows of 10 s or in texts of 12 tokens."""
    count, length = int(size[0]), size[1]
    generator = torch.Generator().manual_seed(count)
    if "input_ids" in graph.inputs:
        tokens = int(12 * length)
        ids = torch.randint(1, model.config.text_config.vocab_size, (count, tokens), generator=generator)
        mask = (torch.arange(tokens) < torch.arange(count, 0, -1)[:, None] * tokens / count).long()
        return {"input_ids": ids, "attention_mask": mask}
    ecg = model.config.ecg_config
    values = torch.randn(count, ecg.num_leads, int(10 * length * ecg.sampling_rate), generator=generator)
    lead_mask = torch.ones(count, ecg.num_leads, dtype=torch.long)
    lead_mask[0, -1] = 0
    return {"input_values": values, "lead_mask": lead_mask}


def _difference(graph: _Graph, session, model, size: Sequence[float]) -> float:
    example = _example(graph, model, size)
    with torch.no_grad():
        expected = graph.module(**example).numpy()
    (found,) = session.run([graph.output], {name: values.numpy() for name, values in example.items()})
    return float(np.abs(found - expected).max())
