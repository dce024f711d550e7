"""The samples table, typed: a column is read when it is asked for, and no other one; rows are chosen without reading more."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_contracts.tables import samples_schema
from tasks import samples as module
from tasks.errors import EnvironmentFailed
from tasks.samples import SAMPLES, Samples, digest_of
from tasks.store import digest_json

ROWS = [
    {"id": "c", "label": "x", "split": "test", "weight": 1.0, "row": 3, "image": "i3", "group": "g"},
    {"id": "a", "label": "", "split": "train", "weight": 2.0, "row": 1, "targets": '{"price": "7"}'},
    {"id": "b", "label": "y", "split": "val", "weight": 0.5, "row": 2, "image": "i2", "targets": '{"kind": "k"}'},
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    pq.write_table(pa.Table.from_pylist(ROWS, schema=samples_schema()), tmp_path / SAMPLES)
    return tmp_path


def test_columns_have_their_types(folder: Path) -> None:
    samples = Samples.read(folder)
    assert len(samples) == 3
    assert samples.inputs == ("image", "text", "audio", "video")
    assert (samples.ids, samples.labels, samples.splits) == (["c", "a", "b"], ["x", "", "y"], ["test", "train", "val"])
    assert (samples.groups, samples.manifest_rows) == (["g", None, None], [3, 1, 2])
    assert samples.weights.tolist() == [1.0, 2.0, 0.5]
    assert samples.digests("image") == ["i3", None, "i2"]
    assert samples.has("image").tolist() == [True, False, True]
    assert samples.targets(0, "") == ["x", None, "y"]
    assert samples.targets(1, "price") == [None, "7", None]


def test_rows_are_chosen(folder: Path) -> None:
    samples = Samples.read(folder)
    assert samples.sorted_by_id().ids == ["a", "b", "c"]
    assert samples.of_split("val", "train").ids == ["a", "b"]
    assert samples.of_split().ids == []
    assert samples.of_split("train", "test").sorted_by_id().digests("image") == [None, "i3"]
    assert samples.where(samples.has("image")).take([1]).ids == ["b"]
    assert samples.where(np.zeros(3, bool)).count_splits() == {"train": 0, "val": 0, "test": 0}
    assert samples.count_splits() == {"train": 1, "val": 1, "test": 1}
    assert samples.take([2, 0]).table(["id", "row"]).to_pylist() == [{"id": "b", "row": 2}, {"id": "c", "row": 3}]


def test_a_column_is_read_once_and_only_when_it_is_asked_for(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    read_table = module.read_table

    def note(path: Path, columns: list[str]) -> pa.Table:
        read.extend(columns)
        return read_table(path, columns)

    monkeypatch.setattr(module, "read_table", note)
    samples = Samples.read(folder)
    assert read == []
    assert samples.of_split("test").ids == ["c"]
    assert samples.ids == ["c", "a", "b"]
    assert samples.sorted_by_id().of_split("val").ids == ["b"]
    assert read == ["split", "id"]


def test_a_selection_of_a_selection_keeps_no_column_in_between(folder: Path) -> None:
    samples = Samples.read(folder)
    between = samples.of_split("train", "test").sorted_by_id()
    last = between.take([1])
    assert (last.ids, last.digests("image")) == (["c"], ["i3"])
    assert "image" in samples._columns
    assert "image" not in between._columns
    assert between.take([1, 0]).take([1]).where(np.array([True])).digests("image") == [None]


@pytest.mark.parametrize("at_once", [1, 2, 50_000])
def test_columns_are_digested_as_their_json(folder: Path, monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    monkeypatch.setattr(module, "_DIGESTED_ROWS", at_once)
    samples, names = Samples.read(folder), ["weight", "id", "targets", "image"]
    for rows in (samples, samples.take([])):
        assert rows.digest(names) == digest_json(rows.table(names).to_pydict())


@pytest.mark.parametrize("content", [None, b"", b"PAR1 no table"])
def test_a_table_that_cannot_be_read_is_an_environment_error(folder: Path, content: bytes | None) -> None:
    path = folder / SAMPLES
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(EnvironmentFailed, match=r"samples .*samples\.parquet: cannot be read \(.+\); run ingest again"):
        Samples.read(folder)
    if content is None:
        with pytest.raises(EnvironmentFailed, match="cannot be read"):
            digest_of(folder)
