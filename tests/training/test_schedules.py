import pytest
import torch

from mets_ecg.training.schedules import make_schedule
from mets_ecg_cli.training import TrainingArguments


def rates(total=100, **changes):
    arguments = TrainingArguments(output="o", learning_rate=2.0, **changes)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2.0)
    schedule = make_schedule(optimizer, arguments, total)
    seen = []
    for _ in range(total):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return seen


def test_tri_stage_rises_holds_and_decays_to_a_hundredth():
    seen = rates(lr_scheduler="tri-stage", warmup_fraction=0.1, hold_fraction=0.4)
    assert seen[0] == pytest.approx(0.02)
    assert seen[5] == pytest.approx(2 * (0.01 + 0.99 / 2))
    assert seen[10:50] == [2.0] * 40
    assert seen[75] == pytest.approx(2 * 0.01**0.5)
    assert seen[99] == pytest.approx(2 * 0.01**0.98)


def test_cosine_falls_to_zero_and_constant_stays():
    cosine = rates(lr_scheduler="cosine", warmup_fraction=0.2)
    assert cosine[10] == pytest.approx(1.0) and max(cosine) == cosine[20] == 2.0
    assert cosine[60] == pytest.approx(1.0) and cosine[99] < 0.002
    assert rates(lr_scheduler="constant", warmup_fraction=0.0) == [2.0] * 100


def test_stages_that_are_more_than_all_steps_are_refused():
    with pytest.raises(ValueError, match="--warmup-fraction and --hold-fraction are more than all steps"):
        rates(lr_scheduler="tri-stage", warmup_fraction=0.7, hold_fraction=0.4)
