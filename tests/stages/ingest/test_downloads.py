"""Downloads as they are unpacked: numbered lists, splits by name, folders that are no classes, columns for each class."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tasks.config import load_config
from tasks.errors import DataError, UsageError
from tasks.ingest.manifest.source import open_sources
from tasks.ingest.sources import list_files
from tasks.ingest.sources.detect import open_manifest
from tasks.ingest.sources.limits import ReadLimits
from tests.support.layouts import fill, sides

# -- downloads as they are unpacked ---


def rows_of(path: Path, **limits: Any) -> list[tuple[str | None, dict[str, Any]]]:
    return [
        (split, row.values) for manifest, split in open_manifest(path, ReadLimits(**limits)) for row in manifest.rows
    ]


def write_birds(root: Path) -> Path:
    """Lists that number their files, as CUB-200 has them."""
    fill(
        root,
        "images/001.Albatross/a_1.jpg",
        "images/001.Albatross/a_2.jpg",
        "images/002.Auk/b_3.jpg",
        "parts/parts.txt",
    )
    (root / "images.txt").write_text("1 001.Albatross/a_1.jpg\n2 001.Albatross/a_2.jpg\n3 002.Auk/b_3.jpg\n")
    (root / "train_test_split.txt").write_text("1 1\n2 0\n3 1\n")
    (root / "image_class_labels.txt").write_text("1 1\n2 1\n3 2\n")
    (root / "classes.txt").write_text("1 Black albatross\n2 Auk\n")
    return root


@pytest.mark.parametrize("layout", ["auto", "lists"])
def test_lists_that_number_their_files(tmp_path: Path, layout: str) -> None:
    found = [values for _, values in rows_of(write_birds(tmp_path), layout=layout)]
    assert found[1] == {
        "id": "2", "label": "Black albatross", "image_path": "images/001.Albatross/a_2.jpg", "split": "test"
    }  # fmt: skip
    assert [values["split"] for values in found] == ["train", "test", "train"]
    (tmp_path / "classes.txt").unlink()
    (tmp_path / "image_class_labels.txt").unlink()
    assert [values["label"] for _, values in rows_of(tmp_path)] == ["001.Albatross", "001.Albatross", "002.Auk"]


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("train_test_split.txt", "1 1\n2 0\n", "train_test_split.txt lacks the number 3.*002.Auk/b_3.jpg"),
        ("train_test_split.txt", "1 1\n2 2\n3 1\n", "train_test_split.txt holds '2', which is not one of 1, 0"),
        ("classes.txt", "1 A\n", "image_class_labels.txt holds '2', which is not a number of classes.txt"),
        ("images.txt", "1 a.jpg\n1 b.jpg\n", "images.txt line 2: '1 b.jpg' is not a number of its own"),
    ],
)
def test_lists_that_do_not_fit_each_other(tmp_path: Path, name: str, text: str, words: str) -> None:
    (write_birds(tmp_path) / name).write_text(text)
    with pytest.raises(DataError, match=words):
        rows_of(tmp_path)


def test_a_split_that_lies_above_the_folder_is_told(tmp_path: Path) -> None:
    ((manifest, _),) = open_manifest(write_birds(tmp_path) / "images")
    (note,) = manifest.notes
    assert note.startswith("train_test_split.txt in the folder above may say what is train and test, and is not read")
    with pytest.raises(UsageError, match=r"data\.layout=lists: .* holds no lists of its files"):
        open_manifest(tmp_path / "images", ReadLimits(layout="lists"))


def test_tables_whose_names_begin_with_splits(tmp_path: Path) -> None:
    memes = (
        "train.csv",
        "dev_seen.csv",
        "dev_unseen.csv",
        "test_seen.csv",
        "img/1.png",
        "test_scores.csv",
        "train_old.csv",
    )
    fill(tmp_path, *memes)
    (tmp_path / "test_scores.csv").write_text("model,score\nx,1\n")
    found = open_manifest(tmp_path)
    assert sides(found) == [
        ("train.csv", "train"),
        ("dev_seen.csv", "val"),
        ("dev_unseen.csv", "val"),
        ("test_seen.csv", "test"),
    ]
    assert found[0][0].notes[0] == "tables whose names are no split are not read: test_scores.csv, train_old.csv"
    assert "dev_seen.csv as val, dev_unseen.csv as val, test_seen.csv as test" in found[0][0].notes[1]
    fill(tmp_path / "meld", "train_sent_emo.csv", "dev_sent_emo.csv", "test_sent_emo.csv")
    assert [split for _, split in open_manifest(tmp_path / "meld")] == ["val", "test", "train"]


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        (("train-clean-100/a/1.flac", "dev-clean/a/1.flac", "test-other/b/1.flac"), {"train", "val", "test"}),
        (("train/cat/1.png", "train/dog/1.png", "test1/cat/1.png"), {"train", "test"}),
    ],
)
def test_folders_whose_names_begin_with_splits(tmp_path: Path, names: tuple[str, ...], splits: set[str]) -> None:
    found = open_manifest(fill(tmp_path, *names, *(name.replace("/a/", "/b/") for name in names)))
    assert {split for _, split in found} == splits
    assert any(note.endswith("are read as splits, by the beginnings of their names") for note in found[0][0].notes)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("audio/fold1/a.wav", "audio/fold10/b.wav"), "fold1, fold10 are folds, no class each.*file_name,label,fold"),
        (("L/19/198/19-198.trans.txt", "L/19/198/19-198-0.flac", "L/26/1/26-1-0.flac", "L/README.TXT"),
         "19/198/19-198.trans.txt, and 0 more.*transcripts.*file_name,label,text,group"),
        (("train/cat.0.jpg", "test1/1.jpg"), "train.*neither a table nor a folder per class"),
        (("data/1.jpg", "data/1.txt", "labelResultAll.txt", "README.txt"),
         "only the folder data holds media.*where labelResultAll.txt is a table.*give that one, --data .*labelResultAll.txt"),
    ],
)  # fmt: skip
def test_downloads_without_labels_where_they_are_looked_for(tmp_path: Path, names: tuple[str, ...], words: str) -> None:
    with pytest.raises((DataError, UsageError), match=words):
        open_manifest(fill(tmp_path, *names))


@pytest.mark.parametrize(
    ("name", "text", "values"),
    [
        ("labelResultAll.txt", "ID\ttext,image\n1\tpositive,neutral\n", {"ID": "1", "text,image": "positive,neutral"}),
        ("out.manifest", '{"source-ref": "a.jpg", "class": 1}\n', {"source-ref": "a.jpg", "class": 1}),
    ],
)
def test_tables_whose_ending_says_nothing(tmp_path: Path, name: str, text: str, values: dict[str, Any]) -> None:
    (tmp_path / name).write_text(text)
    ((manifest, _),) = open_manifest(tmp_path / name)
    assert [row.values for row in manifest.rows] == [values]
    assert "its ending says nothing" in manifest.notes[-1]


def test_a_text_is_no_table(tmp_path: Path) -> None:
    for name, text in (("a.txt", "Once upon a time, there was,\na king\n"), ("b.bin2", "no cells at all\n")):
        (tmp_path / name).write_text(text)
    ((manifest, _),) = open_manifest(tmp_path / "a.txt")
    assert [row.values for row in manifest.rows] == [{"id": "a.txt", "text_path": "a.txt"}]
    with pytest.raises(UsageError, match=r"\.bin2 ending; accepted are"):
        open_manifest(tmp_path / "b.bin2")


def test_a_dict_as_python_prints_it_is_named(tmp_path: Path) -> None:
    (tmp_path / "m.jsonl").write_text("{'text': 'a', 'label': 'b'}\n")
    with pytest.raises(DataError, match=r"a dict as Python prints it: write it with json\.dumps"):
        open_manifest(tmp_path / "m.jsonl")


# -- a column for each class ---


@pytest.mark.parametrize(
    ("cells", "hint"),
    [
        (("1.0,0.0", "0.0,1.0"), r"cat, dog are one class in one-hot form: .*frame\[\['cat', 'dog'\]\]\.idxmax"),
        (("1,1", "0,1", "1,0"), r"cat, dog each say yes or no: --set 'data\.columns\.labels=\[\"cat\", \"dog\"\]'"),
        (("1,-1", "-1,1", "1,1"), r"cat, dog each say yes or no"),
    ],
)
def test_columns_that_say_yes_or_no_of_each_class_are_told(tmp_path: Path, cells: tuple[str, ...], hint: str) -> None:
    rows = [f"a sentence of row {number},{cells[number % len(cells)]}" for number in range(24)]
    path = tmp_path / "train.csv"
    path.write_text("\n".join(["text,cat,dog", *rows]) + "\n")
    with pytest.raises(DataError, match=hint):
        open_sources(path, load_config({}), "train")
    (found,) = open_sources(path, load_config({}, ['data.columns.labels=["cat", "dog"]']), "train")
    assert len(found.problems) == 2


@pytest.mark.parametrize("layout", ["birds", "food"])
def test_no_list_is_read_in_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: str) -> None:
    if layout == "birds":
        write_birds(tmp_path)
    else:
        fill(tmp_path, *(f"images/{label}/{n}.jpg" for label in ("a", "b") for n in range(3)))
        for split, numbers in (("train", (0, 1)), ("test", (2,))):
            (tmp_path / f"{split}.txt").write_text("".join(f"{label}/{n}\n" for label in ("a", "b") for n in numbers))
    assert rows_of(tmp_path)
    monkeypatch.setattr(list_files, "MAX_BYTES", 11)
    with pytest.raises(DataError, match=r"txt is larger than 11 bytes, .*; write one table"):
        rows_of(tmp_path)
