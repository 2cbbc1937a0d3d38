"""METS as a method: what of a batch is drawn and changed, and what its losses are."""

import dataclasses
import json
import math
from pathlib import Path

import pytest
import torch
from transformers import AutoModel, AutoProcessor

from mets_ecg import ECGFeatureExtractor
from mets_ecg.data.loading import load_prepared_rows
from mets_ecg.data.parts import select_part
from mets_ecg.data.text_embeddings import read_texts
from mets_ecg.modeling_ecg_text import info_nce_loss
from mets_ecg.training.mets import METS
from mets_ecg.training.pretrain import run_pretrain


@pytest.fixture
def make(pretrain_arguments, prepared):
    """A method after `setup`, and a function that gives its batch of some records."""

    def make(rows=None, validation=None, **changes):
        method = METS(dataclasses.replace(pretrain_arguments, **changes))
        torch.manual_seed(0)
        method.build()
        rows = method.setup(prepared if rows is None else rows, validation)

        def batch_of(*records, seed=0):
            return method.collate(rows.take(records), torch.Generator().manual_seed(seed))

        return method, batch_of

    return make


def test_the_loss_is_that_of_the_texts_themselves(make, prepared):
    method, batch_of = make()
    reports = read_texts(prepared, "report")
    batch = batch_of(3, 0, 2)
    model = method.model.eval()

    loss = method.losses(model, batch)["contrastive"]

    texts = [method.processor.format_report(reports[i][0]) for i in (3, 0, 2)]
    inputs = method.processor(text=texts, return_tensors="pt")
    direct = model(batch["input_values"], inputs["input_ids"], inputs["attention_mask"], return_loss=True).loss
    assert torch.allclose(loss, direct, atol=1e-5)


def test_equal_reports_count_as_the_model_says(make, prepared):
    records = [i for i, own in enumerate(prepared["report"]) if own == prepared["report"][0]][:2]
    if len(records) < 2:
        reports = list(prepared["report"])
        records = next(
            [i for i, own in enumerate(reports) if own == text][:2] for text in reports if reports.count(text) > 1
        )
    other = next(i for i in range(len(prepared)) if prepared["report"][i] != prepared["report"][records[0]])
    losses = {}
    for policy in ("positives", "ignored", "negatives"):
        method, batch_of = make(
            model={"ecg_config": {"hidden_sizes": [6], "depths": [1]}, "duplicate_text_policy": policy}
        )
        losses[policy] = method.losses(method.model.eval(), batch_of(*records, other))["contrastive"].item()
    assert len(set(losses.values())) == 3
    assert losses["ignored"] < losses["negatives"]


def test_a_drawn_finding_belongs_to_every_record_that_holds_it(make, prepared):
    method, batch_of = make(text_column="findings")
    findings = read_texts(prepared, "findings")
    records = range(40)
    batch = batch_of(*records)
    drawn = [method.texts.distinct[i] for i in batch["text_ids"]]
    assert all(text in findings[i] for text, i in zip(drawn, records, strict=True))

    model = method.model.eval()
    output = model(batch["input_values"], text_pooled=batch["text_pooled"])
    positives = torch.tensor([[text in findings[i] for text in drawn] for i in records])
    assert (positives.sum(dim=0) > 1).any()
    expected = info_nce_loss(output.logits_per_ecg, positives)
    assert torch.allclose(method.losses(model, batch)["contrastive"], expected, atol=1e-5)


def test_another_finding_is_drawn_with_another_generator(make):
    _, batch_of = make(text_column="findings")
    draws = [tuple(batch_of(*range(40), seed=seed)["text_ids"].tolist()) for seed in (0, 0, 1)]
    assert draws[0] == draws[1] != draws[2]


def test_with_the_vocabulary_every_finding_of_a_record_counts_and_none_is_drawn(make, prepared):
    method, batch_of = make(text_column="findings", negatives="vocabulary")
    findings = read_texts(prepared, "findings")
    texts = method.texts.distinct
    count = {text: sum(text in own for own in findings) for text in texts}
    batch, model = batch_of(5, 9, 2), method.model.eval()

    loss = method.losses(model, batch)["contrastive"].item()

    ecg = model(batch["input_values"], text_pooled=method.texts.pooled).ecg_embeds
    text = model.normalize_features(model.project_text(method.texts.pooled))
    expected = 0
    for i, record in enumerate((5, 9, 2)):
        logits = [
            model.get_logit_scale().item() * (ecg[i] @ text[j]).item() + math.log(count[texts[j]])
            for j in range(len(texts))
        ]
        total = math.log(sum(map(math.exp, logits)))
        weights = {text: count[text] ** -0.5 for text in findings[record]}
        for j, own in enumerate(texts):
            expected += weights.get(own, 0) / sum(weights.values()) * (total - logits[j]) / 3
    assert loss == pytest.approx(expected, abs=1e-4)


def test_recordings_are_shifted_and_padded_ones_are_not(make, prepared):
    before = prepared.take(range(3))["input_values"]
    _, batch_of = make(time_shift=0.4)
    assert not torch.equal(batch_of(0, 1, 2)["input_values"], before)

    method, _ = make(time_shift=0.4)
    padded = prepared.take(range(3)) | {"ecg_attention_mask": torch.ones(3, 1000, dtype=torch.bool)}
    assert torch.equal(method.collate(padded, torch.Generator())["input_values"], before)


def test_leads_are_dropped_from_the_asked_part_of_the_records(make):
    _, batch_of = make(lead_dropout=0.3, lead_dropout_records=0.5)
    kept = batch_of(*range(150))["lead_mask"]
    touched = ~kept.all(dim=1)
    assert 0.35 < touched.float().mean() < 0.65
    assert 0.2 < (~kept[touched]).float().mean() < 0.42


def test_without_lead_dropout_no_lead_is_missing(make):
    _, batch_of = make()
    assert "lead_mask" not in batch_of(*range(20))


def test_a_shift_out_of_the_window_is_refused(make):
    with pytest.raises(ValueError, match="--time-shift 10 s would shift recordings out of their window of 10 s"):
        make(time_shift=10.0)


def test_shift_and_lead_dropout_reach_the_training(pretrain_arguments, simulated_corpus, tmp_path):
    weights = []
    for i, changes in enumerate(({}, {"time_shift": 0.3}, {"lead_dropout": 0.3}, {"negatives": "vocabulary"})):
        arguments = dataclasses.replace(
            pretrain_arguments,
            **changes,
            output=str(tmp_path / str(i)),
            validation=["none"],
            test=["none"],
            max_steps=2,
        )
        run_pretrain(arguments, corpus=simulated_corpus)
        weights.append(AutoModel.from_pretrained(arguments.output).ecg_projection[0].weight)
    assert all(not torch.equal(a, b) for i, a in enumerate(weights) for b in weights[:i])


@pytest.fixture
def validated(simulated_corpus):
    """What the validation loss of a checkpoint is, computed from its reports one batch at a time."""

    def validated(folder, batch_size):
        model, processor = AutoModel.from_pretrained(folder), AutoProcessor.from_pretrained(folder)
        rows = load_prepared_rows(ECGFeatureExtractor(sampling_rate=100, bandpass=None), corpus=simulated_corpus)
        rows = select_part(rows, ["9"])
        reports = [processor.format_report(own[0]) for own in read_texts(rows, "report")]
        total = 0
        for indices in torch.arange(len(rows)).chunk(max(1, len(rows) // batch_size)):
            inputs = processor(text=[reports[i] for i in indices], return_tensors="pt")
            with torch.no_grad():
                output = model(rows.take(indices.tolist())["input_values"], **inputs, return_loss=True)
            total += output.loss.item() * len(indices)
        return total / len(rows)

    return validated


@pytest.mark.parametrize("changes", [{}, {"ema_decay": 0.9}, {"freeze_text_model": False}], ids=str)
def test_the_validation_loss_is_that_of_the_checkpoint(changes, pretrain_arguments, simulated_corpus, validated):
    if "freeze_text_model" in changes:
        changes = {"model": {**pretrain_arguments.model, **changes, "text_centering": False}}
    arguments = dataclasses.replace(pretrain_arguments, **changes, test=["none"], batch_size=8)
    metrics = run_pretrain(arguments, corpus=simulated_corpus)
    best = min(epoch["validation_loss"] for epoch in metrics["epochs"])
    assert validated(arguments.output, 8) == pytest.approx(best, abs=1e-5)
    # Batch normalisation counts its training steps: all of them, and no batch of the validation.
    model = AutoModel.from_pretrained(arguments.output)
    steps = metrics["best_epoch"] * (metrics["counts"]["train"] // 8)
    assert model.ecg_model.stem.norm.layer.num_batches_tracked == steps


def test_a_text_encoder_can_be_trained(pretrain_arguments, simulated_corpus, tiny_model):
    fields = {**pretrain_arguments.model, "freeze_text_model": False, "text_centering": False}
    arguments = dataclasses.replace(pretrain_arguments, model=fields, epochs=4, text_column="findings")
    metrics = run_pretrain(arguments, corpus=simulated_corpus)
    losses = [epoch["train_loss"] for epoch in metrics["epochs"]]
    assert losses[-1] < losses[0] - 0.1
    trained = AutoModel.from_pretrained(arguments.output).text_model.state_dict()
    before = tiny_model.text_model.state_dict()
    changed = {name for name in before if not torch.equal(before[name], trained[name])}
    assert changed == {name for name in before if not name.startswith("pooler.")}


def test_a_frozen_text_encoder_stays_as_it_was(pretrain_arguments, simulated_corpus, tiny_model):
    metrics = run_pretrain(dataclasses.replace(pretrain_arguments, epochs=5), corpus=simulated_corpus)
    losses = [epoch["train_loss"] for epoch in metrics["epochs"]]
    assert losses[-1] < losses[0] - 0.1
    trained = AutoModel.from_pretrained(pretrain_arguments.output).text_model.state_dict()
    assert all(torch.equal(values, trained[name]) for name, values in tiny_model.text_model.state_dict().items())


def test_the_vocabulary_needs_a_frozen_text_encoder(pretrain_arguments):
    with pytest.raises(ValueError, match="--negatives vocabulary needs a frozen text encoder"):
        dataclasses.replace(pretrain_arguments, negatives="vocabulary", model={"freeze_text_model": False})


def test_a_killed_encoding_of_texts_and_a_second_run_encode_nothing_twice(make, monkeypatch):
    from mets_ecg.modeling_ecg_text import ECGTextModel

    encoded = []
    encode = ECGTextModel.encode_text
    monkeypatch.setattr(
        ECGTextModel, "encode_text", lambda self, ids, mask=None: (encoded.append(len(ids)), encode(self, ids, mask))[1]
    )
    first, _ = make()
    assert sum(encoded) == len(first.texts.distinct)
    second, _ = make()
    assert sum(encoded) == len(first.texts.distinct)
    assert torch.equal(first.texts.pooled, second.texts.pooled)


def test_metrics_say_what_was_measured(pretrain_arguments, simulated_corpus):
    metrics = run_pretrain(pretrain_arguments, corpus=simulated_corpus)
    assert json.loads((Path(pretrain_arguments.output) / "metrics.json").read_text()) == json.loads(json.dumps(metrics))
    assert {"validation_loss", "zero_shot_macro_auroc", "contrastive"} <= set(metrics["epochs"][0])
