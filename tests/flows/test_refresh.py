"""Parts that were computed anew: equal ones are there once, different ones replace the old."""

from __future__ import annotations

import pyarrow as pa

from data_contracts.tables import features_schema
from flows.refresh import settle_parts
from tasks.store import Store


def part(store: Store, key: str, rows: dict[str, list[float]]) -> str:
    columns = {"digest": list(rows), "shape": [[len(value)] for value in rows.values()], "values": list(rows.values())}
    return store.put_part("features/image/f", key, pa.table(columns, schema=features_schema("float32")))


def test_equal_parts_are_there_once(store: Store) -> None:
    old = part(store, "old", {"a": [1.0], "b": [2.0]})
    apart = part(store, "apart", {"z": [9.0]})
    refreshed = Store(store.root)
    refreshed.refresh("features")
    new = part(refreshed, "new", {"b": [2.0], "a": [1.0]})
    assert settle_parts(refreshed, "features")
    assert store.parts("features/image/f") == sorted([new, apart])
    assert old not in store.parts("features/image/f")


def test_a_part_that_differs_is_noticed_and_replaced(store: Store) -> None:
    part(store, "old", {"a": [1.0], "b": [2.0]})
    refreshed = Store(store.root)
    refreshed.refresh("features")
    new = part(refreshed, "new", {"a": [1.0], "b": [2.5]})
    assert not settle_parts(refreshed, "features")
    assert store.parts("features/image/f") == [new]


def test_parts_of_which_nothing_was_computed_stay(store: Store) -> None:
    old = part(store, "old", {"a": [1.0]})
    refreshed = Store(store.root)
    refreshed.refresh("features")
    assert settle_parts(refreshed, "features")
    assert store.parts("features/image/f") == [old]
