"""Cells that say something else than the files do: found where all are found, told where not; and columns of other names."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tasks.config import load_config
from tasks.config_sections import MediaPathsConfig
from tasks.errors import DataError, TooManyQuarantined
from tasks.ingest.manifest.media_index import MediaIndex
from tasks.ingest.manifest.scan import scan
from tasks.store import Store
from tests.support.data import write_manifest, write_picture, write_sound

MakeData = Callable[..., Path]


def index_of(root: Path, *names: str) -> MediaIndex:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return MediaIndex((str(root),))


@pytest.mark.parametrize(
    ("cell", "file"),
    [
        ("images\\red\\1.png", "images/red/1.png"),
        ("C:\\data\\images\\red\\1.png", "images/red/1.png"),
        ("IMAGES/RED/1.PNG", "images/red/1.png"),
        ("caf\u00e9.png", unicodedata.normalize("NFD", "caf\u00e9.png")),
        ("2", "2.jpg"),
        ("a/b/2.jpeg", "2.jpg"),
        ("2.x", "2.jpg"),
        ("red/1", "images/red/1.png"),
        ("1.png", None),  # two of them, and nothing says which
        ("other/1.png", None),
        ("9.png", None),
        ("", None),
        ("..", None),
        ("../2.jpg", None),
        ("s3://b/2.jpg", None),
        ("~/2.jpg", None),
        ("$HOME/2.jpg", None),
        ("2.jpg;2.jpg", None),
        ("images/0.png,images/2.jpg", None),
        ("hidden.png", None),
    ],
)
def test_what_a_cell_means(tmp_path: Path, cell: str, file: str | None) -> None:
    names = ["images/red/1.png", "images/blue/1.png", "2.jpg", "2.wav", unicodedata.normalize("NFD", "caf\u00e9.png")]
    index = index_of(tmp_path, *names, ".x/hidden.png")
    assert index.find(cell, "image") == (file and str(tmp_path / file))


@pytest.mark.parametrize(
    ("cell", "file"), [("7", "img/007.jpg"), ("7.jpg", "img/007.jpg"), ("0", "img/000.jpg"), ("0007", "img/007.jpg"),
                       ("12", "12.jpg"), ("13", None), ("7.5", None), ("-7", None)]
)  # fmt: skip
def test_zeros_that_a_spreadsheet_drops(tmp_path: Path, cell: str, file: str | None) -> None:
    names = ["img/007.jpg", "img/000.jpg", "img/012.jpg", "12.jpg", "a/013.jpg", "b/0013.jpg"]
    assert index_of(tmp_path, *names).find(cell, "image") == (file and str(tmp_path / file))


def test_links_to_folders_are_not_looked_into(tmp_path: Path) -> None:
    index_of(tmp_path / "out", "1.png")
    (tmp_path / "data").mkdir()
    (tmp_path / "data/link").symlink_to(tmp_path / "out")
    index = MediaIndex((str(tmp_path / "data"),))
    assert index.find("1.png") is None
    assert index.beside("1.png") == str(tmp_path / "out/1.png")


def test_a_cell_that_names_several_files_says_so(make_data: MakeData, run_ingest: Any) -> None:
    cells = ["img/0.png;img/1.png", "img/1.png, img/2.png", "img/2.png"]
    done = run_ingest(make_data(3, change=lambda row, n: row | {"image": cells[n]}))
    assert done.reasons == {"s0": "missing-file", "s1": "missing-file"}
    assert all("give each a column of its own (image, image_2 …)" in row["detail"] for row in done.refused)


def test_nearest(tmp_path: Path) -> None:
    index = index_of(tmp_path, "img/picture_1.png")
    assert index.nearest("img/pictures_1.png") == str(tmp_path / "img/picture_1.png")
    assert index.nearest("nothing like it") is None


def test_files_that_are_all_found_are_taken_with_a_note(make_data: MakeData, run_ingest: Any) -> None:
    right = run_ingest(make_data(4))
    path = make_data(4, change=lambda row, n: row | {"image": f"C:\\x\\IMG\\{n}.PNG"})
    done = run_ingest(path)
    assert {key: row["image"] for key, row in done.samples.items()} == {
        key: row["image"] for key, row in right.samples.items()
    }
    (note,) = (note for note in done.raw.notes if "not where their cells say" in note)
    assert "image: 4 files" in note
    assert r"'C:\\x\\IMG\\0.PNG' is " in note


def test_files_of_which_one_is_missing_are_all_refused_with_the_place(make_data: MakeData, run_ingest: Any) -> None:
    cells = ["imgs/none.png", "imgs/1.png", "imgs/2.png", "img/3.png"]
    path = make_data(4, change=lambda row, n: row | {"image": cells[n]})
    done = run_ingest(path)
    assert done.reasons == dict.fromkeys(("s0", "s1", "s2"), "missing-file")
    details = {row["id"]: row["detail"] for row in done.refused}
    assert details["s0"].startswith(f"no such file: {path.parent}/imgs/none.png; ")
    assert "data.media.base, prefix and suffix" in details["s0"]
    assert details["s1"].startswith(
        f"imgs/1.png: no such file; {path.parent}/img/1.png was found, but 1 others were not"
    )
    assert {row["path"] for row in done.refused} == set(cells[:3])


def test_a_file_that_two_cells_would_mean_is_not_taken(make_data: MakeData, run_ingest: Any) -> None:
    path = make_data(3, change=lambda row, n: row | {"image": "old/1.png" if n == 0 else row["image"]})
    done = run_ingest(path)
    assert done.reasons == {"s0": "missing-file"}
    assert "1 files would be meant by several cells" in done.refused[0]["detail"]


def test_a_file_beyond_the_folder_is_told_and_not_read(tmp_path: Path, run_ingest: Any) -> None:
    write_sound(tmp_path / "audio/1.wav", 1)
    (tmp_path / "meta").mkdir()
    write_sound(tmp_path / "meta/2.wav", 2)
    rows = [{"id": name, "audio": f"{name}.wav", "label": "x"} for name in "12"]
    path = write_manifest(tmp_path / "meta/m.csv", rows)
    done = run_ingest(path)
    assert f"{tmp_path}/audio/1.wav lies beyond the manifest's folder" in done.refused[0]["detail"]
    assert run_ingest(path, f'data.allowed_roots=["{tmp_path}"]').reasons == {}


@pytest.mark.parametrize(
    ("paths", "complete"),
    [
        ({}, "1"),
        ({"base": "img", "suffix": ".png"}, "img/1.png"),
        ({"base": {"image": "img"}, "prefix": {"audio": "x"}, "suffix": {"image": ".png"}}, "img/1.png"),
        ({"prefix": "p_"}, "p_1"),
    ],
)
def test_what_cells_leave_out(paths: dict[str, Any], complete: str) -> None:
    settings = MediaPathsConfig(**paths)
    assert settings.complete("1", "image") == complete
    assert settings.complete("s3://b/1", "image") == "s3://b/1"


def test_base_prefix_and_suffix_are_where_files_are_looked_for(make_data: MakeData, run_ingest: Any) -> None:
    path = make_data(3, change=lambda row, n: row | {"image": str(n)})
    done = run_ingest(path, "data.media.base.image=img", "data.media.suffix.image=.png")
    assert (len(done.samples), done.raw.notes) == (3, ())
    with pytest.raises(TooManyQuarantined, match="3 path-outside"):
        run_ingest(path, "data.media.base.image=../..", "data.media.suffix.image=.png")


def scanned(path: Path, store: Store, *overrides: str) -> Any:
    return scan(load_config({}, ["runtime.workers=1", *overrides]), store, path)


def test_a_column_of_another_name_is_taken_where_it_fits(tmp_path: Path, store: Store) -> None:
    rows = []
    for number in range(4):
        write_picture(tmp_path / f"{number}.png", number)
        rows.append({"file_name": f"{number}.png", "caption": f"text {number}", "category": "ab"[number % 2]})
    raw = scanned(write_manifest(tmp_path / "m.csv", rows), store)
    assert raw.columns == {"image": "file_name", "text": "caption"}
    assert "image from 'file_name', text from 'caption', label from 'category'" in raw.notes[0]
    named = scanned(tmp_path / "m.csv", store, "data.columns.image=file_name", "data.columns.label=category")
    assert named.columns == {"image": "file_name", "text": "caption"}
    assert scanned(tmp_path / "m.csv", store, "encoders.text=off").columns == {"image": "file_name"}


def test_columns_that_are_not_plainly_meant_are_hints(tmp_path: Path, store: Store) -> None:
    write_picture(tmp_path / "img/one.png", 1)
    rows = [{"id": "one", "category": "x", "target": 1}]
    with pytest.raises(
        DataError, match=r"here it could be --set data.columns.image=id, and --set data.columns.label=category or"
    ):
        scanned(write_manifest(tmp_path / "m.csv", rows), store)
    rows = [{"file": "1.wav", "label": "x"}]
    with pytest.raises(DataError, match=r"here it could be --set data.columns.audio=file"):
        scanned(write_manifest(tmp_path / "m.csv", rows), store)


def test_a_listing_shows_the_paths_of_its_own_manifest(tmp_path: Path, run_ingest: Any, store: Store) -> None:
    """Two manifests that differ in paths only, each wrong: what is refused is the same, and where is not."""
    for number in range(4):
        write_picture(tmp_path / f"img/{number}.png", number)
    listed = {}
    for name, form in (("first", "none/{}x.png"), ("second", "gone/{}y.jpeg"), ("first", "none/{}x.png")):
        cells = [f"img/{n}.png" if n else form.format(n) for n in range(4)]
        path = write_manifest(
            tmp_path / f"{name}.csv",
            [{"id": str(n), "image": cell, "label": "ab"[n % 2]} for n, cell in enumerate(cells)],
        )
        done = run_ingest(path, "split.near_duplicates=false")
        (row,) = done.refused
        assert (row["id"], row["reason"], row["path"]) == ("0", "missing-file", form.format(0))
        assert form.format(0) in row["detail"]
        text = (store.path(done.clean.uri) / "quarantine.csv").read_text()
        assert form.format(0) in text
        listed.setdefault(name, text)
        assert listed[name] == text
    assert "none/" not in listed["second"]
    assert "gone/" not in listed["first"]
