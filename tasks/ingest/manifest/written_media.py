"""Media that are written into a cell as base64, as databases and web services export them."""

from __future__ import annotations

import re

_SHORTEST = 100
"""Characters; fewer may be a name."""
_BASE64 = re.compile(r"[A-Za-z0-9+/\s]+")
_STARTS = {
    "iVBORw0KGgo": "a PNG",
    "/9j/": "a JPEG",
    "R0lGOD": "a GIF",
    "UklGR": "a WAV or WebP",
    "SUQz": "an MP3",
    "T2dnUw": "an Ogg",
    "ZkxhQw": "a FLAC",
    "Qk": "a BMP",
}
"""What files begin with, in base64."""


def written_medium(cell: str) -> str | None:
    """What a cell holds in base64: `a PNG`; None where it holds no medium that way."""
    start = cell.lstrip()[:_SHORTEST]
    if len(start) < _SHORTEST or _BASE64.fullmatch(start) is None:
        return None
    return next((kind for mark, kind in _STARTS.items() if start.startswith(mark)), None)
