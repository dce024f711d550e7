"""Every accepted format, and what each does with a broken file or row."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.config import load_config
from tasks.errors import CrossmodalError, DataError, UsageError
from tasks.ingest.manifest.scan import scan
from tasks.ingest.sources.detect import open_manifest
from tasks.ingest.sources.resolve import locate_data, name_of_data
from tasks.store import Store

MakeData = Callable[..., Path]
HEADER = "id,image,label\n"


@pytest.mark.parametrize(
    ("name", "content", "error", "words"),
    [
        ("m.csv", b"", DataError, "the file is empty"),
        ("m.csv", b"\n\n", DataError, "holds no rows"),
        ("m.csv", HEADER.encode(), DataError, "holds no rows"),
        ("m.csv", b"id,image\na,b.png\n", DataError, "no column 'label' among id, image"),
        ("m.csv", b"id,label\na,b\n", DataError, "none of its columns (id, label) holds a medium"),
        ("m.csv", b"id,image,image,label\n", DataError, "column 'image' appears twice"),
        ("m.csv", HEADER.encode("utf-16"), DataError, "holds no rows"),
        ("m.csv", HEADER.encode("utf-16-le"), DataError, "NUL"),
        ("m.csv", b"\xff\xfe" + HEADER.encode(), DataError, "not UTF-16 at byte"),
        ("m.csv", HEADER.encode() + bytes(range(1, 256)), DataError, "no other encoding fits with confidence"),
        ("m.jsonl", '{"id": 1}\n'.encode("utf-16"), DataError, "UTF-16; JSON lines are UTF-8"),
        ("m.csv", b'"id,image,label\na,b.png,c\n', DataError, "not readable as a table (line 1"),
        ("m.csv", b"id,image,la\0bel\n", DataError, "NUL"),
        ("m.tsv", b"id\timage\n", DataError, "no column 'label'"),
        ("m.jsonl", b"\xef\xbb\xbf\n \n", DataError, "holds no rows"),
        ("m.jsonl", b"[1]\nnonsense\n", DataError, "no line is a JSON object with values; line 1"),
        ("m.parquet", b"PAR1 no table PAR1", DataError, "not readable as Parquet"),
        ("m.xls", b"x", UsageError, ".xls ending; accepted are .csv"),
        ("m", b"x", UsageError, "no ending"),
    ],
)
def test_a_manifest_that_cannot_be_used(
    tmp_path: Path, store: Store, name: str, content: bytes, error: type[CrossmodalError], words: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(error) as caught:
        scan(load_config({}), store, path)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_path_that_is_nothing(tmp_path: Path, store: Store) -> None:
    with pytest.raises(UsageError, match="no such file or folder"):
        locate_data(load_config({"data": {"path": str(tmp_path / "none.csv")}}), store)
    with pytest.raises(UsageError, match="only built-in data set is builtin:digits"):
        locate_data(load_config({"data": {"path": "builtin:letters"}}), store)
    os.mkfifo(tmp_path / "pipe.csv")
    for place in (tmp_path / "none.csv", tmp_path / "pipe.csv"):
        with pytest.raises(UsageError, match="no such file or folder"):
            open_manifest(place)
    (tmp_path / "bare").mkdir()
    with pytest.raises(UsageError, match="neither a table nor a folder per class"):
        open_manifest(tmp_path / "bare")


def test_mapped_columns(make_data: MakeData, run_ingest: Any) -> None:
    path = make_data(
        4, change=lambda row, n: {"key": row["id"], "pic": row["image"], "7": row["label"], "who": f"g{n % 2}"}
    )
    mapped = ["data.columns.id=key", "data.columns.image=pic", "data.columns.label=7", "data.columns.group=who"]
    done = run_ingest(path, *mapped)
    assert {row["group"] for row in done.samples.values()} == {"g0", "g1"}
    assert done.clean.labels == ("a", "b")
    with pytest.raises(UsageError, match=r"data.columns.image='pick': .* no such column; did you mean 'pic'"):
        run_ingest(path, "data.columns.image=pick")
    with pytest.raises(UsageError, match=r"data.columns.group='speaker': .*its columns are key, pic, 7, who"):
        run_ingest(path, *mapped[:3], "data.columns.group=speaker")
    with pytest.raises(UsageError, match="'/none' is not a folder"):
        run_ingest(path, *mapped, 'data.allowed_roots=["/none"]')


def test_ragged_rows_a_byte_order_mark_and_blank_lines(make_data: MakeData, run_ingest: Any) -> None:
    path = make_data(3)
    lines = path.read_text().splitlines()
    path.write_text(
        "\ufeff" + "\n".join([*lines, "", "short,img/0.png", lines[1].replace("s0", "long") + ",more"]), "utf-8"
    )
    assert run_ingest(path).reasons == {"short": "ragged-row", "long": "ragged-row"}


def test_tsv_and_jsonl_give_what_csv_gives(make_data: MakeData, run_ingest: Any) -> None:
    path = make_data(4)
    expected = run_ingest(path)
    header, *lines = (line.split(",") for line in path.read_text().splitlines())
    rows = [dict(zip(header, line, strict=True)) for line in lines]
    tsv, jsonl = path.with_suffix(".tsv"), path.with_suffix(".jsonl")
    tsv.write_text(path.read_text().replace(",", "\t"))
    jsonl.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert run_ingest(tsv).samples == expected.samples
    found = run_ingest(jsonl).samples
    assert {key: row | {"row": 0} for key, row in found.items()} == {
        key: row | {"row": 0} for key, row in expected.samples.items()
    }


def test_jsonl_with_bad_lines_and_types(make_data: MakeData, run_ingest: Any) -> None:
    path = make_data(6).with_name("m.jsonl")
    good = {"image": "img/0.png"}
    lines = [
        json.dumps(good | {"id": "int", "label": 7}),
        json.dumps(good | {"id": "float", "label": 7.0, "image": "img/1.png"}),
        json.dumps(good | {"id": "bool", "label": True, "image": "img/2.png"}),
        json.dumps(good | {"id": "list", "label": ["a", "b"]}),
        json.dumps(good | {"id": "dict", "label": {"a": 1}}),
        json.dumps({"id": "number", "image": 5, "label": "x"}),
        json.dumps({"id": "nested", "image": {"path": "img/0.png"}, "label": "x"}),
        json.dumps({"id": "text", "text": 5, "label": "x"}),
        '{"id": "twice", "id": "again"}',
        '{"id": "nan", "label": NaN}',
        '{"id": "half", "label": "\\ud800"}',
        "[1, 2]",
        "{",
        "[" * 100_000,
    ]
    path.write_bytes("\n".join(lines).encode() + b'\n{"id": "\xff"}\n')
    done = run_ingest(path, "split.strict=true")
    labels = {key: row["label"] for key, row in done.samples.items()}
    assert labels == {"int": "7", "float": "7", "bool": "true", "text": "x"}
    named = {key: reason for key, reason in done.reasons.items() if len(key) < 10}
    assert named == {
        "list": "bad-label",
        "dict": "bad-label",
        "number": "wrong-type",
        "nested": "wrong-type",
        "nan": "no-modality",
    }
    assert [row["reason"] for row in done.refused].count("unreadable-row") == 6


def _inline_table(root: Path, rows: int = 4) -> pa.Table:
    data = [(root / f"img/{number}.png").read_bytes() for number in range(rows)]
    return pa.table({"id": [f"s{n}" for n in range(rows)], "image": data, "label": ["a", "b"] * (rows // 2)})


@pytest.mark.parametrize(
    "kind", [pa.binary(), pa.large_binary(), pa.struct([("bytes", pa.binary()), ("path", pa.string())])]
)
def test_parquet_with_inline_media_gives_what_files_give(
    make_data: MakeData, run_ingest: Any, kind: pa.DataType
) -> None:
    path = make_data(4)
    expected = {key: row["image"] for key, row in run_ingest(path).samples.items()}
    table = _inline_table(path.parent)
    cells = table["image"].to_pylist()
    if pa.types.is_struct(kind):
        cells = [{"bytes": cell, "path": "/etc/hostname"} for cell in cells]
    inline = path.with_name("some#table:1.parquet")
    pq.write_table(table.set_column(1, "image", pa.array(cells, kind)), inline)
    assert {key: row["image"] for key, row in run_ingest(inline).samples.items()} == expected


def test_inline_cells_without_bytes_are_quarantined_and_paths_in_them_not_read(
    make_data: MakeData, run_ingest: Any
) -> None:
    path = make_data(4)
    data = [(path.parent / f"img/{n}.png").read_bytes() for n in range(2)]
    cells = [
        {"bytes": data[0], "path": "a"},
        {"bytes": None, "path": "img/1.png"},
        {"bytes": b"", "path": None},
        None,
        {"bytes": data[1], "path": None},
    ]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    inline = path.with_name("t.parquet")
    pq.write_table(pa.table({"id": list("vwxyz"), "img": pa.array(cells, kind), "label": ["a"] * 5}), inline)
    done = run_ingest(inline)
    assert done.reasons == {"w": "missing-bytes", "x": "missing-bytes", "y": "no-modality"}
    assert set(done.samples) == {"v", "z"}


def test_parquet_damaged_empty_or_with_bytes_that_are_no_text(make_data: MakeData, run_ingest: Any) -> None:
    path = make_data(4)
    table = _inline_table(path.parent)
    whole = path.with_name("t.parquet")
    pq.write_table(table.slice(0, 0), whole)
    with pytest.raises(DataError, match="holds no rows"):
        run_ingest(whole)
    pq.write_table(table, whole, compression="none", use_dictionary=False, write_page_checksum=True)
    data = bytearray(whole.read_bytes())
    data[len(data) // 2 - 500] ^= 0xFF
    whole.write_bytes(data)
    with pytest.raises(DataError, match="damaged after row 0"):
        run_ingest(whole)
    offsets, letters = pa.array([0, 1, 2, 3, 4], pa.int32()).buffers()[1], pa.py_buffer(b"a\xffab")
    labels = pa.StringArray.from_buffers(4, offsets, letters)
    pq.write_table(table.set_column(2, "label", labels), whole)
    done = run_ingest(whole)
    assert [row["reason"] for row in done.refused] == ["unreadable-row"]
    assert set(done.samples) == {"s0", "s2", "s3"}


def test_folders_of_classes(make_data: MakeData, run_ingest: Any, tmp_path: Path) -> None:
    source = make_data(6).parent / "img"
    root = tmp_path / "classes"
    for number in range(6):
        target = root / ("cat" if number % 2 else "dog") / "deep"
        target.mkdir(parents=True, exist_ok=True)
        (target / f"{number}.png").write_bytes((source / f"{number}.png").read_bytes())
    (root / "cat/notes.txt").write_text("three cats")
    (root / "cat/LICENSE").write_text("free")
    (root / "dog/.hidden").write_text("x")
    (root / "dog/gone.png").symlink_to("nowhere.png")
    (root / os.fsdecode(b"dog/\xff.png")).write_bytes(b"x")
    os.mkfifo(root / "dog/pipe.png")
    done = run_ingest(root)
    assert done.clean.labels == ("cat", "dog")
    assert set(done.samples) == {f"{'cat' if n % 2 else 'dog'}/deep/{n}.png" for n in range(6)}
    assert done.reasons == {
        "cat/notes.txt": "other-modality",
        "cat/LICENSE": "unknown-file-type",
        "dog/gone.png": "missing-file",
        "dog/pipe.png": "not-a-file",
        "dog/\\udcff.png": "bad-path",
    }


def test_split_folders_and_split_tables(make_data: MakeData, run_ingest: Any, tmp_path: Path) -> None:
    path = make_data(6)
    names = ("train", "valid", "test")
    for number in range(6):
        target = tmp_path / "folders" / names[number % 3] / "ab"[number // 3]
        target.mkdir(parents=True, exist_ok=True)
        (target / f"{number}.png").write_bytes((path.parent / f"img/{number}.png").read_bytes())
    assert run_ingest(tmp_path / "folders").clean.splits == {"train": 2, "val": 2, "test": 2}
    tables = tmp_path / "tables"
    tables.mkdir()
    for number, name in enumerate(("train", "test")):
        pq.write_table(_inline_table(path.parent, 4).slice(number * 3, 3 - 2 * number), tables / f"{name}.parquet")
    done = run_ingest(tables, "split.val=0")
    assert {key: row["split"] for key, row in done.samples.items()} == {
        "s0": "train",
        "s1": "train",
        "s2": "train",
        "s3": "test",
    }
    (tmp_path / "folders/extra").mkdir()
    with pytest.raises(DataError, match=r"split folders \(test, train, valid\) and also 'extra'"):
        run_ingest(tmp_path / "folders")


def test_class_folders_without_media(tmp_path: Path) -> None:
    (tmp_path / "c/a").mkdir(parents=True)
    (tmp_path / "c/a/x.exe").touch()
    with pytest.raises(DataError, match=r"hold no file that ends in \.png"):
        open_manifest(tmp_path / "c")


def test_one_class_and_a_class_with_one_sample_pass_ingest(make_data: MakeData, run_ingest: Any) -> None:
    assert run_ingest(make_data(4, labels=("only",))).clean.labels == ("only",)
    done = run_ingest(make_data(5, labels=("many", "many", "many", "many", "one"), folder="other"))
    assert done.clean.labels == ("many", "one")


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("builtin:digits", "digits"),
        ("/x/avdigits/manifest.csv", "avdigits"),
        ("/x/cifar10/test.parquet", "cifar10-test"),
        ("/x/My data/", "My-data"),
        ("/x/birds.csv", "birds"),
    ],
)
def test_a_models_name_from_its_data(path: str, name: str) -> None:
    assert name_of_data(path) == name
