import pytest
import torch

from tasks.train.optim import build_optimizer, rate_factor


def test_the_rate_rises_and_then_falls_to_nothing():
    factors = [rate_factor(step, 100, 0.1) for step in range(100)]
    assert factors[0] == pytest.approx(0.1)
    assert factors[9] == factors[10] == 1.0
    assert factors == [*sorted(factors[:10]), *sorted(factors[10:], reverse=True)]
    assert factors[-1] < 0.001
    assert rate_factor(0, 1, 0.0) == 1.0


def test_what_is_frozen_is_in_no_group():
    one, two = (torch.nn.Parameter(torch.ones(2)) for _ in range(2))
    frozen = torch.nn.Parameter(torch.ones(2), requires_grad=False)
    groups = [{"params": [one], "lr": 1.0}, {"params": [two, frozen], "lr": 0.1}]
    optimizer = build_optimizer([*groups, {"params": [frozen], "lr": 3.0}])
    assert [group["params"] for group in optimizer.param_groups] == [[one], [two]]
    assert [group["lr"] for group in optimizer.param_groups] == [1.0, 0.1]
