import pytest
import torch

from mets_ecg import ECGForSequenceClassification, ECGResNetConfig, ECGResNetModel
from mets_ecg.ecg_models import ECG_MODELS, load_ecg_model


def test_every_encoder_of_the_table_is_built_from_its_config():
    for model_type, model_class in ECG_MODELS.items():
        config = model_class.config_class()
        assert config.model_type == model_type
        assert all(isinstance(layer, torch.nn.Module) for layer in model_class(config).layers())


def test_an_encoder_is_taken_out_of_each_kind_of_checkpoint(tiny_model, tiny_checkpoint, tmp_path):
    tiny_model.ecg_model.save_pretrained(tmp_path / "encoder")
    classifier = ECGForSequenceClassification.from_pretrained(tiny_checkpoint, num_labels=3)
    classifier.save_pretrained(tmp_path / "classifier")
    expected = tiny_model.ecg_model.state_dict()
    for checkpoint in (tiny_checkpoint, tmp_path / "encoder", tmp_path / "classifier"):
        found = load_ecg_model(checkpoint).state_dict()
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_layers_are_all_of_the_encoder_in_order():
    model = ECGResNetModel(ECGResNetConfig(hidden_sizes=[6, 10], depths=[1, 2]))
    layers = model.layers()
    assert layers[0] is model.stem and layers[1:4] == list(model.blocks)
    assert sum(p.numel() for layer in layers for p in layer.parameters()) == sum(p.numel() for p in model.parameters())


def test_what_holds_no_encoder_is_named(tiny_text_model):
    with pytest.raises(ValueError, match="holds no ECG encoder"):
        load_ecg_model(tiny_text_model)
