"""Adding samples never moves an old one, whatever is added, unless it has a near duplicate: a property of generated tables."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.config_sections import SplitConfig
from tasks.ingest.splits import assign_splits

IDS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=8)
ROW = st.tuples(IDS, st.none() | st.sampled_from(["g", "h", "i", "ü"]), st.none() | st.integers(0, 4))
"""An id, a group, and the cluster of near duplicates."""
TABLE = st.lists(ROW, max_size=25, unique_by=lambda row: row[0])
SHARES = st.sampled_from([(0.15, 0.15), (0.0, 0.3), (0.3, 0.0), (0.45, 0.45)])


def _sides(rows: list[tuple[str, str | None, int | None]], config: SplitConfig, given: Any = None) -> dict[str, str]:
    splits = given or [None] * len(rows)
    ids, groups, clusters = ([row[place] for row in rows] for place in range(3))
    return dict(zip(ids, assign_splits(splits, groups, ids, config, None, clusters), strict=True))


def _without_near_duplicates(rows: list[tuple[str, str | None, int | None]]) -> set[str]:
    """The ids of rows that no chain of groups and near duplicates ties to another row."""
    tied = {group for _, group, clusters in rows if group is not None and clusters is not None}
    return {name for name, group, clusters in rows if clusters is None and group not in tied}


@settings(max_examples=300, deadline=None, derandomize=True)
@given(old=TABLE, new=TABLE, shares=SHARES, order=st.randoms(use_true_random=False))
def test_rows_that_are_added_move_no_old_row_that_has_no_near_duplicate(
    old: list[Any], new: list[Any], shares: tuple[float, float], order: Any
) -> None:
    config = SplitConfig(val=shares[0], test=shares[1])
    names = {row[0] for row in old}
    together = [*old, *(row for row in new if row[0] not in names)]
    before = _sides(old, config)
    order.shuffle(together)
    after = _sides(together, config)
    unrelated = _without_near_duplicates(old) & _without_near_duplicates(together)
    assert {name: before[name] for name in unrelated} == {name: after[name] for name in unrelated}


@settings(max_examples=300, deadline=None, derandomize=True)
@given(rows=TABLE, shares=SHARES)
def test_groups_and_near_duplicates_are_never_divided(rows: list[Any], shares: tuple[float, float]) -> None:
    sides = _sides(rows, SplitConfig(val=shares[0], test=shares[1]))
    for place in (1, 2) if len(rows) <= 20 else (1,):  # what near duplicates bind is kept together up to 20 rows
        for key in {row[place] for row in rows} - {None}:
            assert len({sides[row[0]] for row in rows if row[place] == key}) == 1


@settings(max_examples=200, deadline=None, derandomize=True)
@given(old=TABLE, new=TABLE, given=st.lists(st.sampled_from(["train", "val", "test", None]), min_size=50, max_size=50))
def test_given_splits_stay_as_given(old: list[Any], new: list[Any], given: list[str | None]) -> None:
    names = {row[0] for row in old}
    rows = [row for row in [*old, *(row for row in new if row[0] not in names)] if row[2] is None]
    splits = given[: len(rows)]
    sides = _sides(rows, SplitConfig(), splits)
    for row, split in zip(rows, splits, strict=True):
        if split in ("val", "test"):
            assert sides[row[0]] == split
        elif split == "train":
            assert sides[row[0]] in (
                "train",
                *({"val", "test"} - set(splits)),
            )  # carved from train where it is not given


@settings(max_examples=50, deadline=None, derandomize=True)
@given(salt=st.integers(0, 10**6), shares=SHARES)
def test_every_class_gets_its_share_within_the_binomial_spread(salt: int, shares: tuple[float, float]) -> None:
    rows = [(f"{salt}-{number}", None, None) for number in range(2000)]
    sides = _sides(rows, SplitConfig(val=shares[0], test=shares[1]))
    for half in (0, 1):  # two classes: the label is no part of the hash, so each gets its share
        mine = [sides[row[0]] for row in rows[half::2]]
        for side, share in zip(("val", "test"), shares, strict=True):
            spread = 6 * (share * (1 - share) / len(mine)) ** 0.5
            assert abs(mine.count(side) / len(mine) - share) <= spread
