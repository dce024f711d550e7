"""Parquet becomes rows, and the media in it bytes, by way of a process of its own (parquet_worker.py) with limits."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

from tasks.errors import DataError, EnvironmentFailed
from tasks.ingest.manifest.rows import Inline, Manifest, Row
from tasks.ingest.sources.limits import ReadLimits
from tasks.media.wire_protocol import pack, unpack

WORKER = (sys.executable, "-P", "-m", "tasks.ingest.sources.parquet_worker")
_ROOT = str(Path(__file__).resolve().parents[2])  # where the worker finds `tasks`, installed or not
_KEPT_ENVIRONMENT = ("PATH", "HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PYTHONPATH", "VIRTUAL_ENV", "TMPDIR")
_START_S = 300.0  # a busy machine takes its time to import; a file has nothing to do with it
_LARGEST_PART = 1 << 30
"""No honest batch is larger; what is declared larger is not waited for."""


class _Lost(Exception):
    """The reading process gave no answer; says how it ended."""


def open_parquet(path: Path, limits: ReadLimits) -> Manifest:
    """The rows of a Parquet file, all read; a medium in it is its digest. DataError for one that cannot be read whole."""
    with contextlib.closing(_converse(path, {"want": "rows"}, limits)) as messages:
        head, _ = next(messages)
        if "error" in head:
            raise DataError(f"manifest {path}: not readable as Parquet ({head['error']})")
        if head["rows"] == 0:
            raise DataError(f"manifest {path}: the file holds no rows")
        names, inline = head["columns"], head["inline"]
        repeated = [name for name, count in Counter(names).items() if count > 1]
        if repeated:
            raise DataError(f"manifest {path}: column {repeated[0]!r} appears twice; rename one")
        rows: list[Row] = []
        for header, _ in messages:
            if "error" in header:
                raise DataError(f"manifest {path}: damaged after row {len(rows)} ({header['error']})")
            for cells in header.get("batch", ()):
                rows.append(_row(len(rows) + 1, cells, names, inline))
    if len(rows) != head["rows"]:
        raise DataError(f"manifest {path}: damaged, it declares {head['rows']} rows and holds {len(rows)}")
    return Manifest(path, path.parent, tuple(names), iter(rows), count=len(rows))


def _row(number: int, cells: list[Any] | str, names: list[str], inline: list[bool]) -> Row:
    if isinstance(cells, str):
        return Row(number, {}, "unreadable-row", cells)
    held = (
        Inline(cell or None) if holds and cell is not None else cell for cell, holds in zip(cells, inline, strict=True)
    )
    return Row(number, dict(zip(names, held, strict=True)))


def read_inline(
    path: Path, column: str, rows: set[int], limits: ReadLimits | None = None
) -> Iterator[tuple[int, bytes]]:
    """Yields (row number, bytes) for the wanted 1-based rows of one column of a Parquet file. DataError when damaged."""
    request = {"want": "media", "column": column, "rows": sorted(rows)}
    with contextlib.closing(_converse(path, request, limits or ReadLimits())) as messages:
        for header, payload in messages:
            if "error" in header:
                raise DataError(f"manifest {path}: column {column!r} cannot be read ({header['error']})")
            offset = 0
            for number, size in zip(header.get("numbers", ()), header.get("sizes", ()), strict=True):
                yield number, payload[offset : offset + size]
                offset += size


def _converse(
    path: Path, request: dict[str, Any], limits: ReadLimits
) -> Generator[tuple[dict[str, Any], bytes], None, None]:
    """Yields the process's answers up to `done`; one that dies or hangs answers with an `error`, too."""
    environment = {name: os.environ[name] for name in _KEPT_ENVIRONMENT if name in os.environ}
    paths = [_ROOT, *filter(None, [environment.get("PYTHONPATH")])]
    environment |= {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    environment |= {"ARROW_DEFAULT_MEMORY_POOL": "system", "MALLOC_ARENA_MAX": "1"}  # reserve no address space
    process = subprocess.Popen(
        WORKER, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
    )
    assert process.stdin is not None
    assert process.stdout is not None
    handle = process.stdout.fileno()
    try:
        try:
            read_limits = {"path": str(path), "memory_mb": limits.memory_mb, "manifest_mb": limits.manifest_mb}
            process.stdin.write(pack(request | read_limits))
            process.stdin.flush()
            _receive(handle, _START_S)  # ready
        except (_Lost, BrokenPipeError):
            raise EnvironmentFailed(
                "the process that reads Parquet does not start; see why with: python -m tasks.ingest.sources.parquet_worker"
            ) from None
        while True:
            try:
                header, payload = _receive(handle, limits.timeout_s)
            except _Lost as lost:
                yield {"error": str(lost)}, b""
                return
            if "done" in header:
                return
            yield header, payload
            if "error" in header:
                return
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()


def _receive(handle: int, timeout_s: float) -> tuple[dict[str, Any], bytes]:
    """The next answer. Raises _Lost when there is none in time, or the process is gone."""
    deadline = time.monotonic() + timeout_s

    def read(size: int) -> bytes:
        """Exactly so many bytes of the answer. Raises _Lost as above."""
        if size > _LARGEST_PART:
            raise _Lost(f"a batch of its rows has {size} bytes")
        chunks, missing = [], size
        while missing:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([handle], [], [], left)[0]:
                raise _Lost(f"its rows took longer than media.timeout_s = {timeout_s:g}")
            chunk = os.read(handle, min(missing, 1 << 20))
            if not chunk:
                raise _Lost("the process that read it died; it may need more than media.memory_mb")
            chunks.append(chunk)
            missing -= len(chunk)
        return b"".join(chunks)

    try:
        return unpack(read)
    except ValueError:
        raise _Lost("the process that read it gave a broken answer") from None
