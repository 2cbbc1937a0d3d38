import pytest
import torch

from mets_ecg import ECGProcessor, ECGTextModel
from mets_ecg.data import text_cache, text_embeddings
from mets_ecg.data.text_embeddings import encode_texts


def test_what_was_encoded_before_an_interruption_is_not_encoded_again(
    tiny_model, tiny_processor, tmp_path, monkeypatch
):
    texts = [(f"finding number {i} of {'x' * (i % 7)}",) for i in range(20)]
    monkeypatch.setattr(text_embeddings, "_SECONDS_BETWEEN_SAVES", -1)
    encode, batches = tiny_model.encode_text, []

    def until(last):
        def encode_until(ids, mask):
            if len(batches) == last:
                raise KeyboardInterrupt
            batches.append(len(ids))
            return encode(ids, mask)

        return encode_until

    monkeypatch.setattr(tiny_model, "encode_text", until(3))
    with pytest.raises(KeyboardInterrupt):
        encode_texts(tiny_model, tiny_processor, texts, batch_size=4, progress=False)
    monkeypatch.setattr(tiny_model, "encode_text", until(None))
    resumed = encode_texts(tiny_model, tiny_processor, texts, batch_size=4, progress=False)
    assert batches == [4] * 5

    monkeypatch.setattr(text_cache, "cache_folder", lambda: tmp_path / "other")
    whole = encode_texts(tiny_model, tiny_processor, texts, batch_size=4, progress=False)
    assert torch.equal(resumed.pooled, whole.pooled)


@pytest.mark.parametrize("change", ["weights", "pooling", "template", "length"])
def test_another_text_encoder_or_prompt_does_not_find_what_is_kept(change, tiny_checkpoint, monkeypatch):
    model, processor = ECGTextModel.from_pretrained(tiny_checkpoint), ECGProcessor.from_pretrained(tiny_checkpoint)
    texts = [("sinus rhythm and left bundle branch block",)]
    before = encode_texts(model, processor, texts, progress=False).pooled
    if change == "weights":
        with torch.no_grad():
            model.text_model.get_input_embeddings().weight.add_(
                torch.randn_like(model.text_model.get_input_embeddings().weight)
            )
    elif change == "pooling":
        model.config.text_pooling = {"mean": "cls"}.get(model.config.text_pooling, "mean")
    elif change == "template":
        processor.report_template = "quite another sentence: {}"
    else:
        processor.max_length = 4
    assert not torch.equal(encode_texts(model, processor, texts, progress=False).pooled, before)


def test_a_damaged_file_is_passed_over(tiny_model, tiny_processor):
    texts = [("sinus rhythm",), ("left bundle branch block",)]
    before = encode_texts(tiny_model, tiny_processor, texts, progress=False).pooled
    (file,) = text_cache.cache_folder().rglob("*.safetensors")
    file.write_bytes(file.read_bytes()[:-5])
    assert torch.equal(encode_texts(tiny_model, tiny_processor, texts, progress=False).pooled, before)
