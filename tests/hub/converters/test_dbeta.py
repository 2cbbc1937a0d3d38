"""The released D-BETA, made here to its table of names and shapes, against a forward in plain torch functions."""

import importlib.util
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoModel, AutoModelForPreTraining, AutoProcessor, T5Config

from mets_ecg import c_melt_config
from mets_ecg.hub.convert import convert_checkpoint, converter_weights
from mets_ecg.hub.converters.dbeta import DBETA


def _load_reference():
    path = Path(__file__).parents[2] / "dbeta_reference.py"
    spec = importlib.util.spec_from_file_location("dbeta_reference", path)
    module = sys.modules["dbeta_reference"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


released = _load_reference()
CODES = "mim_head.decoder_pos_embed.pe"
HEADS = released.Heads(ecg=12, fusion=12, decoder=6)


def make_checkpoint() -> dict[str, torch.Tensor]:
    """Tensors of the released names and shapes, drawn; none is 0 and no norm is 1."""
    generator = torch.Generator().manual_seed(0)
    tensors = {}
    for name, shape in released.read_table().items():
        drawn = torch.randn(shape, generator=generator)
        fan_in = drawn[0].numel() if len(shape) > 1 else 1
        is_norm = "norm" in name.lower() and name.endswith("weight") or ".ln_" in name and name.endswith("weight")
        tensors[name] = 1 + 0.1 * drawn if is_norm else drawn / fan_in**0.5 if len(shape) > 1 else 0.1 * drawn
    shape = tensors[CODES].shape
    tensors[CODES] = released.position_codes(*shape[-2:])[None]
    tied = "language_encoder.shared.weight", "language_encoder.encoder.embed_tokens.weight"
    tensors[tied[1]] = tensors[tied[0]]
    return tensors


def test_every_released_name_has_a_place_in_the_model():
    with torch.device("meta"):
        ours = set(DBETA.model().state_dict())
    named = {name: DBETA.our_name(name) for name in released.read_table() if name not in DBETA.computed}
    assert set(named.values()) == ours and len(named) == len(ours) == 644
    assert set(DBETA.computed) == {CODES}


def test_the_processor_does_what_the_released_code_did(trained):
    processor = DBETA.processor(str(trained["tiny-c-melt"]))
    extractor = processor.feature_extractor
    assert (extractor.sampling_rate, extractor.bandpass, extractor.scaling, extractor.max_duration) == (
        500,
        None,
        "none",
        10,
    )
    assert (processor.lowercase, processor.max_length, processor.hypothesis_template) == (True, 254, "{}")
    raw = torch.randn(12, 5000).numpy()
    values = processor(ecg=raw, sampling_rate=500, return_tensors="np")["input_values"][0]
    assert (values == raw).all()  # raw millivolts


@pytest.mark.slow
@torch.no_grad()
def test_a_released_file_is_converted_and_computes_what_was_released(tmp_path, trained):
    """At full size: 346 million numbers; 6 GB of memory."""
    weights = make_checkpoint()
    torch.save({"model": weights, "args": None}, tmp_path / "sample.pt")
    convert_checkpoint(
        DBETA, str(tmp_path / "sample.pt"), str(tmp_path / "d-beta"), tokenizer=str(trained["tiny-c-melt"])
    )
    ecg = torch.randn(2, 12, 5000, generator=torch.Generator().manual_seed(1)).cumsum(dim=2) * 0.05
    ids = torch.tensor([[71, 3, 9, 4211, 1], [1501, 17, 31999, 5, 1]])
    mask = torch.ones_like(ids)
    config = T5Config(**{k: v for k, v in c_melt_config().text_config.to_dict().items() if k != "model_type"})
    states = released.text_states(weights, config, ids, mask)
    expected_ecg, expected_text = released.ecg_vector(weights, ecg, HEADS), released.text_vector(weights, states)
    kept = torch.stack([torch.randperm(312, generator=torch.Generator().manual_seed(i))[:78] for i in range(2)])
    labels, aligned = ids.clone(), torch.tensor([1, 0])
    expected = released.training_pass(weights, config, HEADS, ecg, kept, ids, mask, labels, aligned)
    del weights

    dual = AutoModel.from_pretrained(tmp_path / "d-beta")
    torch.testing.assert_close(dual.get_ecg_features(ecg), expected_ecg, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(dual.get_text_features(ids, mask), expected_text, atol=1e-5, rtol=1e-5)
    del dual
    model = AutoModelForPreTraining.from_pretrained(tmp_path / "d-beta")
    output = model(ecg, ids, mask, kept_tokens=kept, mlm_labels=labels, aligned=aligned)
    torch.testing.assert_close(output.etm_logits, expected["etm_logits"], atol=1e-5, rtol=1e-4)
    for name in ("mem_loss", "mlm_loss", "etm_loss", "ets_loss"):
        torch.testing.assert_close(output[name], expected[name], atol=1e-5, rtol=1e-4)
    assert AutoProcessor.from_pretrained(tmp_path / "d-beta").feature_extractor.sampling_rate == 500
    assert len(converter_weights(DBETA, str(tmp_path / "sample.pt"))) == 645
