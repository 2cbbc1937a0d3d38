"""Checkpoints that carry their own code: with `trust_remote_code=True` they load without this package."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

from transformers import ProcessorMixin
from transformers.dynamic_module_utils import get_relative_import_files

from ..modeling_ecg_text import ECGTextModel
from ..pipeline_zero_shot_ecg import ZeroShotECGClassificationPipeline


def save_with_code(model: ECGTextModel, processor: ProcessorMixin, folder: str | Path) -> Path:
    """Save a model, its processor and the model files of this package as one folder.

    The folder loads in three ways with equal numbers: by `AutoModel`, `AutoProcessor` and `pipeline` with this package
    imported; by the same with `trust_remote_code=True` without it; and by the classes' own `from_pretrained`. What
    `transformers` does through `register_for_auto_class` is done here by hand, because that would make every
    later save in the process copy code.

    Returns:
        The folder.
    """
    folder = Path(folder)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    feature_extractor = processor.feature_extractor
    _add_to_json(
        folder / "config.json",
        auto_map={"AutoConfig": _reference(type(model.config)), "AutoModel": _reference(type(model))},
        custom_pipelines={
            task: {"impl": _reference(entry["impl"]), "pt": [c.__name__ for c in entry["pt"]], "type": entry["type"]}
            for task, entry in ZeroShotECGClassificationPipeline._registered_impl.items()
        },
    )
    _add_to_json(folder / "processor_config.json", auto_map={"AutoProcessor": _reference(type(processor))})
    _add_to_json(
        folder / "processor_config.json",
        inside="feature_extractor",
        auto_map={"AutoFeatureExtractor": _reference(type(feature_extractor))},
    )
    for owner in (type(model.config), type(model), type(processor), ZeroShotECGClassificationPipeline):
        entry = sys.modules[owner.__module__].__file__
        for file in (entry, *get_relative_import_files(entry)):
            shutil.copyfile(file, folder / Path(file).name)
    return folder


def _reference(owner: type) -> str:
    """The class as an `auto_map` names it: file and class."""
    return f"{owner.__module__.rsplit('.', 1)[-1]}.{owner.__name__}"


def _add_to_json(path: Path, *, inside: str | None = None, **fields) -> None:
    document = json.loads(path.read_text(encoding="utf-8"))
    (document if inside is None else document[inside]).update(fields)
    path.write_text(json.dumps(document, indent=2, sort_keys=True) + "\n", encoding="utf-8")
