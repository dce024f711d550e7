"""Length-prefixed messages between a process and its worker: JSON and raw bytes, nothing that runs when it is read.

One message is 12 bytes of lengths (header: 4, payload: 8, big-endian), a JSON object, and the payload.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping
from typing import Any

_LENGTHS = struct.Struct(">IQ")
Message = tuple[dict[str, Any], bytes]
"""Header and payload. Three keys of a header mean the same to all: `ready`, `done`, and `error` with its `text`."""


def pack(header: Mapping[str, object], payload: bytes = b"") -> bytes:
    """One message as bytes."""
    text = json.dumps(header).encode()
    return _LENGTHS.pack(len(text), len(payload)) + text + payload


def unpack(read: Callable[[int], bytes]) -> Message:
    """The next message; `read(n)` returns exactly n bytes or raises. ValueError where it is none."""
    header_size, payload_size = _LENGTHS.unpack(read(_LENGTHS.size))
    try:
        header = json.loads(read(header_size))
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(header, dict):
        raise ValueError("no object")
    return header, read(payload_size)
