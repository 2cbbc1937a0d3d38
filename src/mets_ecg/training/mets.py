"""METS (arXiv 2303.12311) as a training method: an ECG encoder aligned with a text encoder by contrast."""

from __future__ import annotations

import torch

from ..data.prepared_rows import PreparedRows
from ..data.text_embeddings import RecordTexts, encode_texts, index_texts
from ..evaluation.encoding import encode_ecgs
from ..modeling_ecg_text import info_nce_loss, pair_texts, vocabulary_loss
from .augmentation import augment
from .ecg_text_method import ECGTextMethod
from .processes import gather, gather_in_order, own_share


class METS(ECGTextMethod):
    """METS: each ECG is compared with texts, of which its own is to be found.

    With the batch's negatives one of a record's texts is drawn each step; with the vocabulary all of them are targets.
    """

    name = "mets"

    def setup(self, train: PreparedRows, validation: PreparedRows | None) -> PreparedRows:
        kept, texts = self._read_texts(train)
        self.counts = {"train": len(kept), "without_text": len(train) - len(kept)}
        self.texts = self._encode(texts)
        self.counts["distinct_texts"] = len(self.texts.distinct)
        if self.model.config.text_centering:
            # Over records, not over distinct texts: the common wording is what must go. Of a text encoder that is
            # trained it is the mean at the start.
            encoded = self.texts if self.frozen else encode_texts(self.model, self.processor, texts)
            self.model.text_mean.copy_(encoded.mean())
        if self.arguments.negatives == "vocabulary":
            self._vocabulary = self.texts.pooled.to(self.model.device), self.texts.counts.to(self.model.device)
        self.validation = None if validation is None else _Validation(self, validation)
        return train.select(kept)

    @property
    def frozen(self) -> bool:
        """Whether the text encoder is frozen, so that every text is encoded once."""
        return self.model.config.freeze_text_model

    def _encode(self, texts: list[tuple[str, ...]]) -> RecordTexts:
        return encode_texts(self.model, self.processor, texts) if self.frozen else index_texts(self.processor, texts)

    def collate(self, batch: dict, generator: torch.Generator) -> dict:
        """Draw a text for each record, shift the recordings and drop leads."""
        batch["text_ids_per_record"] = self.texts.text_ids_per_record[batch["index"]]
        if self.arguments.negatives == "batch":
            batch["text_ids"] = self.texts.draw(batch["index"], generator)
            if self.frozen:
                batch["text_pooled"] = self.texts.pooled[batch["text_ids"]]
            else:
                batch |= self.processor(text=[self.texts.distinct[i] for i in batch["text_ids"]], return_tensors="pt")
        return augment(batch, self.arguments, self.model.config.ecg_config.sampling_rate, generator)

    def losses(self, model, batch: dict) -> dict[str, torch.Tensor]:
        """Return the contrastive loss: InfoNCE over the batches of all processes, or over the vocabulary."""
        inputs = {name: batch.get(name) for name in ("input_values", "ecg_attention_mask", "lead_mask")}
        if self.arguments.negatives == "vocabulary":
            pooled, counts = self._vocabulary
            logits = model(**inputs, text_pooled=pooled).logits_per_ecg
            return {"contrastive": vocabulary_loss(logits, batch["text_ids_per_record"], counts)}
        texts = {name: batch.get(name) for name in ("text_pooled", "input_ids", "attention_mask")}
        output = model(**inputs, **texts)
        logits = output.logit_scale * gather(output.ecg_embeds).float() @ gather(output.text_embeds).float().T
        text_ids, own = gather(batch["text_ids"]), gather(batch["text_ids_per_record"])
        return {"contrastive": self._info_nce(logits, text_ids, own)}

    def _info_nce(self, logits: torch.Tensor, text_ids: torch.Tensor, text_ids_per_record: torch.Tensor):
        config = self.model.config
        positives, ignored = pair_texts(text_ids, config.duplicate_text_policy, text_ids_per_record)
        return info_nce_loss(logits, positives, ignored, decoupled=config.loss_type == "decoupled")

    def validate(self) -> dict[str, float]:
        return {} if self.validation is None else self.validation()


class _Validation:
    """The loss and the zero-shot macro AUROC on the validation rows, which are encoded once for both."""

    def __init__(self, method: METS, rows: PreparedRows):
        self.method, self.rows = method, rows
        self.kept, self._own_texts = method._read_validation_texts(rows)
        self.texts = method._encode(self._own_texts)
        if method.frozen:
            self._own_texts = None
        self.truth = method._validation_labels(rows)

    @torch.no_grad()
    def __call__(self) -> dict[str, float]:
        model = self.method.model
        (encoded,) = encode_ecgs([model], own_share(self.rows))
        embeds = gather_in_order(encoded.outputs, len(self.rows))
        texts = self.texts if self.method.frozen else encode_texts(model, self.method.processor, self._own_texts)
        text_embeds = model.normalize_features(model.project_text(texts.pooled.to(model.device))).float().cpu()
        scale = float(model.logit_scale.exp().clamp(max=model.config.logit_scale_max))
        measured = {"validation_loss": self._loss(embeds[self.kept], text_embeds, texts, scale)}
        if self.truth is not None:
            measured |= self.method._zero_shot(embeds, self.truth)
        return measured

    def _loss(self, embeds: torch.Tensor, text_embeds: torch.Tensor, texts: RecordTexts, scale: float) -> float:
        arguments = self.method.arguments
        # All records, in batches of about the same size: the loss depends on the number of negatives.
        num_batches = max(1, len(embeds) // arguments.batch_size)
        generator = torch.Generator().manual_seed(0)  # the same texts are drawn each time
        total = 0.0
        for rows in torch.arange(len(embeds)).chunk(num_batches):
            own = texts.text_ids_per_record[rows]
            if arguments.negatives == "vocabulary":  # of the validation records
                loss = vocabulary_loss(scale * embeds[rows] @ text_embeds.T, own, texts.counts)
            else:
                drawn = texts.draw(rows, generator)
                loss = self.method._info_nce(scale * embeds[rows] @ text_embeds[drawn].T, drawn, own)
            total += float(loss) * len(rows)
        return total / len(embeds)
