import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel, BertConfig, BertModel

from mets_ecg import ECGEncoderOutput, ECGResNetModel, ECGTextModel
from mets_ecg.modeling_ecg_encoder import check_ecg_input, downsample_mask


@pytest.mark.parametrize(("samples", "stride", "frames"), [(701, 2, 351), (700, 2, 350), (7, 3, 3), (5, 1, 5)])
def test_frames_are_the_samples_over_the_stride_rounded_up(samples, stride, frames):
    assert downsample_mask(torch.ones(3, samples), stride).shape == (3, frames)


def test_a_frame_is_recorded_if_its_first_sample_is():
    mask = torch.tensor([[1, 1, 1, 1, 0, 0, 0], [1, 1, 1, 0, 0, 0, 0]]).bool()
    assert downsample_mask(mask, 3).tolist() == [[True, True, False], [True, False, False]]


def check(values, mask=None, lead_mask=None):
    check_ecg_input(values, mask, lead_mask, num_leads=5, min_samples=32)


def test_input_of_the_right_shape_passes():
    check(torch.zeros(3, 5, 32), torch.ones(3, 32), torch.ones(3, 5))


@pytest.mark.parametrize("shape", [(3, 701, 5), (5, 701), (3, 12, 701), (3, 1, 5, 701)])
def test_input_of_another_shape_is_refused(shape):
    with pytest.raises(ValueError, match=r"input_values must be \(batch, 5 leads, samples\), got \("):
        check(torch.zeros(shape))


def test_a_recording_shorter_than_the_reach_is_refused():
    with pytest.raises(ValueError, match="31 samples are shorter than the encoder's reach of 32 samples"):
        check(torch.zeros(3, 5, 31))


def test_masks_of_another_shape_are_refused():
    with pytest.raises(
        ValueError, match=r"ecg_attention_mask must be of shape \(3, 701\) for this batch, got \(3, 1\)"
    ):
        check(torch.zeros(3, 5, 701), torch.ones(3, 1))
    with pytest.raises(ValueError, match=r"lead_mask must be of shape \(3, 5\) for this batch, got \(1, 5\)"):
        check(torch.zeros(3, 5, 701), lead_mask=torch.ones(1, 5))


def test_an_output_is_a_tuple_too():
    hidden, pooled = torch.zeros(3, 22, 14), torch.zeros(3, 14)
    assert [part.shape for part in ECGEncoderOutput(hidden, pooled).to_tuple()] == [(3, 22, 14), (3, 14)]


def edit_weights(folder, edit):
    weights = load_file(folder / "model.safetensors")
    edit(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def edit_config(folder, **fields):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **fields}))


LOADERS = [ECGTextModel.from_pretrained, AutoModel.from_pretrained, ECGResNetModel.from_pretrained]


@pytest.mark.parametrize("load", LOADERS)
@pytest.mark.parametrize("keep", [40_000, 20, 0])
def test_a_cut_off_file_is_named(tiny_checkpoint, load, keep):
    weights = tiny_checkpoint / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:keep])
    with pytest.raises(OSError, match="cannot be read .*: the file is damaged or incomplete") as error:
        load(tiny_checkpoint)
    assert str(tiny_checkpoint) in str(error.value)


@pytest.mark.parametrize("load", LOADERS)
def test_a_missing_file_is_named(tiny_checkpoint, load):
    (tiny_checkpoint / "model.safetensors").unlink()
    with pytest.raises(OSError, match="no file named model.safetensors") as error:
        load(tiny_checkpoint)
    assert str(tiny_checkpoint) in str(error.value)


@pytest.mark.parametrize("load", LOADERS)
def test_a_missing_weight_is_an_error(tiny_checkpoint, load):
    edit_weights(tiny_checkpoint, lambda weights: weights.pop("ecg_model.blocks.1.norm2.layer.running_var"))
    with pytest.raises(ValueError, match=r"missing: (ecg_model\.)?blocks\.1\.norm2\.layer\.running_var\.") as error:
        load(tiny_checkpoint)
    assert str(tiny_checkpoint) in str(error.value)


@pytest.mark.parametrize("name", ["logit_scale", "text_mean", "ecg_projection.0.bias"])
def test_a_missing_weight_outside_the_towers_is_an_error(tiny_checkpoint, name):
    edit_weights(tiny_checkpoint, lambda weights: weights.pop(name))
    with pytest.raises(ValueError, match=f"do not fit ECGTextModel: missing: {name}"):
        ECGTextModel.from_pretrained(tiny_checkpoint)


def test_many_missing_weights_are_counted(tiny_checkpoint):
    def drop_text_model(weights):
        for name in [name for name in weights if name.startswith("text_model.")]:
            weights.pop(name)

    edit_weights(tiny_checkpoint, drop_text_model)
    # 5 of embeddings, 2 layers of 16, 2 of the pooler
    with pytest.raises(ValueError, match="missing: text_model.embeddings.* and 34 more"):
        ECGTextModel.from_pretrained(tiny_checkpoint)


@pytest.mark.parametrize("load", LOADERS)
def test_a_weight_of_another_shape_is_an_error(tiny_checkpoint, load):
    name = "ecg_model.blocks.0.convolution1.weight"
    edit_weights(tiny_checkpoint, lambda weights: weights.update({name: torch.zeros(6, 6, 1, 5)}))
    with pytest.raises(ValueError, match=r"mismatched: .*weight \(6, 6, 1, 5\) instead of \(6, 6, 1, 3\)") as error:
        load(tiny_checkpoint)
    assert str(tiny_checkpoint) in str(error.value)


@pytest.mark.parametrize("name", ["logit_bias", "text_adapter.weight", "ecg_model.blocks.9.weight"])
def test_a_weight_left_over_is_an_error(tiny_checkpoint, name):
    edit_weights(tiny_checkpoint, lambda weights: weights.update({name: torch.zeros(2)}))
    with pytest.raises(ValueError, match=f"unexpected: {name}"):
        ECGTextModel.from_pretrained(tiny_checkpoint)


def test_a_config_that_does_not_fit_its_weights_is_an_error(tiny_checkpoint):
    edit_config(tiny_checkpoint, text_centering=False)
    with pytest.raises(ValueError, match="unexpected: text_mean"):
        ECGTextModel.from_pretrained(tiny_checkpoint)
    edit_config(tiny_checkpoint, text_centering=True, projection_dim=None)
    with pytest.raises(ValueError, match=r"unexpected: text_projection.*mismatched: ecg_projection.0.bias \(17,\)"):
        ECGTextModel.from_pretrained(tiny_checkpoint)


def test_another_models_checkpoint_is_refused(tmp_path, tiny_checkpoint):
    bert = BertConfig(vocab_size=20, hidden_size=24, num_hidden_layers=1, num_attention_heads=3, intermediate_size=37)
    BertModel(bert).save_pretrained(tmp_path / "bert")
    with pytest.raises(ValueError, match="of type 'bert', not 'ecg_text'"):
        ECGTextModel.from_pretrained(tmp_path / "bert")
    ECGResNetModel.from_pretrained(tiny_checkpoint).save_pretrained(tmp_path / "resnet")
    with pytest.raises(ValueError, match="of type 'ecg_resnet', not 'ecg_text'"):
        ECGTextModel.from_pretrained(tmp_path / "resnet")


def test_weights_that_do_not_fit_load_where_that_is_asked_for(tiny_checkpoint):
    name = "ecg_projection.0.weight"
    edit_weights(tiny_checkpoint, lambda weights: weights.update({name: torch.zeros(17, 15)}))
    model, info = ECGTextModel.from_pretrained(tiny_checkpoint, ignore_mismatched_sizes=True, output_loading_info=True)
    assert model.ecg_projection[0].weight.shape == (17, 14)
    assert [entry[0] for entry in info["mismatched_keys"]] == [name]


def test_an_unknown_keyword_is_an_error(tiny_checkpoint):
    with pytest.raises(TypeError, match="los_type"):
        ECGTextModel.from_pretrained(tiny_checkpoint, los_type="decoupled")
