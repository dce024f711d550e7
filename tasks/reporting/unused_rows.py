"""What the report shows of the rows that were not used: how many of each reason, a few of them as pictures, near duplicates."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from data_contracts.refs import CleanRef, ValidatedRef
from tasks.contract import read_table
from tasks.reporting.thumbnails import picture_media
from tasks.store import Store

QUARANTINE_EXAMPLES = 4
BAR_PX = 520
FATES = (("used", "#0072b2"), ("quarantined", "#d55e00"), ("duplicates", "#8b95a1"))


def refused_rows(clean: CleanRef | None, valid: ValidatedRef | None, store: Store) -> dict[str, Any] | None:
    """What became of the rows; None without rows.

    `fates` (as bars), `reasons` (most frequent first), `near` (pairs) and `leaked` (those of leaked.json, or None).
    """
    if clean is None or not (path := store.path(clean.uri) / "quarantine.parquet").is_file():
        return None
    reasons: dict[str, list[dict[str, Any]]] = {}
    for row in read_table(path).to_pylist():
        reasons.setdefault(row["reason"], []).append(row)
    examples = _examples(clean, store)
    seen: dict[str, list[dict[str, Any]]] = {}
    for row in examples["refused"]:
        seen.setdefault(row["reason"], []).append(row)
    most = max(map(len, reasons.values()), default=1)
    return {
        "fates": _fates(clean, 0 if valid is None else clean.counts.used - valid.rows),
        "reasons": [
            {
                "reason": reason,
                "count": len(rows),
                "width": 100 * len(rows) / most,
                "examples": _told(rows, seen.get(reason, [])),
                "seen": [row for row in seen.get(reason, []) if row["media"] or (row["twin"] or {}).get("media")],
            }
            for reason, rows in sorted(reasons.items(), key=lambda item: (-len(item[1]), item[0]))
        ],
        "near": examples["near"],
        "leaked": _leaked(clean, valid, store),
    }


def _leaked(clean: CleanRef, valid: ValidatedRef | None, store: Store) -> dict[str, Any] | None:
    """Rows with a twin on a later side of the split, as validate keeps them, each with its pictures in `seen`."""
    path = None if valid is None else store.path(valid.uri) / "leaked.json"
    if path is None or not path.is_file():
        return None
    kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    entries = [pair[side] for pair in kept["pairs"] for side in ("row", "twin")]
    for entry, pictures in zip(entries, picture_media(entries, clean.media, store), strict=True):
        entry["seen"] = pictures
    return kept


def _told(rows: list[dict[str, Any]], seen: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The first few rows, but for those that are shown as pictures anyway."""
    shown = {(row["id"], row["row"]) for row in seen if row["media"]}
    return [row for row in rows if (row["id"], row["row"]) not in shown][: QUARANTINE_EXAMPLES - len(shown)]


def _fates(clean: CleanRef, leaked: int) -> list[dict[str, Any]]:
    """One bar, cut into the shares of the rows that were used, quarantined (`leaked` ones too), and dropped as duplicates."""
    total, start, bars = clean.counts.rows_in or 1, 0.0, []
    moved = {"used": -leaked, "quarantined": leaked}
    for name, colour in FATES:
        count = int(getattr(clean.counts, name)) + moved.get(name, 0)
        width = BAR_PX * count / total
        bars.append({"name": name, "count": count, "x": start, "width": width, "colour": colour})
        start += width
    return bars


def _examples(clean: CleanRef, store: Store) -> dict[str, list[Any]]:
    """What ingest kept of them, each with its pictures in `seen`; nothing for a store that has none."""
    path = store.path(clean.uri) / "examples.json"
    if not path.is_file():
        return {"refused": [], "near": []}
    kept: dict[str, list[Any]] = json.loads(path.read_text(encoding="utf-8"))
    entries = [*_with_twins(kept["refused"]), *(row for pair in kept["near"] for row in pair)]
    for entry, pictures in zip(entries, picture_media(entries, clean.media, store), strict=True):
        entry["seen"] = pictures
    return kept


def _with_twins(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return [entry for row in rows for entry in (row, row["twin"]) if entry is not None]
