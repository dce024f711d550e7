"""The section of the rows that were not used: how many of each reason, a few of them as pictures, near duplicates."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TypedDict, TypeVar, cast

from data_contracts.refs import CleanRef, ValidatedRef
from data_contracts.row_examples import (
    EXAMPLES,
    LEAKED,
    LeakedRows,
    QuarantinedRow,
    RejectedExample,
    RowExample,
    RowExamples,
)
from tasks.contract import read_table
from tasks.reporting.thumbnails import Thumbnails, picture_media
from tasks.store import Store

QUARANTINE_EXAMPLES = 4
BAR_PX = 520
OUTCOMES = (
    ("used", "#0072b2"),
    ("quarantined", "#d55e00"),
    ("duplicates", "#8b95a1"),
    ("unlabelled", "#b8bec6"),
    ("sealed", "#56b4e9"),
)


class SeenRow(RowExample):
    """A row with what its media look like."""

    seen: Thumbnails


class SeenRejection(SeenRow):
    """A row that was not used, beside what it repeats."""

    duplicate_of: SeenRow | None


class RowOutcome(TypedDict):
    """One part of the bar of all rows, in pixels."""

    name: str
    count: int
    x: float
    width: float
    colour: str


class ReasonRows(TypedDict):
    """The rows of one reason; `width` in percent of the most frequent reason's."""

    reason: str
    count: int
    width: float
    examples: list[QuarantinedRow]
    """The first few, but for those that are shown as pictures."""
    seen: list[SeenRejection]


class SeenPair(TypedDict):
    """A leaked row beside its counterpart."""

    row: SeenRow
    counterpart: SeenRow
    cause: str


class SeenLeakage(TypedDict):
    """The rows that leak."""

    rows: int
    dropped: bool
    pairs: list[SeenPair]


class UnusedRows(TypedDict):
    """What became of the rows."""

    outcomes: list[RowOutcome]
    reasons: list[ReasonRows]
    """The most frequent first."""
    near: list[list[SeenRow]]
    """Pairs of near duplicates."""
    leaked: SeenLeakage | None


def unused_rows(clean: CleanRef | None, valid: ValidatedRef | None, store: Store) -> UnusedRows | None:
    """What became of the rows; None without rows."""
    if clean is None or not (path := store.path(clean.uri) / "quarantine.parquet").is_file():
        return None
    reasons: dict[str, list[QuarantinedRow]] = {}
    for row in cast(list[QuarantinedRow], read_table(path).to_pylist()):
        reasons.setdefault(row["reason"], []).append(row)
    kept = _read_examples(clean, store)
    seen: dict[str, list[SeenRejection]] = {}
    for example in _show_rejected(kept["refused"], clean, store):
        seen.setdefault(str(example.get("reason")), []).append(example)
    most = max(map(len, reasons.values()), default=1)
    return {
        "outcomes": _outcome_bars(clean, 0 if valid is None else clean.counts.used - valid.rows),
        "reasons": [
            {
                "reason": reason,
                "count": len(rows),
                "width": 100 * len(rows) / most,
                "examples": _as_text(rows, seen.get(reason, [])),
                "seen": [
                    row
                    for row in seen.get(reason, [])
                    if row["media"] or (row["duplicate_of"] and row["duplicate_of"]["media"])
                ],
            }
            for reason, rows in sorted(reasons.items(), key=lambda item: (-len(item[1]), item[0]))
        ],
        "near": _pairs(_show([row for pair in kept["near"] for row in pair], clean, store)),
        "leaked": _leaked(clean, valid, store),
    }


def _leaked(clean: CleanRef, valid: ValidatedRef | None, store: Store) -> SeenLeakage | None:
    """Rows with a counterpart on a later side of the split, as validate keeps them, each with its pictures."""
    path = None if valid is None else store.path(valid.uri) / LEAKED
    if path is None or not path.is_file():
        return None
    kept: LeakedRows = json.loads(path.read_text(encoding="utf-8"))
    sides = _pairs(_show([side for pair in kept["pairs"] for side in (pair["row"], pair["counterpart"])], clean, store))
    pairs: list[SeenPair] = [
        {"row": row, "counterpart": counterpart, "cause": pair["cause"]}
        for pair, (row, counterpart) in zip(kept["pairs"], sides, strict=True)
    ]
    return {"rows": kept["rows"], "dropped": kept["dropped"], "pairs": pairs}


def _as_text(rows: list[QuarantinedRow], seen: list[SeenRejection]) -> list[QuarantinedRow]:
    """The first few rows, but for those that are shown as pictures anyway."""
    shown = {(row["id"], row.get("row")) for row in seen if row["media"]}
    return [row for row in rows if (row["id"], row["row"]) not in shown][: QUARANTINE_EXAMPLES - len(shown)]


def _outcome_bars(clean: CleanRef, leaked: int) -> list[RowOutcome]:
    """One bar, cut into the shares of the rows that were used, quarantined (`leaked` ones too), or neither."""
    total, start, bars = clean.counts.rows_in or 1, 0.0, list[RowOutcome]()
    moved = {"used": -leaked, "quarantined": leaked}
    for name, colour in OUTCOMES:
        count = int(getattr(clean.counts, name)) + moved.get(name, 0)
        if name in ("unlabelled", "sealed") and not count:
            continue
        width = BAR_PX * count / total
        bars.append({"name": name, "count": count, "x": start, "width": width, "colour": colour})
        start += width
    return bars


def _read_examples(clean: CleanRef, store: Store) -> RowExamples:
    """What ingest kept of the rows; nothing for a store that has none."""
    path = store.path(clean.uri) / EXAMPLES
    if not path.is_file():
        return {"refused": [], "near": []}
    return cast(RowExamples, json.loads(path.read_text(encoding="utf-8")))


def _show(rows: Sequence[RowExample], clean: CleanRef, store: Store) -> list[SeenRow]:
    pictures = picture_media([row["media"] for row in rows], clean.media, store)
    return [{**row, "seen": seen} for row, seen in zip(rows, pictures, strict=True)]


def _show_rejected(rows: Sequence[RejectedExample], clean: CleanRef, store: Store) -> list[SeenRejection]:
    seen_duplicates = iter(
        _show([row["duplicate_of"] for row in rows if row["duplicate_of"] is not None], clean, store)
    )
    return [
        {**row, "seen": seen["seen"], "duplicate_of": None if row["duplicate_of"] is None else next(seen_duplicates)}
        for row, seen in zip(rows, _show(rows, clean, store), strict=True)
    ]


Item = TypeVar("Item")


def _pairs(items: list[Item]) -> list[list[Item]]:
    """Two and two of them."""
    return [items[place : place + 2] for place in range(0, len(items), 2)]
