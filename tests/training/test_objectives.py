import pytest
import torch

from mets_ecg.data.text_embeddings import RecordTexts, encode_texts
from mets_ecg.training.objectives import ContrastiveObjective


def batch_of(*records, samples=320):
    generator = torch.Generator().manual_seed(5)
    return {
        "index": torch.tensor(records),
        "input_values": torch.randn(len(records), 12, samples, generator=generator),
        "lead_mask": torch.ones(len(records), 12, dtype=torch.bool),
    }


def one_each(*text_ids, hidden_size=24):
    pooled = torch.randn(max(text_ids) + 1, hidden_size, generator=torch.Generator().manual_seed(0))
    return RecordTexts(pooled, torch.tensor(text_ids)[:, None])


def generator():
    return torch.Generator().manual_seed(0)


def test_the_loss_is_that_of_the_texts_themselves(tiny_model, tiny_processor):
    reports = ["sinus rhythm", "lbbb", "sinus rhythm", "old infarct"]
    template = tiny_processor.format_report
    texts = encode_texts(tiny_model, tiny_processor, [(report,) for report in reports], progress=False)
    objective = ContrastiveObjective(texts, duplicate_text_policy="positives")
    batch = batch_of(3, 0, 2)

    output = objective(tiny_model, objective.draw(dict(batch), generator()))

    inputs = tiny_processor(text=[template(reports[i]) for i in (3, 0, 2)], return_tensors="pt")
    direct = tiny_model(batch["input_values"], inputs["input_ids"], inputs["attention_mask"], return_loss=True)
    assert torch.allclose(output.loss, direct.loss, atol=1e-5)
    assert torch.allclose(output.logits_per_ecg, direct.logits_per_ecg, atol=1e-4)


def test_equal_reports_count_as_asked(tiny_model):
    losses = {}
    for mode in ("positives", "ignored", "negatives"):
        objective = ContrastiveObjective(one_each(0, 0, 1), duplicate_text_policy=mode)
        losses[mode] = objective(tiny_model, objective.draw(batch_of(0, 1, 2), generator())).loss.item()
    assert len(set(losses.values())) == 3
    assert losses["ignored"] < losses["negatives"]


def test_a_drawn_finding_belongs_to_every_record_that_holds_it(tiny_model, monkeypatch):
    """Record 0 holds findings 0 and 1, record 1 findings 1 and 2, record 2 finding 3."""
    pooled = torch.randn(4, 24, generator=generator())
    objective = ContrastiveObjective(
        RecordTexts(pooled, torch.tensor([[0, 1], [1, 2], [3, -1]])), duplicate_text_policy="positives"
    )
    batch = objective.draw(batch_of(0, 1, 2), generator()) | {"text": torch.tensor([1, 2, 3])}
    seen = {}
    forward = type(tiny_model).forward
    monkeypatch.setattr(
        type(tiny_model), "forward", lambda self, **kwargs: (seen.update(kwargs), forward(self, **kwargs))[1]
    )

    objective(tiny_model, batch)

    # Finding 1, drawn for record 0, is record 1's too; finding 2, drawn for record 1, is not record 0's.
    assert seen["positives"].tolist() == [[True, False, False], [True, True, False], [False, False, True]]
    assert torch.equal(seen["text_pooled"], pooled[[1, 2, 3]])


def test_findings_are_drawn_from_the_record_and_common_ones_less_often(tiny_model):
    objective = ContrastiveObjective(
        RecordTexts(torch.zeros(4, 24), torch.tensor([[0, 1, 2], [3, -1, -1], *[[2, -1, -1]] * 3])),
        duplicate_text_policy="positives",
    )
    source = generator()
    drawn = torch.stack([objective.draw(batch_of(0, 1, 2), source)["text"] for _ in range(2000)])
    assert (drawn[:, 1] == 3).all() and (drawn[:, 2] == 2).all()
    # Text 2 is held by four records where 0 and 1 are held by one: 1 / 2 beside 1 and 1.
    shares = torch.bincount(drawn[:, 0], minlength=3)[:3] / len(drawn)
    assert shares == pytest.approx(torch.tensor([0.4, 0.4, 0.2]), abs=0.04)


def test_augmentation_shifts_whole_recordings_and_leaves_padded_ones():
    objective = ContrastiveObjective(one_each(0), duplicate_text_policy="positives", max_shift=40)
    batch = batch_of(0, 0, 0)
    before = batch["input_values"].clone()
    assert not torch.equal(objective.draw(batch, generator())["input_values"], before)

    padded = batch_of(0, 0, 0) | {"ecg_attention_mask": torch.ones(3, 320, dtype=torch.bool)}
    assert torch.equal(objective.draw(padded, generator())["input_values"], before)
