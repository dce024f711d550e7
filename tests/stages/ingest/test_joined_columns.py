"""Columns of a table in a manifest: which are read, what is refused, and when equal rows are one sample."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from data_contracts.refs import CleanRef, RawRef
from tasks.config import load_config
from tasks.errors import DataError, UsageError
from tasks.ingest.ingest import ingest
from tasks.ingest.manifest.scan import scan
from tasks.store import Store
from tests.support.data import MakeData, write_manifest

PLAIN = ["runtime.workers=1", "media.timeout_s=600", "encoders.image=off", "encoders.audio=off"]


def read(
    rows: list[dict[str, Any]], columns: list[str], store: Store, tmp_path: Path, *more: str
) -> tuple[RawRef, CleanRef]:
    config = load_config({}, [*PLAIN, f"data.columns.tabular={json.dumps(columns)}", *more])
    manifest = write_manifest(tmp_path / "manifest.csv", rows)
    raw = scan(config, store, manifest)
    return raw, ingest(raw, config, store)


def pets(count: int = 12, **cells: Any) -> list[dict[str, Any]]:
    return [{"id": f"p{n}", "age": n, "breed": "ab"[n % 2], "label": "xy"[n % 2], **cells} for n in range(count)]


def table(store: Store, clean: CleanRef, name: str = "samples") -> list[dict[str, Any]]:
    return pq.read_table(store.path(clean.uri) / f"{name}.parquet").to_pylist()  # type: ignore[no-any-return]


def test_a_table_is_read_only_where_the_config_names_its_columns(store: Store, tmp_path: Path) -> None:
    raw, clean = read(pets(), ["breed", "age"], store, tmp_path)
    assert raw.modalities == ("tabular",)
    assert raw.columns == {"tabular": "breed, age"}
    assert clean.column_types == {"age": "numeric", "breed": "categorical"}
    assert all(row["tabular"] for row in table(store, clean))
    with pytest.raises(DataError, match="holds a medium"):
        scan(load_config({}, PLAIN), store, tmp_path / "manifest.csv")


def test_a_row_lacks_the_table_only_where_all_its_cells_are_empty(store: Store, tmp_path: Path) -> None:
    rows = [row | {"text": f"pet {n}"} for n, row in enumerate(pets())]
    rows[0] |= {"age": ""}
    rows[1] |= {"age": "", "breed": " "}
    raw, clean = read(rows, ["age", "breed"], store, tmp_path)
    found = {row["id"]: row["tabular"] is not None for row in table(store, clean)}
    assert [found["p0"], found["p1"], found["p2"]] == [True, False, True]
    assert raw.modalities == ("text", "tabular")


def test_a_row_with_no_filled_cell_and_no_medium_is_refused_with_the_columns(store: Store, tmp_path: Path) -> None:
    rows = pets()
    rows[3] |= {"age": "", "breed": ""}
    _, clean = read(rows, ["age", "breed"], store, tmp_path, "data.max_quarantined=0.5")
    (refused,) = table(store, clean, "quarantine")
    assert (refused["reason"], refused["detail"]) == ("no-modality", "all of age, breed are empty")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (["agee"], "data.columns.tabular='agee': manifest .* has no such column; did you mean 'age'"),
        (["age", "label"], "data.columns.tabular: column 'label' is read as label already"),
        (["age", "text"], "data.columns.tabular: column 'text' is read as text already"),
        (["id"], "data.columns.tabular: column 'id' is read as id already"),
        (["age", "age:numeric"], "data.columns.tabular: names the column 'age' twice"),
    ],
)
def test_a_column_that_cannot_be_read_is_refused_in_one_line(
    columns: list[str], message: str, store: Store, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=message) as refusal:
        read(pets(text="words"), columns, store, tmp_path)
    assert "\n" not in str(refusal.value)


def test_a_type_can_be_named_and_doubts_are_noted(store: Store, tmp_path: Path) -> None:
    rows = [
        row | {"zip": f"0{n:04}", "size": "1,5" if n else "2,25", "odd": "" if n else "?"}
        for n, row in enumerate(pets())
    ]
    raw, _ = read(rows, ["age:categorical", "breed", "zip", "size", "odd"], store, tmp_path)
    assert raw.column_types == {
        "age": "categorical",
        "breed": "categorical",
        "zip": "categorical",
        "size": "numeric",
        "odd": "categorical",
    }
    doubts = [note for note in raw.notes if "tabular" in note]
    assert len(doubts) == 2
    assert "'zip': is categorical, as '00000' begins with a zero" in doubts[0]
    assert "'size': 12 cells have a decimal comma ('2,25')" in doubts[1]


def test_an_encoder_of_another_family_cannot_read_a_table() -> None:
    with pytest.raises(UsageError, match="hf has no encoder of tabular; use tiny, or off"):
        load_config({}, ["encoders.tabular=hf:bert"])


def test_equal_tables_alone_are_no_repeats_and_no_contradictions(store: Store, tmp_path: Path) -> None:
    rows = [row | {"age": 3, "breed": "a", "label": "xy"[n % 3 == 0]} for n, row in enumerate(pets())]
    for variant in (rows, [{key: row[key] for key in row if key != "id"} for row in rows]):
        _, clean = read(variant, ["age", "breed"], store, tmp_path)
        assert (clean.counts.used, clean.counts.duplicates, clean.counts.quarantined) == (12, 0, 0)
        assert len({row["id"] for row in table(store, clean)}) == 12
        assert not table(store, clean, "near_duplicates")


def test_rows_that_differ_in_the_table_alone_are_near_duplicates_and_equal_ones_are_repeats(
    store: Store, tmp_path: Path
) -> None:
    rows = [row | {"text": "the same words" if n < 3 else f"others {n}"} for n, row in enumerate(pets())]
    for row in rows[:3]:
        row |= {"label": "x", "breed": "a"}
    rows[1]["age"] = rows[0]["age"]
    _, clean = read(rows, ["age", "breed"], store, tmp_path)
    assert clean.counts.duplicates == 1
    assert {row["id"] for row in table(store, clean, "near_duplicates")} == {"p0", "p2"}


def test_bytes_in_a_column_refuse_the_row(make_data: MakeData, store: Store, tmp_path: Path) -> None:
    import pyarrow as pa

    path = tmp_path / "rows.parquet"
    pq.write_table(
        pa.table({"id": ["a", "b"], "age": [[1, 2], [3]], "text": ["one", "two"], "label": ["x", "y"]}), path
    )
    config = load_config({}, [*PLAIN, 'data.columns.tabular=["age"]', "data.max_quarantined=1"])
    raw = scan(config, store, path)
    rows = pq.read_table(store.path(raw.uri) / "rows.parquet").to_pylist()
    assert {row["reason"] for row in rows} == {"wrong-type"}
    assert rows[0]["detail"] == "column 'age' holds list; expected a number, a text, a truth value or a date"
