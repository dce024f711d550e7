import threading

import numpy as np
import pytest

from tasks.extract.ahead import prepare_ahead
from tests.waiting import wait_until


def test_media_come_in_their_order_whichever_is_ready_first():
    late = threading.Event()

    def prepare(medium, rate_hz):
        if medium == 0:
            late.wait()
        if medium == 1:
            late.set()
        return np.array([medium])

    found = list(prepare_ahead(prepare, ((str(n), n) for n in range(50))))
    assert [(digest, int(array[0])) for digest, array in found] == [(str(n), n) for n in range(50)]


def test_no_more_than_a_few_wait():
    read = []

    def media():
        for n in range(10_000):
            read.append(n)
            yield str(n), n

    items = prepare_ahead(lambda medium, rate_hz: np.array([medium]), media())
    next(items)
    wait_until(lambda: len(read) > 1, "one is prepared ahead")
    assert len(read) < 5000
    items.close()


def test_an_error_is_raised_where_its_medium_would_come():
    def prepare(medium, rate_hz):
        if medium == 3:
            raise ValueError("the third")
        return np.array([medium])

    items = prepare_ahead(prepare, ((str(n), n) for n in range(50)))
    assert [next(items)[0] for _ in range(3)] == ["0", "1", "2"]
    with pytest.raises(ValueError, match="the third"):
        next(items)
