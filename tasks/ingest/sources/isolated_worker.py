"""The process that reads what a crafted file could turn against us: `python -P -m tasks.ingest.sources.isolated_worker`.

Parquet, Arrow, Excel workbooks, tar archives and XML: a few bytes can declare gigabytes, and a parser can crash. So such a file
is read here, under a limit on memory, and the rows go to the parent as JSON, the media in them as raw bytes.
Reads one request and answers with messages: the head, then rows or media, then `done`; or `error`.
"""

from __future__ import annotations

import contextlib
import sys
from typing import cast

import pyarrow as pa

from tasks.ingest.sources.isolated_messages import Alive, Head, MediaBatch, Request, RowBatch
from tasks.isolation.sandbox import restrict
from tasks.isolation.worker import Parent


def main() -> None:
    """Serves one request."""
    parent = Parent.connect()
    request = cast(Request, parent.receive()[0])
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    restrict(int(request["memory_mb"]))
    with contextlib.suppress(BrokenPipeError):  # the parent has had enough
        serve(request, parent)


def serve(request: Request, parent: Parent) -> None:
    """Answers a request; what goes wrong with the file is an answer, too."""
    try:
        parent.send({"ready": True})
        _answer(request, parent)
        parent.send({"done": True})
    except MemoryError:
        parent.fail("DataError", f"needs more than media.memory_mb = {request['memory_mb']} to be read")
    except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
        parent.fail("DataError", " ".join(str(error).split())[:200] or type(error).__name__)


class _Bounded:
    """Sends messages to the parent, which keeps the rows: no more of them than a manifest may have."""

    def __init__(self, parent: Parent, limit_bytes: float) -> None:
        self._parent, self._left = parent, limit_bytes

    def __call__(self, header: Head | RowBatch | MediaBatch | Alive, payload: bytes) -> None:
        """Raises OSError beyond the limit: a value that a file holds once can stand in a million rows."""
        size = self._parent.send(header, payload)
        self._left -= size - len(payload)
        if self._left < 0:
            raise OSError("its rows hold more than data.max_manifest_mb once unpacked")


def _answer(request: Request, parent: Parent) -> None:
    """Sends rows or media. A reader is imported here, so that the process loads none that it does not need."""
    path, limit_bytes = request["path"], float(request["manifest_mb"]) * 1e6
    send = _Bounded(parent, limit_bytes)
    if request["format"] == ".xlsx":
        from tasks.ingest.sources.excel_worker import send_sheet

        send_sheet(path, limit_bytes, send)
    elif request["format"] == ".xml":
        from tasks.ingest.sources.cvat_worker import send_images

        send_images(path, send)
    elif request["format"] == ".tar":
        from tasks.ingest.sources.tar_worker import Shard

        shard = Shard(path, float(request["file_mb"]) * 1e6)
        if request["want"] == "rows":
            shard.send_rows(send)
        else:
            shard.send_media(request["column"], set(request["rows"]), send)
    else:
        from tasks.ingest.sources.arrow_worker import open_arrow
        from tasks.ingest.sources.parquet_worker import open_parquet, send_media, send_rows

        is_parquet = request["format"] == ".parquet"
        file = open_parquet(path, float(request["manifest_mb"])) if is_parquet else open_arrow(path, limit_bytes)
        if request["want"] == "rows":
            send_rows(file, send)
        else:
            send_media(file, request["column"], set(request["rows"]), send)


if __name__ == "__main__":
    main()
    sys.exit(0)
