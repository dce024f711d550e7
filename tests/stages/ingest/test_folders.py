"""Data folders as people have them: what systems leave in them, tables beside folders, deep files; and rows conserved."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tasks.errors import DataError, UsageError
from tasks.ingest.manifest.rows import Manifest
from tasks.ingest.sources.detect import open_manifest
from tasks.ingest.sources.limits import ReadLimits
from tasks.ingest.sources.listing import list_folder

LEFT_BEHIND = (
    *(".DS_Store", "._1.png", "Thumbs.db", "thumbs.DB", "desktop.ini", "Icon\r", "~$notes.txt"),
    *(
        ".ipynb_checkpoints/1-checkpoint.png",
        "@eaDir/1.png/THUMB.jpg",
        "__MACOSX/1.png",
        ".git/x.png",
        "$RECYCLE.BIN/1.png",
    ),
)


def fill(root: Path, *names: str) -> Path:
    """Small files of these names; one is enough, as nothing is decoded here."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode("utf-8", "surrogateescape"))
    return root


def ids(manifest: Manifest) -> list[str]:
    return [row.values["id"] for row in manifest.rows]


def only(path: Path, **limits: object) -> Manifest:
    """The one manifest at a path."""
    ((manifest, split),) = open_manifest(path, ReadLimits(**limits))  # type: ignore[arg-type]
    assert split is None
    return manifest


@pytest.mark.parametrize("left", LEFT_BEHIND)
@pytest.mark.parametrize("place", ["", "cat/", "cat/deep/"])
def test_what_systems_leave_is_no_sample_and_is_counted(tmp_path: Path, left: str, place: str) -> None:
    root = fill(tmp_path, "cat/1.png", "cat/deep/2.png", "dog/1.png", place + left)
    manifest = only(root)
    assert ids(manifest) == ["cat/1.png", "cat/deep/2.png", "dog/1.png"]
    assert [note for note in manifest.notes if "hidden and system" in note and ": 1 " in note]


def test_deeper_files_and_files_beside_the_folders_are_told(tmp_path: Path) -> None:
    manifest = only(fill(tmp_path, "cat/1.png", "cat/a/b/2.png", "dog/1.png", "README.md", "LICENSE"))
    assert manifest.notes == (
        "1 files lie deeper than their class folder, for example cat/a/b/2.png: their class is the first folder",
        "2 files beside the class folders are not read: LICENSE, README.md",
    )


def table(root: Path, name: str, *rows: str) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text("image,label\n" + "".join(f"{row},x\n" for row in rows))


@pytest.mark.parametrize(
    "cells", [("images/1.png", "images/2.png"), ("1.png", "2.png"), ("1", "2"), ("C:\\a\\1.png", "2.png")]
)
def test_a_table_that_names_the_files_is_read(tmp_path: Path, cells: tuple[str, ...]) -> None:
    table(fill(tmp_path, "images/1.png", "images/2.png", "masks/1.png"), "labels.csv", *cells)
    manifest = only(tmp_path)
    assert (manifest.path, manifest.root) == (tmp_path / "labels.csv", tmp_path)
    assert "labels.csv names the files of this folder and is read; images, masks are no classes" in manifest.notes[0]
    assert [row.values["image"] for row in manifest.rows] == list(cells)
    assert ids(only(tmp_path, layout="folders")) == ["images/1.png", "images/2.png", "masks/1.png"]


def test_a_table_in_a_folder_of_its_own_and_one_beside_the_files(tmp_path: Path) -> None:
    table(fill(tmp_path / "a", "audio/1.wav"), "meta/files.csv", "1.wav")
    assert only(tmp_path / "a").path == tmp_path / "a/meta/files.csv"
    table(fill(tmp_path / "b", "1.png", "2.png"), "metadata.csv", "1.png", "2.png")
    assert only(tmp_path / "b").path == tmp_path / "b/metadata.csv"
    for part in ("train", "test"):
        table(fill(tmp_path / "c", f"{part}/1.png"), f"{part}/metadata.csv", "1.png")
    found = open_manifest(tmp_path / "c")
    assert [(manifest.path.parent.name, split) for manifest, split in found] == [("test", "test"), ("train", "train")]
    table(tmp_path / "d", "any.csv", "x.png")
    assert only(tmp_path / "d").path == tmp_path / "d/any.csv"


def test_a_table_that_names_no_file_stops_the_run(tmp_path: Path) -> None:
    table(fill(tmp_path, "cat/1.png", "dog/2.png"), "prices.csv", "7", "8")
    with pytest.raises(DataError) as caught:
        only(tmp_path)
    words = str(caught.value)
    assert "2 folders (cat, dog), 1 table (prices.csv), 2 files (.png)" in words
    assert f"--data {tmp_path / 'prices.csv'}" in words
    assert "data.layout=folders" in words
    table(tmp_path, "one.csv", "1.png")
    table(tmp_path, "two.csv", "2.png")
    with pytest.raises(DataError, match=r"the tables one.csv, two.csv name its files"):
        only(tmp_path)


def test_json_that_is_no_table_is_a_file_beside_the_folders(tmp_path: Path) -> None:
    fill(tmp_path, "cat/1.png", "dog/2.png")
    (tmp_path / "classes.json").write_text('{"cat": 0, "dog": 1}, 7')
    (tmp_path / "info.json").write_text("[1, 2]")
    manifest = only(tmp_path)
    assert ids(manifest) == ["cat/1.png", "dog/2.png"]
    assert manifest.notes == ("2 files beside the class folders are not read: classes.json, info.json",)


def test_tables_beside_split_tables_are_told(tmp_path: Path) -> None:
    for name in ("train.csv", "test.csv", "sample_submission.csv"):
        table(tmp_path, name, "1.png")
    found = open_manifest(tmp_path)
    assert [split for _, split in found] == ["test", "train"]
    assert found[0][0].notes == ("tables whose names are no split are not read: sample_submission.csv",)


def test_a_folder_of_files_and_a_single_file_have_no_label(tmp_path: Path) -> None:
    fill(tmp_path, "1.png", "2.png", "notes.md")
    manifest = only(tmp_path)
    assert manifest.columns == ("id", "image_path")
    assert [row.reason for row in manifest.rows] == [None, None, "unknown-file-type"]
    assert [row.values for row in only(tmp_path / "2.png").rows] == [{"id": "2.png", "image_path": "2.png"}]


def test_a_folder_of_nothing_says_what_it_holds(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"it holds 2 files \(\.bin\), 1 hidden or system entries\. Read are a table"):
        only(fill(tmp_path, "a.bin", "b.bin", ".x"))


def test_links_to_folders_are_rows(tmp_path: Path) -> None:
    fill(tmp_path / "data", "cat/1.png", "dog/1.png")
    fill(tmp_path / "other", "2.png")
    (tmp_path / "data/cat/deep").symlink_to(tmp_path / "other")
    rows = list(only(tmp_path / "data").rows)
    assert [(row.values["id"], row.reason) for row in rows] == [
        ("cat/1.png", None),
        ("cat/deep", "path-outside"),
        ("dog/1.png", None),
    ]


NAMES = st.sampled_from(
    ["1.png", "2.PNG", "note.txt", "x", "3.wav", "deep/1.png", "deep/er/2.png", "é.png", "-", "a b.png"]
)
TREE = st.lists(
    st.tuples(st.sampled_from(["cat", "dog", "fox bar", "_x"]), NAMES), min_size=1, max_size=12, unique=True
)
LEFT = st.lists(st.tuples(st.sampled_from(["", "cat/", "dog/", "cat/deep/"]), st.sampled_from(LEFT_BEHIND)), max_size=6)


@settings(
    max_examples=100, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(TREE, LEFT)
@example([("cat", "1.png")], [("cat/", "@eaDir/1.png/THUMB.jpg"), ("", ".DS_Store")])
def test_rows_are_the_visible_files(tmp_path: Path, tree: list[tuple[str, str]], left: list[tuple[str, str]]) -> None:
    """Whatever systems leave in a tree of class folders, its rows are the files that a person put there, one each."""
    root = tmp_path / "tree"
    shutil.rmtree(root, ignore_errors=True)
    names = sorted(
        {"zebra/1.png", "ant/1.png", *(f"{folder}/{name}" for folder, name in tree)}
    )  # two classes, none of them all there is
    fill(root, *names, *(place + name for place, name in left))
    manifest = only(root)
    assert sorted(ids(manifest)) == names
    assert manifest.count == len(names)
    tops = {place + name.split("/")[0] for place, name in left}
    counted = sum(list_folder(root).hidden.values())
    assert (counted == 0) == (not tops)
