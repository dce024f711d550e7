import torch

from tasks.train.ema import update_ema


def test_the_average_follows_faster_at_first_and_copies_counters():
    average, current = {"w": torch.zeros(3), "n": torch.tensor(0)}, {"w": torch.ones(3), "n": torch.tensor(7)}
    update_ema(average, current, 0, 0.98)
    assert torch.allclose(average["w"], torch.full((3,), 0.9))
    assert average["n"] == 7
    average["w"].zero_()
    update_ema(average, current, 100_000, 0.98)
    assert torch.allclose(average["w"], torch.full((3,), 0.02))
