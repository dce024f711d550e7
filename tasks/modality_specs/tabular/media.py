"""A row of a table: its canonical form is read as it was written when the manifest was."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tasks.media.canonical import Canonical, Undecodable
from tasks.modality_specs.tabular.cells import read_row


def decode_row(data: bytes, limits: Mapping[str, Any]) -> Canonical:
    """The JSON of the filled cells; shape is (filled cells,). Raises Undecodable: `unreadable-row`."""
    try:
        cells = read_row(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise Undecodable("unreadable-row", f"not the cells of a row ({error})") from None
    text = json.dumps(cells, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return Canonical((len(cells),), text.encode("utf-8"))
