"""Every kind of row that cannot be used is quarantined with its reason, and costs no other row."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tasks.config import load_config
from tasks.errors import TooManyQuarantined
from tasks.ingest.ingest import ingest
from tasks.ingest.manifest.cells import read_label
from tasks.ingest.manifest.scan import scan
from tasks.store import Store

MakeData = Callable[..., Path]


def _prepare(root: Path) -> None:
    """Strange things in the data folder and beside it."""
    (root.parent / "outside").mkdir()
    (root.parent / "outside/secret.png").write_bytes((root / "img/0.png").read_bytes())
    (root / "leads_out.png").symlink_to(root.parent / "outside/secret.png")
    (root / "linked").symlink_to(root.parent / "outside")
    (root / "dangling.png").symlink_to(root / "none.png")
    (root / "loop.png").symlink_to(root / "loop.png")
    (root / "folder.png").mkdir()
    os.mkfifo(root / "pipe.png")
    (root / "empty.png").touch()
    (root / "broken.png").write_bytes((root / "img/0.png").read_bytes()[:200])
    (root / "words.png").write_text("not a picture")
    (root / "noise.wav").write_bytes(b"RIFF....WAVE")


BAD: list[tuple[dict[str, str], str, str | None]] = [
    ({"image": "../outside/secret.png"}, "path-outside", "image"),
    ({"image": "/etc/hostname"}, "path-outside", "image"),
    ({"image": "leads_out.png"}, "path-outside", "image"),
    ({"image": "linked/secret.png"}, "path-outside", "image"),
    ({"image": "img/../../outside/secret.png"}, "path-outside", "image"),
    ({"image": "http://example.org/a.png"}, "scheme-not-allowed", "image"),
    ({"image": "file:///etc/hostname"}, "scheme-not-allowed", "image"),
    ({"image": "FILE:/etc/hostname"}, "scheme-not-allowed", "image"),
    ({"image": "s3://bucket/a.png"}, "scheme-not-allowed", "image"),
    ({"image": "data:image/png;base64,AAAA"}, "scheme-not-allowed", "image"),
    ({"image": "img/none.png"}, "missing-file", "image"),
    ({"image": "img/0.png/x"}, "missing-file", "image"),
    ({"image": "dangling.png"}, "missing-file", "image"),
    ({"image": "loop.png"}, "unreadable-file", "image"),
    ({"image": "x" * 5000}, "unreadable-file", "image"),
    ({"image": "folder.png"}, "not-a-file", "image"),
    ({"image": "img/"}, "not-a-file", "image"),
    ({"image": ".."}, "not-a-file", "image"),
    ({"image": "pipe.png"}, "not-a-file", "image"),
    ({"image": "empty.png"}, "empty-file", "image"),
    ({"image": "broken.png"}, "truncated-image", "image"),
    ({"image": "words.png"}, "unreadable-image", "image"),
    ({"audio_path": "noise.wav"}, "unreadable-audio", "audio"),
    ({"audio_path": "img/0.png"}, "unreadable-audio", "audio"),
    ({"text": " \u200f "}, "empty-text", "text"),
    ({"label": ""}, "missing-label", None),
    ({"label": "  "}, "missing-label", None),
    ({"label": "x" * 201}, "bad-label", None),
    ({"split": "trian"}, "unknown-split", None),
    ({"weight": "heavy"}, "bad-weight", None),
    ({"weight": "-1"}, "bad-weight", None),
    ({"weight": "0"}, "bad-weight", None),
    ({"weight": "nan"}, "bad-weight", None),
    ({"image": "", "audio_path": "", "text": ""}, "no-modality", None),
    ({"id": "s1"}, "duplicate-id", None),
    ({"image": "img\0.png"}, "nul-in-row", None),
]


def test_each_bad_row_is_quarantined_alone(make_data: MakeData, run_ingest: Any) -> None:
    good = 4

    def change(row: dict[str, Any], number: int) -> dict[str, Any]:
        row |= {"split": "train", "weight": "2"}
        return row if number < good else row | {"id": f"bad{number - good}"} | BAD[number - good][0]

    path = make_data(good + len(BAD), change=change)
    _prepare(path.parent)
    done = run_ingest(path)
    by_row = {row["row"] - 2 - good: row for row in done.refused}  # the header is row 1
    found = {str(BAD[number][0])[:80]: (row["reason"], row["modality"]) for number, row in by_row.items()}
    assert found == {str(changed)[:80]: (reason, modality) for changed, reason, modality in BAD}
    assert all(row["detail"] for row in done.refused)
    assert set(done.samples) == {f"s{number}" for number in range(good)}
    assert {row["weight"] for row in done.samples.values()} == {2.0}


def test_odd_but_ordinary_names_work(make_data: MakeData, run_ingest: Any) -> None:
    names = ["a#b.png", "a#1#image.png", "inline:1:5:image:x.png", "take:2.png", "späß ☃.png", "=cmd.png", "a b.png"]
    path = make_data(len(names), change=lambda row, n: row | {"image": names[n]})
    for number, name in enumerate(names):
        (path.parent / name).write_bytes((path.parent / f"img/{number}.png").read_bytes())
    done = run_ingest(path)
    assert done.refused == []
    assert len({row["image"] for row in done.samples.values()}) == len(names)


def test_a_link_that_stays_inside_and_an_allowed_root_work(make_data: MakeData, run_ingest: Any) -> None:
    names = ["inside.png", "../outside/secret.png", "linked/secret.png", "link_dir/2.png"]
    path = make_data(4, change=lambda row, n: row | {"image": names[n]})
    _prepare(path.parent)
    (path.parent / "inside.png").symlink_to("img/1.png")
    (path.parent / "link_dir").symlink_to("img")
    assert set(run_ingest(path).reasons) == {"s1", "s2"}
    assert run_ingest(path, f'data.allowed_roots=["{path.parent.parent / "outside"}"]').refused == []


def test_too_large_files_are_refused(make_data: MakeData, run_ingest: Any) -> None:
    done = run_ingest(
        make_data(3, change=lambda row, n: row | ({"image": "", "audio_path": ""} if n else {})),
        "media.max_file_mb=0.0005",
    )
    assert done.reasons == {"s0": "file-too-large"}


def test_an_absolute_path_below_the_manifest_works(make_data: MakeData, run_ingest: Any, tmp_path: Path) -> None:
    path = make_data(2, change=lambda row, n: row | {"image": str(tmp_path / "data" / row["image"])})
    assert run_ingest(path).refused == []


def test_too_many_quarantined_fails_and_leaves_the_listing(make_data: MakeData, store: Store) -> None:
    path = make_data(10, change=lambda row, n: row | ({"image": "none.png"} if n < 2 else {}))
    config = load_config({}, ["runtime.workers=1"])
    for _ in range(2):
        with pytest.raises(TooManyQuarantined) as error:
            ingest(scan(config, store, path), config, store)
        message = str(error.value)
        assert "2 of 10 rows quarantined (20.0%; 2 missing-file), more than data.max_quarantined = 0.1" in message
        listing = store.path(error.value.clean.uri) / "quarantine.csv"
        assert str(listing) in message
        with listing.open(newline="") as file:
            assert [row["id"] for row in csv.DictReader(file)] == ["s0", "s1"]
    config = load_config({}, ["runtime.workers=1", "data.max_quarantined=0.2"])
    assert ingest(scan(config, store, path), config, store).counts.used == 8


def test_no_usable_row_is_its_own_message(make_data: MakeData, run_ingest: Any) -> None:
    path = make_data(3, change=lambda row, n: {"id": row["id"], "image": "words.png", "label": "a"})
    (path.parent / "words.png").write_text("not a picture")
    with pytest.raises(TooManyQuarantined, match=r"none of 3 rows can be used \(3 unreadable-image\)"):
        run_ingest(path)


def test_the_listing_is_inert_in_a_spreadsheet(make_data: MakeData, run_ingest: Any, store: Store) -> None:
    formulas = [f"{start}cmd|' /C calc'!A0" for start in ("=", "+", "-", "@", "\t", "\r", "\n", "＝")]
    formulas.append("x\r=1+1")
    path = make_data(12, change=lambda row, n: row | ({"image": formulas[n]} if n < len(formulas) else {}))
    done = run_ingest(path)
    with (store.path(done.clean.uri) / "quarantine.csv").open(newline="", encoding="utf-8") as file:
        paths = [row["path"] for row in csv.DictReader(file)]
    assert paths == [f"'{formula}".replace("\r", "\\r") for formula in formulas[:-1]] + ["x\\r=1+1"]


def test_rows_whose_media_are_all_gone_are_listed_one_by_one(make_data: MakeData, store: Store) -> None:
    def misplace(row: dict[str, Any], number: int) -> dict[str, Any]:
        return {"id": row["id"], "image": f"elsewhere/gone{number}.png", "label": row["label"]}

    config = load_config({})
    raw = scan(config, store, make_data(change=misplace))
    with pytest.raises(TooManyQuarantined, match="none of 12 rows can be used \\(12 missing-file\\)") as refusal:
        ingest(raw, config, store)
    assert refusal.value.clean.counts.model_dump() == {"rows_in": 12, "used": 0, "quarantined": 12, "duplicates": 0}


def test_a_file_in_motion_costs_its_row_once_and_not_for_ever(make_data: MakeData, store: Store) -> None:
    config = load_config({"data": {"max_quarantined": 0.5}})
    manifest = make_data()
    raw = scan(config, store, manifest)
    picture = manifest.parent / "img/3.png"
    aside = picture.rename(picture.with_suffix(".moved"))
    while_away = ingest(raw, config, store)
    assert (while_away.counts.used, while_away.counts.quarantined) == (11, 1)
    aside.rename(picture)
    again = ingest(scan(config, store, manifest), config, store)
    assert (again.counts.used, again.counts.quarantined) == (12, 0)
    assert ingest(raw, config, store) == again


def test_a_list_within_lists_without_end_is_no_set_of_labels() -> None:
    label, problem = read_label("[" * 100_000, "traits", "multilabel")
    assert label is None
    assert problem is not None
    assert problem[0] == "bad-label"
