"""A few rows of each reason, with what they hold, for the report: what was refused is understood by looking at it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from data_contracts.refs import InputName
from data_contracts.row_examples import RejectedExample, RowExample, RowExamples
from tasks.ingest.clean import Rows, content_of
from tasks.ingest.decode import Outcomes

PER_REASON = 4
NEAR_PAIRS = 6


def choose_rows(rows: Rows, modalities: tuple[InputName, ...]) -> set[int]:
    """Positions of the first few rows of each reason known before decoding that name a medium: to be decoded all the same."""
    chosen: dict[str, list[int]] = defaultdict(list)
    for place, row in enumerate(rows):
        reason = row["reason"]
        if reason is not None and any(row[f"{modality}_sha256"] for modality in modalities):
            chosen[reason] += [place] if len(chosen[reason]) < PER_REASON else []
    return {place for places in chosen.values() for place in places}


def describe_examples(
    rows: Rows, modalities: tuple[InputName, ...], outcomes: dict[InputName, Outcomes]
) -> RowExamples:
    """`refused`: up to four rows of each reason, those that can be seen first, each with the row that it repeats or
    contradicts. `near`: pairs of near duplicates. Media are digests of what lies in the store.
    """

    def look(row: dict[str, Any]) -> RowExample:
        """What a page shows of a row of the manifest: its cells, and digests of its media by modality."""
        media: dict[InputName, str] = {}
        for modality in modalities:
            known = outcomes[modality].get(row[f"{modality}_sha256"] or "")
            if known is not None and known["digest"] is not None:
                media[modality] = known["digest"]
        return {
            "id": row["id"],
            "row": row["row"],
            "label": row["label"],
            "split": row["split"],
            "reason": row["reason"],
            "detail": row["detail"],
            "bad_modality": row["bad_modality"],
            "path": row.get(row["bad_modality"] or ""),
            "media": media,
        }

    by_reason: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        if row["reason"] is not None:
            by_reason[row["reason"]].append(row)
    refused: list[RejectedExample] = []
    for reason in sorted(by_reason):
        seen: list[RejectedExample] = [
            {**look(row), "duplicate_of": look(row["duplicate_of"]) if row.get("duplicate_of") else None}
            for row in by_reason[reason][:500]
        ]
        refused += sorted(seen, key=lambda row: not row["media"])[:PER_REASON]
    pairs = _near_pairs([row for row in rows if row["reason"] is None], modalities)
    return {"refused": refused, "near": [[look(one), look(other)] for one, other in pairs]}


def _near_pairs(rows: Rows, modalities: tuple[InputName, ...]) -> Sequence[tuple[dict[str, Any], dict[str, Any]]]:
    """Of each cluster its smallest id and the next whose content differs; the first few clusters."""
    clusters: dict[int, Rows] = defaultdict(list)
    for row in sorted(rows, key=lambda row: str(row["id"])):
        if row.get("cluster") is not None:
            clusters[row["cluster"]].append(row)
    pairs = []
    for number in sorted(clusters)[:NEAR_PAIRS]:
        first, *others = clusters[number]
        content = content_of(first, modalities)
        pairs += [(first, row) for row in others if content_of(row, modalities) != content][:1]
    return pairs
