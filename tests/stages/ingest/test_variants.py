"""Layouts, lists and marks beyond the collected cases: each is read with its right value, or refused with a way out."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tasks.config import load_config
from tasks.errors import DataError, UsageError
from tasks.ingest.manifest.label_sets import find_separator
from tasks.ingest.manifest.media_index import MediaIndex
from tasks.ingest.manifest.source import open_sources
from tasks.ingest.sources.detect import open_manifest
from tasks.ingest.sources.limits import ReadLimits
from tests.support.data import write_manifest, write_picture
from tests.support.layouts import coco, fill, sides, write_workbook

# -- tables of splits ---


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        (("train/0.csv", "test/0.csv"), {"train", "test"}),
        (("data/imdb-train.csv", "data/imdb_test.csv"), {"train", "test"}),
        (("train-00000-of-00001-a09b74b3ef9c3b56.csv", "validation-00000-of-00001-4c5f.csv"), {"train", "val"}),
    ],
)
def test_splits_of_tables_in_other_places(tmp_path: Path, names: tuple[str, ...], splits: set[str]) -> None:
    assert {split for _, split in open_manifest(fill(tmp_path, *names))} == splits


@pytest.mark.parametrize("form", ["{}/{}/0000.csv", "data/{}-{}-00000-of-00001.csv"])
def test_a_configuration_of_either_form_is_chosen(tmp_path: Path, form: str) -> None:
    fill(tmp_path, *(form.format(config, split) for config in ("de", "fr") for split in ("train", "test")))
    with pytest.raises(UsageError, match=r"choose one with --set data\.config=de"):
        open_manifest(tmp_path)
    found = open_manifest(tmp_path, ReadLimits(config="fr"))
    assert all("fr" in str(manifest.path) for manifest, _ in found)
    assert {split for _, split in found} == {"train", "test"}


def test_files_of_pictures_and_tables_beside_splits_are_no_splits(tmp_path: Path) -> None:
    fill(tmp_path, "train.csv", "test.csv", "results-train.csv", "results-test.csv")
    assert sides(open_manifest(tmp_path)) == [("test.csv", "test"), ("train.csv", "train")]
    with pytest.raises(DataError, match="name none of its files"):
        open_manifest(fill(tmp_path / "one", "results-test.csv", "cat/1.png", "dog/1.png"))


# -- folders around classes ---


def test_a_folder_that_only_holds_another_one(tmp_path: Path) -> None:
    ((manifest, _),) = open_manifest(fill(tmp_path, "set/images/cat/1.png", "set/images/dog/1.png", "README.md"))
    assert [row.values["label"] for row in manifest.rows] == ["cat", "dog"]
    assert (
        "set/images is all that the folder holds, and is read in its place; beside it are not read: README.md"
        in manifest.notes
    )
    ((same, _),) = open_manifest(tmp_path, ReadLimits(layout="folders"))  # as a profile has it
    assert [row.values["label"] for row in same.rows] == ["cat", "dog"]


@pytest.mark.parametrize("below", ["", "seg_train/", "seg_test/"])
def test_split_folders_by_the_ends_of_their_names(tmp_path: Path, below: str) -> None:
    names = [f"seg_{split}/{below.replace('test', split).replace('train', split)}{label}/{split}.png"
             for split in ("train", "test") for label in ("cat", "dog")]  # fmt: skip
    found = open_manifest(fill(tmp_path, *names))
    assert [(split, [row.values["label"] for row in manifest.rows]) for manifest, split in found] == [
        ("test", ["cat", "dog"]),
        ("train", ["cat", "dog"]),
    ]
    assert "seg_test, seg_train are read as splits, by the ends of their names" in found[0][0].notes


def test_folders_that_may_be_no_classes_are_told(tmp_path: Path) -> None:
    ((manifest, _),) = open_manifest(fill(tmp_path / "b", "cat/train/1.png", "dog/test/1.png"))
    assert any(
        note.endswith("test, train are no splits there: splits stand above the classes") for note in manifest.notes
    )


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("images/1.png", "masks/1.png"), "images, masks hold parts of samples.*write a table"),
        (("images/1.png", "labels/1.txt", "data.yaml"), r"labels/1\.txt looks like the boxes of YOLO.*COCO's JSON"),
        (("train/images/1.png", "train/labels/1.txt", "valid/images/2.png"), "looks like the boxes of YOLO"),
        (
            ("images/a/1.png", "images/b/1.png", "attributes/a.txt", "images.txt"),
            "give that one, --data .*/images; else",
        ),
        (
            ("wav/id1/1.wav", "wav/id2/1.wav", "iden_split.txt"),
            "only the folder wav holds media.*give that one, --data .*/wav",
        ),
        (
            ("jpg/1.jpg", "jpg/2.jpg", "labels.mat"),
            "only the folder jpg holds media.*write a table.*data.layout=folders",
        ),
        (("jpg/1.jpg", "jpg/2.jpg", "notes/1.txt"), "only the folder jpg holds media"),
        (("train/jpg/1.jpg", "test/jpg/2.jpg"), "only the folder jpg holds media.*write a table"),
        (("photos/a.jpg", "photos/b.jpg", "masks/a.jpg", "masks/b.jpg"), "masks hold parts of samples"),
        (("photos/1.jpg", "photos/2.jpg", "masks/1.png", "masks/2.png"), "masks hold parts of samples"),
        (("images/1.png", "masks/1.png", "cat/7.png"), "images, masks hold parts of samples"),
    ],
)
def test_folders_that_are_no_classes(tmp_path: Path, names: tuple[str, ...], words: str) -> None:
    with pytest.raises(DataError, match=words):
        open_manifest(fill(tmp_path, *names))
    assert open_manifest(tmp_path, ReadLimits(layout="folders"))  # for whom they are
    assert open_manifest(tmp_path, ReadLimits(labelled=False))


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        (("pos/1.txt", "neg/2.txt", "figures/x.png"), ["figures", "neg", "pos"]),
        (("pos/1.txt", "pos/x.png", "neg/2.txt"), ["neg", "pos", "pos"]),
        (("masks/0.png", "masks/1.png", "gloves/0.png", "gloves/1.png"), ["gloves", "gloves", "masks", "masks"]),
        (("masks/m1.png", "gloves/g1.png"), ["gloves", "masks"]),
        (("cat/1.png", "dog/1.png", "meta/info.yaml"), ["cat", "dog", "meta"]),
        (("train/cat/1.png", "train/dog/2.png", "test/cat/3.png"), ["cat", "cat", "dog"]),
    ],
)
def test_folders_that_are_classes(tmp_path: Path, names: tuple[str, ...], labels: list[str]) -> None:
    found = open_manifest(fill(tmp_path, *names))
    assert [row.values["label"] for manifest, _ in found for row in manifest.rows] == labels


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("a b.tar.gz", "tar -xf 'a b.tar.gz'"),
        ("a.tgz", "tar -xf a.tgz"),
        ("a.zip", "unzip a.zip -d FOLDER"),
        ("a.7Z", "7z x a.7Z"),
    ],
)
def test_an_archive_says_how_it_is_unpacked(tmp_path: Path, name: str, command: str) -> None:
    (tmp_path / name).write_bytes(b"packed")
    for path in (tmp_path / name, tmp_path):
        with pytest.raises(UsageError, match=rf"a packed archive; unpack it first \({re.escape(command)}\)"):
            open_manifest(path)


def test_files_without_labels_say_what_to_do(tmp_path: Path) -> None:
    fill(tmp_path, "cat.1.png", "dog.1.png")
    with pytest.raises(DataError, match=r"2 files without labels; to train, put those of each class in a folder"):
        open_sources(tmp_path, load_config({}, []), "train")


# -- media in cells ---


def test_a_list_in_a_cell_is_never_its_last_picture(tmp_path: Path, run_ingest: Any) -> None:
    for number in range(8):
        write_picture(tmp_path / f"{number}.png", number)
    rows = [{"image": f"['{n}.png', '{n + 1}.png']", "label": "ab"[n // 2 % 2]} for n in range(0, 8, 2)]
    write_manifest(tmp_path / "m.csv", rows)
    (tmp_path / "m.jsonl").write_text(
        "".join(
            json.dumps({"image": [f"{n}.png", f"{n + 1}.png"], "label": "ab"[n // 2 % 2]}) + "\n"
            for n in range(0, 8, 2)
        )
    )
    assert MediaIndex((str(tmp_path),)).find("['0.png', '1.png']") is None
    for name, reason in (("m.csv", "missing-file"), ("m.jsonl", "wrong-type")):
        with pytest.raises(DataError, match=rf"{reason}.*data\.cell_separator"):
            run_ingest(tmp_path / name)
        done = run_ingest(tmp_path / name, "data.cell_separator=,")
        assert (done.clean.counts.rows_in, done.clean.counts.quarantined) == (8, 0)


def test_paths_of_the_machine_that_wrote_the_manifest(tmp_path: Path, run_ingest: Any) -> None:
    (tmp_path / "m").mkdir()
    for number in range(4):
        write_picture(tmp_path / f"m/img/{number}.png", number)
    rows = [{"image": f"/content/no-such/img/{n}.png", "label": "ab"[n % 2]} for n in range(4)]
    assert run_ingest(write_manifest(tmp_path / "m/m.csv", rows)).clean.counts.used == 4
    write_picture(tmp_path / "0.png", 9)
    done = run_ingest(write_manifest(tmp_path / "m/m.csv", [*rows, {"image": str(tmp_path / "0.png"), "label": "a"}]))
    assert [row["reason"] for row in done.refused] == ["path-outside"]  # it is there, and beyond the folder


def test_a_number_names_no_picture(tmp_path: Path) -> None:
    fill(tmp_path, "12.png", "a.b.png")
    index = MediaIndex((str(tmp_path),))
    assert (index.find("12.50"), index.find("12.jpg")) == (None, str(tmp_path / "12.png"))


def test_missing_pictures_of_coco_cost_their_rows(tmp_path: Path, run_ingest: Any) -> None:
    (tmp_path / "annotations").mkdir()
    for first, split in ((0, "train"), (20, "val")):
        names = [f"{first + place}.png" for place in range(20)]
        content = coco(names, {place: [1 if place % 2 else 18] for place in range(1, 21)}, {1: "cat", 18: "dog"})
        (tmp_path / f"annotations/instances_{split}2017.json").write_text(json.dumps(content))
        for place, name in enumerate(names[:-1]):
            write_picture(tmp_path / f"{split}2017/{name}", first + place)
    done = run_ingest(tmp_path)
    assert (done.clean.counts.used, sorted(row["reason"] for row in done.refused)) == (38, ["missing-file"] * 2)


# -- labels and names ---


def test_a_mark_between_spaces_is_no_label() -> None:
    assert find_separator(["a / b", "b / c", "a / c", "b", "a / b / c"]) is None


@pytest.mark.parametrize("mark", ["", "?", "-1"])
def test_train_is_divided_where_nothing_else_has_labels(tmp_path: Path, run_ingest: Any, mark: str) -> None:
    for name, first in (("train", 0), ("test", 100)):
        rows = [
            {"text": f"text number {n}", "label": "ab"[n % 2] if name == "train" else mark}
            for n in range(first, first + 60)
        ]
        write_manifest(tmp_path / f"{name}.csv", rows)
    done = run_ingest(tmp_path, "split.near_duplicates=false")
    assert (done.clean.counts.used, done.clean.counts.unlabelled) == (60, 60)
    assert all(done.clean.splits.values())
    assert "train is the only split with labels and is divided" in done.clean.notes


def test_a_row_is_told_by_its_line_where_cells_span_lines(tmp_path: Path, run_ingest: Any) -> None:
    (tmp_path / "m.csv").write_text('text,label\n"a\nb, c\n\nd",x\ne,\nf,y\n')
    assert [(row["row"], row["reason"]) for row in run_ingest(tmp_path / "m.csv").refused] == [(6, "missing-label")]


def refusal(path: Path) -> str:
    with pytest.raises(DataError) as refused:
        open_sources(path, load_config({}, []), "train")
    return str(refused.value)


def test_columns_that_could_be_meant_are_named_with_their_roles(tmp_path: Path) -> None:
    reviews = [(f"it was number {n}, and fine", ("gut", "schlecht")[n % 2]) for n in range(20)]
    rows = [{"Review Text": text, "Class Label": label} for text, label in reviews]
    said = refusal(write_manifest(tmp_path / "m.csv", rows))
    assert "could be --set 'data.columns.text=Review Text', and --set 'data.columns.label=Class Label'" in said
    (tmp_path / "n.csv").write_text("".join(f'"{text}",{label}\n' for text, label in reviews))
    assert """name the columns, perhaps --set 'data.csv.header=["text", "label"]'""" in refusal(tmp_path / "n.csv")
    (tmp_path / "o.csv").write_text("Report\n\ntext,label\na,b\n")
    assert "its first filled line, where the columns are named, holds one name: data.csv.delimiter" in refusal(
        tmp_path / "o.csv"
    )


def test_numbers_in_a_workbook_are_not_proposed_as_pictures(tmp_path: Path) -> None:
    fill(tmp_path, *(f"{number}.png" for number in range(9)))
    rows: list[list[Any]] = [
        ["Bild", "Preis", "price"],
        *([f"{number}.png", number, f"{number}.50"] for number in range(9)),
    ]
    said = refusal(write_workbook(tmp_path / "m.xlsx", rows))
    assert "could be --set data.columns.image=Bild; sheet" in said


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"data": {"text": "a", "label": "b"}, "version": 1}, "it holds one JSON object, which is one row"),
        ({"text": {"0": "a"}, "label": {"0": "b"}}, r"one JSON object of objects.*to_json\(orient='records'\)"),
    ],
)
def test_json_that_is_no_rows(tmp_path: Path, content: object, words: str) -> None:
    (tmp_path / "m.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=words):
        open_sources(tmp_path / "m.json", load_config({}, []), "train")
