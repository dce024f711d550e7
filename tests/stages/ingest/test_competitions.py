"""Splits, classes and times as public sets have them: unlabelled splits, folds, rare and unseen classes, forms of time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tasks.errors import DataError, TooManyQuarantined
from tasks.ingest.manifest.rows import split_of
from tasks.ingest.splits import parse_time
from tasks.ingest.times import find_form
from tests.support.data import write_manifest

MakeData = Callable[..., Path]


def texts(path: Path, *rows: tuple[Any, ...], columns: str = "id,text,label,split") -> Path:
    """A manifest of short texts that are all different."""
    names = columns.split(",")
    return write_manifest(path, [dict(zip(names, row, strict=True)) for row in rows])


@pytest.mark.parametrize(
    ("word", "split"),
    [
        *((word, "train") for word in ("train", "TRAIN", "training")),
        *((word, "val") for word in ("val", "valid", "validate", "validation", "dev", "eval", "Evaluation")),
        *((word, "test") for word in ("test", "testing", "holdout")),
        ("1", None),
        ("other", None),
    ],
)
def test_words_for_splits(word: str, split: str | None) -> None:
    assert split_of(word, {}) == split


def test_folds_by_number(tmp_path: Path, run_ingest: Any) -> None:
    rows = [(str(n), f"text number {n}", "ab"[n % 2], n // 2 % 5 + 1) for n in range(20)]
    path = texts(tmp_path / "m.csv", *rows)
    done = run_ingest(path, 'split.folds={"test": [5], "val": [4]}', "split.near_duplicates=false")
    assert done.clean.splits == {"train": 12, "val": 4, "test": 4}
    with pytest.raises(TooManyQuarantined, match=r"'1' is none of train, .*; split\.folds says which values"):
        run_ingest(path)


def test_a_split_without_labels_is_set_aside_and_counted(tmp_path: Path, run_ingest: Any) -> None:
    for name, first, label in (("train", 0, True), ("dev", 20, True), ("test", 30, False)):
        rows = [(str(n), f"text number {n}", "ab"[n % 2]) for n in range(first, first + 10)]
        columns = "id,text,label" if label else "id,text"
        texts(tmp_path / f"{name}.csv", *(row if label else row[:2] for row in rows), columns=columns)
    done = run_ingest(tmp_path, "data.max_quarantined=0", "split.near_duplicates=false")
    counts = done.clean.counts
    assert (counts.rows_in, counts.used, counts.quarantined, counts.unlabelled) == (30, 20, 0, 10)
    assert {row["reason"] for row in done.refused} == {"unlabelled"}
    assert "test: its 10 rows have no labels and are set aside; crossmodal predict answers them" in done.raw.notes
    assert done.clean.splits["val"] == 10  # and test is made of train
    (tmp_path / "train.csv").write_text("id,text\n1,a\n")
    with pytest.raises(DataError, match="no column 'label' among id, text"):
        run_ingest(tmp_path)


def test_empty_labels_of_a_split_with_some_are_missing(tmp_path: Path, run_ingest: Any) -> None:
    rows = [
        (str(n), f"text number {n}", "" if n in (1, 9) else "ab"[n % 2], ("train", "test")[n > 6]) for n in range(12)
    ]
    done = run_ingest(texts(tmp_path / "m.csv", *rows), "split.near_duplicates=false")
    assert done.reasons == {"1": "missing-label", "9": "missing-label"}


def test_test_is_made_of_train_where_train_and_val_are_given(tmp_path: Path, run_ingest: Any) -> None:
    rows = [(str(n), f"text number {n}", "ab"[n % 2], "val" if n >= 200 else "train") for n in range(240)]
    done = run_ingest(texts(tmp_path / "m.csv", *rows), "split.near_duplicates=false")
    assert done.clean.splits["val"] == 40
    assert 20 < done.clean.splits["test"] < 55
    assert any("test is made of train" in note for note in done.clean.notes)
    again = run_ingest(texts(tmp_path / "m.csv", *rows[:150], *rows[200:]), "split.near_duplicates=false")
    moved = {key for key, row in again.samples.items() if row["split"] != done.samples[key]["split"]}
    assert moved == set()


def test_a_rare_class_costs_its_rows_and_not_the_run(tmp_path: Path, run_ingest: Any) -> None:
    rows = [(str(n), f"text number {n}", "ab"[n % 2], "") for n in range(20)]
    path = texts(tmp_path / "m.csv", *rows, ("typo", "text number 99", "aa", ""))
    done = run_ingest(path, "split.near_duplicates=false")
    assert done.clean.labels == ("a", "b")
    assert [(row["id"], row["row"], row["reason"], row["detail"]) for row in done.refused] == [
        ("typo", 22, "rare-class", "class 'aa' has 1 row; data.min_class_rows = 2")
    ]
    assert run_ingest(path, "data.min_class_rows=1", "split.strict=true").clean.labels == ("a", "aa", "b")
    few = texts(tmp_path / "few.csv", ("1", "one", "a", ""), ("2", "two", "b", ""))
    assert run_ingest(few).clean.labels == ("a", "b")  # nothing would remain to be told apart


def test_a_label_that_train_never_has_is_set_aside(tmp_path: Path, run_ingest: Any) -> None:
    rows = [(str(n), f"text number {n}", "ab"[n % 2], ("train", "val", "test")[n % 3]) for n in range(30)]
    path = texts(tmp_path / "m.csv", *rows, *((f"n{n}", f"new text {n}", "new", "test") for n in range(9)))
    done = run_ingest(path, "data.max_quarantined=0", "split.near_duplicates=false")
    assert set(done.reasons.values()) == {"unseen-label"}
    assert done.clean.labels == ("a", "b")
    assert any("9 rows of val and test have labels that train never has ('new')" in note for note in done.clean.notes)
    assert run_ingest(path, "split.strict=true", "split.near_duplicates=false").clean.labels == ("a", "b", "new")


def test_a_mark_in_place_of_labels_is_a_label_under_strict(tmp_path: Path, run_ingest: Any) -> None:
    rows = [
        (str(n), f"text number {n}", "?" if n > 39 else "ab"[n % 2], "test" if n > 39 else "train") for n in range(60)
    ]
    path = texts(tmp_path / "m.csv", *rows)
    assert run_ingest(path, "split.near_duplicates=false").clean.counts.unlabelled == 20
    done = run_ingest(path, "split.strict=true", "split.near_duplicates=false")
    assert (done.clean.counts.unlabelled, done.clean.labels) == (0, ("?", "a", "b"))


@pytest.mark.parametrize("value", [7, 7.5, True])
def test_numbers_in_a_text_column_are_text(tmp_path: Path, run_ingest: Any, value: Any) -> None:
    path = tmp_path / "m.jsonl"
    path.write_text(
        f'{{"id": "a", "text": {str(value).lower()}, "label": "x"}}\n{{"id": "b", "text": "w", "label": "x"}}\n'
    )
    assert run_ingest(path).reasons == {}


@pytest.mark.parametrize(
    ("texts", "seconds"),
    [
        (["1.5", "2024-01-02"], [1.5, 1704153600]),
        (["2024-01-02 00:00:00 UTC"], [1704153600]),
        (["Tue Jan 02 00:00:00 +0000 2024"], [1704153600]),
        (["Tue, 02 Jan 2024 00:00:00 +0100"], [1704150000]),
        (["01/02/2024", "01/31/2024"], [1704153600, 1706659200]),
        (["02.01.2024"], [1704153600]),
        (["02.01.2024 00:00"], [1704153600]),
        (["1/2/2024 12:00 AM", "1/31/2024 1:00 PM"], [1704153600, 1706706000]),
        (["2024/01/02"], [1704153600]),
    ],
)
def test_a_form_of_time(texts: list[str], seconds: list[float]) -> None:
    form = find_form(texts)
    assert [form.read(text) for text in texts] == seconds
    assert (form.note is None) == all(parse_time(text) is not None for text in texts)


def test_times_that_are_two_things_or_mixed_are_refused(tmp_path: Path, run_ingest: Any) -> None:
    rows = [(str(n), f"text number {n}", "ab"[n % 2], f"01/0{n + 1}/2024") for n in range(6)]
    path = texts(tmp_path / "m.csv", *rows, columns="id,text,label,time")
    with pytest.raises(
        TooManyQuarantined, match=r"'01/02/2024' may be %m/%d/%Y or %d/%m/%Y: say which with data.time_format"
    ):
        run_ingest(path, "split.by=time")
    done = run_ingest(path, "split.by=time", "data.time_format=%d/%m/%Y", "split.near_duplicates=false")
    assert done.reasons == {}
    mixed = texts(tmp_path / "x.csv", *rows[:2], ("9", "nine", "a", "2024-01-01"), columns="id,text,label,time")
    assert run_ingest(mixed, "split.by=time").reasons == {"0": "bad-time", "1": "bad-time"}
