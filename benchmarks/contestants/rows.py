"""The rows that all contestants read: a draw of our own cleaned samples, a CSV a split."""

from __future__ import annotations

import csv
import hashlib
import io
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.captions import write_manifest
from data_contracts.refs import Split
from data_contracts.tables import value_column
from flows.data_stages import prepare
from flows.request import make_request, resolve_config
from flows.run_state import RunState
from flows.stages import Stages
from tasks.contract import read_table
from tasks.errors import UsageError
from tasks.samples import SAMPLES

CAPTIONS = "captions"


def locate(data: str, shared: Path, folder: Path) -> tuple[Path, Path]:
    """(the manifest, the folder below which its media lie) of a name in `shared`, of `captions`, or of a path."""
    if data == CAPTIONS:
        pictures = (shared / "cifar10_12k").resolve()
        return write_manifest(pictures, folder / "captions.csv"), pictures
    place = Path(data) if Path(data).exists() else shared / data / "manifest.csv"
    if not place.exists():
        raise UsageError(f"--data {data!r}: neither a manifest nor a folder of {shared}; name {CAPTIONS} or a path")
    return place.resolve(), (place if place.is_dir() else place.parent).resolve()


def write_tables(
    manifest: Path, root: Path, backbones: Mapping[str, str], most: Mapping[Split, int], folder: Path
) -> tuple[dict[Split, str], dict[str, str]]:
    """(split to its CSV, input to its backbone): of every split at most so many rows, drawn by a fixed seed from the samples
    that ingest and validate let pass and that have all inputs.

    Left out are inputs that the manifest lacks. UsageError where one has no backbone or its media are not files.
    """
    settings = [f'data.allowed_roots=["{root}"]', "split.near_duplicates=false"]
    config = resolve_config(None, str(manifest), settings)
    request = make_request(config, str(folder / "store"), None, "peers")
    state = RunState()
    valid = prepare(request, config, Stages(), state)
    assert state.raw is not None
    raw = {
        (row["table"], row["row"]): row
        for row in read_table(request.store.path(state.raw.uri) / "rows.parquet").to_pylist()
    }
    inputs = list(valid.clean.modalities)
    if lacking := [name for name in inputs if name not in backbones]:
        raise UsageError(
            f"data {str(manifest)!r}: no contestant reads {', '.join(lacking)}; known are {', '.join(backbones)}"
        )
    rows = read_table(request.store.path(valid.uri) / SAMPLES).to_pylist()
    tables: dict[Split, str] = {}
    for split, limit in most.items():
        chosen = [row for row in rows if row["split"] == split and all(row[name] for name in inputs)]
        random.Random(0).shuffle(chosen)
        text = io.StringIO(newline="")
        writer = csv.writer(text)
        writer.writerow(["id", *inputs, "label"])
        for row in chosen[:limit]:
            cells = [_cell(raw[row["table"], row["row"]], name) for name in inputs]
            writer.writerow([row["id"], *cells, row["label"]])
        content = text.getvalue().encode()
        # named by its content: what was computed from other rows is not taken for these
        target = folder / f"{split}-{hashlib.sha256(content).hexdigest()[:12]}.csv"
        target.write_bytes(content)
        tables[split] = str(target)
    return tables, {name: backbones[name] for name in inputs}


def _cell(raw: Mapping[str, Any], name: str) -> str:
    column = value_column(name)
    value = raw[name] if column is None or raw.get(column) is None else raw[column]
    if column is None and not Path(value).is_file():
        raise UsageError(f"row {raw['id']!r}: its {name} is {value!r}, no file; the contestants read files only")
    return str(value)
