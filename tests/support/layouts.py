"""Layouts of other tools, written by hand as those tools write them: shards, saved data sets, exports of annotations."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow as pa

from tasks.ingest.sources.folder_tables import Manifests
from tasks.ingest.sources.isolated_worker import serve
from tasks.isolation.wire_protocol import unpack
from tasks.isolation.worker import Parent

STRUCT = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
"""How `datasets` stores pictures and sounds."""


def write_stream(path: Path, table: pa.Table, batch_rows: int = 7) -> Path:
    """An Arrow stream, ended as `datasets` ends it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=batch_rows)
    return path


def save_to_disk(folder: Path, *tables: pa.Table) -> Path:
    """A folder as Dataset.save_to_disk leaves it (datasets 5.2), one Arrow file a table."""
    names = [f"data-{number:05}-of-{len(tables):05}.arrow" for number in range(len(tables))]
    for name, table in zip(names, tables, strict=True):
        write_stream(folder / name, table)
    state = {"_data_files": [{"filename": name} for name in names], "_fingerprint": "0", "_split": None}
    (folder / "state.json").write_text(json.dumps(state))
    (folder / "dataset_info.json").write_text(json.dumps({"citation": "", "features": {}}))
    return folder


def write_tar(path: Path, members: Mapping[str, bytes]) -> Path:
    """A shard of these members, in their order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def write_workbook(path: Path, rows: list[list[Any]], *, merged: str | None = None) -> Path:
    """An Excel workbook of one sheet, `Data`."""
    book = openpyxl.Workbook()
    sheet = book.worksheets[0]
    sheet.title = "Data"
    for row in rows:
        sheet.append(row)
    if merged is not None:
        sheet.merge_cells(merged)
    book.save(path)
    return path


def coco(pictures: list[str], categories: dict[int, list[int]], names: dict[int, str]) -> dict[str, Any]:
    """COCO's instances: pictures numbered from 1, each with the ids of its categories."""
    images = [{"id": number, "file_name": name} for number, name in enumerate(pictures, start=1)]
    found = [(image, category) for image, each in categories.items() for category in each]
    annotations = [
        {"id": n, "image_id": i, "category_id": c, "segmentation": [[1.5]]} for n, (i, c) in enumerate(found)
    ]
    kinds = [{"id": number, "name": name, "supercategory": "any"} for number, name in names.items()]
    return {"info": {"year": 2017}, "licenses": [], "images": images, "annotations": annotations, "categories": kinds}


def ask_worker(path: Path, **request: Any) -> tuple[dict[str, Any], list[Any]]:
    """Head and rows that the reading process would answer, and the last message where that is an error; without the process."""
    sink = io.BytesIO()
    asked = {
        "path": str(path),
        "format": path.suffix,
        "want": "rows",
        "manifest_mb": 100,
        "memory_mb": 2048,
        "file_mb": 64,
    }
    serve(asked | request, Parent(io.BytesIO(), sink))
    sink.seek(0)
    messages = []
    while sink.tell() < len(sink.getvalue()):
        messages.append(unpack(sink.read)[0])
    if "error" in messages[-1]:
        return {"error": messages[-1]["text"]}, []
    head = next((message for message in messages if "columns" in message), messages[-1])
    return head, [row for message in messages for row in message.get("batch", [])]


def fill(root: Path, *names: str) -> Path:
    """The folder with files of these names; those of CSV hold a row."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("text,label\na,b\n" if name.endswith(".csv") else name)
    return root


def sides(found: Manifests) -> list[tuple[str, str | None]]:
    """The name and the split of each manifest."""
    return [(manifest.path.name, split) for manifest, split in found]
