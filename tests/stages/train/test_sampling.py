"""The rows of an epoch in order."""

import itertools

import numpy as np
import pytest

from tasks.train.sampling import epoch_order

RARE = np.array([0.0, *[1 / 99] * 99])


@pytest.mark.parametrize("chances", [None, RARE], ids=["all rows once", "drawn by chance"])
def test_every_epoch_and_seed_has_an_order_of_its_own(chances):
    orders = [epoch_order(100, seed, epoch, chances) for seed in (0, 1) for epoch in (1, 2, 3)]
    for one, other in itertools.combinations(orders, 2):
        assert (one == other).mean() < 0.1
    assert np.array_equal(epoch_order(100, 1, 2, chances), orders[4])
