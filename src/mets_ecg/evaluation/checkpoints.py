"""A checkpoint that is measured or applied: its model, the rows that it reads, and what of them it has seen."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

from accelerate import Accelerator
from transformers import AutoModel, AutoModelForSequenceClassification, AutoProcessor, PretrainedConfig
from transformers.utils import cached_file

from mets_ecg_cli.checkpoint import CheckpointArguments
from mets_ecg_cli.parser import read_yaml

from ..configuration_ecg_text import ECGClassificationConfig, ECGTextConfig
from ..data.loading import LoadedParts, load_parts
from ..data.parts import named_parts
from ..feature_extraction_ecg import ECGFeatureExtractor
from ..leads import leads_from
from ..modeling_ecg_classification import ECGForSequenceClassification
from ..modeling_ecg_text import ECGTextModel
from ..shipped import shipped, shipped_names
from .tasks import Task

_logger = logging.getLogger(__name__)

# Where the recordings of one corpus are also those of another: corpus and split -> the other corpus.
_ALSO_IN = {
    ("cinc", "ptb_xl"): "ptb-xl",
    ("cinc", "cpsc_2018"): "cpsc2018",
    ("cinc", "chapman_shaoxing"): "csn",
    ("cinc", "ningbo"): "csn",
}


def read_saved(name: str, file: str) -> dict:
    """Return what a YAML or JSON file of a checkpoint, a folder or a Hub id, says; nothing where it has none."""
    path = cached_file(name, file, _raise_exceptions_for_missing_entries=False)
    return {} if path is None else read_yaml(path)


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint.

    Attributes:
        name: folder or Hub id.
        feature_extractor: how it reads recordings.
        kind: the config's `model_type`.
    """

    name: str
    feature_extractor: ECGFeatureExtractor
    kind: str

    @classmethod
    def open(cls, name: str) -> Checkpoint:
        """Open a checkpoint; its weights are not read yet.

        Args:
            name: a folder, a Hub id, or the name of a checkpoint that comes with the package.

        Raises:
            OSError: there is no such checkpoint.
            ValueError: it is not one of this package's dual encoders or classifiers.
        """
        if not os.path.exists(name) and name in shipped_names():
            _logger.warning("there is no folder %r here: the checkpoint of that name in the package is taken", name)
            name = shipped(name)
        try:
            kind = PretrainedConfig.get_config_dict(name)[0].get("model_type")
        except OSError as error:
            reason = str(error).strip().splitlines()[0]
            raise OSError(
                f"there is no checkpoint {name!r}: it is not a folder with a config.json here, and the Hub did not "
                f"deliver it ({reason}). While online, `hf download {name}` fetches it; with HF_HUB_OFFLINE=1 it is "
                "then taken from the cache"
            ) from error
        known = (ECGTextConfig.model_type, ECGClassificationConfig.model_type)
        if kind not in known:
            raise ValueError(f"{name} is a model of type {kind!r}: expected {' or '.join(known)}")
        return cls(name, ECGFeatureExtractor.from_pretrained(name), kind)

    @property
    def classifies(self) -> bool:
        """Whether it is a classifier; else it is a dual encoder."""
        return self.kind == ECGClassificationConfig.model_type

    def load_model(self) -> ECGTextModel | ECGForSequenceClassification:
        """Return the model on this process' device, in evaluation mode."""
        auto = AutoModelForSequenceClassification if self.classifies else AutoModel
        return auto.from_pretrained(self.name).to(Accelerator().device)

    def load_dual_encoder(self, command: str) -> tuple[ECGTextModel, object]:
        """Return the model and its processor.

        Raises:
            ValueError: it is a classifier, which has no words.
        """
        if self.classifies:
            raise ValueError(f"{self.name} is a classifier: {command} needs a dual encoder, which has a text encoder")
        return self.load_model(), AutoProcessor.from_pretrained(self.name)

    def saved(self, file: str) -> dict:
        """Return what one of its own YAML or JSON files says; nothing where it has none."""
        return read_saved(self.name, file)

    def load_rows(self, arguments: CheckpointArguments, parts: Sequence[str], task: Task | None = None) -> LoadedParts:
        """Return the rows of some parts as the checkpoint reads them.

        Raises:
            ValueError: there is nothing in the test part, or as `load_parts`.
        """
        extractor = self.feature_extractor
        if task is not None:
            if arguments.config_name is None:
                arguments.config_name = task.config
            if task.seconds is not None and task.seconds < (extractor.max_duration or float("inf")):
                extractor.max_duration = task.seconds
        corpus = None if task is None else task.corpus
        loaded = load_parts(extractor, arguments, parts=parts, task_corpus=corpus, windows=arguments.windows)
        if loaded.test is None:
            raise ValueError("there is nothing to measure on: name a part by --test")
        if arguments.leads is None:
            return loaded
        kept = leads_from(arguments.leads, extractor.lead_names)
        rows = {part: getattr(loaded, part) for part in parts}
        return replace(loaded, **{part: own and own.with_leads(kept) for part, own in rows.items()})

    def check_seen(self, loaded: LoadedParts, *, refuse: bool) -> dict[str, str]:
        """Warn of what in the test part the checkpoint was trained or chosen on, by its own record.

        Parts are compared, not records. Where a corpus is also a part of another (`cinc` contains PTB-XL), records of
        the one may have been seen in the other: that is said too.

        Args:
            loaded: with the test part.
            refuse: raise instead.

        Returns:
            By corpus, in words.

        Raises:
            ValueError: something was seen, and `refuse`.
        """
        seen = {}
        tested_splits = set(zip(loaded.test["corpus"], loaded.test["split"], strict=True))
        metrics = self.saved("metrics.json")
        trained = [metrics.get("parts", {}), (metrics.get("encoder_from") or {}).get("parts", {})]
        for corpus in dict.fromkeys(name for own in trained for name in own):
            words = [own.get(corpus, {}).get(part, ()) for own in trained for part in ("train", "validation")]
            used = named_parts([word for own in words for word in own], corpus)
            tested = named_parts(loaded.words.get(corpus, {}).get("test", ()), corpus)
            both = tested if "all" in used else used if "all" in tested else used & tested
            if both:
                seen[corpus] = ", ".join(sorted(both))
            for (part_of, split), other in _ALSO_IN.items():
                if used and other == corpus and (part_of, split) in tested_splits:
                    seen[part_of] = f"{split}, whose records are also in {corpus} ({', '.join(sorted(used))})"
                if part_of == corpus and used & {split, "all"} and any(name == other for name, _ in tested_splits):
                    seen[other] = f"some records, which are also in the split {split} of {corpus}"
        for corpus, what in seen.items():
            said = f"this checkpoint was trained or chosen on {what} of {corpus}"
            if refuse:
                raise ValueError(f"{said}: measure on another part, or leave --refuse-seen out")
            _logger.warning(said)
        return seen
