"""What predictions take along from their input: the place and the id of every row as given, and columns that are asked for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.config import RunConfig
from tasks.errors import UsageError
from tasks.ingest.manifest import carried_columns
from tasks.ingest.manifest.carried_columns import CarriedColumns
from tasks.ingest.manifest.source import open_sources


def carry(path: Path, *columns: str, skip: tuple[int, ...] = ()) -> tuple[pa.Table, list[str]]:
    """What is carried of the rows at a path but for those of these positions, and notes."""
    with CarriedColumns(columns, path.parent) as carried:
        sources = open_sources(path, RunConfig(), "predict")
        read = [(source, row) for source in carried.bind(sources) for row in source.manifest.rows]
        picked = [pair for place, pair in enumerate(read) if place not in skip]
        assert list(carried.follow(iter(picked))) == picked
        return pa.concat_tables(carried.tables()), carried.notes


def test_rows_are_counted_as_they_stand_and_ids_are_as_given(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text('id,text\n007,a\n\n\n" 7",b\n,c\n007,"d\ne"\n7.0,f\n')
    found, _ = carry(path, skip=(1,))
    assert found.to_pylist() == [
        {"row": 0, "id": "007"},
        {"row": 2, "id": None},
        {"row": 3, "id": "007"},
        {"row": 4, "id": "7.0"},
    ]
    lines = tmp_path / "m.jsonl"
    lines.write_text('{"id": 7, "text": "a"}\n\nnonsense\n{"id": 12345678901234567, "text": "b"}\n')
    found, _ = carry(lines)
    assert found.to_pylist() == [{"row": 0, "id": 7}, {"row": 1, "id": None}, {"row": 2, "id": 12345678901234567}]


def test_several_tables_are_named(tmp_path: Path) -> None:
    for name, extra in (("test", "x"), ("train", "y")):
        (tmp_path / f"{name}.csv").write_text(f"id,text,{extra}\n1,a,{extra}1\n2,b,{extra}2\n")
    found, _ = carry(tmp_path, "all")
    assert found.column_names == ["row", "id", "table", "text", "x", "y"]
    assert [tuple(row.values()) for row in found.to_pylist()] == [
        (0, "1", "test.csv", "a", "x1", None),
        (1, "2", "test.csv", "b", "x2", None),
        (0, "1", "train.csv", "a", None, "y1"),
        (1, "2", "train.csv", "b", None, "y2"),
    ]


def test_a_cell_keeps_its_type_where_its_whole_column_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carried_columns, "CHUNK_ROWS", 2)
    large = 2**53 + 1
    columns: dict[str, list[Any]] = {
        "id": [3, 1, None, 2],
        "number": [None, 1, None, 2.5],
        "late": [None, None, "x", None],
        "large": [large, large, 0.5, 1],
        "mixed": [1, 2, "x", True],
        "struct": [{"a": 1}, None, {"b": "x"}, {}],
        "list": [[1, 2], [], None, [3]],
        "flag": [True, None, None, False],
        "nothing": [None, None, None, None],
    }
    path = tmp_path / "m.jsonl"
    rows = [dict(zip(columns, cells, strict=True)) for cells in zip(*columns.values(), strict=True)]
    path.write_text("".join(f"{json.dumps({'text': 'a', **row})}\n" for row in rows))
    found, notes = carry(path, "all")
    assert notes == []
    expected = columns | {
        "large": [str(large), str(large), "0.5", "1.0"],
        "mixed": ["1", "2", "x", "true"],
        "struct": [{"a": 1, "b": None}, None, {"a": None, "b": "x"}, {"a": None, "b": None}],
    }
    assert found.select(list(columns)).to_pydict() == expected
    kinds = {name: str(found.schema.field(name).type) for name in ("id", "number", "large", "mixed", "flag", "nothing")}
    assert kinds == {
        "id": "int64", "number": "double", "large": "string", "mixed": "string", "flag": "bool", "nothing": "string"
    }  # fmt: skip


def test_media_in_cells_are_not_carried_along(tmp_path: Path) -> None:
    path = tmp_path / "m.parquet"
    pq.write_table(pa.table({"id": [5, 7], "image": [None, b"x"], "vector": [[1.0] * 1001, [2.0]]}), path)
    found, notes = carry(path, "all")
    assert found.column_names == ["row", "id", "vector"]
    assert found["id"].to_pylist() == [5, 7]
    assert notes == [
        "column 'vector': of lists with more than 1000 entries so many are carried along",
        "column 'image': holds media, which are not carried along",
    ]
    with pytest.raises(UsageError, match="--columns image: holds media"):
        carry(path, "image")


@pytest.mark.parametrize(
    ("asked", "names"),
    [
        (("price,note",), ["price", "note"]),
        (("note", " price , note"), ["note", "price"]),
        (("a,b",), ["a,b"]),
        (("label", "row", "id"), ["input_label", "input_input_row"]),
        (("all",), ["text", "input_label", "price", "note", "a,b", "input_input_row", "input_row"]),
        ((), []),
    ],
)
def test_which_columns_are_meant_and_what_they_are_called(
    asked: tuple[str, ...], names: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "m.csv"
    path.write_text('id,text,label,price,note,"a,b",row,input_row\n1,t,l,p,n,ab,r,i\n')
    found, _ = carry(path, *asked)
    assert found.column_names == ["row", "id", *names]
    cells = {"input_label": "l", "input_input_row": "r", "a,b": "ab", "price": "p"}
    assert all(found[name].to_pylist() == [cells[name]] for name in names if name in cells)


def test_a_column_that_is_not_there_is_refused_with_the_nearest(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text("id,text,price\n1,t,p\n")
    with pytest.raises(UsageError) as error:
        carry(path, "prize")
    assert str(error.value) == (
        "--columns 'prize': the data have no such column; did you mean 'price'? They have id, text, price; or all"
    )


def test_an_id_column_of_another_name_may_be_carried_along(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text("sample_id,id_2,text\n1,x,t\n")
    found, _ = carry(path, "all")
    assert found.to_pylist() == [{"row": 0, "id": "1", "sample_id": "1", "id_2": "x", "text": "t"}]
