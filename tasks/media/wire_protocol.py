"""Length-prefixed messages between the pool and its workers: JSON and raw bytes, nothing that runs when it is read.

One message is 12 bytes of lengths (header: 4, payload: 8, big-endian), a JSON object, and the payload.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable
from typing import Any, BinaryIO

_LENGTHS = struct.Struct(">IQ")


def pack(header: dict[str, Any], payload: bytes = b"") -> bytes:
    """One message as bytes."""
    text = json.dumps(header).encode()
    return _LENGTHS.pack(len(text), len(payload)) + text + payload


def pipes() -> tuple[Callable[[int], bytes], BinaryIO]:
    """A worker's side: `read(n)` for unpack on what was stdin, and what was stdout; printing now goes to stderr."""
    source, sink = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not end up between the answers

    def read(size: int) -> bytes:
        """Exactly so many bytes; EOFError where the other side is gone."""
        data = source.read(size)
        if len(data) != size:
            raise EOFError
        return data

    return read, sink


def unpack(read: Callable[[int], bytes]) -> tuple[dict[str, Any], bytes]:
    """The next message; `read(n)` returns exactly n bytes or raises EOFError."""
    header_size, payload_size = _LENGTHS.unpack(read(_LENGTHS.size))
    header = json.loads(read(header_size))
    return header, read(payload_size)
