"""Splits by time, repeats in one modality, and the user's own columns."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tasks.config import load_config
from tasks.config_sections import SplitConfig
from tasks.errors import DataError
from tasks.ingest.ingest import ingest
from tasks.ingest.manifest.extra_columns import metadata_json
from tasks.ingest.manifest.scan import scan
from tasks.ingest.splits import assign_splits, parse_time
from tasks.store import Store

MakeData = Callable[..., Path]
BY_TIME = SplitConfig(by="time", val=0.2, test=0.1)
IDS = [f"id{number:03}" for number in range(100)]
NONE: list[str | None] = [None] * 100


def test_the_newest_are_test_and_those_before_them_val() -> None:
    times = [float(number * 37 % 100) for number in range(100)]
    sides = dict(zip(times, assign_splits(NONE, NONE, IDS, BY_TIME, times), strict=True))
    assert [sides[float(t)] for t in range(100)] == ["train"] * 70 + ["val"] * 20 + ["test"] * 10


def test_equal_times_are_divided_by_id_whatever_the_order_of_the_rows() -> None:
    sides = assign_splits(NONE, NONE, IDS, BY_TIME, [1.0] * 100)
    back = assign_splits(NONE, NONE, IDS[::-1], BY_TIME, [1.0] * 100)
    assert back == sides[::-1]
    assert (sides.count("test"), sides.count("val")) == (10, 20)


def test_a_group_is_as_new_as_its_newest_row() -> None:
    groups: list[str | None] = [f"g{number % 10}" for number in range(100)]
    sides = assign_splits(NONE, groups, IDS, BY_TIME, [float(n) for n in range(100)])
    assert dict(zip(groups, sides, strict=True)) == {
        f"g{n}": "test" if n == 9 else "val" if n >= 7 else "train" for n in range(10)
    }
    assert len(set(zip(groups, sides, strict=True))) == 10
    order = [3 * n % 100 for n in range(100)]
    mixed = assign_splits(NONE, [groups[n] for n in order], [IDS[n] for n in order], BY_TIME, [float(n) for n in order])
    assert mixed == [sides[n] for n in order], "in whatever order the manifest lists them"


def test_rows_without_a_time_are_the_oldest() -> None:
    times = [None if n < 10 else float(n) for n in range(100)]
    assert assign_splits(NONE, NONE, IDS, BY_TIME, times) == ["train"] * 70 + ["val"] * 20 + ["test"] * 10


def test_a_group_goes_where_its_middle_falls_and_a_limit_belongs_to_the_older_side() -> None:
    quarters = SplitConfig(by="time", val=0.25, test=0.25)
    newest_four = assign_splits(NONE[:8], [None] * 4 + ["g"] * 4, IDS[:8], quarters, [float(n) for n in range(8)])
    assert newest_four == ["train"] * 4 + ["val"] * 4, "its middle is at 2 of 8"
    pair: list[str | None] = ["g" if n in (3, 4) else None for n in range(8)]
    assert assign_splits(NONE[:8], pair, IDS[:8], quarters, [float(n) for n in range(8)]) == [
        *["train"] * 5, "val", "test", "test",
    ]  # fmt: skip


def test_newer_rows_never_make_an_old_row_test() -> None:
    times = [float(n) for n in range(100)]
    before = assign_splits(NONE[:60], NONE[:60], IDS[:60], BY_TIME, times[:60])
    after = assign_splits(NONE, NONE, IDS, BY_TIME, times)[:60]
    order = {"train": 0, "val": 1, "test": 2}
    assert all(order[new] <= order[old] for old, new in zip(before, after, strict=True))


def test_given_splits_stand_and_val_is_the_newest_of_train() -> None:
    own = ["test" if n < 10 else "train" for n in range(100)]
    sides = assign_splits(own, NONE, IDS, BY_TIME, [float(n) for n in range(100)])
    assert sides == ["test"] * 10 + ["train"] * 70 + ["val"] * 20


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1700000000.5", 1700000000.5),
        ("1970-01-02", 86400.0),
        ("1970-01-01T01:00:00+01:00", 0.0),
        ("1970-01-01 00:01", 60),
    ],
)
def test_times_that_are_read(text: str, seconds: float) -> None:
    assert parse_time(text) == seconds


def test_a_time_without_a_zone_is_utc_wherever_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        there = [parse_time(text) for text in ("1970-01-02", "1970-01-01 00:01", "1970-01-01T01:00:00+01:00")]
    time.tzset()
    assert there == [86400, 60, 0]


@pytest.mark.parametrize("text", ["yesterday", "nan", "inf", "2020-13-01", "", "0000-00-00"])
def test_times_that_are_not(text: str) -> None:
    assert parse_time(text) is None


def test_rows_without_a_time_are_quarantined_when_time_decides(make_data: MakeData, run_ingest: Any) -> None:
    times = ["2020-01-01", "", "soon"]
    path = make_data(12, change=lambda row, n: row | {"time": times[n] if n < 3 else f"2021-01-{n:02}"})
    assert run_ingest(path, "split.by=time").reasons == {"s1": "missing-time", "s2": "bad-time"}
    assert run_ingest(path).reasons == {}
    done = run_ingest(path, "split.by=time", "split.test=0.2", "split.val=0.2")
    assert {key for key, row in done.samples.items() if row["split"] == "test"} == {"s10", "s11"}


def test_a_time_split_without_a_time_column_says_what_to_do(make_data: MakeData, store: Store) -> None:
    config = load_config({}, ["runtime.workers=1", "split.by=time"])
    with pytest.raises(DataError, match=r"split\.by=time: no row has a time; add a column 'time'"):
        ingest(scan(config, store, make_data(4)), config, store)


def test_repeats_in_one_modality_are_counted_and_kept(make_data: MakeData, run_ingest: Any) -> None:
    done = run_ingest(make_data(6, change=lambda row, n: row | {"text": "one" if n < 3 else row["text"]}))
    assert done.clean.counts.used == 6
    assert "text: 1 of 4 occur in several samples that differ elsewhere (3 samples); they are kept" in done.clean.notes
    assert not any(note.startswith(("image:", "audio:")) for note in done.clean.notes)


def test_own_columns_lie_beside_the_samples(make_data: MakeData, run_ingest: Any, store: Store) -> None:
    path = make_data(3, change=lambda row, n: row | {"age": n, "town": "=Ulm" if n else "", "time": "2020-01-01"})
    done = run_ingest(path)
    table = pq.read_table(store.path(done.clean.uri) / "metadata.parquet")
    assert table["id"].to_pylist() == ["s0", "s1", "s2"]
    assert json.loads(table["metadata"][1].as_py()) == {"age": "1", "town": "=Ulm", "time": "2020-01-01"}
    path.write_text(path.read_text().replace("=Ulm", "Bonn"))
    assert run_ingest(path).clean.sha256 == done.clean.sha256  # what is learned from has not changed


def test_cells_of_every_kind_become_json() -> None:
    deep: list[Any] = [1, {"a": None}]
    values = {"a": 1, "b": 2.5, "c": float("nan"), "d": True, "e": "x" * 5000, "f": b"bytes", "g": deep, "h": 2**70}
    kept = json.loads(metadata_json(values, (*values, None, "none")) or "")
    assert {**kept, "e": len(kept["e"])} == {"a": 1, "b": 2.5, "d": True, "e": 2000, "g": str(deep), "h": str(2**70)}
    assert metadata_json({"a": ""}, ("a",)) is None
