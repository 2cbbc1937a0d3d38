"""Arguments of `mets-ecg finetune`: what classification has beside the arguments of all training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .augmentation import AugmentationArguments
from .evaluate import check_task
from .parser import argument


@dataclass(kw_only=True)
class FinetuneArguments(AugmentationArguments):
    """Train a classifier on the labels of a task: from a checkpoint's ECG encoder, or without --model from scratch."""

    task: str = argument(help="what to classify: a task of the package, or the path of a YAML file")
    model: str | None = argument(None, help="checkpoint whose ECG encoder is fine-tuned: a folder or a Hub id")
    ecg_config: dict = argument(default_factory=dict, help="without --model: fields of the new encoder's config")
    feature_extractor: dict = argument(default_factory=dict, help="without --model: fields of ECGFeatureExtractor")
    leads: list[str] | None = argument(
        None, help="use only these leads, as I II V2; limb leads that follow come with them"
    )
    label_fraction: float = argument(1.0, help="part of the training patients whose labels are used, drawn by the seed")
    class_weights: Literal["none", "balanced"] = argument("none", help="balanced: rare classes count as much as others")
    layer_decay: float = argument(
        1.0, help="factor on the learning rate from each layer of the encoder to the one below"
    )
    classifier_dropout: float = argument(0.0, help="before the head")
    epochs: int = argument(10, help="passes over the training records")
    batch_size: int = argument(64, help="records that a process takes at once")
    optimizer: Literal["adam", "adamw"] = argument("adamw", help="adam couples weight decay with the gradient")
    weight_decay: float = argument(0.01, help="of all trained weights")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_task(self.task)
        if self.model is not None and (self.ecg_config or self.feature_extractor):
            raise ValueError("--model brings its encoder and feature extractor: leave --ecg-config and the other out")
        for name in ("label_fraction", "layer_decay"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"--{name.replace('_', '-')} must be above 0 and at most 1, got {getattr(self, name)}")
        self._check_fractions("classifier_dropout")
