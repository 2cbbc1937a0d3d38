import pytest
import torch
from torch import nn
from transformers import AutoModel

from mets_ecg import ECGResNetConfig, ECGResNetModel
from mets_ecg.modeling_ecg_resnet import ECGResNetBlock, ECGResNetNorm

BATCH, LEADS, SAMPLES = 3, 5, 701


def build(seed=0, **fields):
    torch.manual_seed(seed)
    sizes = {"num_leads": LEADS, "hidden_sizes": [6, 10, 14], "depths": [1, 2, 1], "num_groups": 2}
    model = ECGResNetModel(ECGResNetConfig(**{**sizes, **fields})).eval()
    with torch.no_grad():
        # New statistics are 0 and 1, new affine parameters 1 and 0: they would hide mistakes.
        for module in model.modules():
            if isinstance(module, (nn.BatchNorm2d, nn.GroupNorm)):
                module.weight.uniform_(0.5, 1.5)
                module.bias.uniform_(-0.3, 0.3)
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.uniform_(-0.3, 0.3)
                module.running_var.uniform_(0.5, 1.5)
    return model


def signals(samples=SAMPLES, batch=BATCH, leads=LEADS, seed=1):
    return torch.randn(batch, leads, samples, generator=torch.Generator().manual_seed(seed))


def assert_close(actual, expected, tolerance=1e-4):
    torch.testing.assert_close(actual, expected, atol=tolerance, rtol=tolerance)


NORMS_AND_POOLINGS = [
    pytest.param({"norm": norm, "pooling": pooling, **more}, id=f"{norm}-{pooling}-{'-'.join(more)}")
    for norm in ("batch", "group")
    for pooling in ("average", "max", "attention")
    for more in ({}, {"stem_pooling": False}, {"stem_stride": 3})
]


def test_the_default_is_resnet18_of_one_dimension():
    model = ECGResNetModel(ECGResNetConfig())

    def block(before, after, downsamples):
        convolutions = 3 * before * after + 3 * after * after + (before * after if downsamples else 0)
        return convolutions + 2 * after * (3 if downsamples else 2)

    stem = 12 * 64 * 7 + 2 * 64
    stages = 2 * block(64, 64, False) + sum(
        block(width // 2, width, True) + block(width, width, False) for width in (128, 256, 512)
    )
    assert stem + stages == 3_848_832
    assert sum(parameter.numel() for parameter in model.parameters()) == 3_848_832
    with torch.no_grad():
        output = model.eval()(torch.zeros(2, 12, 5000))
    assert output.last_hidden_state.shape == (2, 157, 512)  # 5000 / 32 = 156.25
    assert output.pooler_output.shape == (2, 512)


def test_layers_of_resnet18():
    model = ECGResNetModel(ECGResNetConfig(num_leads=LEADS))
    seen = []
    for module in [model.stem, *model.blocks]:
        module.register_forward_hook(lambda module, inputs, output: seen.append(tuple(output[0].shape)))
    with torch.no_grad():
        model.eval()(signals())
    assert seen[0] == (3, 64, 1, 176)  # 701 -> 351 -> 176
    assert seen[1:] == [
        (3, 64, 1, 176), (3, 64, 1, 176), (3, 128, 1, 88), (3, 128, 1, 88),
        (3, 256, 1, 44), (3, 256, 1, 44), (3, 512, 1, 22), (3, 512, 1, 22),
    ]  # fmt: skip


def plain_resnet(model, ecg):
    """The network again, of one-dimensional operations."""

    def conv(layer, hidden, stride=1):
        return nn.functional.conv1d(hidden, layer.weight.squeeze(2), stride=stride, padding=layer.kernel_size[1] // 2)

    def norm(module, hidden):
        layer = module.layer
        statistics = (None, None) if model.training else (layer.running_mean, layer.running_var)
        return nn.functional.batch_norm(hidden, *statistics, layer.weight, layer.bias, training=model.training)

    hidden = norm(model.stem.norm, conv(model.stem.convolution, ecg, stride=2)).relu()
    hidden = nn.functional.max_pool1d(hidden, 3, 2, padding=1)
    for block, stride in zip(model.blocks, (1, 2, 1, 2), strict=True):
        residual = norm(block.shortcut_norm, conv(block.shortcut, hidden, stride)) if stride == 2 else hidden
        hidden = norm(block.norm1, conv(block.convolution1, hidden, stride)).relu()
        hidden = (norm(block.norm2, conv(block.convolution2, hidden)) + residual).relu()
    return hidden.transpose(1, 2)


def test_the_network_equals_plain_one_dimensional_convolutions():
    model, ecg = build(stem_kernel_size=5), signals()
    with torch.no_grad():
        output, frames = model(ecg), plain_resnet(model, ecg)
    assert_close(output.last_hidden_state, frames)
    assert_close(output.pooler_output, frames.mean(dim=1))


def test_gradients_equal_those_of_plain_one_dimensional_convolutions():
    # With a shortcut of stride (1, 2) in channels-last order this crashed, or was wrong.
    model, ecg = build().train(), signals()
    model(ecg).pooler_output.sigmoid().sum().backward()
    own = {name: parameter.grad.double() for name, parameter in model.named_parameters()}
    model.double().zero_grad()
    plain_resnet(model, ecg.double()).mean(dim=1).sigmoid().sum().backward()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(own[name], parameter.grad, atol=1e-4, rtol=1e-4)


def test_poolings_by_hand():
    ecg = signals()
    for pooling in ("max", "attention"):
        model = build(pooling=pooling)
        with torch.no_grad():
            output = model(ecg)
            frames = output.last_hidden_state
            if pooling == "max":
                expected = frames.max(dim=1).values
            else:
                model.pooler.query.weight.normal_()
                output = model(ecg)
                weights = (frames @ model.pooler.query.weight[0]).exp()
                expected = (frames * (weights / weights.sum(dim=1, keepdim=True))[:, :, None]).sum(dim=1)
        assert_close(output.pooler_output, expected)


@pytest.mark.parametrize("fields", [{}, {"stem_pooling": False}, {"stem_stride": 3}, {"kernel_size": 5}])
@pytest.mark.parametrize("samples", [701, 700, 64, 37])
def test_there_is_a_frame_for_each_stride_begun(fields, samples):
    model = build(**fields)
    with torch.no_grad():
        output = model(signals(samples))
    assert output.last_hidden_state.shape == (BATCH, -(-samples // model.config.frame_stride), 14)
    assert output.frame_mask is None


@pytest.mark.parametrize("fields", NORMS_AND_POOLINGS)
def test_padding_changes_nothing(fields):
    model = build(**fields)
    if fields["pooling"] == "attention":
        nn.init.normal_(model.pooler.query.weight, std=0.3)
    lengths = (701, 389, 158)
    padded, mask = torch.full((3, LEADS, 720), 7.0), torch.zeros(3, 720, dtype=torch.long)
    for i, length in enumerate(lengths):
        padded[i, :, :length] = signals(length, batch=1, seed=i)[0]
        mask[i, :length] = 1
    with torch.no_grad():
        output = model(padded, ecg_attention_mask=mask)
        for i, length in enumerate(lengths):
            alone = model(signals(length, batch=1, seed=i))
            frames = -(-length // model.config.frame_stride)
            assert output.frame_mask[i].sum() == frames and output.frame_mask[i, :frames].all()
            assert_close(output.last_hidden_state[i, :frames], alone.last_hidden_state[0])
            assert not output.last_hidden_state[i, frames:].any()
            assert_close(output.pooler_output[i], alone.pooler_output[0])


@pytest.mark.parametrize("norm", ["batch", "group"])
def test_a_mask_of_ones_is_the_plain_path(norm):
    model = build(norm=norm)
    for training in (False, True):
        model.train(training)
        with torch.no_grad():
            plain = model(signals()).pooler_output
            assert_close(model(signals(), torch.ones(BATCH, SAMPLES)).pooler_output, plain)


def test_batch_statistics_leave_padding_out():
    padded = signals(720)
    padded[:, :, 640:] = 50.0
    mask = torch.zeros(BATCH, 720)
    mask[:, :640] = 1
    masked, plain = build().train(), build().train()
    output = masked(padded, ecg_attention_mask=mask)
    expected = plain(padded[:, :, :640])
    frames = expected.last_hidden_state.shape[1]
    assert_close(output.last_hidden_state[:, :frames], expected.last_hidden_state)
    assert_close(output.pooler_output, expected.pooler_output)
    for name, buffer in plain.named_buffers():
        assert_close(masked.get_buffer(name), buffer)
        assert not torch.equal(buffer, build().get_buffer(name)), f"{name} did not move: the test shows nothing"
    output.pooler_output.square().sum().backward()
    expected.pooler_output.square().sum().backward()
    for name, parameter in plain.named_parameters():
        torch.testing.assert_close(masked.get_parameter(name).grad, parameter.grad, atol=1e-3, rtol=1e-3)


def test_group_norm_with_a_mask_keeps_its_digits_in_half_precision():
    norm = ECGResNetNorm(ECGResNetConfig(norm="group", hidden_sizes=[6], depths=[1], num_groups=2), 6)
    hidden = (signals(2999, leads=6) * 3 + 20).unsqueeze(2)
    mask = torch.ones(BATCH, 2999, dtype=torch.bool)
    with torch.no_grad():
        half = norm(hidden.bfloat16(), mask)
        assert half.dtype == torch.bfloat16
        assert_close(half.float(), norm.layer(hidden.bfloat16().float()), tolerance=2e-2)


@pytest.mark.parametrize("norm", ["batch", "group"])
def test_other_recordings_of_a_batch_change_nothing(norm):
    model, ecg = build(norm=norm), signals()
    with torch.no_grad():
        together = model(ecg).pooler_output
        for i in range(BATCH):
            assert_close(model(ecg[i : i + 1]).pooler_output[0], together[i])
        assert_close(model(ecg[[2, 0]]).pooler_output, together[[2, 0]])


def test_a_masked_lead_counts_as_zero():
    model, ecg = build(), signals()
    lead_mask = torch.ones(BATCH, LEADS, dtype=torch.long)
    lead_mask[0, 3] = lead_mask[2, 0] = 0
    zeroed = ecg.clone()
    zeroed[0, 3] = zeroed[2, 0] = 0
    ecg[0, 3] = float("nan")
    with torch.no_grad():
        output, expected = model(ecg, lead_mask=lead_mask).pooler_output, model(zeroed).pooler_output
        assert torch.equal(output, expected)
        assert not torch.allclose(model(signals()).pooler_output[2], expected[2], atol=1e-4)


def test_a_recording_shorter_than_the_reach_is_refused():
    model = build()
    assert model.config.frame_stride == 16
    model(signals(16))
    with pytest.raises(ValueError, match="15 samples are shorter than the encoder's reach of 16 samples"):
        model(signals(15))


def test_leads_of_another_number_are_refused():
    with pytest.raises(ValueError, match=r"input_values must be \(batch, 5 leads, samples\), got \(3, 12, 701\)"):
        build()(signals(leads=12))


def test_a_tuple_on_request():
    model = build()
    frames, pooled = model(signals(), return_dict=False)
    assert frames.shape == (BATCH, 44, 14) and pooled.shape == (BATCH, 14)


def test_hidden_states_on_request():
    model = build()
    output = model(signals(), output_hidden_states=True)
    assert [state.shape[2] for state in output.hidden_states] == [
        model.config.hidden_sizes[0],
        *(block.convolution2.out_channels for block in model.blocks),
    ]
    assert torch.equal(output.hidden_states[-1], output.last_hidden_state)
    assert model(signals()).hidden_states is None


def test_a_misspelt_argument_is_refused():
    with pytest.raises(TypeError, match="lead_masks"):
        build()(signals(), lead_masks=None)


def test_saving_and_loading(tmp_path):
    model = build(pooling="attention", norm="group")
    model.save_pretrained(tmp_path / "one")
    loaded, info = AutoModel.from_pretrained(tmp_path / "one", output_loading_info=True)
    assert type(loaded) is ECGResNetModel and not loaded.training
    assert not info["missing_keys"] and not info["unexpected_keys"] and not info["mismatched_keys"]
    with torch.no_grad():
        assert torch.equal(loaded(signals()).pooler_output, model(signals()).pooler_output)
    loaded.save_pretrained(tmp_path / "two")
    for name in ("config.json", "model.safetensors"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_loading_leaves_nothing_to_chance(tmp_path):
    model = build()
    model.save_pretrained(tmp_path)
    loaded = ECGResNetModel.from_pretrained(tmp_path)
    expected = dict([*model.named_parameters(), *model.named_buffers()])
    actual = dict([*loaded.named_parameters(), *loaded.named_buffers()])
    assert actual.keys() == expected.keys()
    for name in expected:
        assert torch.equal(actual[name], expected[name]), name


def test_the_tower_of_a_dual_encoder_loads_alone(tiny_checkpoint, tiny_model):
    tower, info = ECGResNetModel.from_pretrained(tiny_checkpoint, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"] and not info["mismatched_keys"]
    for name, weight in tiny_model.ecg_model.state_dict().items():
        assert torch.equal(tower.state_dict()[name], weight), name
    ecg = signals(leads=12)
    with torch.no_grad():
        assert torch.equal(tower(ecg).pooler_output, tiny_model.ecg_model(ecg).pooler_output)


def test_half_precision(tmp_path):
    model = build()
    model.save_pretrained(tmp_path)
    half = ECGResNetModel.from_pretrained(tmp_path, dtype=torch.bfloat16)
    lead_mask, mask = torch.ones(BATCH, LEADS), torch.ones(BATCH, SAMPLES)
    with torch.no_grad():
        pooled, expected = half(signals()).pooler_output, model(signals()).pooler_output
        masked = half(signals(), mask, lead_mask).pooler_output
    assert pooled.dtype == masked.dtype == torch.bfloat16
    assert torch.cosine_similarity(pooled.float(), expected).min() > 0.999
    assert torch.cosine_similarity(masked.float(), expected).min() > 0.999


def test_new_convolutions_follow_he():
    block = ECGResNetModel(ECGResNetConfig()).blocks[-1]
    assert isinstance(block, ECGResNetBlock)
    # fan out of 512 channels and 3 taps
    assert block.convolution1.weight.std().item() == pytest.approx((2 / (512 * 3)) ** 0.5, rel=0.01)
