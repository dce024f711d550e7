"""Length-prefixed messages between the pool and its workers: JSON and raw bytes, nothing that runs when it is read.

One message is 12 bytes of lengths (header: 4, payload: 8, big-endian), a JSON object, and the payload.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from typing import Any

_LENGTHS = struct.Struct(">IQ")


def pack(header: dict[str, Any], payload: bytes = b"") -> bytes:
    """One message as bytes."""
    text = json.dumps(header).encode()
    return _LENGTHS.pack(len(text), len(payload)) + text + payload


def unpack(read: Callable[[int], bytes]) -> tuple[dict[str, Any], bytes]:
    """The next message; `read(n)` returns exactly n bytes or raises EOFError."""
    header_size, payload_size = _LENGTHS.unpack(read(_LENGTHS.size))
    header = json.loads(read(header_size))
    return header, read(payload_size)
