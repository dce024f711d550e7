"""The file of a model's rows, by value: sorted digests of ids, groups and contents, however many rows are read at a time."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tasks.modeling import training_rows
from tasks.modeling.training_rows import (
    ROWS,
    Digests,
    are_among,
    are_known,
    contents_of,
    digest_texts,
    read_rows,
    read_seen,
    write_rows,
)
from tasks.samples import Samples

SAMPLES = Samples(
    pa.table(
        {
            "id": ["a", "b", "c", "d", "e"],
            "split": ["train", "val", "test", "train", "train"],
            "group": pa.array(["g", "g", None, "", None], pa.string()),
            "text": pa.array(["T", "T", "U", None, "T"], pa.string()),
            "image": pa.array([None, "I", None, None, None], pa.string()),
        }
    )
)


def _digests(*texts: str) -> list[bytes]:
    return sorted(hashlib.sha256(text.encode()).digest()[:16] for text in texts)


def _held(digests: Digests) -> list[bytes]:
    assert digests.dtype == np.uint8
    return [row.tobytes() for row in digests]


@pytest.mark.parametrize("at_once", [1, 2, 50_000])
def test_rows_are_held_by_split_and_what_was_seen_by_id_content_and_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(training_rows, "_HELD_ROWS", at_once)
    write_rows(SAMPLES, tmp_path / ROWS, ("image", "text"))
    known, seen = read_rows(tmp_path), read_seen(tmp_path)
    assert {split: _held(rows) for split, rows in known.items()} == {
        "train": _digests("a", "d", "e"), "val": _digests("b"), "test": _digests("c"),
    }  # fmt: skip
    assert _held(seen.ids) == _digests("a", "b", "d", "e")
    assert _held(seen.contents) == _digests("text:T", "text:T", "image:I text:T")
    assert _held(seen.groups) == _digests("g"), "an empty one is none"
    assert list(contents_of(SAMPLES, ("image", "text"))) == ["text:T", "image:I text:T", "text:U", None, "text:T"]
    assert list(contents_of(SAMPLES, ())) == [None] * 5


def test_what_an_earlier_model_has_seen_is_added_once(tmp_path: Path) -> None:
    (tmp_path / "earlier").mkdir()
    write_rows(SAMPLES, tmp_path / "earlier" / ROWS, ("text",))
    later = Samples(pa.table({"id": ["a", "z"], "split": ["train", "train"], "text": ["T", "V"]}))
    write_rows(later, tmp_path / ROWS, ("text",), continued_from=tmp_path / "earlier")
    seen = read_seen(tmp_path)
    assert _held(seen.ids) == _digests("a", "b", "d", "e", "z")
    assert _held(seen.contents) == _digests("text:T", "text:V")
    assert _held(seen.groups) == _digests("g")


def test_none_is_never_known_and_no_order_is_asked_of_what_is() -> None:
    held = digest_texts(["z", None, "a", "m"])
    assert held.shape == (4, 16)
    assert are_known(["a", None, "b", "z"], held).tolist() == [True, False, False, True]
    assert are_among(held, held[:1]).tolist() == [True, False, False, False]
    assert are_known(["a"], held[:0]).tolist() == [False]
    assert are_known([], held).tolist() == []


def test_digests_that_end_in_zeros_are_told_apart() -> None:
    held = np.zeros((2, 16), np.uint8)
    held[0, 0], held[1, :2] = 7, (7, 1)
    other = np.zeros((1, 16), np.uint8)
    other[0, :2] = (7, 2)
    assert are_among(held, held[:1]).tolist() == [True, False]
    assert are_among(other, held).tolist() == [False]
