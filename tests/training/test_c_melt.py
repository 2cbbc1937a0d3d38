"""C-MELT as a method: what a batch shows of each record, and what the loop trains."""

import dataclasses
import json

import pytest
import torch
from transformers import AutoModel, AutoModelForPreTraining

from mets_ecg import ECGTextModel
from mets_ecg.training.c_melt import CMelt
from mets_ecg.training.pretrain import run_pretrain


@pytest.fixture
def make(c_melt_arguments, prepared):
    def make(*, validation=None, rows=None, **changes):
        model = json.loads(json.dumps(c_melt_arguments.model))
        model["pretraining_config"] |= changes.pop("parts", {})
        model |= changes.pop("model", {})
        method = CMelt(dataclasses.replace(c_melt_arguments, model=model, **changes))
        method.build()
        method.rows = method.setup(prepared.select(range(60)) if rows is None else rows, validation)
        return method

    return make


def batch_of(method, records, seed=0):
    batch = next(method.rows.select(records).in_order(len(records)))
    return method.collate(batch, torch.Generator().manual_seed(seed))


def words(method, ids, mask):
    return method.processor.tokenizer.decode(ids[mask != 0], skip_special_tokens=True)


def test_tokens_mask_and_label_come_from_one_text(make):
    """METHODS 2.5, defects 1 to 4: the negative's own tokens, with its own mask, beside the label that says so."""
    method = make(parts={"mlm_probability": 0.0})
    reports = method.rows["report_en"]
    records = list(range(32))
    seen = {True: 0, False: 0}
    for seed in range(4):
        batch = batch_of(method, records, seed)
        for i, record in enumerate(records):
            shown = words(method, batch["input_ids"][i], batch["attention_mask"][i])
            expected = method.processor.tokenizer(method.train_texts.texts.distinct[batch["text_ids"][i]])["input_ids"]
            assert batch["input_ids"][i][: len(expected)].tolist() == expected
            assert int(batch["attention_mask"][i].sum()) == len(expected)
            own = method.processor.tokenizer.decode(
                method.processor.tokenizer(reports[record].lower())["input_ids"], skip_special_tokens=True
            )
            aligned = bool(batch["aligned"][i])
            assert (shown == own) == aligned
            seen[aligned] += 1
    assert 0.4 < seen[False] / sum(seen.values()) < 0.6


def test_only_aligned_records_predict_words(make):
    method = make(parts={"mlm_probability": 0.5})
    batch = batch_of(method, range(32))
    predicted = (batch["mlm_labels"] != -100).any(dim=1)
    assert not predicted[~batch["aligned"]].any() and predicted[batch["aligned"]].any()
    masked = (batch["input_ids"] == method.masker.mask_id).any(dim=1)
    assert masked[~batch["aligned"]].any()  # all the same


def test_the_contrast_of_whole_inputs_has_every_record_s_own_text(make):
    method = make(parts={"ets_inputs": "whole"})
    batch = batch_of(method, range(32))
    own = [(row >= 0) & (row == text) for row, text in zip(batch["own_text_ids"], batch["drawn_text_ids"], strict=True)]
    assert all(bool(one.any()) for one in own)
    assert (batch["drawn_text_ids"] == batch["text_ids"]).tolist() == batch["aligned"].tolist()
    for i, text in enumerate(batch["drawn_text_ids"].tolist()):
        expected = method.processor.tokenizer(method.train_texts.texts.distinct[text])["input_ids"]
        length = int(batch["whole_attention_mask"][i].sum())
        assert batch["whole_input_ids"][i, :length].tolist() == expected
    losses = method.losses(method.model, batch)
    output = method.model.eval()(**method._inputs(batch))
    dual = method.model.get_ecg_features(batch["input_values"], lead_mask=batch.get("lead_mask"))
    assert torch.allclose(output.ecg_embeds, method.model.normalize_features(dual), atol=1e-5)
    assert set(losses) == {"mem", "mlm", "etm", "ets"}


def test_another_finding_of_the_record_is_not_called_wrong(make):
    method = make(text_column="findings", negative_share=0.99, negative_band="hard", negative_candidates=1000)
    for seed in range(5):
        batch = batch_of(method, range(32), seed)
        for own, text, aligned in zip(batch["own_text_ids"], batch["text_ids"], batch["aligned"], strict=True):
            assert bool((own == text).any()) == bool(aligned)


def test_the_target_is_what_was_recorded_and_the_input_lacks_leads(make):
    """Defect 10: leads that are dropped in training are reconstructed from the others."""
    method = make(lead_dropout=0.9)
    batch = batch_of(method, range(16))
    plain = next(method.rows.select(range(16)).in_order(16))
    assert torch.equal(batch["input_values"], plain["input_values"])
    assert not batch["lead_mask"].all() and batch["lead_mask"].any(dim=1).all()  # defect 11: never all of them
    assert "recorded_leads" not in batch
    output = method.model(**method._inputs(batch))
    assert (output.mem_target.std(dim=2) > 0.9).all()


def test_equal_texts_of_other_records_are_left_out_of_the_contrast(make):
    """Defects 6 and 14, by a double loop."""
    method = make()
    own = torch.tensor([[3, -1], [4, 3], [3, -1], [5, -1]])
    shown = torch.tensor([3, 4, 3, 4])
    positives, ignored = method._pairs(shown, own)
    for i in range(4):
        for j in range(4):
            same = int(shown[j]) in own[i].tolist()
            assert bool(positives[i, j]) == (same and i == j)
            assert bool(ignored[i, j]) == (same and i != j)


def test_draws_depend_on_the_generator_alone(make):
    method = make(time_shift=0.3, lead_dropout=0.3)
    one, two, other = (batch_of(method, range(16), seed) for seed in (1, 1, 2))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not torch.equal(one["kept_tokens"], other["kept_tokens"])


def test_a_batch_is_learned_by_heart(make):
    siglip = {"similarity": "cosine", "learn_logit_scale": True, "logit_scale_init_value": 2.3}
    method = make(parts={"ets_type": "siglip"}, model=siglip)
    method.model.eval()  # without dropout
    batch = batch_of(method, range(12))
    optimizer = torch.optim.AdamW(method.model.parameters(), lr=0.003)
    history = []
    for _ in range(150):
        terms = method.losses(method.model, batch)
        optimizer.zero_grad()
        sum(terms.values()).backward()
        optimizer.step()
        history.append({name: float(term.detach()) for name, term in terms.items()})
    assert set(history[0]) == {"mem", "mlm", "etm", "ets"}
    for name in ("mlm", "etm", "ets"):
        assert history[-1][name] < 0.5 * history[0][name], (name, history[0][name], history[-1][name])
    assert history[-1]["mem"] < 0.95 * history[0]["mem"]


def test_lengths_do_not_tell_what_matches(make):
    """Of a text without its words, its length and its padding, nothing can be learned."""
    method = make(negative_band="semi-hard", negative_candidates=20)
    lengths = {True: [], False: []}
    for seed in range(12):
        batch = batch_of(method, range(60), seed)
        for aligned, mask in zip(batch["aligned"].tolist(), batch["attention_mask"], strict=True):
            lengths[aligned].append(int(mask.sum()))
        # What is attended to is what there is: no text ends in padding that it attends to, or hides words.
        real = batch["input_ids"] != method.processor.tokenizer.pad_token_id
        assert torch.equal(real, batch["attention_mask"] != 0)
    from sklearn.metrics import roc_auc_score

    told = roc_auc_score([1] * len(lengths[True]) + [0] * len(lengths[False]), lengths[True] + lengths[False])
    assert 0.42 < told < 0.58


@pytest.mark.parametrize(
    ("parts", "named"),
    [
        ({"mem_weight": 0.0}, {"mlm", "etm", "ets"}),
        ({"mlm_weight": 0.0}, {"mem", "etm", "ets"}),
        ({"etm_weight": 0.0}, {"mem", "mlm", "ets"}),
        ({"ets_weight": 0.0}, {"mem", "mlm", "etm"}),
        ({"mem_weight": 0.0, "mlm_weight": 0.0, "etm_weight": 0.0}, {"ets"}),
        ({"mlm_weight": 0.0, "etm_weight": 0.0, "ets_weight": 0.0}, {"mem"}),
    ],
)
def test_a_part_that_weighs_nothing_is_left_out_and_every_weight_left_is_trained(make, parts, named):
    method = make(parts=parts)
    terms = method.losses(method.model, batch_of(method, range(16)))
    assert set(terms) == named
    sum(terms.values()).backward()
    without = [
        name
        for name, weight in method.model.named_parameters()
        if weight.requires_grad and weight.grad is None and not name.startswith("text_model.pooler")
    ]
    assert without == []


def test_a_run_keeps_the_best_epoch_and_its_parts_load(c_melt_arguments, simulated_corpus, capsys):
    metrics = run_pretrain(c_melt_arguments, corpus=simulated_corpus)
    printed = capsys.readouterr().out
    assert "negatives: 5 of" in printed and "zero-shot macro AUROC" in printed
    epoch = metrics["epochs"][-1]
    assert {"mem", "mlm", "etm", "ets"} <= epoch.keys()
    assert 0 <= epoch["validation_etm_accuracy"] <= 1
    terms = [epoch[f"validation_{name}"] for name in ("mem", "mlm", "etm", "ets")]
    assert epoch["validation_loss"] == pytest.approx(sum(terms))
    lines = metrics["test"]["lines"]
    assert lines["phrases"]["auroc"]["num_records"] > 10
    assert 0 < lines["dot_product"]["auroc"]["macro"] < 1  # as the paper scores, beside the shared scores
    whole = AutoModelForPreTraining.from_pretrained(c_melt_arguments.output)
    dual = AutoModel.from_pretrained(c_melt_arguments.output)
    assert type(dual) is ECGTextModel and dual.config.pretraining_config is None
    assert torch.equal(whole.ecg_model.class_token, dual.ecg_model.class_token)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"negative_share": 1.5}, "--negative-share must be from 0 to below 1"),
        ({"negative_candidates": 0}, "--negative-candidates must be at least 1"),
        ({"negatives": "vocabulary", "method": "c-melt"}, "C-MELT trains its text encoder|needs a frozen text encoder"),
        ({"method": "mets"}, "--text-config is C-MELT's"),
    ],
)
def test_arguments_of_the_other_method_or_out_of_range_are_refused(c_melt_arguments, changes, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(c_melt_arguments, **changes)
