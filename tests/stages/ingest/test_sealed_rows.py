"""split.sealed keeps rows for later, and split.refresh makes them the test rows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest

from tasks.config import load_config
from tasks.config_sections import SplitConfig
from tasks.errors import UsageError
from tasks.ingest.splits import assign_splits, describe_shares

MakeData = Callable[..., Path]
IDS = [f"id{number}" for number in range(2000)]
NONE: list[str | None] = [None] * len(IDS)
SEALED = SplitConfig(sealed=0.2)
OPENED = SplitConfig(sealed=0.2, refresh=True)


def test_sealed_rows_are_a_share_of_each_split_and_move_no_other() -> None:
    before, sealed = (assign_splits(NONE, NONE, IDS, config) for config in (SplitConfig(), SEALED))
    assert sealed.count("sealed") == pytest.approx(400, abs=60)
    assert all(new in (old, "sealed") for old, new in zip(before, sealed, strict=True))
    assert {old for old, new in zip(before, sealed, strict=True) if new == "sealed"} == {"train", "val", "test"}
    assert describe_shares(sealed, NONE, NONE, SEALED) == [], "shares are of the rows that are divided"


def test_opened_they_are_test_and_what_was_test_is_val() -> None:
    sealed, opened = (assign_splits(NONE, NONE, IDS, config) for config in (SEALED, OPENED))
    after = {"sealed": "test", "test": "val", "val": "val", "train": "train"}
    assert opened == [after[split] for split in sealed]
    assert describe_shares(opened, NONE, NONE, OPENED) == []


@pytest.mark.parametrize("by", ["hash", "time", "stratified-group"])
def test_groups_and_near_duplicates_are_sealed_whole(by: Literal["hash", "time", "stratified-group"]) -> None:
    groups = [f"g{number % 100}" for number in range(len(IDS))]
    clusters = [number % 100 // 2 if number < 100 else None for number in range(len(IDS))]
    config = SplitConfig(by=by, sealed=0.2)
    splits = assign_splits(NONE, groups, IDS, config, [float(n) for n in range(len(IDS))], clusters, [["a"]] * len(IDS))
    tied = {(number % 100 // 2, split) for number, split in enumerate(splits)}
    assert len(tied) == 50, "two groups that a cluster ties are on one side"
    assert {split for _, split in tied} == {"train", "val", "test", "sealed"}
    divided = len(IDS) - splits.count("sealed")
    assert splits.count("test") / divided == pytest.approx(0.15, abs=0.05 if by != "hash" else 0.15)


def test_of_given_splits_they_are_taken_from_train() -> None:
    given: list[str | None] = [("train", "train", "val", "test")[number % 4] for number in range(len(IDS))]
    sealed = assign_splits(given, NONE, IDS, SEALED)
    assert sealed.count("sealed") == pytest.approx(200, abs=50)
    assert {old for old, new in zip(given, sealed, strict=True) if new == "sealed"} == {"train"}
    opened = assign_splits(given, NONE, IDS, OPENED)
    assert [new for old, new in zip(given, opened, strict=True) if old == "test"] == ["val"] * 500


def test_every_row_is_counted_and_the_sealed_ones_are_no_quarantine(make_data: MakeData, run_ingest: Any) -> None:
    path = make_data(60)
    done = run_ingest(path, "split.sealed=0.3", "data.max_quarantined=0", "split.near_duplicates=false")
    counts = done.clean.counts
    assert counts.sealed == list(done.reasons.values()).count("sealed") > 5
    assert (counts.used + counts.sealed, counts.quarantined, counts.rows_in) == (60, 0, 60)
    assert f"sealed: {counts.sealed} rows are kept for later (split.sealed = 0.3), in no split" in done.clean.notes
    opened = run_ingest(path, "split.sealed=0.3", "split.refresh=true", "split.near_duplicates=false")
    assert opened.clean.splits["test"] == counts.sealed
    assert {name for name, row in opened.samples.items() if row["split"] == "test"} == {*done.reasons}
    assert any(note.startswith("test: the rows that split.sealed kept") for note in opened.clean.notes)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (["split.sealed=0.7"], "split.val + split.test + split.sealed is 1; it must stay below 1"),
        (["split.refresh=true"], "split.sealed is 0; set it as before"),
    ],
)
def test_shares_that_leave_nothing_are_refused(override: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message.replace("+", r"\+")):
        load_config({}, override)
