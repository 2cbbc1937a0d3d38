"""Arguments of `mets-ecg export`."""

from __future__ import annotations

from dataclasses import dataclass

from .parser import argument


@dataclass
class ExportArguments:
    """Write a checkpoint's encoders as ONNX, which onnxruntime runs without torch and transformers."""

    model: str = argument(help="checkpoint: a folder or a Hub id", positional=True)
    output: str = argument(help="folder of ecg.onnx and, of a dual encoder, text.onnx", positional=True)
