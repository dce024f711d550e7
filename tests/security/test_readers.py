"""The attacks of test_paths by way of every reader: whatever names a file, nothing outside of the data folder is opened."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.errors import CrossmodalError
from tasks.ingest.manifest.label_sets import read_list
from tasks.ingest.sources.detect import open_manifest
from tests.support.layouts import coco, save_to_disk, write_stream, write_workbook

STRUCT = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
Rows = list[dict[str, str]]


def as_text(rows: Rows, delimiter: str) -> str:
    names = list(rows[0])
    return "\n".join(delimiter.join(line) for line in [names, *([row[name] for name in names] for row in rows)]) + "\n"


def as_structs(path: Path, rows: Rows) -> None:
    cells = pa.array([{"bytes": None, "path": row["image"]} for row in rows], STRUCT)
    others = {name: [row[name] for row in rows] for name in ("id", "label")}
    pq.write_table(pa.table({**others, "image": cells}), path)


WRITERS: dict[str, Callable[[Path, Rows], Any]] = {
    "m.csv": lambda path, rows: path.write_text("sep=;\n" + as_text(rows, ";")),
    "m.tsv": lambda path, rows: path.write_text(as_text(rows, "\t")),
    "m.csv.gz": lambda path, rows: path.write_bytes(gzip.compress(as_text(rows, "|").encode())),
    "m.json": lambda path, rows: path.write_text(json.dumps(rows, indent=1)),
    "m.jsonl.zst": lambda path, rows: path.write_bytes(
        pa.compress("\n".join(map(json.dumps, rows)).encode(), codec="zstd", asbytes=True)
    ),
    "m.parquet": as_structs,
}


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize(
    "cell", ["{canary}", "../outside/canary.png", "link.png", "folder/canary.png", "..\\outside\\canary.png"]
)
def test_a_cell_that_leads_outside(run_ingest: Any, data: Path, canary: Path, name: str, cell: str) -> None:
    (data / "link.png").symlink_to(canary)
    (data / "folder").symlink_to(canary.parent)
    attack = cell.format(canary=canary)
    rows = [{"id": "good", "image": "img/0.png", "label": "a"}, {"id": "bad", "image": attack, "label": "b"}]
    WRITERS[name](data / name, rows)
    done = run_ingest(data / name)
    assert done.reasons == {"bad": "missing-file" if "\\" in cell else "path-outside"}
    assert set(done.samples) == {"good"}


def as_coco(path: Path, rows: Rows) -> None:
    named = coco([row["image"] for row in rows], {n: [1 + n % 2] for n in range(1, len(rows) + 1)}, {1: "a", 2: "b"})
    path.write_text(json.dumps(named))


def as_tasks(path: Path, rows: Rows) -> None:
    places = [f"/data/local-files/?d={quote(row['image'])}" for row in rows]
    chosen = [[{"from_name": "kind", "type": "choices", "value": {"choices": [row["label"]]}}] for row in rows]
    tasks = [{"data": {"image": p}, "annotations": [{"result": c}]} for p, c in zip(places, chosen, strict=True)]
    path.write_text(json.dumps(tasks))


def as_cvat(path: Path, rows: Rows) -> None:
    images = [f"<image name={quoteattr(row['image'])}><tag label={quoteattr(row['label'])}/></image>" for row in rows]
    path.write_text(f"<annotations>{''.join(images)}</annotations>")


def as_lists(path: Path, rows: Rows) -> None:
    path.with_name("testlist01.txt").write_text("")
    path.write_text("".join(f"{row['image']} 1\n" for row in rows))


MORE: dict[str, Callable[[Path, Rows], Any]] = {
    "m.xlsx": lambda path, rows: write_workbook(path, [list(rows[0]), *(list(row.values()) for row in rows)]),
    "m.arrow": lambda path, rows: write_stream(
        path,
        pa.table(
            {
                "image": pa.array([{"bytes": None, "path": row["image"]} for row in rows], STRUCT),
                "label": [row["label"] for row in rows],
            }
        ),
    ),
    "coco.json": as_coco,
    "tasks.json": as_tasks,
    "m.xml": as_cvat,
    "trainlist01.txt": as_lists,
    "m.csv": lambda path, rows: path.write_text(
        "image,label\n" + "".join(f"{row['image']};{row['image']},{row['label']}\n" for row in rows)
    ),
}
"""Readers that are asked with all attacks in one file; m.csv with cells of several media."""


@pytest.mark.parametrize("name", MORE)
def test_names_that_lead_outside(run_ingest: Any, only_data: Path, canary: Path, name: str) -> None:
    (only_data / "link.png").symlink_to(canary)
    (only_data / "folder").symlink_to(canary.parent)
    attacks = [str(canary), "../outside/canary.png", "link.png", "folder/canary.png", "img/../../outside/canary.png"]
    places = ["img/0.png", *attacks]
    if name == "tasks.json":
        places = [
            "img/0.png",
            *("../outside/canary.png", "link.png", "folder/canary.png", "img/../../outside/canary.png"),
        ]
    MORE[name](only_data / name, [{"image": place, "label": "ab"[n % 2]} for n, place in enumerate(places)])
    read = only_data if name == "trainlist01.txt" else only_data / name
    done = run_ingest(read, *(["data.cell_separator=;"] if name == "m.csv" else []))
    assert {row["reason"] for row in done.refused} <= {"path-outside", "missing-file", "duplicate"}
    assert len(done.samples) == 1


@pytest.mark.parametrize(
    ("train", "test", "line"), [("train.txt", "test.txt", "{}\n"), ("train.lst", "test.lst", "0\t1.0\t{}\n")]
)
def test_plain_lists_that_lead_outside(
    run_ingest: Any, only_data: Path, canary: Path, train: str, test: str, line: str
) -> None:
    """They are lists where half of their lines name media that are there."""
    (only_data / "link.png").symlink_to(canary)
    names = ["link.png", "img/0.png", str(canary), "../outside/canary.png", "img/0"]
    (only_data / train).write_text("".join(map(line.format, names)))
    (only_data / test).write_text(line.format("img/0.png"))
    done = run_ingest(only_data)
    assert {row["reason"] for row in done.refused} <= {"path-outside", "missing-file", "duplicate", "duplicate-id"}
    assert "path-outside" in {row["reason"] for row in done.refused}
    assert {row["image"] for row in done.samples.values()} == {next(iter(done.samples.values()))["image"]}


def test_members_of_an_archive_are_never_written(run_ingest: Any, only_data: Path, canary: Path) -> None:
    """Names of members lead outside, one is a link to the canary; the bytes of the others are samples all the same."""
    picture = (only_data / "img/0.png").read_bytes()
    with tarfile.open(only_data / "m.tar", "w") as archive:
        link = tarfile.TarInfo("a.png")
        link.type, link.linkname = tarfile.SYMTYPE, str(canary)
        archive.addfile(link)
        for key in ("../outside/new", str(canary.parent / "newer"), "a/new"):
            for ending, data in (("png", picture + key.encode()), ("cls", b"x")):
                member = tarfile.TarInfo(f"{key}.{ending}")
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
    done = run_ingest(only_data / "m.tar")
    assert done.clean.counts.rows_in == 3
    assert "members of shards that are not read: links, devices and files with holes" in done.raw.notes


@pytest.mark.parametrize(
    "name", ["data-00000-of-00001.arrow", "state.json", "train-0.tar", "trainlist01.txt", "train.txt", "train1.txt"]
)
def test_files_of_a_layout_that_are_links(data: Path, canary: Path, name: str) -> None:
    if name in ("data-00000-of-00001.arrow", "state.json"):
        save_to_disk(data, pa.table({"text": ["a"], "label": ["b"]}))
        (data / name).unlink()
    (data / name).symlink_to(canary)
    if name in ("train.txt", "train1.txt"):
        (data / name.replace("train", "test")).write_text("img/0.png\n")
    with pytest.raises(CrossmodalError, match="is a link that leads outside"):
        open_manifest(data)


def test_labels_beside_captions_that_are_a_link(data: Path, canary: Path) -> None:
    content = coco(["img/0.png"], {}, {})
    content["annotations"] = [{"image_id": 1, "caption": "a"}]
    (data / "captions_a.json").write_text(json.dumps(content))
    (data / "instances_a.json").symlink_to(canary)
    ((manifest, _),) = open_manifest(data / "captions_a.json")
    assert "label" not in manifest.columns


@pytest.mark.parametrize("base", ["..", "/", "../outside", "img/../.."])
def test_a_base_that_leads_outside(run_ingest: Any, data: Path, canary: Path, base: str) -> None:
    rows = [{"id": "bad", "image": str(canary).lstrip("/") if base == "/" else "canary.png", "label": "b"}]
    WRITERS["m.csv"](data / "m.csv", rows)
    with pytest.raises(CrossmodalError, match=r"1 (path-outside|missing-file)"):
        run_ingest(data / "m.csv", f"data.media.base={base}")


def test_a_table_beside_folders_that_leads_outside(run_ingest: Any, data: Path, canary: Path) -> None:
    names = [f"img/{number}.png" for number in range(4)]
    cells = [*names, "../outside/canary.png", str(canary)]
    (data / "labels.csv").write_text("image,label\n" + "".join(f"{cell},x\n" for cell in cells))
    done = run_ingest(data)
    assert [row["reason"] for row in done.refused] == ["path-outside", "path-outside"]
    assert len(done.samples) == 4


def test_a_table_beside_folders_that_is_a_link(data: Path, canary: Path) -> None:
    (data / "labels.csv").symlink_to(canary)
    with pytest.raises(CrossmodalError, match="is a link that leads outside"):
        open_manifest(data)


@pytest.mark.parametrize(
    "text", ["[" * 100_000, "['a', " * 50_000, "[__import__('os').getcwd()]", "['a'" + " " * 100_000]
)
def test_a_list_that_is_no_list_costs_nothing(text: str) -> None:
    assert read_list(text) is None
