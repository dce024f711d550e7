"""Pure rules that decide what becomes of each row: used, quarantined with a reason, or dropped as a duplicate."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from data_contracts.refs import Modality
from tasks.ingest.decode import Outcomes

Rows = list[dict[str, Any]]


def apply_outcomes(rows: Rows, modalities: tuple[Modality, ...], outcomes: dict[Modality, Outcomes]) -> None:
    """Replaces each source by the digest of its canonical form; a medium that failed gives its row a reason."""
    for row in rows:
        for modality in modalities:
            source = row[f"{modality}_sha256"]
            if source is None or row["reason"] is not None:
                continue
            outcome = outcomes[modality][source]
            row[f"{modality}_digest"] = outcome["digest"]
            if outcome["reason"] is not None:
                row |= {"reason": outcome["reason"], "detail": outcome["detail"], "bad_modality": modality}


def mark_repeats(rows: Rows, modalities: tuple[Modality, ...]) -> None:
    """Marks duplicates, contradictions and repeated ids among the rows that are still usable.

    Rows whose present modalities are all equal are the same sample. With one label the first stays and the others of the
    same given split are duplicates (on two sides of a given split both stay: that is leakage, for validate to judge).
    With several labels all are quarantined. A second row under the same id is quarantined, too.
    """
    by_content: dict[tuple[str | None, ...], Rows] = defaultdict(list)
    for row in rows:
        if row["reason"] is None:
            by_content[content_of(row, modalities)].append(row)
    for twins in by_content.values():
        labels = sorted({row["label"] for row in twins})
        if len(labels) > 1:
            detail = f"the same content is labelled {', '.join(labels[:5])}"
            for row in twins:
                row |= {"reason": "conflicting-label", "detail": detail}
            continue
        first: dict[str | None, dict[str, Any]] = {}
        for row in twins:
            kept = first.setdefault(row["split"], row)
            if kept is not row:
                row |= {"reason": "duplicate", "detail": f"same content as {kept['id']} (row {kept['row']})"}
    _mark_repeated_ids(rows)


def _mark_repeated_ids(rows: Rows) -> None:
    """Quarantines every usable row whose id an earlier usable row already has."""
    seen: dict[str, int] = {}
    for row in rows:
        if row["reason"] is None and seen.setdefault(row["id"], row["row"]) != row["row"]:
            row |= {"reason": "duplicate-id", "detail": f"row {seen[row['id']]} has this id, too"}


def content_of(row: dict[str, Any], modalities: tuple[Modality, ...]) -> tuple[str | None, ...]:
    """The digests of a row's present modalities, None for a missing one."""
    return tuple(row.get(f"{modality}_digest") for modality in modalities)
