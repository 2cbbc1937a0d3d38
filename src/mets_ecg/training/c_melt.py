"""C-MELT (arXiv 2410.02131) as a training method: masked ECGs and texts, their matching, and a sigmoid contrast.

What is shown with an ECG is decided once a record: its own text, or another one. Tokens, masks and labels all come from
that text.
"""

from __future__ import annotations

import math

import torch

from ..configuration_ecg_text import build_text_config
from ..data.prepared_rows import PreparedRows
from ..data.reports.vocabulary import report_tokenizer
from ..data.text_embeddings import index_texts
from ..evaluation.encoding import encode_ecgs
from ..modeling_ecg_text_pretraining import C_MELT_FIELDS, ECGTextForPreTraining
from ..modeling_ecg_transformer import recorded_tokens
from ..text_models import build_text_model
from .augmentation import augment
from .ecg_text_method import ECGTextMethod
from .masking import TextMasker, draw_kept_tokens
from .negatives import load_negatives
from .processes import gather, gather_in_order, num_processes, own_share, total_over_processes

_TERMS = ("mem", "mlm", "etm", "ets")


class CMelt(ECGTextMethod):
    """C-MELT: part of each batch gets another record's text; what is masked is predicted, what is swapped is told.

    ETM sees both kinds of record, MLM the ones with their own text, MEM all. ETS leaves out a pair of an ECG and an
    equal text of another record.
    """

    name = "c-melt"
    model_class = ECGTextForPreTraining
    model_defaults = C_MELT_FIELDS

    def build(self):
        """Return a model with a new ECG encoder, and its processor; see `ECGTextMethod.build`.

        Raises:
            ValueError: as there, or the tokenizer can mask nothing.
        """
        built = super().build()
        self.parts = self.model.config.pretraining_config
        self.masker = TextMasker.of(self.processor.tokenizer) if self.parts.mlm_weight else None
        return built

    def _text_encoder(self, revision: str | None):
        if not self.arguments.text_config:
            return super()._text_encoder(revision)
        tokenizer = report_tokenizer()
        fields = {"vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id, **self.arguments.text_config}
        return build_text_model(build_text_config(fields)), tokenizer

    def setup(self, train: PreparedRows, validation: PreparedRows | None) -> PreparedRows:
        kept, texts = self._read_texts(train)
        self.train_texts = _TextSet(self, texts)
        distinct = len(self.train_texts.texts.distinct)
        self.counts = {"train": len(kept), "without_text": len(train) - len(kept), "distinct_texts": distinct}
        self.validation = None
        if validation is not None:
            own, texts = self._read_validation_texts(validation)
            self.validation, self.validation_texts = validation, _TextSet(self, texts)
            self.validation_rows, self.truth = validation.select(own), self._validation_labels(validation)
        return train.select(kept)

    def describe_negatives(self) -> str:
        """Say what the texts are like that stand in for others; empty where none do."""
        negatives = self.train_texts.negatives
        return "" if negatives is None else negatives.describe()

    def collate(self, batch: dict, generator: torch.Generator) -> dict:
        """Choose each record's text and mask it, drop tokens of the ECG, shift recordings and drop leads."""
        return self._collate(batch, generator, self.train_texts, augmented=True)

    def _collate(self, batch: dict, generator: torch.Generator, texts: _TextSet, *, augmented: bool) -> dict:
        batch |= texts.choose(batch["index"], generator)
        if self.parts.mlm_weight:
            batch["input_ids"], labels = self.masker.mask(
                batch["input_ids"], batch["attention_mask"], self.parts.mlm_probability, generator
            )
            # What is hidden in another record's text is not to be told from this ECG.
            batch["mlm_labels"] = labels.masked_fill(~batch["aligned"][:, None], -100)
        if not bool(batch["lead_mask"].all()):
            batch["recorded_leads"] = batch["lead_mask"]
        if augmented:
            batch = augment(batch, self.arguments, self.model.config.ecg_config.sampling_rate, generator)
        elif bool(batch["lead_mask"].all()):
            del batch["lead_mask"]
        if self.parts.mem_weight and self.parts.mem_ratio:
            length = self.model.config.ecg_config.frame_stride
            num_tokens = batch["input_values"].shape[2] // length
            samples = batch.get("ecg_attention_mask")
            recorded = None if samples is None else recorded_tokens(samples, length)
            batch["kept_tokens"] = draw_kept_tokens(
                len(batch["index"]), num_tokens, self.parts.mem_ratio, generator, recorded
            )
        return batch

    def losses(self, model, batch: dict) -> dict[str, torch.Tensor]:
        """Return the weighted terms; ETS over the batches of all processes."""
        output = model(**self._inputs(batch))
        terms = {}
        for name, counted in (("mem", output.mem_mask), ("mlm", batch.get("mlm_labels"))):
            loss = getattr(output, f"{name}_loss")
            if loss is not None:
                # A mean over what this process has becomes its part of the mean over all processes.
                own = (counted if name == "mem" else counted != -100).sum()
                everywhere = total_over_processes(own)
                terms[name] = loss * (own * num_processes() / everywhere.clamp(min=1))
        if output.etm_loss is not None:
            terms["etm"] = output.etm_loss
        if output.ecg_embeds is not None:
            embeds = [gather(own) for own in (output.ecg_embeds, output.text_embeds)]
            pairs = self._pairs(*map(gather, self._contrasted(batch)))
            terms["ets"] = self.model.contrast(*embeds, *pairs)
        return {name: getattr(self.parts, f"{name}_weight") * term for name, term in terms.items()}

    def _inputs(self, batch: dict) -> dict:
        names = ("input_values", "input_ids", "attention_mask", "ecg_attention_mask", "lead_mask", "kept_tokens")
        inputs = {name: batch.get(name) for name in (*names, "recorded_leads", "mlm_labels")}
        if self.parts.etm_weight:
            inputs["aligned"] = batch["aligned"]
        if self.parts.ets_inputs == "whole":
            inputs |= {name: batch[name] for name in ("whole_input_ids", "whole_attention_mask")}
        return inputs

    def _contrasted(self, batch: dict) -> tuple[torch.Tensor, torch.Tensor]:
        """Return which texts are contrasted, and which ones their ECGs' records have."""
        return batch["drawn_text_ids" if self.parts.ets_inputs == "whole" else "text_ids"], batch["own_text_ids"]

    @staticmethod
    def _pairs(text_ids: torch.Tensor, own_text_ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return which ECG and text belong together, and which pairs are left out: equal texts of other records."""
        equal = (own_text_ids[:, :, None] == text_ids[None, None, :]).any(dim=1)
        own = torch.eye(len(text_ids), dtype=torch.bool, device=text_ids.device)
        return equal & own, equal & ~own

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Return each term on the validation rows, with the same draws each time, and how often ETM is right.

        Every process measures all of them: what is drawn then depends on nothing else.
        """
        if self.validation is None:
            return {}
        model, device = self.model, self.model.device
        model.eval()
        generator = torch.Generator().manual_seed(0)
        sums, weights, right = dict.fromkeys(_TERMS, 0.0), dict.fromkeys(_TERMS, 0.0), 0
        for batch in self.validation_rows.in_order(self.arguments.batch_size):
            size = len(batch["index"])
            if size < 2:
                continue
            batch = self._collate(dict(batch), generator, self.validation_texts, augmented=False)
            batch = {name: values.to(device) for name, values in batch.items()}
            pairs = self._pairs(*self._contrasted(batch))
            output = model(**self._inputs(batch), positives=pairs[0], ignored=pairs[1])
            for name in _TERMS:
                term = getattr(output, f"{name}_loss")
                if term is not None:
                    sums[name] += float(term) * size
                    weights[name] += size
            if output.etm_logits is not None:
                right += int((output.etm_logits.argmax(dim=1) == batch["aligned"].long()).sum())
        terms = {name: sums[name] / weights[name] for name in _TERMS if weights[name]}
        total = sum(getattr(self.parts, f"{name}_weight") * term for name, term in terms.items())
        measured = {"validation_loss": total, **{f"validation_{name}": term for name, term in terms.items()}}
        if weights["etm"]:
            measured["validation_etm_accuracy"] = right / weights["etm"]
        if self.truth is not None:
            (encoded,) = encode_ecgs([model], own_share(self.validation))
            measured |= self._zero_shot(gather_in_order(encoded.outputs, len(self.validation)), self.truth)
        model.train()
        return measured


class _TextSet:
    """The texts of some records: tokens of each distinct one, and which others can stand in for it."""

    def __init__(self, method: CMelt, texts: list[tuple[str, ...]]):
        processor = method.processor
        self.texts, self.share = index_texts(processor, texts), method.arguments.negative_share
        distinct = self.texts.distinct
        encoded = processor(text=list(distinct), padding=False)["input_ids"]
        self.tokens = [torch.tensor(own) for own in encoded]
        self.pad_id = processor.tokenizer.pad_token_id
        self.whole = method.parts.ets_inputs == "whole" and bool(method.parts.ets_weight)
        if method.masker is not None:
            method.masker.check(encoded, distinct)
        self.negatives = None
        if method.parts.etm_weight and self.share:
            arguments = method.arguments
            self.negatives = load_negatives(
                distinct,
                arguments.negative_embedder,
                arguments.negative_band,
                arguments.negative_candidates,
                shares=self.texts.draw_shares.tolist(),
            )

    def choose(self, records: torch.Tensor, generator: torch.Generator) -> dict[str, torch.Tensor]:
        """Return a text for each of these records, its own or another one, as tokens.

        Returns:
            `text_ids (B,)`, which text it is; `own_text_ids (B, most texts a record has)`, those of the record, -1
            where it has fewer; `aligned (B,)` bool; `input_ids (B, S)` and `attention_mask (B, S)` of the text. Where
            the contrast is of whole inputs, `drawn_text_ids`, `whole_input_ids` and `whole_attention_mask` are the
            record's own text.
        """
        own = self.texts.text_ids_per_record[records]
        text_ids = self.texts.draw(records, generator)
        aligned, whole = torch.ones(len(records), dtype=torch.bool), {}
        if self.whole:
            whole = {f"whole_{name}": values for name, values in self._tokens(text_ids).items()}
            whole["drawn_text_ids"] = text_ids.clone()
        if self.negatives is not None:
            count = math.floor(self.share * len(records) + float(torch.rand((), generator=generator)))
            for i in torch.randperm(len(records), generator=generator)[:count].tolist():
                other = self.negatives.draw(int(text_ids[i]), generator)
                if not bool((own[i] == other).any()):  # another finding of the record is not wrong for it
                    text_ids[i], aligned[i] = other, False
        return {"text_ids": text_ids, "own_text_ids": own, "aligned": aligned, **self._tokens(text_ids), **whole}

    def _tokens(self, text_ids: torch.Tensor) -> dict[str, torch.Tensor]:
        tokens = [self.tokens[i] for i in text_ids.tolist()]
        input_ids = torch.nn.utils.rnn.pad_sequence(tokens, batch_first=True, padding_value=self.pad_id)
        lengths = torch.tensor([len(own) for own in tokens])
        return {"input_ids": input_ids, "attention_mask": (torch.arange(input_ids.shape[1]) < lengths[:, None]).long()}
