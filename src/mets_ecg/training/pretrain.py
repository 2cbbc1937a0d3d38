"""The command `mets-ecg pretrain`: a corpus and a recipe to a checkpoint."""

from __future__ import annotations

import math
import time

import torch
from datasets import Dataset
from tqdm.auto import tqdm

from mets_ecg_cli.pretrain import PretrainArguments

from ..configuration_ecg_text import build_ecg_config
from ..data.loading import LoadedParts, load_parts
from ..data.parts import PARTS
from ..data.prepared_rows import PreparedRows
from ..data.text_embeddings import encode_texts, read_texts
from ..evaluation.statistics import auroc, macro_average
from ..evaluation.table import zero_shot_table
from ..evaluation.tasks import Task, get_task, task_of
from ..evaluation.zero_shot import embed_pooled, encode_ecgs, load_labels, score_prompts
from ..feature_extraction_ecg import ECGFeatureExtractor
from ..modeling_ecg_text import ECGTextModel
from ..processing_ecg import ECGProcessor
from ..text_models import load_text_tokenizer
from .checkpoints import prepare_output, save_checkpoint, write_metrics
from .loop import make_accelerator, train
from .objectives import ContrastiveObjective


def run_pretrain(arguments: PretrainArguments, *, corpus: Dataset | None = None, task: Task | None = None) -> dict:
    """Pre-train a model and leave its checkpoint in `arguments.output`.

    After each epoch the contrastive loss on the validation folds is measured; the epoch where it is lowest is kept, and
    the folder holds it, whole, from then on. The zero-shot AUROC printed beside it chooses nothing: that would
    use labels.

    Args:
        arguments: of the run.
        corpus: rows to train on, in place of those that `arguments.source` or `.data` name.
        task: the zero-shot task, in place of the one that `arguments.task` names.

    Returns:
        What stands in `metrics.json`.

    Raises:
        ValueError: arguments, recipe or corpus do not fit each other; the message says how.
        FileExistsError: the output is there already.
    """
    output = prepare_output(arguments.output, overwrite=arguments.overwrite)
    started = time.perf_counter()
    accelerator = make_accelerator(arguments)
    if task is None and arguments.task is not None:
        task = get_task(arguments.task)
    torch.manual_seed(arguments.seed)
    model, processor = build(arguments)
    model.to(accelerator.device)
    parts = _load_parts(arguments, processor, corpus)
    task = task or task_of(next(iter(parts.words)), parts.train.column_names)
    if task is not None and parts.test is not None:
        load_labels(parts.test, task)  # says before training what the table at the end would say

    trainable, own_texts = _with_text(parts.train, arguments)
    counts = {part: len(getattr(parts, part) or ()) for part in PARTS}
    counts |= {"train": len(trainable), "without_text": len(parts.train) - len(trainable)}
    if counts["without_text"]:
        print(f"left out of training: {counts['without_text']} records whose {arguments.text_column} says nothing")
    texts = encode_texts(model, processor, own_texts)
    counts["distinct_texts"] = len(texts.pooled)
    if model.config.text_centering:
        # Over records, not over distinct texts: the common wording is what must go.
        model.text_mean.copy_(texts.mean_of_records().mean(dim=0))
    print(
        f"training on {counts['train']} records with {len(texts.pooled)} distinct texts ({arguments.text_column}), "
        f"{accelerator.device}"
    )

    max_shift = round(arguments.time_shift * processor.feature_extractor.sampling_rate)
    objective = ContrastiveObjective(
        texts,
        duplicate_text_policy=model.config.duplicate_text_policy,
        max_shift=max_shift,
        lead_dropout=arguments.lead_dropout,
    )
    metrics = {"parts": parts.words, "counts": counts, "epochs": [], "best_epoch": None}
    validate = _Validation(model, processor, parts.validation, task, arguments) if parts.validation else None

    def on_epoch_end(epoch: dict) -> None:
        if validate is not None:
            epoch |= validate()
        metrics["epochs"].append(epoch)
        tqdm.write(_describe_epoch(epoch))
        best = min(metrics["epochs"], key=_selection_loss)
        if best is epoch:
            metrics["best_epoch"] = epoch["epoch"]
            save_checkpoint(output, model, processor, metrics=metrics, arguments=arguments)
        else:
            write_metrics(output, metrics)

    train(model, objective, trainable, arguments, accelerator, on_epoch_end=on_epoch_end)
    metrics["seconds"] = time.perf_counter() - started
    if parts.test is not None and task is not None:
        best_model = ECGTextModel.from_pretrained(output).to(accelerator.device)
        table = zero_shot_table(best_model, processor, parts.test, task, seed=arguments.seed)
        print(f"\n{table}")
        metrics["test"] = table.as_dict()
    write_metrics(output, metrics)
    print(f"checkpoint of epoch {metrics['best_epoch']} and metrics.json are in {output}")
    return metrics


def _selection_loss(epoch: dict) -> float:
    """What the kept epoch is lowest in: the validation loss, or, without validation, how early it was."""
    loss = epoch.get("validation_loss", -epoch["epoch"])
    return loss if math.isfinite(loss) else math.inf


def build(arguments: PretrainArguments) -> tuple[ECGTextModel, ECGProcessor]:
    """Return the model with a new ECG encoder, and its processor, as a recipe describes them.

    Raises:
        ValueError: the encoder's leads or rate are not those of the feature extractor.
        TypeError: the recipe names a field that there is not.
        OSError: the text model is not there.
    """
    extractor = ECGFeatureExtractor(**arguments.feature_extractor)
    fields = dict(arguments.model)
    own = {"num_leads": len(extractor.lead_names), "sampling_rate": extractor.sampling_rate}
    ecg_config = build_ecg_config({**own, **fields.pop("ecg_config", {})})
    for name, value in own.items():
        if getattr(ecg_config, name) != value:
            raise ValueError(
                f"the recipe's encoder has {name}={getattr(ecg_config, name)}, its feature extractor gives {value}"
            )
    if not fields.get("freeze_text_model", True):
        raise ValueError(
            "freeze_text_model: false is not trained here: every report is encoded once, by a frozen text model"
        )
    tokenizer = load_text_tokenizer(arguments.text_model, revision=fields.get("text_model_revision"))
    languages = None if arguments.text_column == "report" else ["en"]
    processor = ECGProcessor(extractor, tokenizer, **{"languages": languages, **arguments.processor})
    model = ECGTextModel.from_ecg_text_pretrained(ecg_config, arguments.text_model, **fields)
    positions = getattr(model.config.text_config, "max_position_embeddings", processor.max_length)
    if processor.max_length > positions:
        raise ValueError(
            f"the processor's max_length={processor.max_length} is above the text model's {positions} positions"
        )
    return model, processor


def _load_parts(arguments: PretrainArguments, processor: ECGProcessor, corpus: Dataset | None) -> LoadedParts:
    needed = None if arguments.max_steps is None else arguments.max_steps * arguments.batch_size
    parts = load_parts(processor.feature_extractor, arguments, corpus=corpus, max_train=needed)
    if parts.train is None:
        raise ValueError(
            f"there is nothing to train on, {', '.join(parts.words)} has no part for it: name one by --train"
        )
    return parts


def _with_text(rows: PreparedRows, arguments: PretrainArguments) -> tuple[PreparedRows, list[tuple[str, ...]]]:
    """Return the rows that have something to learn from, and their texts."""
    texts = read_texts(rows, arguments.text_column)
    kept = [i for i, own in enumerate(texts) if own]
    return rows.select(kept), [texts[i] for i in kept]


class _Validation:
    """The contrastive loss on the validation rows, and beside it the zero-shot macro AUROC."""

    def __init__(
        self, model: ECGTextModel, processor, rows: PreparedRows, task: Task | None, arguments: PretrainArguments
    ):
        self.model, self.processor, self.task = model, processor, task
        self.rows, texts = _with_text(rows, arguments)
        if len(self.rows) < 2:
            raise ValueError("a contrastive loss needs at least 2 validation records: name others by --validation")
        encoded = encode_texts(model, processor, texts)
        self.objective = ContrastiveObjective(encoded, duplicate_text_policy=model.config.duplicate_text_policy)
        # All records, in batches of about one size: the loss depends on how many negatives there are.
        num_batches = max(1, len(self.rows) // arguments.batch_size)
        self.batch_size = math.ceil(len(self.rows) / num_batches)
        has_labels = task is not None and task.label_column in rows.column_names
        self.truth = load_labels(rows, task) if has_labels else None
        self.labelled = None if self.truth is None else rows.select(self.truth.rows)

    @torch.no_grad()
    def __call__(self) -> dict:
        self.model.eval()
        losses = []
        generator = torch.Generator().manual_seed(0)  # the same texts are drawn each time
        for batch in self.rows.in_order(self.batch_size):
            batch = {name: values.to(self.model.device) for name, values in batch.items()}
            loss = self.objective(self.model, self.objective.draw(batch, generator)).loss
            losses.append(loss * len(batch["index"]) / len(self.rows))
        measured = {"validation_loss": float(torch.stack(losses).sum())}
        if self.truth is not None:
            embeds = embed_pooled(self.model, encode_ecgs([self.model], self.labelled)[0])
            prompts = self.task.phrase_prompts(*(self.processor.languages or ()))
            scores = score_prompts(self.model, self.processor, embeds, prompts)
            measured["zero_shot_macro_auroc"] = macro_average(auroc(self.truth.labels, scores))
        return measured


def _describe_epoch(epoch: dict) -> str:
    text = f"epoch {epoch['epoch']}: loss {epoch['train_loss']:.3f}, {epoch['records_per_second']:.0f} records/s"
    if "validation_loss" in epoch:
        text += f", validation loss {epoch['validation_loss']:.3f}"
    if "zero_shot_macro_auroc" in epoch:
        text += f", zero-shot macro AUROC {epoch['zero_shot_macro_auroc']:.3f} (chooses nothing)"
    return text
