"""A few rows of each reason, with what they hold, for the report: what was refused is understood by looking at it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from data_contracts.refs import InputName
from data_contracts.row_examples import RejectedExample, RowExample, RowExamples
from tasks.ingest.clean import content_of
from tasks.ingest.sample_rows import Rows, SampleRow

PER_REASON = 4
NEAR_PAIRS = 6


def choose_rows(raw: pa.Table, modalities: tuple[InputName, ...]) -> set[int]:
    """Positions of the first few rows of each reason known before decoding that name a medium: to be decoded all the same.

    `raw` has the columns `reason` and NAME_sha256 of each input.
    """
    named = [np.asarray(raw[f"{modality}_sha256"].is_valid()) for modality in modalities]
    refused = np.flatnonzero(np.asarray(raw["reason"].is_valid()) & np.logical_or.reduce(named))
    chosen: dict[str, list[int]] = defaultdict(list)
    for place, reason in zip(refused.tolist(), raw["reason"].take(pa.array(refused)).to_pylist(), strict=True):
        chosen[reason] += [place] if len(chosen[reason]) < PER_REASON else []
    return {place for places in chosen.values() for place in places}


def describe_examples(rows: Rows, modalities: tuple[InputName, ...]) -> RowExamples:
    """`refused`: up to four rows of each reason, those that can be seen first, each with the row that it repeats or
    contradicts. `near`: pairs of near duplicates. Media are digests of what lies in the store.
    """

    def example(row: SampleRow) -> RowExample:
        """What a page shows of a row of the manifest: its cells, and digests of its media by modality."""
        media = {modality: digest for modality in modalities if (digest := row[f"{modality}_digest"]) is not None}
        return {
            "id": row["id"],
            "row": row["row"],
            "table": row["table"],
            "label": row["label"],
            "split": row["split"],
            "reason": row["reason"],
            "detail": row["detail"],
            "bad_modality": row["bad_modality"],
            "path": row.get(row["bad_modality"] or ""),
            "media": media,
        }

    by_reason: dict[str, list[SampleRow]] = defaultdict(list)
    for row in rows.refused():
        by_reason[row["reason"]].append(row)
    refused: list[RejectedExample] = []
    for reason in sorted(by_reason):
        seen: list[RejectedExample] = [
            {**example(row), "duplicate_of": example(row["duplicate_of"]) if row.get("duplicate_of") else None}
            for row in by_reason[reason][:500]
        ]
        refused += sorted(seen, key=lambda row: not row["media"])[:PER_REASON]
    pairs = _near_pairs(rows.usable(), modalities)
    return {"refused": refused, "near": [[example(one), example(other)] for one, other in pairs]}


def _near_pairs(rows: Rows, modalities: tuple[InputName, ...]) -> Sequence[tuple[SampleRow, SampleRow]]:
    """Of each cluster its smallest id and the next whose content differs; the first few clusters."""
    clusters: dict[int, list[SampleRow]] = defaultdict(list)
    near = rows.filled("cluster")
    for row in sorted(near, key=lambda row: str(row["id"])):
        clusters[row["cluster"]].append(row)
    pairs = []
    for number in sorted(clusters)[:NEAR_PAIRS]:
        first, *others = clusters[number]
        content = content_of(first, modalities)
        pairs += [(first, row) for row in others if content_of(row, modalities) != content][:1]
    return pairs
