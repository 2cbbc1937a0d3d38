import torch

from mets_ecg.training.objectives import ContrastiveObjective


def batch_of(*records, samples=320):
    generator = torch.Generator().manual_seed(5)
    return {
        "index": torch.tensor(records),
        "input_values": torch.randn(len(records), 12, samples, generator=generator),
        "lead_mask": torch.ones(len(records), 12, dtype=torch.bool),
    }


def test_the_loss_is_that_of_the_texts_themselves(tiny_model, tiny_processor):
    reports = ["sinus rhythm", "lbbb", "sinus rhythm", "old infarct"]
    inputs = tiny_processor(text=["sinus rhythm", "lbbb", "old infarct"], return_tensors="pt")
    pooled = tiny_model.encode_text(inputs["input_ids"], inputs["attention_mask"])
    objective = ContrastiveObjective(pooled, torch.tensor([0, 1, 0, 2]), equal_texts="positives")
    batch = batch_of(3, 0, 2)

    output = objective(tiny_model, batch)

    texts = tiny_processor(text=[reports[i] for i in (3, 0, 2)], return_tensors="pt")
    direct = tiny_model(batch["input_values"], texts["input_ids"], texts["attention_mask"], return_loss=True)
    assert torch.allclose(output.loss, direct.loss, atol=1e-5)
    assert torch.allclose(output.logits_per_ecg, direct.logits_per_ecg, atol=1e-4)


def test_equal_reports_count_as_asked(tiny_model):
    pooled = torch.randn(2, 24, generator=torch.Generator().manual_seed(0))
    losses = {
        mode: (
            ContrastiveObjective(pooled, torch.tensor([0, 0, 1]), equal_texts=mode)(
                tiny_model, batch_of(0, 1, 2)
            ).loss.item()
        )
        for mode in ("positives", "ignored", "negatives")
    }
    assert len(set(losses.values())) == 3
    assert losses["ignored"] < losses["negatives"]


def test_augmentation_shifts_whole_recordings_and_leaves_padded_ones(tiny_model):
    objective = ContrastiveObjective(torch.zeros(1, 24), torch.tensor([0]), equal_texts="positives", max_shift=40)
    batch = batch_of(0, 0, 0)
    before = batch["input_values"].clone()
    assert not torch.equal(objective.augment(batch, torch.Generator().manual_seed(0))["input_values"], before)

    padded = batch_of(0, 0, 0) | {"ecg_attention_mask": torch.ones(3, 320, dtype=torch.bool)}
    assert torch.equal(objective.augment(padded, torch.Generator().manual_seed(0))["input_values"], before)
