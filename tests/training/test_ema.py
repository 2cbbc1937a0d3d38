import torch

from mets_ecg.training.ema import EMA


def make():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 2))
    model[2].requires_grad_(False)
    return model


def test_the_average_covers_weights_and_statistics_and_leaves_frozen_ones():
    model = make()
    ema = EMA(model, 0.5)
    start = [values.clone() for values in (model[0].weight, model[1].running_mean)]
    frozen = model[2].weight.clone()
    with torch.no_grad():
        model[0].weight.add_(1.0)
        model[1].running_mean.add_(2.0)
    ema.update()  # the first step keeps 2 / 11

    with ema.applied():
        kept = 2 / 11
        torch.testing.assert_close(model[0].weight, start[0] + (1 - kept))
        torch.testing.assert_close(model[1].running_mean, start[1] + 2 * (1 - kept))
        assert torch.equal(model[2].weight, frozen)
    torch.testing.assert_close(model[0].weight, start[0] + 1.0)


def test_a_later_step_keeps_the_decay():
    model = make()
    ema = EMA(model, 0.3)
    for _ in range(3):
        ema.update()
    before = model[0].weight.clone()
    with torch.no_grad():
        model[0].weight.add_(1.0)
    ema.update()
    with ema.applied():
        torch.testing.assert_close(model[0].weight, before + 0.7)


def test_the_state_goes_on():
    model, other = make(), make()
    ema = EMA(model, 0.9)
    with torch.no_grad():
        model[0].weight.mul_(3.0)
    ema.update()
    resumed = EMA(other, 0.9)
    resumed.load_state_dict(ema.state_dict())
    with ema.applied(), resumed.applied():
        assert torch.equal(model[0].weight, other[0].weight)
