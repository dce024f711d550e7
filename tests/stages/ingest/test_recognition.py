"""What is recognised in data is said with its reason, and set as it was found: then nothing is left to recognise."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_contracts.recognition import Recognised, SettingValue
from data_contracts.refs import RawRef
from tasks.config import load_config
from tasks.errors import UnknownColumns, UsageError
from tasks.ingest.manifest.scan import scan
from tasks.store import Store
from tests.support.data import write_picture

Write = Callable[[Path], Path]


def read(store: Store, path: Path, *overrides: str, **settings: SettingValue) -> RawRef:
    chosen = [f"{key}={json.dumps(value)}" for key, value in settings.items()]
    return scan(load_config({}, [*overrides, *chosen]), store, path.absolute())


def lines(raw: RawRef) -> dict[str, Recognised]:
    return {line.role: line for line in raw.recognition.found}


def table(name: str, *rows: str, encoding: str = "utf-8") -> Write:
    def write(folder: Path) -> Path:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("\n".join(rows) + "\n", encoding=encoding)
        return folder / name

    return write


def described(folder: Path) -> Path:
    """Names without endings, beneath a folder that no cell names, told by a table one folder deeper."""
    for number in range(4):
        write_picture(folder / f"pictures/{number}.png", number)
    table("meta/labels.csv", "file_name,class", *(f"{n},{'ab'[n % 2]}" for n in range(4)))(folder)
    return folder


def classes(folder: Path) -> Path:
    for number in range(4):
        write_picture(folder / f"{'ab'[number % 2]}/{number}.png", number)
    return folder


def shards(folder: Path) -> Path:
    (folder / "fr").mkdir(parents=True)
    for split in ("train", "validation"):
        rows = pa.table(
            {"id": [f"{split}{n}" for n in range(3)], "text": ["x y", "y z", "z"], "label": ["a", "b", "a"]}
        )
        pq.write_table(rows, folder / f"fr/{split}-00000-of-00001.parquet")
    return folder


def ending(folder: Path) -> Path:
    """Splits by the ends of their names, in a folder below."""
    for split, rows in (("train", ("1,a b,x", "2,c d,y")), ("test", ("3,e f,x",))):
        table(f"data/imdb-{split}.csv", "id,text,label", *rows)(folder)
    return folder


def by_folder(folder: Path) -> Path:
    """Splits by the folders of the tables."""
    for split, rows in (("train", ("1,a b,x", "2,c d,y")), ("test", ("3,e f,x",))):
        table(f"{split}/0.csv", "id,text,label", *rows)(folder)
    return folder


def wrapped(folder: Path) -> Path:
    """Class folders in a folder that is all there is."""
    for number in range(4):
        place = folder / f"set/{'ab'[number % 2]}/{number}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        write_picture(place, number)
    return folder


def competition(folder: Path) -> Path:
    table("train.csv", "id,text,label", "1,a b,x", "2,c d,y")(folder)
    table("test.csv", "id,text", "3,e f")(folder)
    return folder


def text_files(folder: Path) -> Path:
    for number in range(3):
        table(f"{number}.txt", f"the words of {number}")(folder)
    return table("m.csv", "file,label", *(f"{n}.txt,{'ab'[n % 2]}" for n in range(3)))(folder)


DIALECT = {"data.csv.encoding": "utf-8", "data.csv.delimiter": ",", "data.csv.skipinitialspace": False}
COLUMNS = {"data.columns.text": "text", "data.columns.label": "label", "data.find_columns": False}
CASES: list[tuple[Write, tuple[str, ...], dict[str, Any]]] = [
    (
        table("m.csv", "name; text; label", '1; "a ""b"""; x', "2; b; y", encoding="utf-16"),
        ("data.columns.id=name",),
        {"data.csv.delimiter": ";", "data.csv.skipinitialspace": True, "data.csv.encoding": "utf-16"}
        | {"data.csv.quoting": "minimal", "data.csv.escape": "none"},
    ),
    (
        table("m.csv", "text,label,split", '"a \\"b\\", c",x,Training', "b,y,dev", "c,x,holdout"),
        (),
        {"data.csv.escape": "backslash", "data.columns.split": "split"}
        | {"split.folds": {"train": ("Training",), "val": ("dev",), "test": ("holdout",)}},
    ),
    (table("m.tsv", "text\tlabel", 'a "b\tx', "b\ty"), (), {"data.csv.delimiter": "\t"}),
    (
        table("m.csv", "text,label", 'a,"1,200 kg"', 'b,"3,400.5 kg"', "c,12 kg"),
        ("data.problem=regression",),
        {"data.csv.decimal": ".", "data.csv.thousands": ",", "data.csv.unit": "kg"},
    ),
    (table("m.csv", "text,label", "a,1.5", "b,2"), ("data.problem=regression",), {"data.csv.unit": "none"}),
    (
        table("m.csv", "text,label", "a,x;y", "b,y", "c,x;z", "d,z"),
        ("data.problem=multilabel",),
        {"data.label_separator": ";"},
    ),
    (table("m.csv", "text,label", "a,x", "b,y"), ("data.problem=multilabel",), {"data.label_separator": "none"}),
    (
        table("m.csv", "text,label,time", "a,x,24.12.2015", "b,y,25.12.2015"),
        ("split.by=time",),
        {"data.time_format": "%d.%m.%Y", "data.columns.time": "time"},
    ),
    (
        table("m.csv", "text,label,time", "a,x,2015-12-24", "b,y,17"),
        ("split.by=time",),
        {"data.time_format": "iso"},
    ),
    (
        table("m.csv", "age,kind,label", "1,a,x", "2,b,y", "3.5,a,x"),
        ('data.columns.tabular=["age", "kind"]', "encoders.tabular=tiny"),
        {"data.columns.tabular": ("age:numeric", "kind:categorical")},
    ),
    (
        described,
        (),
        {"data.table": "meta/labels.csv", "data.columns.image": "file_name", "data.columns.label": "class"}
        | {"data.media.base": {"image": "pictures"}}
        | {"data.media.suffix": {"image": ".png"}, "data.media.search": False},
    ),
    (classes, (), {"data.layout": "folders", "data.columns.image": "image_path", "data.columns.id": "id"}),
    (shards, (), {"data.layout": "tables", "data.config": "fr", **COLUMNS}),
    (ending, (), {"data.layout": "tables", **DIALECT, **COLUMNS}),
    (by_folder, (), {**DIALECT, **COLUMNS}),
    (wrapped, (), {"data.layout": "folders", "data.columns.image": "image_path", "data.columns.id": "id"}),
    (competition, (), {"data.layout": "tables", **DIALECT, **COLUMNS}),
    (text_files, (), {"data.columns.text": "file", "data.media.text_files": ("file",)}),
]


@pytest.mark.parametrize(("write", "overrides", "expected"), CASES)
def test_what_was_chosen_is_set_and_then_nothing_is_left(
    store: Store, tmp_path: Path, write: Write, overrides: tuple[str, ...], expected: dict[str, Any]
) -> None:
    data = write(tmp_path / "data")
    raw = read(store, data, *overrides)
    settings = raw.recognition.settings
    assert {key: settings.get(key) for key in expected} == expected
    again = read(store, data, *overrides, **settings)
    assert (again.sha256, again.rows, again.modalities) == (raw.sha256, raw.rows, raw.modalities)
    assert again.recognition.settings == {}
    assert read(store, data, *overrides).recognition == raw.recognition


def test_the_table_says_why(store: Store, tmp_path: Path) -> None:
    found = lines(read(store, described(tmp_path / "data")))
    assert found["image"] == Recognised(
        column="file_name", role="image", how="its name suggests it, and its cells name files", example="0"
    )
    assert (found["label"].column, found["label"].how, found["label"].example) == ("class", "its name suggests it", "a")
    assert (found["layout"].column, found["layout"].example) == (None, "one table: meta/labels.csv")
    assert found["files of image"].example == "pictures/CELL.png"
    assert found["problem"].how == "the default"
    plain = table("m.csv", "text;label;more", "a;x;1", "b;y;2")(tmp_path)
    named = lines(read(store, plain, "data.columns.label=label", "data.csv.delimiter=;"))
    assert (named["text"].how, named["label"].how) == ("its name", "set: data.columns.label")
    assert (named["delimiter"].how, named["delimiter"].example) == ("set: data.csv.delimiter", "';'")
    assert (named["metadata"].column, named["metadata"].how) == ("more", "its name is of no role")


def test_what_was_set_is_read_though_other_columns_and_files_come(store: Store, tmp_path: Path) -> None:
    data = described(tmp_path / "data")
    settings = read(store, data).recognition.settings
    table("other.csv", "file_name,label", *(f"{n},c" for n in range(4)))(data)
    table("meta/labels.csv", "file_name,class,label,text", *(f"{n},{'ab'[n % 2]},z,t" for n in range(4)))(data)
    raw = read(store, data, **settings)
    assert (raw.columns, raw.rows) == ({"image": "file_name"}, 4)
    assert set(pq.read_table(store.path(raw.uri) / "rows.parquet")["label"].to_pylist()) == {"a", "b"}


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["data.table=meta/label.csv"],
            "data.table 'meta/label.csv': no such file in .*; did you mean 'meta/labels.csv'",
        ),
        (["data.layout=tables"], "data.layout=tables: .* holds no table that is named train, val or test; it holds"),
    ],
)
def test_a_choice_that_does_not_fit_any_more_is_refused(
    store: Store, tmp_path: Path, overrides: list[str], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        read(store, described(tmp_path / "data"), *overrides)


def test_a_column_is_not_found_by_its_name_where_only_named_ones_are_read(store: Store, tmp_path: Path) -> None:
    data = table("m.csv", "text,label,group", "a,x,1", "b,y,2")(tmp_path)
    raw = read(store, data, "data.find_columns=false", "data.columns.text=text", "data.columns.label=label")
    assert "group" not in lines(raw)
    assert lines(raw)["metadata"].column == "group"


def test_a_split_word_that_was_not_there_is_no_train_row(store: Store, tmp_path: Path) -> None:
    folds = 'split.folds={"train": ["train"], "test": ["test"]}'
    raw = read(store, table("m.csv", "text,label,split", "a,x,train", "b,y,tset")(tmp_path), folds)
    assert pq.read_table(store.path(raw.uri) / "rows.parquet")["reason"].to_pylist() == [None, "unknown-split"]


def test_a_folder_per_class_is_listed_once(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def walk(roots: tuple[str, ...]) -> list[str]:
        raise AssertionError(f"{roots} are listed again")

    monkeypatch.setattr("tasks.ingest.manifest.media_index._walk", walk)
    assert read(store, classes(tmp_path / "data")).rows == 4


def test_a_refusal_for_want_of_a_column_says_what_was_recognised(tmp_path: Path, store: Store) -> None:
    path = table("m.csv", "id;breed;class", "a;boxer;x", "b;pug;y")(tmp_path)
    with pytest.raises(UnknownColumns, match="none of its columns") as refused:
        read(store, path)
    found = {line.column or line.role: (line.role, line.how, line.example) for line in refused.value.recognition.found}
    assert found["delimiter"][2] == "';'"
    assert found["id"] == ("id", "its name", "a")
    assert found["breed"] == ("not recognised", "its name is of no role", "boxer")
    assert found["class"] == ("label", "its name suggests it", "x")


@pytest.mark.parametrize(
    ("target", "taken"),
    [(["0", "1", "0", "1"], "category"), (["1", "1", "0", "1"], None), (["a", "b", "a", "b"], None)],
)
def test_a_column_that_only_numbers_the_classes_of_another_is_no_second_label(
    tmp_path: Path, store: Store, target: list[str], taken: str | None
) -> None:
    cells = zip(("one", "two", "three", "four"), target, ("dog", "cat", "dog", "cat"), strict=True)
    path = table("m.csv", "text,target,category", *(",".join(row) for row in cells))(tmp_path)
    if taken is None:
        with pytest.raises(UnknownColumns, match=r"data\.columns\.label=category or --set data\.columns\.label=target"):
            read(store, path)
    else:
        assert lines(read(store, path))["label"].column == taken
