import torch

from mets_ecg.training.augmentation import drop_leads, shift_in_time


def test_a_shift_moves_all_leads_of_a_record_alike_and_fills_with_zeros():
    values = torch.arange(1.0, 1 + 5 * 3 * 20).reshape(5, 3, 20)

    shifted = shift_in_time(values, 4, torch.Generator().manual_seed(1))

    offsets = set()
    for before, after in zip(values, shifted, strict=True):
        matches = [
            s for s in range(-4, 5)
            if torch.equal(after[:, max(0, s) : 20 + min(0, s)], before[:, max(0, -s) : 20 - max(0, s)])
            and int((after == 0).sum()) == 3 * abs(s)
        ]  # fmt: skip
        assert len(matches) == 1
        offsets |= set(matches)
    assert len(offsets) > 1


def test_a_shift_is_a_function_of_the_generator():
    values = torch.randn(4, 2, 30)
    first, second = (shift_in_time(values, 9, torch.Generator().manual_seed(7)) for _ in range(2))
    assert torch.equal(first, second)


def test_about_the_asked_part_of_the_leads_is_dropped_and_missing_ones_stay_missing():
    mask = torch.ones(400, 5, dtype=torch.bool)
    mask[:, 2] = False

    dropped = drop_leads(mask, 0.3, torch.Generator().manual_seed(0))

    assert not dropped[:, 2].any()
    assert 0.6 < dropped[:, [0, 1, 3, 4]].float().mean() < 0.8


def test_no_record_loses_all_its_leads():
    mask = torch.ones(300, 2, dtype=torch.bool)
    assert drop_leads(mask, 0.95, torch.Generator().manual_seed(0)).any(dim=1).all()
