"""The model card of a checkpoint: what a reader must know before using it, from the files beside its weights.

A run writes it when it ends. What no file says, such as the licence of somebody's own recordings, is marked in it, and
`mets-ecg push` refuses the card until a person has put it in.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from huggingface_hub import EvalResult, ModelCard, ModelCardData
from safetensors import safe_open
from transformers import AutoConfig

from mets_ecg_cli.parser import read_yaml
from mets_ecg_cli.resources import resource

from ..configuration_ecg_text import ECGClassificationConfig, ECGTextConfig
from ..data.building.card import LICENCES, save_card
from ..evaluation.tasks import get_task
from ..feature_extraction_ecg import ECGFeatureExtractor

# Stands in a card where somebody must say something.
TO_STATE = "[to be stated]"
# The repository in a card's text until it is pushed to one.
THIS_REPOSITORY = "org/this-model"

# Of what is trained with here; of others the card asks.
_TEXT_MODEL_LICENCES = {
    "sentence-transformers/all-MiniLM-L6-v2": "Apache-2.0",
    "google/flan-t5-base": "Apache-2.0",
    "google/flan-t5-small": "Apache-2.0",
    "emilyalsentzer/Bio_ClinicalBERT": "MIT",
}
_CITATIONS = {
    "METS": "METS: Li et al., *Frozen Language Model Helps ECG Zero-Shot Learning*, MIDL 2023, "
    "[arXiv 2303.12311](https://arxiv.org/abs/2303.12311)",
    "C-MELT": "C-MELT (D-BETA): Pham, Saeed and Ma, *Boosting Masked ECG-Text Auto-Encoders as Discriminative "
    "Learners*, ICML 2025, [arXiv 2410.02131](https://arxiv.org/abs/2410.02131)",
}
# Of `training_args.yaml`, as far as a run has them.
_HYPERPARAMETERS = (
    "method", "task", "text_column", "negatives", "negative_share", "negative_band", "negative_candidates", "epochs",
    "max_steps", "batch_size", "gradient_accumulation_steps", "optimizer", "learning_rate", "weight_decay",
    "lr_scheduler", "warmup_fraction", "hold_fraction", "max_grad_norm", "ema_decay", "mixed_precision", "time_shift",
    "lead_dropout", "lead_dropout_records", "leads", "label_fraction", "class_weights", "layer_decay", "seed",
)  # fmt: skip
# Of these an estimate of energy is made: watts of a processor's thread, and of a GPU.
_WATTS_PER_THREAD, _WATTS_PER_GPU = 10, 400


@dataclass(frozen=True)
class Origin:
    """Where weights come from that no run of this package trained.

    Attributes:
        summary: what the model is, in a sentence.
        text: how it was trained, and what is not known of it.
        licence: of the weights, the Hub's identifier.
        base_model: Hub id of the original.
        corpora: what it was trained on, as `LoadedParts.corpora` has it, with `parts` in words.
    """

    summary: str
    text: str
    licence: str
    base_model: str
    corpora: tuple[Mapping, ...] = field(default=())


def write_model_card(folder: str | os.PathLike[str], *, name: str | None = None, origin: Origin | None = None) -> Path:
    """Write `README.md` of a checkpoint.

    Args:
        folder: with the weights, the configs and, of a run, `metrics.json` and `training_args.yaml`.
        name: of the model; default the folder's.
        origin: where the weights come from, if not from such a run.

    Raises:
        ValueError: the folder holds neither a dual encoder nor a classifier.
    """
    folder = Path(folder)
    facts = _Facts(folder, origin)
    name = name or folder.resolve().name
    card = ModelCard.from_template(
        facts.metadata(name), template_path=str(resource("cards", "model.md.jinja")), title=name, **facts.context()
    )
    return save_card(card, folder)


def check_model_card(folder: str | os.PathLike[str]) -> None:
    """Refuse a card that leaves out what a reader must know.

    Raises:
        FileNotFoundError: there is none.
        ValueError: a field is missing or empty, or still to be stated; the message names it.
    """
    path = Path(folder) / "README.md"
    if not path.is_file():
        raise FileNotFoundError(
            f"{str(folder)!r} has no README.md, its model card: mets_ecg.hub.model_card.write_model_card(folder) "
            "begins one"
        )
    text = path.read_text(encoding="utf-8")
    try:
        metadata = ModelCard(text).data.to_dict()
    except (ValueError, yaml.YAMLError) as error:
        raise ValueError(f"the YAML on top of {str(path)!r} cannot be read: {error}") from error
    for field_name in ("license", "library_name", "pipeline_tag", "tags"):
        if not metadata.get(field_name):
            raise ValueError(f"the model card {str(path)!r} has no {field_name} in the YAML on top: add it")
    for number, line in enumerate(text.splitlines(), start=1):
        if TO_STATE in line:
            raise ValueError(
                f"the model card {str(path)!r} still says {TO_STATE} in line {number} ({line.strip()[:60]})"
            )
    for heading, body in re.findall(r"^##+ (.+)\n([^#]*)(?=^#|\Z)", _without_code(text), flags=re.MULTILINE):
        if not body.strip():
            raise ValueError(
                f"the section {heading!r} of the model card {str(path)!r} is empty: fill it, or leave it out"
            )


def _without_code(text: str) -> str:
    """Code has lines that begin with `#` too."""
    return re.sub(r"```.*?```", "code", text, flags=re.DOTALL)


class _Facts:
    """What the files of a checkpoint say, in the words of the card."""

    def __init__(self, folder: Path, origin: Origin | None):
        self.folder, self.origin = folder, origin
        self.config = AutoConfig.from_pretrained(folder)
        self.extractor = ECGFeatureExtractor.from_pretrained(folder)
        self.metrics, self.arguments = (
            read_yaml(folder / name) if (folder / name).is_file() else {}
            for name in ("metrics.json", "training_args.yaml")
        )
        self.classifies = self.config.model_type == ECGClassificationConfig.model_type
        if not self.classifies and self.config.model_type != ECGTextConfig.model_type:
            raise ValueError(
                f"a card is written of dual encoders and classifiers, and {str(folder)!r} holds a "
                f"{self.config.model_type!r}: write its README.md yourself"
            )
        self.pretraining = getattr(self.config, "pretraining_config", None) is not None
        self.corpora = self._corpora()
        self.licence = origin.licence if origin else self._licence()
        self.test = self.metrics.get("test")

    def _corpora(self) -> list[dict]:
        if self.origin:
            return [{**own, "licence": _licence_words(own["licence"])} for own in self.origin.corpora]
        encoder = self.metrics.get("encoder_from") or {}
        found: dict[str, dict] = {}
        for metrics, what in ((encoder, "pre-training: "), (self.metrics, "fine-tuning: " if encoder else "")):
            for name, known in metrics.get("corpora", {}).items():
                parts = metrics.get("parts", {}).get(name, {})
                words = "; ".join(f"{part} {' '.join(own)}" for part, own in parts.items() if own and own != ["none"])
                if name in found:
                    found[name]["parts"] += f"; {what}{words}"
                    found[name]["ids"].append(known.get("id") or name)
                    continue
                licence = known.get("licence")
                found[name] = {
                    "ids": [known.get("id") or name],
                    "title": known.get("title") or name,
                    "homepage": known.get("homepage"),
                    "doi": known.get("doi"),
                    "licence_id": licence,
                    "licence": _licence_words(licence),
                    "parts": f"{what}{words}",
                }
        return list(found.values())

    def _licence(self) -> str | None:
        """That of the data where there is one, which is known."""
        licences = {own["licence_id"] for own in self.corpora}
        (licence,) = licences if len(licences) == 1 else (None,)
        return None if licence == "unknown" else licence

    # The parts of the card.

    def metadata(self, name: str) -> ModelCardData:
        base = [self.origin.base_model] if self.origin else []
        text_model = getattr(self.config, "text_model_id", None)
        parent = (self.metrics.get("encoder_from") or {}).get("model", "")
        base += [own for own in (text_model, parent) if own and re.fullmatch(r"[\w.-]+/[\w.-]+", own)]
        results = self._results()
        return ModelCardData(
            model_name=name if results else None,
            language="en",
            license=self.licence or "other",
            library_name="transformers",
            pipeline_tag="other" if self.classifies else "zero-shot-classification",
            tags=[
                "ecg",
                "electrocardiogram",
                "cardiology",
                "medical",
                "time-series",
                self._method().lower(),
                "custom_code",
            ],
            datasets=list(dict.fromkeys(name for own in self.corpora for name in own["ids"])) or None,
            metrics=["roc_auc"],
            base_model=list(dict.fromkeys(base)) or None,
            eval_results=[
                EvalResult(
                    task_type="other" if self.classifies else "zero-shot-classification",
                    dataset_type=_corpus_of(self.test),
                    dataset_name=f"{self.test['task']}, {row['part']}",
                    metric_type="roc_auc",
                    metric_name=f"macro AUROC, {row['name']} (95 % {row['low']:.3f} to {row['high']:.3f})",
                    metric_value=round(row["value"], 4),
                )
                for row in results
                if row["key"] in ("phrases", "classifier")
            ]
            or None,
        )

    def context(self) -> dict:
        return {
            "summary": self.origin.summary if self.origin else self._summary(),
            "snippet": self._snippet(),
            "input_facts": self._input_facts(),
            "processor_file": "preprocessor_config.json" if self.classifies else "processor_config.json",
            "classes": list(self.config.id2label.values()) if self.classifies else None,
            "problem_type": "Several a recording" if self._multi_label() else "One a recording",
            "task": (self.test or {}).get("task") or self.arguments.get("task"),
            "origin": self.origin.text if self.origin else self._training(),
            "corpora": self.corpora,
            "seen": self._seen(),
            "hyperparameters": {key: self.arguments[key] for key in _HYPERPARAMETERS if self._is_set(key)},
            "cost": self._cost(),
            "results": self._results(),
            "made": "converted" if self.origin else "trained",
            "words": not self.classifies,
            "weights_licence": _licence_words(self.licence),
            "text_model": self._text_model(),
            "citations": self._citations(),
        }

    def _multi_label(self) -> bool:
        return self.classifies and self.config.problem_type == "multi_label_classification"

    def _method(self) -> str:
        return "classification" if self.classifies else "C-MELT" if self.pretraining else "METS"

    def _summary(self) -> str:
        encoder = f"ECG encoder (`{self.config.ecg_config.model_type}`)"
        size = f"{self._num_parameters():,} parameters in this repository"
        if self.classifies:
            return f"An {encoder} with a head that classifies ECGs of {len(self.extractor.lead_names)} leads; {size}."
        what = "masked modelling, matching and contrast (C-MELT)" if self.pretraining else "contrast (METS)"
        text = f"a text encoder (`{self.config.text_config.model_type}`)"
        return f"An {encoder} and {text} in one space, by {what}: ask an ECG a question in words; {size}."

    def _num_parameters(self) -> int:
        count = 0
        for path in self.folder.glob("*.safetensors"):
            with safe_open(path, framework="pt") as weights:
                for name in weights.keys():  # noqa: SIM118 - not a dict
                    count += math.prod(weights.get_slice(name).get_shape())
        return count

    def _snippet(self) -> str:
        task = "ecg-classification" if self.classifies else "zero-shot-classification"
        leads = self.extractor.lead_names
        call = "recording, sampling_rate=500" + ("" if len(leads) == 12 else f", lead_names={list(leads)}")
        if not self.classifies:
            call += ', candidate_labels=["atrial fibrillation", "left bundle branch block", "normal ecg"]'
        return (
            "import numpy as np\n"
            "from transformers import pipeline\n\n"
            f'classifier = pipeline("{task}", model="{THIS_REPOSITORY}", trust_remote_code=True)\n'
            f"recording = np.random.default_rng(0).normal(size=({len(leads)}, 5000))  # yours: leads x samples, in mV\n"
            f"for answer in classifier({call}):\n"
            "    print(f\"{answer['score']:.2f}  {answer['label']}\")"
        )

    def _input_facts(self) -> dict[str, str]:
        own = self.extractor
        low, high = own.bandpass or (None, None)
        edges = [f"{word} {edge:g} Hz" for word, edge in (("above", low), ("below", high)) if edge is not None]
        filters = f"{' and '.join(edges)}, zero-phase Butterworth" if edges else "none"
        if own.notch_frequency is not None:
            filters += f"; notch at {own.notch_frequency:g} Hz"
        window = "of any length" if own.max_duration is None else f"{own.max_duration:g} s, by default from the centre"
        return {
            "leads": ", ".join(own.lead_names) + ", found by name; missing and flat ones are masked",
            "unit": "mV (others are converted, by name)",
            "rate": f"{own.sampling_rate:g} Hz; 50 to 2000 Hz are resampled",
            "window": f'{window}; `crop="windows"` reads all',
            "filter": filters,
            "scaling": own.scaling if own.scaling != "none" else "none, millivolts",
        }

    def _training(self) -> str:
        if not self.metrics:
            return f"How it was trained is not recorded beside the weights: {TO_STATE}."
        counts = self.metrics.get("counts", {})
        encoder = self.metrics.get("encoder_from")
        start = f"Fine-tuned from the encoder of `{encoder['model']}`" if encoder else "Trained from new weights"
        if not self.classifies:
            text = self._text_model()
            start = f"Trained from a new ECG encoder, with {text['name']} as the text encoder ({text['state']})"
        texts = f" with {counts['distinct_texts']:,} distinct texts" if "distinct_texts" in counts else ""
        return f"{start}, by mets-ecg, on {counts.get('train', 0):,} recordings{texts}:"

    def _seen(self) -> str | None:
        if not self.metrics:
            return None
        chosen = any(own.get("validation", ["none"]) != ["none"] for own in self.metrics["parts"].values())
        epochs = len(self.metrics["epochs"])
        how = f"nothing was chosen, the last of {epochs} epochs was taken"
        if chosen:
            how = f"the epoch was chosen on the validation part (epoch {self.metrics['best_epoch']} of {epochs})"
        seen = "`mets-ecg evaluate` warns where records were seen, by `metrics.json`."
        return f"The test part was not trained on; {how}. {seen}"

    def _is_set(self, key: str) -> bool:
        own = self.arguments.get(key)
        others = {"negative_": "C-MELT", "negatives": "METS"}
        of_another = any(key.startswith(start) and self._method() != method for start, method in others.items())
        of_another |= key == "hold_fraction" and self.arguments.get("lr_scheduler") != "tri-stage"
        return own not in (None, [], "") and not of_another

    def _cost(self) -> str | None:
        seconds, machine = self.metrics.get("seconds"), self.metrics.get("machine")
        if seconds is None or machine is None:
            return None
        processes = self.metrics.get("num_processes", 1)
        if machine["device"] == "cpu":
            watts, what = _WATTS_PER_THREAD * machine["num_threads"], f"{_WATTS_PER_THREAD} W a thread"
            where = f"{machine['num_threads']} threads of a processor"
        else:
            watts, what, where = _WATTS_PER_GPU, f"{_WATTS_PER_GPU} W a GPU", machine["device"]
        energy = seconds * watts * processes / 3.6e6
        several = f"{processes} processes, each on " if processes > 1 else ""
        return (
            f"Training took {seconds / 60:,.1f} minutes on {several}{where}: about {energy:.2g} kWh if it took {what}, "
            "an estimate and not a measurement."
        )

    def _results(self) -> list[dict]:
        if self.test is None:
            return []
        names = {"phrases": "report-like phrases", "template": "METS' template", "random_encoder": "untrained encoder"}
        part = "; ".join(f"{name} {' '.join(own['test'])}" for name, own in self.metrics["parts"].items())
        rows = []
        for key, line in self.test["lines"].items():
            auroc = line["auroc"]
            value, low, high = (auroc[name] for name in ("macro", "macro_low", "macro_high"))
            rows.append(
                {
                    "key": key,
                    "name": names.get(key, line["name"]),
                    "part": part,
                    "auroc": f"{value:.3f} ({low:.3f} to {high:.3f})",
                    "records": auroc["num_records"],
                    **{"value": value, "low": low, "high": high},
                }
            )
        return rows

    def _text_model(self) -> dict | None:
        if self.classifies:
            return None
        config, name = self.config, self.config.text_model_id
        state = "frozen" if config.freeze_text_model else "trained too"
        if name is None:
            new = f"a new `{config.text_config.model_type}` of {config.text_config.vocab_size:,} words"
            return {"name": new, "state": state, "inside": True, "licence": _licence_words(self.licence)}
        licence = _TEXT_MODEL_LICENCES.get(name, TO_STATE)
        return {"name": f"`{name}`", "state": state, "inside": config.save_text_model, "licence": licence}

    def _citations(self) -> list[str]:
        own = [] if self.classifies else [_CITATIONS[self._method()]]
        dois = [f"{c['title']}: <https://doi.org/{c['doi']}>" for c in self.corpora if c.get("doi")]
        return [*own, *dois] or [f"the task: {(self.test or self.arguments).get('task')}"]


def _licence_words(licence: str | None) -> str:
    """Return a licence as the card calls it; of one that is not known, that somebody must state it."""
    return TO_STATE if licence in (None, "unknown") else LICENCES.get(licence, licence)


def _corpus_of(test: Mapping) -> str:
    """Return the corpus of a task that was measured; of a task of one's own, its name."""
    try:
        return get_task(test["task"]).corpus or test["task"]
    except (ValueError, OSError):
        return test["task"]
