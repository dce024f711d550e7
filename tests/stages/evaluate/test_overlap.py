"""Which rows belong together, and which of them another model was trained on, by value."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tasks.evaluate.overlap import find_seen
from tasks.modeling.row_clusters import clusters_of, number_clusters
from tasks.modeling.training_rows import ROWS, write_rows
from tasks.samples import Samples


def table(
    ids: Sequence[str], splits: Sequence[str], texts: Sequence[str], groups: Sequence[str | None] = ()
) -> Samples:
    columns = {"id": ids, "split": splits, "text": texts}
    return Samples(pa.table(columns | ({"group": pa.array(groups, pa.string())} if groups else {})))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model that was trained on `a` and validated on `b`, of the group g; `t` was its test row."""
    old = table(["a", "b", "t"], ["train", "val", "test"], ["A", "B", "T"], [None, "g", None])
    write_rows(old, tmp_path / ROWS, ("text",))
    return tmp_path


def seen_ids(today: Samples, folder: Path, near: dict[str, int] | None = None) -> list[str]:
    found = find_seen(today, today, number_clusters(today, near or {}), folder, ("text",))
    assert found.dtype == bool
    return [name for name, known in zip(today.ids, found, strict=True) if known]


def test_rows_of_a_group_or_near_each_other_or_tied_by_a_chain_are_one_cluster() -> None:
    rows = table(list("abcdefg"), ["test"] * 7, list("1234567"), ["x", None, "x", "x", None, "y", None])
    found = number_clusters(rows, {"c": 7, "e": 7, "f": 9, "nobody": 7})
    assert found.tolist() == [0, 1, 0, 0, 0, 2, 3]
    assert found.dtype == np.int64
    assert number_clusters(rows, {}).tolist() == [0, 1, 0, 0, 2, 3, 4]


def test_without_a_group_column_only_near_rows_are_tied() -> None:
    rows = table(list("abc"), ["test"] * 3, list("123"))
    assert number_clusters(rows, {"a": 0, "c": 0}).tolist() == [0, 1, 0]
    assert number_clusters(rows, {}).tolist() == [0, 1, 2]


def test_clusters_of_rows_have_no_gaps_and_need_two_rows_of_one() -> None:
    numbers = np.array([5, 2, 5, 9, 2])
    assert (found := clusters_of(np.array([0, 2, 3]), numbers)) is not None
    assert (found.tolist(), found.dtype) == ([0, 0, 1], np.int64)
    assert clusters_of(np.array([0, 1, 3]), numbers) is None
    assert clusters_of(np.array([], np.int64), numbers) is None


def test_a_row_is_seen_by_its_id_its_content_or_its_group(folder: Path) -> None:
    today = table(
        ["a", "new-id", "in-group", "other", "t"], ["test"] * 5, ["1", "A", "2", "3", "T"], [None, None, "g", "h", None]
    )
    assert seen_ids(today, folder) == ["a", "new-id", "in-group"]


def test_without_groups_ids_and_contents_tell(folder: Path) -> None:
    today = table(["b", "x", "y", "z"], ["test"] * 4, ["1", "B", "2", "3"])
    assert seen_ids(today, folder) == ["b", "x"]
    assert seen_ids(today, folder, near={"x": 0, "z": 0}) == ["b", "x", "z"], "with what is near them"


def test_only_test_rows_count(folder: Path) -> None:
    today = table(["a", "b", "c"], ["train", "val", "test"], ["A", "B", "C"])
    assert seen_ids(today, folder) == []


@pytest.mark.parametrize("split", ["train", "val"])
def test_what_the_candidate_has_seen_too_is_as_easy_for_both(folder: Path, split: str) -> None:
    """A group of which a row is in its train or val split; and a content that it learned, but not a row of its own."""
    today = table(["in-group", "own", "c"], ["test", split, "test"], ["1", "2", "3"], ["g", "g", None])
    assert seen_ids(today, folder) == []
    repeated = table(["x", "own"], ["test", split], ["A", "A"], ["k", "k"])
    assert seen_ids(repeated, folder) == []
    known_itself = table(["a", "own"], ["test", split], ["1", "2"], ["k", "k"])
    assert seen_ids(known_itself, folder) == ["a"], "its cluster is known to both, the row to the other model only"


def test_no_rows_are_no_rows(folder: Path) -> None:
    today = Samples(pa.table({name: pa.array([], pa.string()) for name in ("id", "split", "text")}))
    assert seen_ids(today, folder) == []
