import pytest
import torch
from datasets import Dataset

from mets_ecg.data.text_embeddings import RecordTexts, encode_texts, read_texts


def test_each_distinct_text_is_encoded_once_and_found_for_every_record(tiny_model, tiny_processor, monkeypatch):
    texts = [("sinus rhythm", "lbbb"), ("left bundle branch block and sinus rhythm",), ("lbbb", "sinus rhythm", "af")]
    encoded = []
    encode = tiny_model.encode_text
    monkeypatch.setattr(
        tiny_model, "encode_text", lambda ids, mask: (encoded.append(len(ids)), encode(ids, mask))[1], raising=True
    )

    found = encode_texts(tiny_model, tiny_processor, texts, batch_size=2, progress=False)

    assert sum(encoded) == 4 == len(found.pooled)
    assert (found.text_ids_per_record >= 0).sum(dim=1).tolist() == [2, 1, 3]
    for own, held in zip(texts, found.text_ids_per_record, strict=True):
        for text, row in zip(own, held, strict=False):
            inputs = tiny_processor(text=tiny_processor.format_report(text), return_tensors="pt")
            expected = encode(inputs["input_ids"], inputs["attention_mask"])[0]
            assert torch.allclose(found.pooled[row], expected, atol=1e-6)


def test_texts_are_drawn_from_the_record_and_common_ones_less_often():
    texts = RecordTexts(tuple("abcd"), torch.tensor([[0, 1, 2], [3, -1, -1], *[[2, -1, -1]] * 3]))
    source = torch.Generator().manual_seed(0)
    drawn = torch.stack([texts.draw(torch.tensor([0, 1, 2]), source) for _ in range(2000)])
    assert (drawn[:, 1] == 3).all() and (drawn[:, 2] == 2).all()
    # Text 2 is held by four records where 0 and 1 are held by one: 1 / 2 beside 1 and 1.
    shares = torch.bincount(drawn[:, 0], minlength=3)[:3] / len(drawn)
    assert shares == pytest.approx(torch.tensor([0.4, 0.4, 0.2]), abs=0.04)


def test_the_mean_of_a_record_is_over_its_own_texts():
    texts = RecordTexts(
        ("a", "b", "c"), torch.tensor([[0, 2], [1, -1]]), torch.tensor([[1.0, 0.0], [3.0, 2.0], [5.0, 6.0]])
    )
    assert texts.mean_of_records().tolist() == [[3.0, 3.0], [3.0, 2.0]]


@pytest.fixture(scope="module")
def rows():
    return Dataset.from_dict(
        {
            "report": ["sinusrhythmus. Edit: NORM 100", "trace only requested.", None],
            "report_en": ["sinus rhythm.", "", None],
            "findings": [["sinus rhythm"], [], None],
        }
    )


@pytest.mark.parametrize(
    ("column", "text"), [("report", "sinusrhythmus."), ("report_en", "sinus rhythm."), ("findings", "sinus rhythm")]
)
def test_a_record_has_the_texts_of_the_column_or_none(rows, column, text):
    assert read_texts(rows, column) == [(text,), (), ()]


def test_a_column_that_says_nothing_is_named(rows):
    with pytest.raises(ValueError, match="none of 1 records has a text in 'findings'"):
        read_texts(rows.select([1]), "findings")
    with pytest.raises(ValueError, match="no text column 'report_en': the corpus has report, findings"):
        read_texts(rows.remove_columns("report_en"), "report_en")


def test_shares_say_how_often_each_text_is_drawn():
    texts = RecordTexts(tuple("abcd"), torch.tensor([[0, 1, 2], [3, -1, -1], *[[2, -1, -1]] * 3]))
    source = torch.Generator().manual_seed(0)
    drawn = torch.cat([texts.draw(torch.arange(5), source) for _ in range(4000)])
    often = torch.bincount(drawn, minlength=4) / len(drawn)
    assert torch.allclose(often.double(), texts.draw_shares, atol=0.01)
    assert float(texts.draw_shares.sum()) == pytest.approx(1)
