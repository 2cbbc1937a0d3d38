import copy
import inspect
import json
import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn.functional import cross_entropy
from transformers import AutoModel, BertConfig, BertModel, DistilBertConfig, T5Config, T5EncoderModel

from mets_ecg import ECGResNetConfig, ECGResNetModel, ECGTextConfig, ECGTextModel, info_nce_loss
from mets_ecg.modeling_ecg_text import pair_texts
from mets_ecg.text_models import text_model_digest

LEADS, SAMPLES = 5, 701
ECG = {"num_leads": LEADS, "hidden_sizes": [6, 10], "depths": [1, 1]}
BERT = {
    "vocab_size": 50,
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 37,
    "max_position_embeddings": 40,
}
INPUT_IDS = torch.tensor([[2, 7, 9, 11, 3, 0, 0], [2, 30, 31, 3, 0, 0, 0], [2, 5, 6, 7, 8, 9, 3]])
ATTENTION_MASK = (INPUT_IDS != 0).long()


def build(**fields):
    torch.manual_seed(0)
    return ECGTextModel(
        ECGTextConfig(**{"ecg_config": ECG, "text_config": BERT, "projection_dim": 17, **fields})
    ).eval()


def inputs(seed=1):
    ecg = torch.randn(3, LEADS, SAMPLES, generator=torch.Generator().manual_seed(seed))
    return {"input_values": ecg, "input_ids": INPUT_IDS, "attention_mask": ATTENTION_MASK}


def random_logits(*shape, seed=0):
    return (torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * 3).requires_grad_()


def save_bert(folder, seed=0):
    torch.manual_seed(seed)
    BertModel(BertConfig(**BERT)).save_pretrained(folder)
    return str(folder)


# Losses


def test_the_loss_by_hand():
    logits = torch.tensor([[2.0, 0.0], [1.0, 3.0]])
    per_ecg = (math.log(1 + math.exp(-2)) + math.log(1 + math.exp(-2))) / 2
    per_text = (math.log(1 + math.exp(-1)) + math.log(1 + math.exp(-3))) / 2
    assert info_nce_loss(logits, torch.eye(2).bool()).item() == pytest.approx((per_ecg + per_text) / 2)


def test_the_plain_loss_is_cross_entropy_both_ways():
    logits, labels = random_logits(7, 7), torch.arange(7)
    expected = (cross_entropy(logits, labels) + cross_entropy(logits.T, labels)) / 2
    torch.testing.assert_close(info_nce_loss(logits, torch.eye(7).bool()), expected)


def test_equal_texts_paired_three_ways():
    text_ids = torch.tensor([4, 9, 4])
    positives, ignored = pair_texts(text_ids, "positives")
    assert positives.tolist() == [[True, False, True], [False, True, False], [True, False, True]] and ignored is None
    positives, ignored = pair_texts(text_ids, "ignored")
    assert torch.equal(positives, torch.eye(3).bool())
    assert ignored.tolist() == [[False, False, True], [False, False, False], [True, False, False]]
    positives, ignored = pair_texts(text_ids, "negatives")
    assert torch.equal(positives, torch.eye(3).bool()) and ignored is None


def test_a_text_belongs_to_every_record_that_has_it():
    held = torch.tensor([[4, 9], [9, -1], [7, 4]])
    positives, ignored = pair_texts(torch.tensor([4, 9, 7]), "positives", held)
    assert positives.tolist() == [[True, True, False], [False, True, False], [True, False, True]] and ignored is None
    positives, ignored = pair_texts(torch.tensor([4, 9, 7]), "ignored", held)
    assert torch.equal(positives, torch.eye(3).bool())
    assert ignored.tolist() == [[False, True, False], [False, False, False], [True, False, False]]


def test_the_loss_of_equal_texts_three_ways_by_hand():
    logits = torch.tensor([[1.0, 0.0, 2.0], [0.5, 1.5, 0.5], [2.0, 1.0, 0.0]])
    e = logits.exp().tolist()
    (a, b, c), (d, f, g), (h, i, j) = e
    by_hand = {
        # -log(mass of own and equal text), over rows, then over columns
        "positives": (
            [math.log((a + b + c) / (a + c)), math.log((d + f + g) / f), math.log((h + i + j) / (h + j))],
            [math.log((a + d + h) / (a + h)), math.log((b + f + i) / f), math.log((c + g + j) / (c + j))],
        ),
        "ignored": (
            [math.log((a + b) / a), math.log((d + f + g) / f), math.log((i + j) / j)],
            [math.log((a + d) / a), math.log((b + f + i) / f), math.log((g + j) / j)],
        ),
        "negatives": (
            [math.log((a + b + c) / a), math.log((d + f + g) / f), math.log((h + i + j) / j)],
            [math.log((a + d + h) / a), math.log((b + f + i) / f), math.log((c + g + j) / j)],
        ),
    }
    for mode, (rows, columns) in by_hand.items():
        loss = info_nce_loss(logits, *pair_texts(torch.tensor([4, 9, 4]), mode))
        assert loss.item() == pytest.approx((sum(rows) / 3 + sum(columns) / 3) / 2), mode


def test_the_decoupled_loss_leaves_the_positive_out_of_the_denominator():
    logits = random_logits(5, 5)
    others = logits.masked_fill(torch.eye(5).bool(), -math.inf)
    expected = (others.logsumexp(1) - logits.diag()).mean() / 2 + (others.logsumexp(0) - logits.diag()).mean() / 2
    loss = info_nce_loss(logits, torch.eye(5).bool(), decoupled=True)
    torch.testing.assert_close(loss, expected)
    assert loss < info_nce_loss(logits, torch.eye(5).bool())


def test_the_decoupled_loss_of_equal_texts():
    logits = torch.tensor([[1.0, 0.0, 2.0], [0.5, 1.5, 0.5], [2.0, 1.0, 0.0]])
    positives, _ = pair_texts(torch.tensor([4, 9, 4]), "positives")
    (a, b, c), (d, f, g), (h, i, j) = logits.exp().tolist()
    rows = math.log(b / (a + c)) + math.log((d + g) / f) + math.log(i / (h + j))
    columns = math.log(d / (a + h)) + math.log((b + i) / f) + math.log(g / (c + j))
    loss = info_nce_loss(logits, positives, decoupled=True)
    assert loss.item() == pytest.approx((rows + columns) / 6, abs=1e-6)


@pytest.mark.parametrize("decoupled", [False, True])
def test_a_batch_of_one_text_costs_nothing(decoupled):
    logits = random_logits(4, 4)
    loss = info_nce_loss(logits, torch.ones(4, 4).bool(), decoupled=decoupled)
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-6)
    assert torch.isfinite(logits.grad).all() and logits.grad.abs().max() < 1e-6


@pytest.mark.parametrize("decoupled", [False, True])
def test_rows_and_columns_without_a_positive_are_left_out(decoupled):
    logits = random_logits(4, 5)
    positives = torch.zeros(4, 5).bool()
    positives[0, 0] = positives[1, 1] = positives[2, 2] = True
    loss = info_nce_loss(logits, positives, decoupled=decoupled)
    loss.backward()
    assert torch.isfinite(logits.grad).all()
    kept = positives if decoupled else torch.zeros_like(positives)
    scores = logits.detach().masked_fill(kept, -math.inf)
    rows = (scores.logsumexp(1)[:3] - logits.detach().diagonal()[:3]).mean()
    columns = (scores.logsumexp(0)[:3] - logits.detach().diagonal()[:3]).mean()
    torch.testing.assert_close(loss.detach(), (rows + columns) / 2)


def test_no_positive_at_all_costs_nothing():
    logits = random_logits(3, 4)
    loss = info_nce_loss(logits, torch.zeros(3, 4).bool())
    loss.backward()
    assert loss.item() == 0 and not logits.grad.any()


@pytest.mark.parametrize("decoupled", [False, True])
def test_everything_ignored_beside_a_positive_has_finite_gradients(decoupled):
    logits = random_logits(3, 3)
    own = torch.eye(3).bool()
    loss = info_nce_loss(logits, own, ~own, decoupled=decoupled)
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-6) and torch.isfinite(logits.grad).all()


def test_several_texts_a_record():
    logits = random_logits(2, 5).detach()
    positives = torch.tensor([[1, 1, 1, 0, 0], [0, 0, 0, 1, 1]]).bool()
    p = logits.softmax(dim=1)
    rows = -(p[0, :3].sum().log() + p[1, 3:].sum().log()) / 2
    columns = cross_entropy(logits.T, torch.tensor([0, 0, 0, 1, 1]))
    torch.testing.assert_close(info_nce_loss(logits, positives), (rows + columns) / 2)


def test_the_loss_of_half_precision_is_formed_in_single():
    logits = random_logits(6, 6).detach()
    loss = info_nce_loss(logits.bfloat16(), torch.eye(6).bool())
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, info_nce_loss(logits.bfloat16().float(), torch.eye(6).bool()))


# Forward


def test_outputs_by_hand():
    model = build(text_pooling="mean", text_centering=True)
    model.text_mean.normal_()
    with torch.no_grad():
        output = model(**inputs())
        tokens = model.text_model(input_ids=INPUT_IDS, attention_mask=ATTENTION_MASK).last_hidden_state
        pooled = torch.stack([tokens[0, :5].mean(0), tokens[1, :4].mean(0), tokens[2].mean(0)])
        text = model.text_projection[0](pooled - model.text_mean)
        ecg = model.ecg_projection[0](model.ecg_model(inputs()["input_values"]).pooler_output)
        torch.testing.assert_close(output.text_pooled, pooled)
        torch.testing.assert_close(output.text_embeds, text / text.norm(dim=1, keepdim=True))
        torch.testing.assert_close(output.ecg_embeds, ecg / ecg.norm(dim=1, keepdim=True))
        torch.testing.assert_close(
            output.logits_per_ecg, output.ecg_embeds @ output.text_embeds.T / 0.07, rtol=1e-4, atol=1e-4
        )
        torch.testing.assert_close(model.get_ecg_features(inputs()["input_values"]), ecg)
        torch.testing.assert_close(model.get_text_features(INPUT_IDS, ATTENTION_MASK), text)
    assert torch.equal(output.logits_per_text, output.logits_per_ecg.T)
    assert output.ecg_embeds.shape == (3, 17) and output.loss is None


def test_the_dot_product_is_not_normalised():
    model = build(similarity="dot")
    with torch.no_grad():
        output = model(**inputs())
        assert torch.equal(output.ecg_embeds, model.get_ecg_features(inputs()["input_values"]))
        assert torch.equal(output.text_embeds, model.get_text_features(INPUT_IDS, ATTENTION_MASK))


def test_without_a_text_head_the_space_is_the_text_encoders():
    model = build(projection_dim=None)
    assert model.text_projection is None and model.config.hidden_size == 24
    with torch.no_grad():
        assert torch.equal(
            model.get_text_features(INPUT_IDS, ATTENTION_MASK), model.encode_text(INPUT_IDS, ATTENTION_MASK)
        )
        assert model(**inputs()).ecg_embeds.shape == (3, 24)


def test_heads_of_several_layers():
    model = build(projection_layers=3)
    assert [type(layer).__name__ for layer in model.ecg_projection] == ["Linear", "GELU", "Linear", "GELU", "Linear"]
    assert [tuple(layer.weight.shape) for layer in model.text_projection[::2]] == [(17, 24), (17, 17), (17, 17)]


def test_poolings_of_tokens():
    with torch.no_grad():
        for pooling in ("cls", "pooler"):
            model = build(text_pooling=pooling)
            output = model.text_model(input_ids=INPUT_IDS, attention_mask=ATTENTION_MASK)
            expected = output.last_hidden_state[:, 0] if pooling == "cls" else output.pooler_output
            assert torch.equal(model.encode_text(INPUT_IDS, ATTENTION_MASK), expected)


@pytest.mark.parametrize("pooling", ["cls", "mean", "pooler"])
def test_padding_of_texts_changes_nothing(pooling):
    model = build(text_pooling=pooling)
    with torch.no_grad():
        padded = model.encode_text(INPUT_IDS, ATTENTION_MASK)
        torch.testing.assert_close(padded[1:2], model.encode_text(INPUT_IDS[1:2, :4]), atol=1e-5, rtol=1e-5)


def test_text_encoded_earlier_gives_the_same():
    model = build(text_centering=True)
    model.text_mean.normal_()
    batch = inputs()
    with torch.no_grad():
        expected = model(**batch, return_loss=True)
        pooled = model.encode_text(INPUT_IDS, ATTENTION_MASK)
        output = model(batch["input_values"], text_pooled=pooled, return_loss=True)
    assert torch.equal(output.logits_per_ecg, expected.logits_per_ecg) and torch.equal(output.loss, expected.loss)


def test_text_is_given_once():
    model, batch = build(), inputs()
    with pytest.raises(ValueError, match="either as input_ids or as text_pooled"):
        model(batch["input_values"])
    with pytest.raises(ValueError, match="either as input_ids or as text_pooled"):
        model(**batch, text_pooled=torch.zeros(3, 24))


@pytest.mark.parametrize("loss_type", ["info-nce", "decoupled"])
def test_the_loss_of_a_batch(loss_type):
    model = build(loss_type=loss_type)
    with torch.no_grad():
        output = model(**inputs(), return_loss=True)
    expected = info_nce_loss(output.logits_per_ecg, torch.eye(3).bool(), decoupled=loss_type == "decoupled")
    assert torch.equal(output.loss, expected)


@pytest.mark.parametrize("duplicate_text_policy", ["positives", "ignored", "negatives"])
@pytest.mark.parametrize("encoded", [False, True])
def test_equal_texts_are_found(duplicate_text_policy, encoded):
    model, batch = build(duplicate_text_policy=duplicate_text_policy), inputs()
    # Records 0 and 2 have one text; beyond the mask the ids differ.
    batch["input_ids"] = torch.tensor([[2, 7, 3, 0], [2, 7, 8, 3], [2, 7, 3, 41]])
    batch["attention_mask"] = torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1], [1, 1, 1, 0]])
    with torch.no_grad():
        if encoded:
            pooled = model.encode_text(batch.pop("input_ids"), batch.pop("attention_mask"))
            batch["text_pooled"] = pooled[[0, 1, 0]]
        output = model(**batch, return_loss=True)
    expected = info_nce_loss(output.logits_per_ecg, *pair_texts(torch.tensor([0, 1, 0]), duplicate_text_policy))
    torch.testing.assert_close(output.loss, expected)


def test_several_texts_a_record_need_positives():
    model, batch = build(), inputs()
    batch["input_values"] = batch["input_values"][:2]
    with pytest.raises(ValueError, match=r"2 ECGs and 3 texts: pass positives=\(ECGs, texts\)"):
        model(**batch, return_loss=True)
    positives = torch.tensor([[True, False, True], [False, True, False]])
    with torch.no_grad():
        output = model(**batch, positives=positives, return_loss=True)
    assert torch.equal(output.loss, info_nce_loss(output.logits_per_ecg, positives))
    ignored = torch.tensor([[False, True, False], [False, False, False]])
    with torch.no_grad():
        less = model(**batch, positives=positives, ignored=ignored, return_loss=True)
    assert less.loss < output.loss


def test_ignored_needs_positives():
    with pytest.raises(ValueError, match="give both"):
        build()(**inputs(), ignored=torch.zeros(3, 3).bool(), return_loss=True)


def test_masks_reach_the_ecg_encoder():
    model, batch = build(), inputs()
    mask, lead_mask = torch.ones(3, SAMPLES), torch.ones(3, LEADS)
    mask[0, 400:] = 0
    lead_mask[1, 2] = 0
    with torch.no_grad():
        output = model(**batch, ecg_attention_mask=mask, lead_mask=lead_mask)
        expected = model.ecg_model(batch["input_values"], mask, lead_mask)
        features = model.get_ecg_features(batch["input_values"], ecg_attention_mask=mask, lead_mask=lead_mask)
        assert torch.equal(output.ecg_model_output.pooler_output, expected.pooler_output)
        assert torch.equal(model.normalize_features(features), output.ecg_embeds)
        assert not torch.allclose(model(**batch).ecg_embeds[:2], output.ecg_embeds[:2], atol=1e-4)


def test_a_recording_shorter_than_the_reach_is_refused():
    with pytest.raises(ValueError, match="7 samples are shorter than the encoder's reach of 8 samples"):
        build()(torch.zeros(3, LEADS, 7), INPUT_IDS)


def test_a_tuple_on_request():
    loss, logits = build()(**inputs(), return_loss=True, return_dict=False)[:2]
    assert loss.ndim == 0 and logits.shape == (3, 3)


# The scale


def test_a_tuple_when_the_config_asks_for_it():
    model = build(return_dict=False)
    logits = model(**inputs())[0]
    assert torch.equal(logits, build()(**inputs()).logits_per_ecg)
    assert all(isinstance(part, (torch.Tensor, tuple)) for part in model(**inputs()))


def test_hidden_states_of_both_encoders_on_request():
    model = build()
    assert model(**inputs()).ecg_model_output.hidden_states is None
    output = model(**inputs(), output_hidden_states=True)
    assert len(output.ecg_model_output.hidden_states) == 3  # the stem and two blocks
    assert torch.equal(output.ecg_model_output.hidden_states[-1], output.ecg_model_output.last_hidden_state)
    assert len(output.text_model_output.hidden_states) == 3  # the embeddings and two layers
    assert torch.equal(output.text_model_output.hidden_states[-1], output.text_model_output.last_hidden_state)
    assert build(output_hidden_states=True)(**inputs()).ecg_model_output.hidden_states is not None


def test_a_misspelt_argument_is_refused_and_moves_no_logit():
    batch = inputs()
    batch["atention_mask"] = batch.pop("attention_mask")
    with pytest.raises(TypeError, match="atention_mask"):
        build()(**batch)
    with pytest.raises(TypeError, match="lead_masks"):
        build().get_ecg_features(batch["input_values"], lead_masks=None)
    with pytest.raises(TypeError, match="atention_mask"):
        build().get_text_features(INPUT_IDS, atention_mask=ATTENTION_MASK)


def test_trainer_does_not_take_the_loss_for_one_that_counts_items():
    assert not any(p.kind is p.VAR_KEYWORD for p in inspect.signature(ECGTextModel.forward).parameters.values())


def test_the_input_embeddings_are_those_of_the_text_encoder():
    model = build()
    assert model.get_input_embeddings() is model.text_model.get_input_embeddings()
    other = torch.nn.Embedding(50, 24)
    model.set_input_embeddings(other)
    assert model.text_model.get_input_embeddings() is other


def test_the_scale_starts_as_clips():
    assert build().get_logit_scale().item() == pytest.approx(1 / 0.07, rel=1e-4)


@pytest.mark.parametrize("limit", [100.0, 20, 33.3])
def test_the_scale_never_passes_its_limit_and_still_learns_there(limit):
    model = build(logit_scale_max=limit)
    for start in (9.0, math.log(limit), math.log(limit) + 1e-3):
        with torch.no_grad():
            model.logit_scale.fill_(start)
        model.eval()
        assert model.get_logit_scale().item() <= limit
        model.train()
        output = model(**inputs(), return_loss=True)
        model.zero_grad()
        output.loss.backward()
        assert model.get_logit_scale().item() <= limit
        assert output.logits_per_ecg.abs().max().item() <= limit * (1 + 1e-6)
        assert model.logit_scale.item() == pytest.approx(math.log(limit))
        assert model.logit_scale.grad.abs().item() > 1e-6, "a scale at its limit could never come back"


def test_two_forward_passes_before_one_backward():
    model = build().train()
    loss = model(**inputs(1), return_loss=True).loss + model(**inputs(2), return_loss=True).loss
    loss.backward()
    assert model.logit_scale.grad is not None


def test_the_scale_below_its_limit_is_untouched():
    model = build().train()
    before = model.logit_scale.item()
    model(**inputs())
    assert model.logit_scale.item() == before == pytest.approx(2.6592)


# Freezing


def test_gradients_reach_the_ecg_tower_and_the_heads_alone():
    model = build(text_centering=True).train()
    model(**inputs(), return_loss=True).loss.backward()
    for name, parameter in model.named_parameters():
        if name.startswith("text_model."):
            assert parameter.grad is None and not parameter.requires_grad, name
        else:
            assert parameter.grad is not None, name
    assert model.ecg_model.stem.convolution.weight.grad.any()


def test_a_text_encoder_that_is_not_frozen_learns():
    model = build(freeze_text_model=False).train()
    assert model.text_model.training
    model(**inputs(), return_loss=True).loss.backward()
    assert model.text_model.embeddings.word_embeddings.weight.grad.any()


@pytest.mark.parametrize("load", [ECGTextModel.from_pretrained, AutoModel.from_pretrained])
def test_a_frozen_text_encoder_stays_frozen_after_loading(tmp_path, load):
    build().save_pretrained(tmp_path)
    model = load(tmp_path)
    assert not model.training
    model.train()
    assert model.training and model.ecg_model.training and not any(m.training for m in model.text_model.modules())
    assert not any(parameter.requires_grad for parameter in model.text_model.parameters())
    with torch.no_grad():
        assert torch.equal(model.encode_text(INPUT_IDS), model.encode_text(INPUT_IDS))  # no dropout
    model.eval()
    assert not model.training


def test_freezing_can_be_lifted_on_loading(tmp_path):
    build().save_pretrained(tmp_path)
    model = ECGTextModel.from_pretrained(tmp_path, freeze_text_model=False).train()
    trained = {name for name, parameter in model.text_model.named_parameters() if parameter.requires_grad}
    used = {name for name, _ in model.text_model.named_parameters() if not name.startswith("pooler.")}
    assert model.text_model.training and trained == used  # by [CLS]: several processes would wait for the pooler


def test_a_pooler_that_is_used_is_trained():
    model = build(text_pooling="pooler", freeze_text_model=False)
    assert all(parameter.requires_grad for parameter in model.text_model.parameters())


# Saving


@pytest.mark.parametrize("fields", [{}, {"text_centering": True, "projection_layers": 2}, {"projection_dim": None}])
def test_saving_and_loading(tmp_path, fields):
    model = build(**fields)
    with torch.no_grad():
        model.logit_scale.fill_(3.3)
        if fields.get("text_centering"):
            model.text_mean.normal_()
    model.save_pretrained(tmp_path / "one")
    loaded, info = ECGTextModel.from_pretrained(tmp_path / "one", output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"] and not info["mismatched_keys"]
    expected = dict([*model.named_parameters(), *model.named_buffers()])
    actual = dict([*loaded.named_parameters(), *loaded.named_buffers()])
    assert actual.keys() == expected.keys()
    for name in expected:
        assert torch.equal(actual[name], expected[name]), name
    with torch.no_grad():
        assert torch.equal(loaded(**inputs()).logits_per_ecg, model(**inputs()).logits_per_ecg)
    loaded.save_pretrained(tmp_path / "two")
    for name in ("config.json", "model.safetensors"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_auto_model_loads_it(tiny_checkpoint, tiny_model):
    loaded = AutoModel.from_pretrained(tiny_checkpoint)
    assert type(loaded) is ECGTextModel
    for name, weight in tiny_model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], weight), name


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(tmp_path, dtype):
    model = build(text_centering=True)
    model.text_mean.normal_()
    model.save_pretrained(tmp_path)
    half = ECGTextModel.from_pretrained(tmp_path, dtype=dtype)
    assert half.dtype == dtype
    with torch.no_grad():
        output, expected = half(**inputs(), return_loss=True), model(**inputs(), return_loss=True)
        kept = half(inputs()["input_values"], text_pooled=expected.text_pooled)
    assert output.logits_per_ecg.dtype == torch.float32
    assert (output.logits_per_ecg.float() - expected.logits_per_ecg).abs().max() < 0.5  # of 14
    assert (kept.logits_per_ecg.float() - expected.logits_per_ecg).abs().max() < 0.5


def test_new_weights_do_not_depend_on_what_is_loaded_over(tmp_path):
    # Built on the meta device: what the file does not hold must come from _init_weights.
    model = build(text_centering=True)
    model.save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    for name in ("logit_scale", "text_mean", "ecg_projection.0.weight", "ecg_projection.0.bias"):
        weights.pop(name)
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    loaded = ECGTextModel.from_pretrained(tmp_path, ignore_mismatched_sizes=True)
    assert loaded.logit_scale.item() == pytest.approx(2.6592)
    assert not loaded.text_mean.any() and not loaded.ecg_projection[0].bias.any()
    assert loaded.ecg_projection[0].weight.std().item() == pytest.approx(10**-0.5, rel=0.2)


# Joining


def test_joining_trained_towers(tmp_path):
    ecg = ECGResNetModel(ECGResNetConfig(**ECG))
    ecg.save_pretrained(tmp_path / "ecg")
    text = save_bert(tmp_path / "text")
    model = ECGTextModel.from_ecg_text_pretrained(tmp_path / "ecg", text, projection_dim=17, text_pooling="mean")
    assert not model.training and not model.ecg_model.training
    for name, weight in ecg.state_dict().items():
        assert torch.equal(model.ecg_model.state_dict()[name], weight), name
    for name, weight in AutoModel.from_pretrained(text).state_dict().items():
        assert torch.equal(model.text_model.state_dict()[name], weight), name
    assert not any(parameter.requires_grad for parameter in model.text_model.parameters())
    assert model.config.text_pooling == "mean" and model.config.text_model_id is None
    model.save_pretrained(tmp_path / "both")
    saved = (tmp_path / "both/config.json").read_text()
    assert str(tmp_path) not in saved and "local_files_only" not in saved
    with torch.no_grad():
        loaded = ECGTextModel.from_pretrained(tmp_path / "both")
        assert torch.equal(loaded(**inputs()).logits_per_ecg, model(**inputs()).logits_per_ecg)


def test_joining_models_configs_and_dual_encoders(tmp_path, tiny_checkpoint, tiny_model):
    text = BertModel(BertConfig(**BERT))
    joined = ECGTextModel.from_ecg_text_pretrained(ECGResNetConfig(**ECG), text)
    assert joined.text_model is text and joined.config.ecg_config.num_leads == LEADS
    ecg = ECGResNetModel(ECGResNetConfig(**ECG))
    assert ECGTextModel.from_ecg_text_pretrained(ecg, text).ecg_model is ecg
    taken = ECGTextModel.from_ecg_text_pretrained(str(tiny_checkpoint), text).ecg_model
    for name, weight in tiny_model.ecg_model.state_dict().items():
        assert torch.equal(taken.state_dict()[name], weight), name


def test_joining_what_is_no_ecg_encoder(tmp_path):
    text = save_bert(tmp_path)
    with pytest.raises(ValueError, match="holds no ECG encoder .model type 'bert'.; known are ecg_resnet"):
        ECGTextModel.from_ecg_text_pretrained(tmp_path, text)
    with pytest.raises(ValueError, match="'bert' is no ECG encoder"):
        ECGTextModel.from_ecg_text_pretrained(BertConfig(), text)


def test_joining_with_a_misspelt_field(tmp_path):
    with pytest.raises(TypeError, match=r"'text_poling' \(did you mean 'text_pooling'\?\)"):
        ECGTextModel.from_ecg_text_pretrained(ECGResNetConfig(**ECG), save_bert(tmp_path), text_poling="mean")


def test_joining_a_text_model_that_is_not_there():
    with pytest.raises(OSError, match="there is no text model 'nobody/nothing'.*hf download nobody/nothing"):
        ECGTextModel.from_ecg_text_pretrained(ECGResNetConfig(**ECG), "nobody/nothing")


def test_joining_a_text_encoder_of_half_precision(tmp_path):
    BertModel(BertConfig(**BERT)).bfloat16().save_pretrained(tmp_path)
    model = ECGTextModel.from_ecg_text_pretrained(ECGResNetConfig(**ECG), tmp_path)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    model(**inputs(), return_loss=True)


# Other text encoders


def test_a_t5_encoder(tmp_path):
    config = T5Config(vocab_size=50, d_model=22, d_kv=5, d_ff=31, num_layers=2, num_heads=3)
    model = build(text_config=config, text_pooling="mean")
    assert type(model.text_model) is T5EncoderModel
    with torch.no_grad():
        expected = model(**inputs(), return_loss=True)
        tokens = model.text_model(INPUT_IDS, attention_mask=ATTENTION_MASK).last_hidden_state
        torch.testing.assert_close(expected.text_pooled[1], tokens[1, :4].mean(0))
    model.save_pretrained(tmp_path / "dual")
    loaded, info = ECGTextModel.from_pretrained(tmp_path / "dual", output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    with torch.no_grad():
        assert torch.equal(loaded(**inputs()).logits_per_ecg, expected.logits_per_ecg)
    model.text_model.save_pretrained(tmp_path / "t5")
    joined = ECGTextModel.from_ecg_text_pretrained(
        ECGResNetConfig(**ECG), tmp_path / "t5", save_text_model=False, text_model_id="owner/t5", text_pooling="mean"
    )
    joined.save_pretrained(tmp_path / "reference")
    again = ECGTextModel.from_pretrained(tmp_path / "reference", text_model=tmp_path / "t5")
    with torch.no_grad():
        assert torch.equal(again(**inputs()).logits_per_ecg, joined(**inputs()).logits_per_ecg)


def test_an_encoder_without_token_types_and_pooler():
    config = DistilBertConfig(vocab_size=50, dim=21, n_heads=3, n_layers=1, hidden_dim=31)
    model = build(text_config=config, text_pooling="cls")
    with torch.no_grad():
        assert model(**inputs()).text_pooled.shape == (3, 21)
    with pytest.raises(ValueError, match=r"the text encoder \(distilbert\) has no pooler: set text_pooling to 'mean'"):
        build(text_config=config, text_pooling="pooler")(**inputs())


@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
def test_the_attention_asked_for_reaches_the_text_encoder(tmp_path, implementation):
    model = build()
    model.save_pretrained(tmp_path)
    loaded = ECGTextModel.from_pretrained(tmp_path, attn_implementation=implementation)
    assert loaded.text_model.config._attn_implementation == implementation
    with torch.no_grad():
        torch.testing.assert_close(
            loaded(**inputs()).logits_per_ecg, model(**inputs()).logits_per_ecg, atol=1e-4, rtol=1e-4
        )


def enable_checkpointing(model):
    enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    enable()


def test_checkpointing_takes_in_the_text_layers_and_leaves_batch_norm_alone():
    fields = {
        "freeze_text_model": False,
        "text_config": {**BERT, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0},
    }
    plain, saving = build(**fields).train(), build(**fields).train()
    enable_checkpointing(saving)
    assert all(layer.gradient_checkpointing for layer in saving.text_model.encoder.layer)
    for model in (plain, saving):
        model(**inputs(), return_loss=True).loss.backward()
    for name, parameter in plain.named_parameters():
        if parameter.grad is not None:
            torch.testing.assert_close(saving.get_parameter(name).grad, parameter.grad)
    assert saving.ecg_model.stem.norm.layer.num_batches_tracked.item() == 1


# By reference


@pytest.fixture
def referenced(tmp_path):
    text = save_bert(tmp_path / "text")
    model = ECGTextModel.from_ecg_text_pretrained(
        ECGResNetConfig(**ECG), text, save_text_model=False, text_model_id="owner/name", projection_dim=17
    )
    model.save_pretrained(tmp_path / "checkpoint")
    return model, tmp_path / "checkpoint", text


def test_a_reference_holds_no_text_weights(referenced):
    model, folder, text = referenced
    saved = load_file(folder / "model.safetensors")
    assert saved.keys() == {name for name in model.state_dict() if not name.startswith("text_model.")}
    config = json.loads((folder / "config.json").read_text())
    assert config["text_model_id"] == "owner/name" and config["text_model_digest"] == text_model_digest(
        model.text_model
    )


@pytest.mark.parametrize("load", [ECGTextModel.from_pretrained, AutoModel.from_pretrained])
def test_a_reference_loads_from_a_folder(referenced, load):
    model, folder, text = referenced
    loaded, info = load(folder, text_model=text, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    with torch.no_grad():
        assert torch.equal(loaded(**inputs()).logits_per_ecg, model(**inputs()).logits_per_ecg)
    loaded.train()
    assert not loaded.text_model.training
    assert not any(parameter.requires_grad for parameter in loaded.text_model.parameters())


def test_a_reference_saves_again_as_it_was(referenced, tmp_path):
    _, folder, text = referenced
    ECGTextModel.from_pretrained(folder, text_model=text).save_pretrained(tmp_path / "again")
    for name in ("config.json", "model.safetensors"):
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes()


def test_a_reference_to_another_text_encoder_is_refused(referenced, tmp_path):
    _, folder, _ = referenced
    other = save_bert(tmp_path / "other", seed=1)
    with pytest.raises(ValueError, match="is not the one this checkpoint was trained with.*owner/name"):
        ECGTextModel.from_pretrained(folder, text_model=other)


def test_a_reference_that_is_not_there_says_how_to_get_it(referenced):
    _, folder, _ = referenced
    with pytest.raises(OSError, match="there is no text model 'owner/name'.*hf download owner/name"):
        ECGTextModel.from_pretrained(folder)


def test_a_reference_in_half_precision_still_knows_its_text_encoder(referenced, tmp_path):
    _, folder, text = referenced
    half = ECGTextModel.from_pretrained(folder, text_model=text, dtype=torch.bfloat16)
    assert half.text_model.dtype == torch.bfloat16
    half.save_pretrained(tmp_path / "half")
    again = ECGTextModel.from_pretrained(tmp_path / "half", text_model=text)
    with torch.no_grad():
        assert torch.equal(again(**inputs()).logits_per_ecg, half(**inputs()).logits_per_ecg)


def test_a_reference_takes_the_attention_asked_for(referenced):
    _, folder, text = referenced
    loaded = ECGTextModel.from_pretrained(folder, text_model=text, attn_implementation="eager")
    assert loaded.text_model.config._attn_implementation == "eager"


def test_a_full_checkpoint_becomes_a_reference_and_back(referenced, tmp_path):
    model, _, text = referenced
    model = copy.deepcopy(model)
    model.config.save_text_model = True
    model.save_pretrained(tmp_path / "full")
    full = ECGTextModel.from_pretrained(tmp_path / "full")
    sizes = [Path(tmp_path / "full/model.safetensors").stat().st_size]
    full.config.save_text_model = False
    full.save_pretrained(tmp_path / "reference")
    sizes.append(Path(tmp_path / "reference/model.safetensors").stat().st_size)
    assert sizes[1] < sizes[0] / 2
    again = ECGTextModel.from_pretrained(tmp_path / "reference", text_model=text)
    with torch.no_grad():
        assert torch.equal(again(**inputs()).logits_per_ecg, full(**inputs()).logits_per_ecg)
