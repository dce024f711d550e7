import threading

import pytest

from tasks.train.prefetch import ahead
from tests.waiting import wait_until


def _threads():
    return [thread for thread in threading.enumerate() if thread.name == "prefetch"]


def test_all_items_in_their_order():
    assert list(ahead(iter(range(100)))) == list(range(100))
    assert not _threads()


def test_items_are_made_while_one_is_used():
    produced = []

    def make():
        for n in range(10):
            produced.append(n)
            yield n

    items = ahead(make(), depth=2)
    assert next(items) == 0
    wait_until(lambda: len(produced) >= 3, "three items are made")
    assert len(produced) <= 4  # two wait, one may be in the making
    items.close()
    assert not _threads()


def test_an_error_in_the_making_is_raised_where_items_are_used():
    def make():
        yield 1
        raise OSError("the disk is gone")

    items = ahead(make())
    assert next(items) == 1
    with pytest.raises(OSError, match="the disk is gone"):
        next(items)
    assert not _threads()
