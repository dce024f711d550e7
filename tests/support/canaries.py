"""Tokens that are planted where credentials go, a store of pictures that wants one, and the search for what leaked."""

from __future__ import annotations

import contextlib
import http.server
import io
import json
import re
import sqlite3
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from tests.support.web import serving

CANARY = re.compile(rb"Canary[0-9a-f]{4}[A-Za-z]{2,20}")
"""A token that is named by where it is planted: Canary7f3aCell."""


def canary(place: str) -> str:
    """The token of a place."""
    return f"Canary7f3a{place}"


def leaked(folder: Path) -> dict[str, set[str]]:
    """File to the tokens in it: in its bytes, in its cells where it is a table, in its rows where it is a database."""
    found: dict[str, set[str]] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink():
            name = path.relative_to(folder).as_posix()
            tokens = tokens_in(path.read_bytes()) | tokens_in(name.encode())
            for text in _inside(path):
                tokens |= tokens_in(text)
            if tokens:
                found[name] = tokens
    return found


def tokens_in(content: bytes | str) -> set[str]:
    """The places whose tokens stand in a text."""
    data = content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
    return {match.decode().removeprefix("Canary7f3a") for match in CANARY.findall(data)}


def _inside(path: Path) -> Iterator[bytes]:
    head = path.read_bytes()[:16]
    if head.startswith(b"PAR1"):
        yield from _cells(pq.read_table(path))
    elif head.startswith(b"SQLite format 3"):
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
            names = [name for (name,) in database.execute("select name from sqlite_master where type = 'table'")]
            for name in names:
                for row in database.execute(f'select * from "{name}"'):
                    yield repr(row).encode()
    elif head.startswith(b"PK"):
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                content = archive.read(name)
                yield name.encode() + content
                if content.startswith(b"PAR1"):
                    yield from _cells(pq.read_table(io.BytesIO(content)))


def _cells(table: pa.Table) -> Iterator[bytes]:
    for column in table.columns:
        if not (pa.types.is_list(column.type) and pa.types.is_primitive(column.type.value_type)):
            for cell in column.to_pylist():
                yield cell if isinstance(cell, bytes) else repr(cell).encode("utf-8", "surrogatepass")


# -- what is planted ---


@contextlib.contextmanager
def signed_store(folder: Path) -> Iterator[str]:
    """The address of a web server that gives the files of a folder to whoever sends `sig` with a token, else 403."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            path = folder / parts.path.lstrip("/")
            signed = any(value.startswith("Canary7f3a") for value in parse_qs(parts.query).get("sig", []))
            content = path.read_bytes() if signed and path.is_file() else b""
            self.send_response(200 if content else 404 if signed else 403)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            """Not on the terminal that is searched."""

    with serving(Handler) as url:
        yield url


def plant_pictures(folder: Path, url: str, count: int, name: str = "manifest.jsonl", broken: int = 4) -> Path:
    """Pictures whose colour is their class, each named by a signed address; then `broken` rows that are refused."""
    rng, rows = np.random.default_rng(0), []
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        kind = number % 3
        pixels = rng.integers(0, 100, (20, 20, 3), dtype=np.uint8)
        pixels[..., kind] += 150
        Image.fromarray(pixels).save(folder / f"{number}.png")
        place = 12 * number // count
        split = "test" if place < 3 else "val" if place < 5 else "train"
        cells = {
            "image": f"{url}/{number}.png?sig={canary('Cell')}&v=1",
            "origin": f"s3://me:{canary('Column')}@bucket/{number}",
        }
        rows.append({"id": f"s{number}", **cells, "label": "rgb"[kind], "split": split})
    for number, cell in enumerate(
        (
            f"{url}/none.png?sig={canary('Missing')}",
            f"{url.replace('://', '://me:' + canary('User') + '@')}/0.png",
            f"ftp://me:{canary('Scheme')}@host/0.png",
            f"../0.png?token={canary('Path')}",
        )[:broken]
    ):
        rows.append({"id": f"bad{number}", "image": cell, "origin": "", "label": "r", "split": "train"})
    path = folder / name
    path.write_text("\n".join(map(json.dumps, rows)) + "\n")
    return path


SECRETS: Mapping[str, str] = {
    name: canary(place)
    for name, place in {
        "AWS_SECRET_ACCESS_KEY": "AwsKey", "AWS_SESSION_TOKEN": "AwsSession", "HF_TOKEN": "HfToken", "PGPASSWORD": "PgPassword",
        "MLFLOW_TRACKING_PASSWORD": "MlflowPassword", "MLFLOW_TRACKING_TOKEN": "MlflowToken", "OUR_API_KEY": "ApiKey",
    }.items()
}  # fmt: skip
"""Environment variables that are named like secrets."""

SETTINGS = (
    "train.epochs=6", "train.batch_size=16", "train.learning_rate=0.003", "train.threads=1", "runtime.workers=1",
    "encoders.image=tiny", "encoders.text=off", "encoders.audio=off", "media.timeout_s=600",
)  # fmt: skip
