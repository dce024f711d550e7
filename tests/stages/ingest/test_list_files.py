"""UCF-101's lists, columns of folds by number, and cells that hold several media."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tasks.config import load_config
from tasks.errors import DataError, UsageError
from tasks.ingest.manifest.rows import Manifest
from tasks.ingest.sources.detect import open_manifest
from tasks.ingest.sources.limits import ReadLimits, read_limits
from tests.support.data import write_picture


def ucf(folder: Path, lists: str) -> None:
    """Clips of two classes, three scenes each, and the lists of two folds."""
    for name in ("A/v_A_g01_c01", "A/v_A_g01_c02", "A/v_A_g02_c01", "B/v_B_g01_c01", "B/v_B_g02_c01"):
        (folder / f"UCF-101/{name}.avi").parent.mkdir(parents=True, exist_ok=True)
        (folder / f"UCF-101/{name}.avi").write_bytes(name.encode())
    (folder / lists).mkdir(exist_ok=True)
    (folder / lists / "classInd.txt").write_text("1 A\r\n2 B\r\n")
    (folder / lists / "trainlist01.txt").write_text(
        "A/v_A_g01_c01.avi 1\r\nA/v_A_g01_c02.avi 1\r\nB/v_B_g01_c01.avi 2\r\n"
    )
    (folder / lists / "testlist01.txt").write_text("A/v_A_g02_c01.avi\nB/gone_g02_c01.avi\n")
    (folder / lists / "trainlist02.txt").write_text("v_B_g02_c01.avi 2\n")


def only(path: Path, **limits: Any) -> Manifest:
    ((manifest, split),) = open_manifest(path, ReadLimits(**limits))
    assert split is None
    return manifest


@pytest.mark.parametrize("lists", [".", "ucfTrainTestlist"])
def test_splits_of_numbered_lists(tmp_path: Path, lists: str) -> None:
    ucf(tmp_path, lists)
    manifest = only(tmp_path)
    rows = [row.values for row in manifest.rows]
    assert [(row["label"], row["split"], row.get("group")) for row in sorted(rows, key=lambda row: row["id"])] == [
        ("A", "train", "v_A_g01"),
        ("A", "train", "v_A_g01"),
        ("A", "test", "v_A_g02"),
        ("B", "test", "gone_g02"),
        ("B", "train", "v_B_g01"),
    ]
    assert {row["video_path"] for row in rows} >= {"UCF-101/A/v_A_g01_c01.avi", "B/gone_g02_c01.avi"}
    assert "1 files that neither list names are left out" in manifest.notes
    second = [row.values for row in only(tmp_path, list_fold=2).rows]
    assert [(row["label"], row["video_path"]) for row in second] == [("B", "UCF-101/B/v_B_g02_c01.avi")]
    with pytest.raises(UsageError, match=r"split.list_fold=3, and its lists have the numbers 1, 2"):
        only(tmp_path, list_fold=3)


def food(folder: Path) -> Path:
    """Food-101's form: pictures by class, and lists of names without an ending, as text and as JSON."""
    for name in ("images/pie/1.jpg", "images/pie/2.jpg", "images/ribs/3.jpg", "images/ribs/4.jpg"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
    (folder / "meta").mkdir()
    (folder / "meta/train.txt").write_text("pie/1\nribs/3\n")
    (folder / "meta/test.txt").write_text("pie/2\nribs/4\n")
    (folder / "meta/train.json").write_text('{"pie": ["pie/1"], "ribs": ["ribs/3"]}')
    (folder / "meta/test.json").write_text('{"pie": ["pie/2"], "ribs": ["ribs/4"]}')
    (folder / "meta/classes.txt").write_text("pie\nribs\n")
    return folder


def test_lists_without_a_number(tmp_path: Path) -> None:
    manifest = only(food(tmp_path))
    rows = [(row.values["image_path"], row.values["label"], row.values["split"]) for row in manifest.rows]
    assert sorted(rows) == [
        ("images/pie/1.jpg", "pie", "train"),
        ("images/pie/2.jpg", "pie", "test"),
        ("images/ribs/3.jpg", "ribs", "train"),
        ("images/ribs/4.jpg", "ribs", "test"),
    ]
    assert "splits are those of meta/test.txt and meta/train.txt (split.list_fold)" in manifest.notes


def test_numbers_of_classes_that_one_list_gives_folders_for(tmp_path: Path) -> None:
    """ImageNet's: the validation pictures lie in no class folder."""
    for name in ("train/n01/a.jpg", "train/n02/b.jpg", "val/c.jpg", "val/d.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "train.txt").write_text("n01/a.jpg 0\nn02/b.jpg 1\n")
    (tmp_path / "val.txt").write_text("c.jpg 1\nd.jpg 0\n")
    found = {row.values["image_path"]: row.values["label"] for row in only(tmp_path).rows}
    assert found == {"train/n01/a.jpg": "n01", "train/n02/b.jpg": "n02", "val/c.jpg": "n02", "val/d.jpg": "n01"}


def listed(folder: Path, files: tuple[str, ...], train: str, test: str) -> Path:
    """Empty files, and the lists of two splits."""
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    (folder / "train.txt").write_text(train)
    (folder / "test.txt").write_text(test)
    return folder


def labels_of(folder: Path) -> dict[str, tuple[str, str]]:
    """Path of each row to its label and split."""
    rows = [row.values for row in only(folder).rows]
    found = {row["image_path"]: (row["label"], row["split"]) for row in rows}
    assert len(found) == len(rows)
    return found


@pytest.mark.parametrize(
    ("files", "train", "test"),
    [
        (("a/cat/0.png", "b/cat/0.png"), "a/cat/0.png", "b/cat/0.png"),
        (("a/cat/0.png", "b/cat/0.png"), "./a/cat/0", "/elsewhere/b/cat/0.png"),
        (("images/train/cat/0.png", "images/test/cat/0.png"), "train/cat/0.png", "test\\cat\\0.png"),
        (("images/cat/0.png", "images/x/cat/0.png"), "images/cat/0.png", "x/cat/0.png"),
    ],
)
def test_a_listed_file_is_the_one_of_that_path(tmp_path: Path, files: tuple[str, str], train: str, test: str) -> None:
    folder = listed(tmp_path, (*files, "other/cat/0.png"), f"{train} 0\n", f"{test} 0\n")
    assert labels_of(folder) == {files[0]: ("cat", "train"), files[1]: ("cat", "test")}
    assert "1 files that neither list names are left out" in only(folder).notes


def test_a_listed_path_that_may_be_several_files(tmp_path: Path) -> None:
    folder = listed(tmp_path, ("a/cat/0.png", "b/cat/0.png"), "\na/cat/0.png\n", "\n\ncat/0.png\n")
    with pytest.raises(
        DataError,
        match=r"test\.txt line 3: 'cat/0\.png' may be a/cat/0\.png or b/cat/0\.png; write its path from the data folder",
    ):
        only(folder)


def test_a_listed_path_that_is_gone_is_no_other_file(tmp_path: Path) -> None:
    files = ("images/train/cat/0.png", "images/test/cat/0.png", "images/test/cat/1.png")
    folder = listed(tmp_path, files, "train/cat/0.png 0\ntrain/cat/1.png 0\n", "test/cat/0.png 0\ntest/cat/1.png 0\n")
    assert labels_of(folder) == {
        "images/train/cat/0.png": ("cat", "train"),
        "train/cat/1.png": ("cat", "train"),  # missing-file, as it is read
        "images/test/cat/0.png": ("cat", "test"),
        "images/test/cat/1.png": ("cat", "test"),
    }


@pytest.mark.parametrize(
    ("lines", "labels"),
    [
        (("images/0.png 0", "images/1.png 1", "images/2.png 1"), ["0", "1", "1"]),  # one folder, as Caffe's
        (("seq1/0.png 0", "seq2/1.png 0", "seq3/2.png 1"), ["0", "0", "1"]),  # a folder is no class
        (("cat/0.png 0", "dog/1.png 1", "val/2.png 1"), ["cat", "dog", "dog"]),
        (("cat/0.png 0", "dog/1.png 1", "2.png 2"), ["0", "1", "2"]),  # no folder for 2: the same for all
        (("gloves/0.png 0", "masks/1.png 1", "masks/2.png 1"), ["0", "1", "1"]),
        (("cat/0.png", "dog/1.png", "images/2.png"), ["cat", "dog", None]),
        (("images/0.png 0", "images/1.png 1", "images/2.png"), ["0", "1", None]),
    ],
)
def test_a_folder_is_a_label_where_it_goes_with_one_number(
    tmp_path: Path, lines: tuple[str, ...], labels: list[str | None]
) -> None:
    files = tuple(line.split()[0] for line in lines)
    folder = listed(tmp_path, files, f"{lines[0]}\n{lines[1]}\n", f"{lines[2]}\n")
    assert [labels_of(folder)[file][0] for file in files] == labels


def test_names_of_numbered_classes(tmp_path: Path) -> None:
    folder = listed(tmp_path, ("images/0.png", "images/1.png"), "images/0.png 1\n", "images/1.png 2\n")
    (folder / "classInd.txt").write_text("1 A\n2 big B\n")
    assert labels_of(folder) == {"images/0.png": ("A", "train"), "images/1.png": ("big B", "test")}


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (("images/train/x.png", "images/val/y.png", "labels/train/x.txt"), r"labels/train/x\.txt looks like the boxes"),
        (("train/x.png", "val/y.png"), "by their names train, val hold parts of samples.*write a table"),
    ],
)
def test_lists_without_a_class(tmp_path: Path, files: tuple[str, ...], words: str) -> None:
    folder = listed(tmp_path, files, f"./{files[0]}\n", f"./{files[1]}\n")
    (folder / "test.txt").rename(folder / "val.txt")
    with pytest.raises(DataError, match=words):
        only(folder)
    assert [row.values["image_path"] for row in only(folder, labelled=False).rows] == [files[0], files[1]]


def test_names_with_spaces(tmp_path: Path) -> None:
    files = ("images/bigcat/bigcat 0.png", "images/bigcat/big 1.png", "images/dog/2 7.png", "images/dog/3.png")
    train = "bigcat/bigcat 0.png 0\nbigcat/big 1.png\t0\ndog/2 7\n"
    folder = listed(tmp_path, files, train, "dog/3.png  1\n")
    assert labels_of(folder) == {
        files[0]: ("bigcat", "train"),
        files[1]: ("bigcat", "train"),
        files[2]: ("dog", "train"),
        files[3]: ("dog", "test"),
    }


def test_texts_of_those_names_are_no_lists(tmp_path: Path) -> None:
    for name in ("cat/1.png", "dog/1.png"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    (tmp_path / "train.txt").write_text("trained on five machines\n")
    (tmp_path / "test.txt").write_text("\n")
    assert [row.values["label"] for row in only(tmp_path).rows] == ["cat", "dog"]


@pytest.mark.parametrize("name", ["fold", "Fold"])
def test_folds_by_number(tmp_path: Path, run_ingest: Any, name: str) -> None:
    rows = [f"text number {number},{'ab'[number % 2]},{1 + number % 5}" for number in range(30)]
    (tmp_path / "m.csv").write_text("\n".join([f"text,label,{name}", *rows]))
    done = run_ingest(tmp_path / "m.csv", 'split.folds={"test": [5], "val": [4]}', "split.near_duplicates=false")
    assert done.clean.splits == {"train": 18, "val": 6, "test": 6}
    assert f"splits are those of column '{name}', by split.folds" in done.raw.notes
    unset = run_ingest(tmp_path / "m.csv", "split.near_duplicates=false")
    assert [note for note in unset.raw.notes if note.startswith(f"column '{name}' may number folds; split.folds")]


def test_several_media_in_a_cell(tmp_path: Path, run_ingest: Any) -> None:
    for number in range(12):
        write_picture(tmp_path / f"img/{number}.png", number)
    table = "id,image,text,label\np,img/0.png; img/1.png;,a;b,x\nq,img/2.png,c,y\n"
    table += "".join(f"r{n},img/{n}.png;img/{n + 1}.png,t{n},x\n" for n in (3, 5, 7))
    (tmp_path / "m.csv").write_text(table)
    done = run_ingest(tmp_path / "m.csv", "data.cell_separator=;")
    assert (done.clean.counts.rows_in, done.clean.counts.used) == (9, 9)
    assert set(done.samples) == {"p#1", "p#2", "q", "r3#1", "r3#2", "r5#1", "r5#2", "r7#1", "r7#2"}
    assert done.samples["p#1"]["group"] == done.samples["p#2"]["group"] == "m.csv: p"
    assert done.samples["p#1"]["split"] == done.samples["p#2"]["split"]
    assert done.samples["q"]["group"] is None
    assert [row["row"] for row in (done.samples["p#1"], done.samples["p#2"], done.samples["q"])] == [2, 2, 3]
    assert done.raw.notes[0].startswith("m.csv: 4 of 5 rows hold several media in a cell, 8 in all; each is a row")
    refused = run_ingest(tmp_path / "m.csv")
    assert "or set data.cell_separator to make each a row" in refused.refused[0]["detail"]


def test_cells_that_do_not_pair_up(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text(
        "image,audio,label\na.png|b.png,a.wav|b.wav,x\na.png|b.png,a.wav|b.wav|c.wav,x\none|two,,y\n"
    )
    manifest = only(tmp_path / "m.csv", cell_separator="|")
    rows = list(manifest.rows)
    assert [(row.values["image"], row.values["audio"], row.reason) for row in rows] == [
        ("a.png", "a.wav", None),
        ("b.png", "b.wav", None),
        ("a.png|b.png", "a.wav|b.wav|c.wav", "wrong-type"),
        ("one|two", "", None),
    ]
    assert "2 in 'image', 3 in 'audio'" in str(rows[2].detail)
    named = load_config({}, ["data.cell_separator=|", "data.columns.image=image"])
    ((manifest, _),) = open_manifest(tmp_path / "m.csv", read_limits(named))
    assert [row.values["image"] for row in manifest.rows][-2:] == ["one", "two"]
    note = only(tmp_path / "m.csv", cell_separator=";").notes[-1]
    assert note == "data.cell_separator=';': no cell of m.csv holds several media"
