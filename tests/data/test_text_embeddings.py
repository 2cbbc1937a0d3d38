import torch

from mets_ecg.data.text_embeddings import encode_distinct


def test_each_distinct_text_is_encoded_once_and_found_for_every_record(tiny_model, tiny_processor, monkeypatch):
    texts = ["sinus rhythm", "left bundle branch block and sinus rhythm", "sinus rhythm", "af", "af"]
    encoded = []
    encode = tiny_model.encode_text
    monkeypatch.setattr(
        tiny_model, "encode_text", lambda ids, mask: (encoded.append(len(ids)), encode(ids, mask))[1], raising=True
    )

    pooled, index = encode_distinct(tiny_model, tiny_processor, texts, batch_size=2, progress=False)

    assert sum(encoded) == 3 == len(pooled)
    for text, row in zip(texts, pooled[index], strict=True):
        inputs = tiny_processor(text=text, return_tensors="pt")
        assert torch.allclose(row, encode(inputs["input_ids"], inputs["attention_mask"])[0], atol=1e-6)
