"""The transformer as an ECG encoder: what padding, masks, leads, lengths and dropped tokens do to its output."""

import pytest
import torch
from torch.nn import functional
from transformers import AutoModel

from mets_ecg import ECGForSequenceClassification, ECGTextModel, ECGTransformerConfig, ECGTransformerModel
from mets_ecg.configuration_ecg_text import ECGClassificationConfig, ECGTextConfig

LEADS, TOKEN, TOKENS = 5, 16, 19
SAMPLES = TOKEN * TOKENS + 11
FIELDS = {
    "num_leads": LEADS,
    "conv_hidden_sizes": [6, 10, 14, 9],
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 41,
    "position_kernel_size": 8,
    "num_position_groups": 4,
}
BERT = {
    "vocab_size": 50,
    "hidden_size": 20,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 37,
    "max_position_embeddings": 40,
}
INPUT_IDS = torch.tensor([[2, 7, 9, 11, 3, 0], [2, 30, 31, 3, 0, 0], [2, 5, 6, 7, 8, 3]])


def draw_weights(model):
    """All weights are drawn, so that nothing hides behind a bias of 0 or a gain of 1."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            drawn = torch.randn(parameter.shape, generator=generator)
            if parameter.ndim >= 2:
                parameter.copy_(drawn * 1.3 / parameter[0].numel() ** 0.5)
            elif parameter.ndim == 1:
                parameter.copy_(drawn * 0.3 + (1 if name.endswith("norm.weight") else 0))
    return model.eval()


def build(**changes):
    return draw_weights(ECGTransformerModel(ECGTransformerConfig(**{**FIELDS, **changes})))


def ecgs(batch=3, leads=LEADS, samples=SAMPLES, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, leads, samples, generator=generator).cumsum(dim=2) * 0.1


def close(actual, expected, tolerance=1e-5):
    torch.testing.assert_close(actual, expected, atol=tolerance, rtol=tolerance)


def test_the_default_is_c_melts():
    with torch.device("meta"):
        model = ECGTransformerModel(ECGTransformerConfig())
    assert sum(parameter.numel() for parameter in model.parameters()) == 62_021_760 + 768
    assert model.num_tokens(5000) == 312


@pytest.mark.parametrize("norm_order", ["post", "pre"])
@pytest.mark.parametrize("kept", [None, [[4, 0, 2], [8, -1, 3], [18, 5, 11]]], ids=["all tokens", "kept tokens"])
@pytest.mark.parametrize("kernel", [8, 7, 40])
@torch.no_grad()
def test_padding_changes_nothing(norm_order, kept, kernel):
    """Records of three lengths, two of them no multiple of a token, beside what stands in their padding."""
    model = build(norm_order=norm_order, position_kernel_size=kernel)
    lengths = [5 * TOKEN, 9 * TOKEN + 7, SAMPLES]
    mask = torch.arange(SAMPLES)[None] < torch.tensor(lengths)[:, None]
    padded = torch.where(mask[:, None], ecgs(), torch.full((), 9.0))
    kept = None if kept is None else torch.tensor(kept)
    together = model(padded, ecg_attention_mask=mask.long(), kept_tokens=kept)
    for row, length in enumerate(lengths):
        own = None if kept is None else kept[row : row + 1][:, kept[row] >= 0]
        alone = model(ecgs()[row : row + 1, :, :length], kept_tokens=own)
        assert alone.frame_mask is None
        close(together.pooler_output[row], alone.pooler_output[0])
        tokens = together.last_hidden_state[row]
        if together.frame_mask is not None:
            recorded = together.frame_mask[row]
            assert (tokens[~recorded] == 0).all() and recorded[0]
            tokens = tokens[recorded]
        close(tokens, alone.last_hidden_state[0])


@torch.no_grad()
def test_padding_with_nan_changes_nothing():
    model = build()
    mask = torch.arange(SAMPLES)[None] < torch.tensor([5 * TOKEN, SAMPLES, SAMPLES])[:, None]
    expected = model(ecgs(), ecg_attention_mask=mask).pooler_output
    output = model(ecgs().masked_fill(~mask[:, None], torch.nan), ecg_attention_mask=mask).pooler_output
    assert torch.equal(output, expected)


@torch.no_grad()
def test_a_mask_that_masks_nothing_changes_nothing():
    model = build()
    output = model(ecgs(), ecg_attention_mask=torch.ones(3, SAMPLES), lead_mask=torch.ones(3, LEADS))
    close(output.last_hidden_state, model(ecgs()).last_hidden_state)
    assert output.frame_mask.all()


@torch.no_grad()
def test_a_token_counts_if_all_of_it_was_recorded():
    mask = torch.ones(3, SAMPLES)
    mask[0, 2 * TOKEN - 1 :] = 0
    mask[1, 3 * TOKEN] = 0  # a gap
    frame_mask = build()(ecgs(), ecg_attention_mask=mask).frame_mask
    assert frame_mask.shape == (3, 1 + TOKENS)
    assert frame_mask.sum(dim=1).tolist() == [2, TOKENS, 1 + TOKENS]
    assert not frame_mask[1, 1 + 3]


@torch.no_grad()
def test_a_record_with_nothing_recorded_is_finite():
    mask = torch.ones(3, SAMPLES)
    mask[1] = 0
    output = build()(ecgs(), ecg_attention_mask=mask)
    assert output.last_hidden_state.isfinite().all()
    close(output.pooler_output[[0, 2]], build()(ecgs()).pooler_output[[0, 2]])


@pytest.mark.parametrize("kept", [None, torch.tensor([[4, 0, 2], [8, -1, 3], [18, 5, 11]])], ids=["all", "kept"])
@torch.no_grad()
def test_a_record_is_its_own_whatever_is_beside_it(kept):
    model = build()
    together = model(ecgs(), kept_tokens=kept).pooler_output
    order = [2, 0, 1]
    close(model(ecgs()[order], kept_tokens=None if kept is None else kept[order]).pooler_output, together[order])
    others = ecgs(seed=5) * 100
    others[1] = ecgs()[1]
    close(model(others, kept_tokens=kept).pooler_output[1], together[1])
    alone = model(ecgs()[1:2], kept_tokens=None if kept is None else kept[1:2])
    close(alone.pooler_output[0], together[1])


@torch.no_grad()
def test_masked_leads_are_zeroed_leads():
    model, lead_mask = build(), torch.tensor([[1, 0, 1, 1, 0], [1, 1, 1, 1, 1], [0, 0, 0, 0, 1]])
    masked = model(ecgs(), lead_mask=lead_mask).last_hidden_state
    assert torch.equal(masked, model(ecgs() * lead_mask[:, :, None]).last_hidden_state)
    assert torch.equal(masked, model(ecgs().masked_fill(lead_mask[:, :, None] == 0, torch.nan), lead_mask=lead_mask)[0])
    assert (masked[0] - model(ecgs()).last_hidden_state[0]).abs().max() > 0.01


# Dropped tokens


@pytest.mark.parametrize("norm_order", ["post", "pre"])
@torch.no_grad()
def test_the_order_in_which_tokens_are_kept_is_free(norm_order):
    model = build(norm_order=norm_order)
    whole = model(ecgs())
    places = torch.stack([torch.randperm(TOKENS, generator=torch.Generator().manual_seed(row)) for row in range(3)])
    kept = model(ecgs(), kept_tokens=places)
    close(kept.pooler_output, whole.pooler_output)
    for row in range(3):
        close(kept.last_hidden_state[row, 1:], whole.last_hidden_state[row, 1:][places[row]])
    assert kept.frame_mask is None
    some = model(ecgs(), kept_tokens=places[:, :5])
    assert some.last_hidden_state.shape == (3, 6, 24)
    assert (some.pooler_output - whole.pooler_output).abs().max() > 0.01


@torch.no_grad()
def test_places_of_minus_1_are_ignored():
    model = build()
    places = torch.tensor([[3, 17, 0, 9], [5, 6, 7, 8], [1, 18, 2, 4]])
    ragged = torch.tensor([[3, -1, 17, 0, -1, 9], [-1, -1, 5, 6, 7, 8], [1, 18, 2, 4, -1, -1]])
    output, expected = model(ecgs(), kept_tokens=ragged), model(ecgs(), kept_tokens=places)
    close(output.pooler_output, expected.pooler_output)
    assert torch.equal(output.frame_mask, functional.pad(ragged >= 0, (1, 0), value=True))
    close(output.last_hidden_state[output.frame_mask].view(3, 5, 24), expected.last_hidden_state)
    assert (output.last_hidden_state[~output.frame_mask] == 0).all()


@torch.no_grad()
def test_no_token_kept_leaves_the_class_token_alone():
    model = build()
    nothing = model(ecgs(), kept_tokens=torch.full((3, 2), -1)).pooler_output
    close(nothing, nothing[:1].expand(3, -1))
    close(model(ecgs(), kept_tokens=torch.empty(3, 0, dtype=torch.long)).pooler_output, nothing)


# Leads, lengths, offset and gain


@pytest.mark.parametrize(("leads", "samples"), [(1, TOKEN), (3, 2 * TOKEN + 15), (12, 700), (15, 333)])
@torch.no_grad()
def test_any_number_of_leads_and_any_length(leads, samples):
    model = build(num_leads=leads)
    output = model(ecgs(leads=leads, samples=samples), output_hidden_states=True)
    assert output.last_hidden_state.shape == (3, 1 + samples // TOKEN, 24)
    assert output.last_hidden_state.isfinite().all()
    assert torch.equal(output.pooler_output, output.last_hidden_state[:, 0])
    assert model.num_tokens(samples) == samples // TOKEN
    assert len(output.hidden_states) == 3
    assert torch.equal(output.hidden_states[-1], output.last_hidden_state)


@pytest.mark.parametrize("widths", [[7], [6, 10], [4, 5, 6, 7, 8, 9]])
@torch.no_grad()
def test_a_token_is_2_to_the_power_of_the_convolutions_long(widths):
    model = build(conv_hidden_sizes=widths)
    token = 2 ** len(widths)
    assert model.config.frame_stride == token
    assert model(ecgs(samples=token)).last_hidden_state.shape[1] == 2
    with pytest.raises(
        ValueError, match=f"{token - 1} samples are shorter than the encoder's reach of {token} samples"
    ):
        model(ecgs(samples=token - 1))


def test_a_record_shorter_than_a_token_is_refused():
    with pytest.raises(ValueError, match="15 samples are shorter than the encoder's reach of 16 samples"):
        build()(ecgs(samples=15))


@torch.no_grad()
def test_offsets_of_leads_and_a_common_gain_change_nothing():
    model, given = build(), ecgs()
    expected = model(given).pooler_output
    close(model(given + torch.tensor([1.0, -2.0, 0.5, 3.0, -1.0])[:, None]).pooler_output, expected, 1e-4)
    close(model(given * 10).pooler_output, expected, 1e-3)  # not equal: the norm has an epsilon
    assert (model(given * torch.tensor([10.0, 1, 1, 1, 1])[:, None]).pooler_output - expected).abs().max() > 0.01


# Training, saving, and as a part of others


@pytest.mark.parametrize("norm_order", ["post", "pre"])
def test_gradient_checkpointing_gives_the_same_gradients(norm_order):
    gradients = []
    mask = torch.arange(SAMPLES)[None] < torch.tensor([5 * TOKEN, SAMPLES, SAMPLES])[:, None]
    for checkpointing in (False, True):
        model = build(norm_order=norm_order, hidden_dropout=0.0, attention_dropout=0.0).train()
        if checkpointing:
            enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
            enable()
        calls = []
        model.encoder_layers[0].register_forward_pre_hook(lambda *given, calls=calls: calls.append(1))
        model(ecgs(), ecg_attention_mask=mask).pooler_output.square().sum().backward()
        assert len(calls) == (2 if checkpointing else 1)
        gradients.append({name: parameter.grad for name, parameter in model.named_parameters()})
    assert all(
        gradient is not None and gradient.abs().max() > 0
        for name, gradient in gradients[0].items()
        if "key.bias" not in name
    )
    for name, gradient in gradients[0].items():
        close(gradients[1][name], gradient)


def test_dropout_acts_in_training_alone():
    model = build()
    assert torch.equal(model(ecgs()).pooler_output, model(ecgs()).pooler_output)
    model.train()
    assert not torch.equal(model(ecgs()).pooler_output, model(ecgs()).pooler_output)


@torch.no_grad()
def test_new_weights_are_finite_and_begin_alike_at_every_size():
    for fields in ({}, {"position_kernel_size": 40, "norm_order": "pre"}):
        torch.manual_seed(0)
        model = ECGTransformerModel(ECGTransformerConfig(**{**FIELDS, **fields})).eval()
        output = model(ecgs()).last_hidden_state
        assert output.isfinite().all() and 0.5 < output.std() < 2


@pytest.mark.parametrize("norm_order", ["post", "pre"])
@torch.no_grad()
def test_saving_and_loading(tmp_path, norm_order):
    model = build(norm_order=norm_order)
    model.save_pretrained(tmp_path)
    for load in (AutoModel, ECGTransformerModel):
        loaded = load.from_pretrained(tmp_path)
        assert type(loaded) is ECGTransformerModel and not loaded.training
        assert loaded.config.norm_order == norm_order
        assert torch.equal(loaded(ecgs()).last_hidden_state, model(ecgs()).last_hidden_state)


@torch.no_grad()
def test_half_precision():
    model = build()
    expected = model(ecgs()).pooler_output
    output = model.to(torch.bfloat16)(ecgs()).pooler_output
    assert output.dtype == torch.bfloat16
    assert functional.cosine_similarity(output.float(), expected).min() > 0.99


def test_a_tuple_on_request():
    output = build()(ecgs(), return_dict=False)
    assert isinstance(output, tuple) and output[0].shape == (3, 1 + TOKENS, 24) and output[1].shape == (3, 24)


def test_a_dual_encoder_stands_on_it(tmp_path):
    fields = {"ecg_config": {"model_type": "ecg_transformer", **FIELDS}, "text_config": BERT, "projection_dim": 17}
    model = draw_weights(ECGTextModel(ECGTextConfig(**fields)))
    assert type(model.ecg_model) is ECGTransformerModel
    texts = {"input_ids": INPUT_IDS, "attention_mask": (INPUT_IDS != 0).long()}
    output = model(ecgs(), **texts, return_loss=True)
    assert output.logits_per_ecg.shape == (3, 3) and output.ecg_embeds.shape == (3, 17)
    output.loss.backward()
    assert all(parameter.grad is not None for parameter in model.ecg_model.parameters())
    model.save_pretrained(tmp_path)
    loaded = AutoModel.from_pretrained(tmp_path)
    assert type(loaded) is ECGTextModel and isinstance(loaded.config.ecg_config, ECGTransformerConfig)
    assert torch.equal(loaded(ecgs(), **texts).logits_per_ecg, output.logits_per_ecg)
    encoder = ECGTransformerModel.from_pretrained(tmp_path)
    assert torch.equal(encoder(ecgs()).pooler_output, model.ecg_model(ecgs()).pooler_output)
    mask = torch.arange(SAMPLES)[None] < torch.tensor([5 * TOKEN, SAMPLES, SAMPLES])[:, None]
    features = model.get_ecg_features(ecgs(), ecg_attention_mask=mask)
    close(features[:1], model.get_ecg_features(ecgs()[:1, :, : 5 * TOKEN]))


def test_a_classifier_stands_on_it(tmp_path):
    ecg_config = {"model_type": "ecg_transformer", **FIELDS}
    model = draw_weights(ECGForSequenceClassification(ECGClassificationConfig(ecg_config=ecg_config, num_labels=4)))
    output = model(ecgs(), labels=torch.eye(4)[:3])
    assert output.logits.shape == (3, 4)
    output.loss.backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    model.save_pretrained(tmp_path)
    loaded = ECGForSequenceClassification.from_pretrained(tmp_path)
    assert torch.equal(loaded(ecgs()).logits, output.logits)
    build().save_pretrained(tmp_path / "encoder")
    fresh = ECGForSequenceClassification.from_pretrained(tmp_path / "encoder", num_labels=4)
    assert torch.equal(fresh.ecg_model(ecgs()).pooler_output, build()(ecgs()).pooler_output)
