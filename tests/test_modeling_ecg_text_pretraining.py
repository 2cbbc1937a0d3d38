"""C-MELT: that it is the model that was released, and what is taken out of its checkpoints."""

import importlib.util
import json
import sys
from itertools import product
from pathlib import Path

import pytest
import torch
from torch.nn import functional
from transformers import AutoModel, AutoModelForPreTraining, T5Config

import mets_ecg
from mets_ecg import (
    ECGTextConfig,
    ECGTextForPreTraining,
    ECGTextModel,
    ECGTextPreTrainingConfig,
    ECGTransformerModel,
    c_melt_config,
    sigmoid_loss,
)


def _load_reference():
    """The helper beside this file; under `--import-mode=importlib` it has no name to be imported by."""
    path = Path(__file__).with_name("dbeta_reference.py")
    spec = importlib.util.spec_from_file_location("dbeta_reference", path)
    module = sys.modules["dbeta_reference"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


released = _load_reference()

# A small version of the architecture in which hardly two widths are equal.
LEADS, PATCH, PATCHES, SAMPLES = 5, 16, 23, 16 * 23 + 9
ECG = {
    "model_type": "ecg_transformer",
    "num_leads": LEADS,
    "conv_hidden_sizes": [6, 10, 14, 9],
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 41,
    "position_kernel_size": 8,
    "num_position_groups": 4,
}
T5 = {
    "model_type": "t5",
    "d_model": 20,
    "d_kv": 4,
    "num_heads": 5,
    "d_ff": 33,
    "num_layers": 2,
    "vocab_size": 99,
    "feed_forward_proj": "gated-gelu",
    "tie_word_embeddings": False,
}
OWN = {
    "num_fusion_layers": 3,
    "num_fusion_attention_heads": 5,
    "fusion_intermediate_size": 37,
    "mem_layer": 1,
    "mem_hidden_size": 12,
    "num_mem_layers": 2,
    "num_mem_attention_heads": 2,
}
SIGLIP = {"own": {"ets_type": "siglip"}, "similarity": "cosine", "learn_logit_scale": True}
INPUT_IDS = torch.tensor(
    [[5, 17, 98, 33, 12, 4, 1], [42, 7, 1, 0, 0, 0, 0], [9, 61, 13, 80, 1, 0, 0], [1, 0, 0, 0, 0, 0, 0]]
)
ATTENTION_MASK = (INPUT_IDS != 0).long()
LABELS = torch.where(ATTENTION_MASK == 1, (INPUT_IDS * 31 + 5) % 99, -100)
KEPT = torch.tensor([[20, 3, 11, 0, 7], [4, 22, 1, 9, 16], [0, 1, 2, 3, 4], [22, 21, 5, 13, 8]])
ALIGNED = torch.tensor([1, 0, 1, 1])


def tiny_config(ecg=None, own=None, **fields):
    return c_melt_config(
        T5,
        **{"ecg_config": {**ECG, **(ecg or {})}, "projection_dim": 30, "pretraining_config": {**OWN, **(own or {})}},
        **fields,
    )


def build(**changes):
    """All weights are drawn, so that nothing hides behind a bias of 0 or a gain of 1."""
    generator = torch.Generator().manual_seed(0)
    model = ECGTextForPreTraining(tiny_config(**changes)).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 0:  # scale and bias of the contrast, which not every model has
                continue
            drawn = torch.randn(parameter.shape, generator=generator)
            if parameter.ndim >= 2:
                parameter.copy_(drawn * 1.3 / parameter[0].numel() ** 0.5)
            else:
                parameter.copy_(drawn * 0.3 + (1 if name.endswith("norm.weight") else 0))
        model.text_model.shared.weight.mul_(5)
    return model


def ecgs(batch=4, samples=SAMPLES, seed=1):
    return torch.randn(batch, LEADS, samples, generator=torch.Generator().manual_seed(seed)).cumsum(dim=2) * 0.1


def batch(**changes):
    return {
        "input_values": ecgs(),
        "input_ids": INPUT_IDS,
        "attention_mask": ATTENTION_MASK,
        "kept_tokens": KEPT,
        "mlm_labels": LABELS,
        "aligned": ALIGNED,
        **changes,
    }


def as_released(model):
    """The weights under the released names, the text's configuration and the numbers of heads."""
    own = model.config.pretraining_config
    heads = released.Heads(
        ecg=model.config.ecg_config.num_attention_heads,
        fusion=own.num_fusion_attention_heads,
        decoder=own.num_mem_attention_heads,
        mem_layer=own.mem_layer,
    )
    text_config = T5Config(**{name: value for name, value in T5.items() if name != "model_type"})
    return released.released_state_dict(model.state_dict()), text_config, heads


def close(actual, expected, tolerance=1e-5):
    torch.testing.assert_close(actual, expected, atol=tolerance, rtol=tolerance)


# The released model


def test_the_default_has_the_released_weights_and_no_others():
    with torch.device("meta"):
        model = ECGTextForPreTraining(c_melt_config())
    assert sum(parameter.numel() for parameter in model.parameters()) == 321_387_330
    table = released.read_table()
    assert len(table) == 645
    ours = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    named = {name: released.our_name(name) for name in table}
    # The one tensor that we compute: the decoder's sines and cosines.
    assert [name for name, own in named.items() if own is None] == ["mim_head.decoder_pos_embed.pe"]
    pairs = {name: own for name, own in named.items() if own is not None}
    assert len(set(pairs.values())) == len(pairs) and set(pairs.values()) == ours.keys()
    assert {name: ours[own] for name, own in pairs.items()} == {name: table[name] for name in pairs}
    # The text's embedding stands twice in both, and is one.
    parameters = {name for name, _ in model.named_parameters()}
    assert ours.keys() - parameters == {"text_model.encoder.embed_tokens.weight"}
    assert {"language_encoder.shared.weight", "language_encoder.encoder.embed_tokens.weight"} <= table.keys()


@pytest.mark.parametrize(
    ("kernel", "mem_layer", "patches"), [(8, 1, 23), (7, 2, 23), (128, 0, 23), (2, 3, 23), (8, 2, 6)]
)
@torch.no_grad()
def test_a_training_pass_is_the_released_one(kernel, mem_layer, patches):
    """At every stage; even and odd kernels, longer than the recording too."""
    model = build(ecg={"position_kernel_size": kernel}, own={"mem_layer": mem_layer})
    ecg = ecgs(samples=patches * PATCH + 9)
    kept = KEPT if patches == PATCHES else KEPT.argsort(dim=1)
    weights, text_config, heads = as_released(model)
    expected = released.training_pass(
        weights, text_config, heads, ecg, kept, INPUT_IDS, ATTENTION_MASK, LABELS, ALIGNED
    )
    logits = []
    model.mlm_head.register_forward_hook(lambda module, given, output: logits.append(output))
    output = model(**batch(input_values=ecg, kept_tokens=kept))
    close(output.ecg_embeds, expected["u_e"])
    close(output.text_embeds, expected["u_t"])
    close(logits[0], expected["mlm_logits"][LABELS != -100])
    close(output.etm_logits, expected["etm_logits"])
    decoded = expected["decoded"].view(4, patches, LEADS, PATCH).transpose(1, 2).flatten(2)
    close(output.reconstruction, decoded)
    for name in ("mem_loss", "mlm_loss", "etm_loss", "ets_loss"):
        close(output[name], expected[name])
    close(output.loss, sum(expected[name] for name in ("mem_loss", "mlm_loss", "etm_loss", "ets_loss")))
    # What is compared says something: no stage is the same for all records.
    for name in ("u_e", "u_t", "etm_logits", "decoded"):
        assert expected[name].std(dim=0).mean() > 0.01


@torch.no_grad()
def test_features_at_inference_are_the_released_ones():
    model = build()
    weights, text_config, heads = as_released(model)
    u_e = released.ecg_vector(weights, ecgs(), heads)
    u_t = released.text_vector(weights, released.text_states(weights, text_config, INPUT_IDS, ATTENTION_MASK))
    close(model.get_ecg_features(ecgs()), u_e)
    close(model.get_text_features(INPUT_IDS, ATTENTION_MASK), u_t)
    dual = ECGTextModel(ECGTextConfig(**{**tiny_config().to_dict(), "pretraining_config": None})).eval()
    dual.load_state_dict({name: w for name, w in model.state_dict().items() if name in dual.state_dict()})
    output = dual(ecgs(), INPUT_IDS, ATTENTION_MASK)
    close(output.logits_per_ecg, u_e @ u_t.T)  # no lengths of 1, no scale
    assert (output.ecg_embeds.norm(dim=1) - 1).abs().min() > 0.1


def test_gradients_are_those_of_the_released_losses():
    model = build()
    weights, text_config, heads = as_released(model)
    weights = {name: w.detach().clone().requires_grad_() for name, w in weights.items()}
    # T5's own weights are copied into transformers' encoder, which gradients do not leave.
    expected = released.training_pass(
        weights, text_config, heads, ecgs(), KEPT, INPUT_IDS, ATTENTION_MASK, LABELS, ALIGNED
    )
    sum(expected[name] for name in expected if name.endswith("_loss")).backward()
    model(**batch()).loss.backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    compared = [name for name in weights if not name.startswith("language_encoder.")]
    assert len(compared) > 200
    for name in compared:
        own = gradients[released.our_name(name)]
        torch.testing.assert_close(
            own, weights[name].grad, atol=2e-5, rtol=1e-4, msg=lambda text, n=name: f"{n}: {text}"
        )


# Padding, and what counts


@torch.no_grad()
def test_padding_of_texts_changes_nothing():
    model = build()
    together = model(**batch())
    for row in (1, 2):
        length = int(ATTENTION_MASK[row].sum())
        alone = model(
            **{
                name: value[row : row + 1]
                for name, value in batch(aligned=None, mlm_labels=None).items()
                if value is not None
            }
            | {
                "input_ids": INPUT_IDS[row : row + 1, :length],
                "attention_mask": None,
                "aligned": ALIGNED[row : row + 1],
            }
        )
        for name in ("ecg_embeds", "text_embeds", "etm_logits", "reconstruction"):
            close(together[name][row : row + 1], alone[name])


@torch.no_grad()
def test_padding_of_ecgs_changes_nothing():
    """Also not the loss: what was not recorded is not reconstructed."""
    model = build()
    short = ecgs(batch=1, samples=9 * PATCH + 5, seed=4)
    kept = torch.tensor([[8, 2, 5]])
    texts = {"input_ids": INPUT_IDS[:1], "aligned": ALIGNED[:1], "mlm_labels": LABELS[:1]}
    alone = model(input_values=short, kept_tokens=kept, **texts)
    padded = torch.nn.functional.pad(short, (0, SAMPLES - short.shape[2]), value=7.0)
    recorded = torch.arange(SAMPLES)[None] < short.shape[2]
    kept = torch.tensor([[8, -1, 2, 5, -1]])
    within = model(input_values=padded, ecg_attention_mask=recorded, kept_tokens=kept, **texts)
    for name in ("ecg_embeds", "text_embeds", "etm_logits", "mem_loss", "mlm_loss", "etm_loss", "loss"):
        close(within[name], alone[name])
    close(within.reconstruction[:, :, : 9 * PATCH], alone.reconstruction)
    close(within.mem_target[:, :, : 9 * PATCH], alone.mem_target)
    assert within.mem_mask.sum() == alone.mem_mask.sum() == 6


@torch.no_grad()
def test_leads_that_are_masked_are_reconstructed_and_absent_ones_are_not():
    model = build()
    lead_mask = torch.tensor([1, 1, 0, 1, 0]).expand(4, -1)
    whole, masked = model(**batch()), model(**batch(lead_mask=lead_mask))
    assert torch.equal(whole.mem_target, masked.mem_target)
    zeroed = model(**batch(input_values=ecgs() * lead_mask[:, :, None]))
    close(masked.reconstruction, zeroed.reconstruction)
    absent = batch(lead_mask=lead_mask, recorded_leads=lead_mask)
    other = ecgs() + 3 * (1 - lead_mask[:, :, None]) * ecgs(seed=9)
    close(model(**absent).loss, model(**{**absent, "input_values": other}).loss)
    error = (masked.reconstruction - masked.mem_target).square().unflatten(2, (PATCHES, PATCH)).mean(dim=3)
    error = error[:, lead_mask[0] == 1].mean(dim=1)
    close(model(**absent).mem_loss, error[masked.mem_mask].mean())


@torch.no_grad()
def test_a_target_as_it_was_recorded():
    model = build(own={"mem_target_norm": False})
    output = model(**batch())
    assert torch.equal(output.mem_target, ecgs()[:, :, : PATCHES * PATCH])
    kept = torch.stack([row.sort().values for row in KEPT])
    assert [row.nonzero().flatten().tolist() for row in ~output.mem_mask] == kept.tolist()


@torch.no_grad()
def test_the_error_of_all_tokens():
    dropped, every = build()(**batch()), build(own={"mem_tokens": "all"})(**batch())
    error = (every.reconstruction - every.mem_target).square().unflatten(2, (PATCHES, PATCH)).mean(dim=(1, 3))
    close(every.mem_loss, error.mean())
    close(dropped.mem_loss, error[dropped.mem_mask].mean())
    assert every.mem_mask.all() and not dropped.mem_mask.all()


@torch.no_grad()
def test_a_term_is_there_if_its_input_is():
    model = build()
    assert model(**batch(kept_tokens=None)).mem_loss is None
    assert model(**batch(mlm_labels=None)).mlm_loss is None
    assert model(**batch(aligned=None)).etm_loss is None
    none_masked = model(**batch(mlm_labels=torch.full_like(INPUT_IDS, -100)))
    assert none_masked.mlm_loss == 0 and none_masked.loss.isfinite()
    weighted = build(own={"mem_weight": 2.0, "mlm_weight": 0.5, "etm_weight": 0.0, "ets_weight": 3.0})(**batch())
    assert weighted.etm_loss is None
    close(weighted.loss, 2 * weighted.mem_loss + 0.5 * weighted.mlm_loss + 3 * weighted.ets_loss)


def test_a_tuple_on_request():
    output = build()(**batch(), return_dict=False)
    assert isinstance(output, tuple) and output[0].ndim == 0


def test_one_text_to_each_ecg():
    with pytest.raises(ValueError, match="4 ECGs and 3 texts"):
        build()(ecgs(), INPUT_IDS[:3])


def test_a_config_without_the_other_parts_is_refused():
    with pytest.raises(ValueError, match="needs pretraining_config"):
        ECGTextForPreTraining(ECGTextConfig(ecg_config=ECG, text_config=T5))


@pytest.mark.parametrize("mem_layer", [0, 1, 3])
def test_what_is_trained_has_gradients_and_what_is_not_has_none(mem_layer):
    """Whatever parts are left out: several processes wait for the gradient of all that is trained."""
    everything = {name for name, _ in build().named_parameters()}
    for weights in product((0.0, 1.0), repeat=4):
        if not any(weights):
            continue
        own = dict(zip(("mem_weight", "mlm_weight", "etm_weight", "ets_weight"), weights, strict=True))
        model = build(own={**own, "mem_layer": mem_layer})
        trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
        model(**batch()).loss.backward()
        reached = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
        assert reached == trained, (own, sorted(reached ^ trained)[:5])
        for parameter in model.parameters():
            parameter.requires_grad_(True).grad = None
        model(**batch()).loss.backward()
        assert {name for name, parameter in model.named_parameters() if parameter.grad is not None} == trained
        assert trained == everything or not all(weights)


# The sigmoid contrast


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_the_sigmoid_loss_pair_by_pair(reduction):
    generator = torch.Generator().manual_seed(2)
    logits = (torch.randn(4, 6, generator=generator) * 3).requires_grad_()
    positives = torch.rand(4, 6, generator=generator) < 0.3
    ignored = (torch.rand(4, 6, generator=generator) < 0.3) & ~positives
    assert positives.any() and ignored.any() and not positives.diagonal().all()
    for left_out in (None, ignored):
        total, pairs = torch.zeros(()), 0
        for i, j in product(range(4), range(6)):
            if left_out is None or not left_out[i, j]:
                probability = torch.sigmoid(logits[i, j])
                total = total - (probability if positives[i, j] else 1 - probability).log()
                pairs += 1
        expected = total / (pairs if reduction == "mean" else 4)
        close(sigmoid_loss(logits, positives, left_out, reduction=reduction), expected)
    sigmoid_loss(logits, positives, ignored, reduction=reduction).backward()
    assert (logits.grad[ignored] == 0).all() and (logits.grad[~ignored] != 0).all()


def test_the_sigmoid_loss_of_large_logits_is_finite():
    logits = torch.tensor([[1e4, -1e4], [1e4, -1e4]], requires_grad=True)
    loss = sigmoid_loss(logits, torch.tensor([[True, True], [False, False]]), reduction="sum")
    loss.backward()
    assert loss.item() == 1e4 and logits.grad.isfinite().all()


def test_a_new_model_costs_ln_2_a_pair():
    assert sigmoid_loss(torch.zeros(3, 3), torch.eye(3).bool()).item() == pytest.approx(0.693147, abs=1e-6)


@torch.no_grad()
def test_the_three_forms_of_the_contrast():
    """As released: the mean of all pairs, in which a text that is not its ECG's own is no positive."""
    mean, total = (build(own={"ets_type": kind})(**batch()) for kind in ("mean", "sum"))
    u_e, u_t = mean.ecg_embeds, mean.text_embeds
    close(mean.ets_loss, released.ets_loss(u_e, u_t, ALIGNED))
    close(total.ets_loss, released.ets_loss(u_e, u_t, ALIGNED, "sum"))
    model = build(**SIGLIP)
    model.logit_scale.fill_(1.7)
    model.logit_bias.fill_(-3.0)
    output = model(**batch())
    close(output.ecg_embeds, functional.normalize(u_e, dim=1))
    close(output.text_embeds, functional.normalize(u_t, dim=1))
    logits = functional.normalize(u_e, dim=1) @ functional.normalize(u_t, dim=1).T * torch.tensor(1.7).exp() - 3.0
    positives = torch.eye(4).bool() & (ALIGNED == 1)
    signs = 2 * positives.float() - 1
    close(output.ets_loss, -functional.logsigmoid(signs * logits).sum() / 4)
    close(model.contrast(output.ecg_embeds, output.text_embeds, positives), output.ets_loss)


@torch.no_grad()
def test_texts_of_the_whole_batch_are_told_apart_as_asked():
    model = build(**SIGLIP)
    positives = torch.tensor([[0, 1, 0, 0], [0, 0, 0, 1], [1, 0, 1, 0], [0, 0, 0, 0]]).bool()
    ignored = torch.tensor([[1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 1, 1]]).bool()
    output = model(**batch(positives=positives, ignored=ignored))
    close(model.contrast(output.ecg_embeds, output.text_embeds, positives, ignored), output.ets_loss)
    logits = model.get_logit_scale() * output.ecg_embeds @ output.text_embeds.T + model.logit_bias
    each = functional.binary_cross_entropy_with_logits(logits, positives.float(), reduction="none")
    close(output.ets_loss, each[~ignored].sum() / 4)


def test_the_scale_and_bias_of_siglip_begin_as_siglips_and_learn():
    own = {**OWN, "ets_type": "siglip"}
    fields = {"similarity": "cosine", "learn_logit_scale": True, "logit_scale_init_value": 2.302585}
    model = ECGTextForPreTraining(tiny_config(own=own, **fields)).eval()
    assert model.logit_bias.item() == -10 and model.get_logit_scale().item() == pytest.approx(10, abs=1e-4)
    model(**batch()).ets_loss.backward()
    assert model.logit_bias.grad != 0 and model.logit_scale.grad != 0


@torch.no_grad()
def test_the_contrast_of_whole_ecgs_and_texts():
    model = build(own={"ets_inputs": "whole"})
    with pytest.raises(ValueError, match="needs whole_input_ids"):
        model(**batch())
    whole_ids = torch.where(ATTENTION_MASK == 1, (INPUT_IDS + 3) % 99, 0)
    whole = {"whole_input_ids": whole_ids, "whole_attention_mask": ATTENTION_MASK}
    output, masked = model(**batch(**whole)), build()(**batch())
    close(output.ecg_embeds, model.get_ecg_features(ecgs()))
    close(output.text_embeds, model.get_text_features(whole_ids, ATTENTION_MASK))
    for name in ("mem_loss", "mlm_loss", "etm_loss"):
        close(output[name], masked[name])
    assert (output.ets_loss - masked.ets_loss).abs() > 1e-3


# Checkpoints


def test_saving_and_loading(tmp_path):
    model = build(**SIGLIP)
    model.save_pretrained(tmp_path)
    for load in (ECGTextForPreTraining, AutoModelForPreTraining):
        loaded = load.from_pretrained(tmp_path)
        assert type(loaded) is ECGTextForPreTraining and not loaded.training
        assert isinstance(loaded.config.pretraining_config, ECGTextPreTrainingConfig)
        assert loaded.state_dict().keys() == model.state_dict().keys()
        assert all(torch.equal(value, model.state_dict()[name]) for name, value in loaded.state_dict().items())
        assert torch.equal(loaded(**batch()).loss, model(**batch()).loss)
    weights_left_out = ECGTextForPreTraining.from_pretrained(
        tmp_path, pretraining_config={**OWN, "ets_type": "siglip", "mem_weight": 0.0}
    )
    assert not any(parameter.requires_grad for parameter in weights_left_out.mem_head.parameters())


@pytest.mark.parametrize("changes", [{}, SIGLIP], ids=["released", "siglip"])
@torch.no_grad()
def test_a_dual_encoder_is_taken_out_of_a_checkpoint(tmp_path, transformers_log, changes):
    model = build(**changes)
    model.save_pretrained(tmp_path / "all")
    for load in (ECGTextModel, AutoModel):
        dual = load.from_pretrained(tmp_path / "all")
        assert type(dual) is ECGTextModel and dual.config.pretraining_config is None
        assert torch.equal(dual.get_ecg_features(ecgs()), model.get_ecg_features(ecgs()))
        assert torch.equal(
            dual.get_text_features(INPUT_IDS, ATTENTION_MASK), model.get_text_features(INPUT_IDS, ATTENTION_MASK)
        )
        output = model(ecgs(), INPUT_IDS, ATTENTION_MASK)
        expected = model.get_logit_scale() * output.ecg_embeds @ output.text_embeds.T
        close(dual(ecgs(), INPUT_IDS, ATTENTION_MASK).logits_per_ecg, expected)
    dual.save_pretrained(tmp_path / "dual")
    assert json.loads((tmp_path / "dual" / "config.json").read_text())["pretraining_config"] is None
    again = ECGTextModel.from_pretrained(tmp_path / "dual")
    assert torch.equal(again.get_ecg_features(ecgs()), model.get_ecg_features(ecgs()))
    assert not [record for record in transformers_log.records if "UNEXPECTED" in record.getMessage()]
    with pytest.raises(ValueError, match="needs pretraining_config"):
        ECGTextForPreTraining.from_pretrained(tmp_path / "dual")
    assert ECGTextForPreTraining.from_pretrained(tmp_path / "all").config.pretraining_config is not None


@torch.no_grad()
def test_the_ecg_encoder_is_taken_out_of_a_checkpoint(tmp_path):
    model = build()
    model.save_pretrained(tmp_path)
    encoder = ECGTransformerModel.from_pretrained(tmp_path)
    assert torch.equal(encoder(ecgs()).pooler_output, model.ecg_model(ecgs()).pooler_output)


@pytest.mark.parametrize("name", ["mem_head.mask_token", "modality_embeddings.weight", "ecg_fusion_pooler.bias"])
def test_a_missing_weight_is_an_error(tmp_path, name):
    from safetensors.torch import load_file, save_file

    build().save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    del weights[name]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=f"missing: {name}"):
        ECGTextForPreTraining.from_pretrained(tmp_path)


def test_the_public_names():
    for name in ("ECGTextForPreTraining", "ECGTextPreTrainingConfig", "ECGTextPreTrainingOutput", "c_melt_config"):
        assert name in mets_ecg.__all__
