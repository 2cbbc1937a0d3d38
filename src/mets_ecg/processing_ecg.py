"""`ECGProcessor`: a feature extractor for recordings and a tokenizer for texts, and how text is put to the model.

Case, length and padding of text are applied on every call, whatever the tokenizer's file says. The templates
are fields, so that a checkpoint is asked its questions in the words it was trained on.
"""

from __future__ import annotations

import inspect
import math

from transformers import BatchFeature, ProcessorMixin
from transformers.utils import logging

from .feature_extraction_ecg import ECGFeatureExtractor

logger = logging.get_logger(__name__)

# METS, arXiv 2303.12311: the template of its superclass prompts, and the prompt before a report.
METS_TEMPLATE = "The ECG of {}, a type of diagnostic."
METS_REPORT_TEMPLATE = "The report of the ECG is that {}"


class ECGProcessor(ProcessorMixin):
    """Turn recordings and texts into the input of an `ECGTextModel`.

    Args:
        feature_extractor: an `ECGFeatureExtractor`.
        tokenizer: the text encoder's.
        hypothesis_template: a plain candidate label is put into this; exactly one `{}`.
        report_template: a report is put into this for training; exactly one `{}`.
        neutral_phrase: what a label is judged against where each is judged on its own; None for nothing, where texts
            are centred (`ECGTextConfig.text_centering`) and 0 is the similarity to the average text.
        phrase_scale: of the log-sum-exp that joins a label's phrases.
        comparison_scale: of the softmax that compares labels with each other.
        languages: codes of the languages of the texts that the model was trained on, in which evaluation words its
            phrases; None where they are not known.
        lowercase: put text into lower case.
        max_length: of a text, tokens; longer ones are truncated, with one warning.
    """

    def __init__(
        self,
        feature_extractor=None,
        tokenizer=None,
        hypothesis_template=METS_TEMPLATE,
        report_template=METS_REPORT_TEMPLATE,
        neutral_phrase="ecg.",
        phrase_scale=10.0,
        comparison_scale=10.0,
        languages=None,
        lowercase=True,
        max_length=128,
        **kwargs,
    ):
        kwargs.pop("auto_map", None)  # written anew by every save
        super().__init__(feature_extractor, tokenizer, **kwargs)
        for name, template in (("hypothesis_template", hypothesis_template), ("report_template", report_template)):
            check_template(template, name)
        self.hypothesis_template = hypothesis_template
        self.report_template = report_template
        self.neutral_phrase = neutral_phrase
        self.phrase_scale = phrase_scale
        self.comparison_scale = comparison_scale
        self.languages = None if languages is None else list(languages)
        self.lowercase = lowercase
        self.max_length = max_length
        if neutral_phrase is not None and (not isinstance(neutral_phrase, str) or not neutral_phrase.strip()):
            raise ValueError(f"neutral_phrase must be a text or None, got {neutral_phrase!r}")
        for name, value in (("phrase_scale", phrase_scale), ("comparison_scale", comparison_scale)):
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < math.inf:
                raise ValueError(f"{name} must be a number above 0, got {value!r}")
        if isinstance(languages, str) or not all(isinstance(code, str) for code in languages or ()):
            raise TypeError(f"languages must be a list of language codes, as ['en'], got {languages!r}")
        if not isinstance(lowercase, bool):
            raise TypeError(f"lowercase must be True or False, got {lowercase!r}")
        if isinstance(max_length, bool) or not isinstance(max_length, int) or max_length < 1:
            raise ValueError(f"max_length must be a number of tokens, 1 or more, got {max_length!r}")

    @classmethod
    def from_args_and_dict(cls, args, processor_dict, **kwargs):
        """Build the processor from a saved file's contents; fields it does not know are left out with a warning."""
        known = {*inspect.signature(cls.__init__).parameters, "auto_map", "processor_class"}
        unknown = [name for name in processor_dict if name not in known]
        if unknown:
            logger.warning(
                f"{cls.__name__}: left out of the saved file, this version does not know them: {', '.join(unknown)}"
            )
        return super().from_args_and_dict(
            args, {name: value for name, value in processor_dict.items() if name in known}, **kwargs
        )

    def __call__(
        self,
        ecg=None,
        text: str | list[str] | None = None,
        sampling_rate: float | None = None,
        *,
        lead_names=None,
        units: str | list[str] | None = None,
        crop: str | None = None,
        padding: bool | str = True,
        truncation: bool = True,
        max_length: int | None = None,
        return_tensors: str | None = None,
        rng=None,
    ) -> BatchFeature:
        """Turn recordings, texts or both into model input.

        Args:
            ecg: one or several recordings; see `ECGFeatureExtractor.__call__`, also for the next four and `rng`.
            text: one or several texts, taken as they stand: templates are applied by the caller.
            sampling_rate: Hz, of recordings that do not say it.
            lead_names: of recordings that do not say them.
            units: of recordings that do not say them.
            crop: which part of a recording is read; default: the feature extractor's field.
            padding: of texts, as transformers' tokenizers take it: True or `"longest"`, `"max_length"`, or False, which
                gives lists of lists.
            truncation: of texts of more than `max_length` tokens.
            max_length: of a text, tokens; default: the processor's field.
            return_tensors: `"pt"` or `"np"`; default NumPy arrays.
            rng: source of random crops.

        Returns:
            For recordings `input_values (B, L, T)`, `ecg_attention_mask (B, T)`, `lead_mask (B, L)`; for texts
            `input_ids (B, S)`, `attention_mask (B, S)`.

        Raises:
            ValueError: neither is given, a text is empty, or a recording cannot be read right.
        """
        if ecg is None and text is None:
            raise ValueError("give a recording (ecg=), a text (text=) or both")
        data = {}
        if ecg is not None:
            data |= self.feature_extractor(ecg, sampling_rate, lead_names=lead_names, units=units, crop=crop, rng=rng)
        if text is not None:
            texts = [text] if isinstance(text, str) else list(text)
            data |= self._tokenize(texts, padding, truncation, self.max_length if max_length is None else max_length)
        return BatchFeature(data, tensor_type=return_tensors)

    def format_report(self, report: str) -> str:
        """Return a report as it is put to the model in training."""
        return self.report_template.replace("{}", report)

    def _tokenize(self, texts: list[str], padding: bool | str, truncation: bool, max_length: int) -> dict:
        if not texts:
            raise ValueError("no text: the list is empty")
        for i, text in enumerate(texts):
            if not isinstance(text, str) or not text.strip():
                raise ValueError(f"text {i} is empty: {text!r}; leave records without a text out, or give them one")
        if self.lowercase:
            texts = [text.lower() for text in texts]
        # Truncation and padding are always said, because a tokenizer's file may bake in its own.
        encoded = self.tokenizer(texts, truncation=False, padding=False)
        if truncation and max(map(len, encoded["input_ids"])) > max_length:
            logger.warning_once(f"texts of more than {max_length} tokens are truncated (ECGProcessor.max_length)")
        encoded = self.tokenizer(
            texts,
            truncation=truncation,
            max_length=max_length if truncation or padding == "max_length" else None,
            padding=padding,
            return_tensors="np" if padding else None,
        )
        return {name: encoded[name] for name in ("input_ids", "attention_mask")}

    def save_pretrained(self, save_directory, **kwargs):
        """Save the processor; what the tokenizer's files say of this machine and of the last call is taken out."""
        backend = getattr(self.tokenizer, "backend_tokenizer", None)
        if backend is not None:
            backend.no_truncation()
            backend.no_padding()
        for name in ("is_local", "local_files_only", "dtype"):  # of where and how it was loaded
            self.tokenizer.init_kwargs.pop(name, None)
        saved = super().save_pretrained(save_directory, **kwargs)
        for part in (self, self.feature_extractor):
            vars(part).pop("auto_map", None)
        return saved

    @property
    def model_input_names(self):
        """Names of what the processor returns."""
        return [*ECGFeatureExtractor.model_input_names, "input_ids", "attention_mask"]


def check_template(template: str, name: str = "hypothesis_template") -> None:
    """Raise a `ValueError` unless a template holds exactly one `{}`."""
    if not isinstance(template, str) or template.count("{}") != 1:
        raise ValueError(f"{name} must be a text with exactly one {{}} for the label, got {template!r}")


ECGProcessor.register_for_auto_class()
