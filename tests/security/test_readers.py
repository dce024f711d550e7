"""The attacks of test_paths by way of every reader: whatever names a file, nothing outside of the data folder is opened."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.errors import CrossmodalError
from tasks.ingest.manifest.label_sets import read_list
from tasks.ingest.sources.detect import open_manifest

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
