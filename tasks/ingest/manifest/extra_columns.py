"""The user's own columns: kept as one JSON object per row, for the user's own expectations and for nothing else."""

from __future__ import annotations

import datetime
import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

from tasks.ingest.manifest.rows import Inline
from tasks.redaction import redact_cell

_CELL_CHARS = 2000  # an essay in a column that nobody reads is not worth carrying along


def metadata_json(values: Mapping[str, Any], columns: Iterable[str | None]) -> str | None:
    """The named cells of a row as a JSON object: numbers, booleans and strings as they are, the rest as its text.

    Empty cells, bytes, and credentials in texts are left out; a longer text is cut at 2,000 characters. None where nothing is
    left.
    """
    cells = {name: _cell(values.get(name)) for name in columns if name is not None}
    kept = {name: cell for name, cell in cells.items() if cell is not None}
    if not kept:
        return None
    return json.dumps(kept, sort_keys=True, ensure_ascii=False).encode("utf-8", "backslashreplace").decode("utf-8")


def _cell(value: Any) -> str | int | float | bool | None:
    if value is None or value == "" or isinstance(value, (Inline, bytes)):
        return None
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if abs(value) < 2**63 else str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, (datetime.datetime, datetime.date)):
        return value.isoformat()
    return redact_cell(str(value), ())[:_CELL_CHARS]  # values of slices that differ stay different
