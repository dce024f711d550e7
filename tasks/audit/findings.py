"""Everything that is odd about a row, put together: what, how much, why, and which rows to look at first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data_contracts.audit import KINDS, Conflict, Kind, Opinion, RowFinding
from data_contracts.refs import InputName
from tasks.audit.confident_learning import ConfidentLearning, margin
from tasks.audit.oddities import disagreeing, outlyingness
from tasks.audit.rows import AuditRows
from tasks.audit.views import View

Floats = NDArray[np.float64]
RESERVED = 10
"""One in so many of the listed rows is kept for each kind that has any."""
_NEAR_SHOWN = 5


@dataclass(frozen=True)
class Evidence:
    """What is known of N rows."""

    rows: AuditRows
    fused: ConfidentLearning
    fused_probabilities: Floats
    """(N, C) out of fold, by all inputs."""
    probabilities: Mapping[str, Floats]
    """(N, C) by each input."""
    thresholds: Mapping[str, NDArray[np.floating]]
    views: Mapping[InputName, View]
    conflicts: Sequence[Conflict]
    seed: int


def find_rows(evidence: Evidence) -> list[RowFinding]:
    """Every row of which something is odd: likely label errors first, by how certain they are, then the other kinds."""
    rows = evidence.rows
    count, ids = len(rows.given), rows.samples.ids
    distances, odd_input = _outliers(evidence)
    apart, strength = (
        disagreeing(evidence.probabilities, evidence.thresholds)
        if len(evidence.probabilities) > 1
        else (np.zeros(count, bool), np.zeros(count))
    )
    near = _contradicted(evidence.conflicts, dict(zip(ids, rows.samples.labels, strict=True)))
    margins = margin(np.nan_to_num(evidence.fused_probabilities, nan=0.0), rows.given)
    found = []
    for place in range(count):
        kinds = [
            kind
            for kind, is_it in zip(
                KINDS, (evidence.fused.flagged[place], ids[place] in near, apart[place], odd_input[place]), strict=True
            )
            if is_it
        ]
        if kinds:
            found.append(
                _finding(evidence, place, kinds, float(margins[place]), distances, odd_input, near.get(ids[place], ()))
            )
    order = {rows.samples.ids[place]: strength[place] for place in range(count)}
    return sorted(found, key=lambda each: _urgency(each, order[each.id]))


def _urgency(row: RowFinding, strength: float) -> tuple[int, float, str]:
    """Smaller: to be looked at sooner. Of several kinds, the most certain to matter decides."""
    first = KINDS.index(row.kinds[0])
    degree = (row.margin, row.margin, -strength, -(row.outlyingness or 0.0))[first]
    return first, degree, row.id


def choose_listed(findings: Sequence[RowFinding], most: int) -> tuple[str, ...]:
    """Ids of the rows to look at: in the order of the findings, but some of every kind that there is."""
    share = max(1, most // RESERVED)
    reserved = [row for kind in KINDS[1:] for row in [each for each in findings if each.kinds[0] == kind][:share]]
    first = [row for row in findings if row.kinds[0] == KINDS[0]][: max(most - len(reserved), 1)]
    chosen = {row.id for row in [*first, *reserved][:most]}
    chosen |= {row.id for row in [each for each in findings if each.id not in chosen][: most - len(chosen)]}
    return tuple(row.id for row in findings if row.id in chosen)


def _outliers(evidence: Evidence) -> tuple[Floats, list[InputName | None]]:
    """(N,) how far out each row is by the input in which it is most, and (N,) that input where it is an outlier."""
    count = len(evidence.rows.given)
    most = np.full(count, np.nan)
    odd: list[InputName | None] = [None] * count
    for name, view in evidence.views.items():
        found, flagged = outlyingness(view.vectors[:count], view.present[:count], evidence.seed)
        for place in np.flatnonzero(flagged).tolist():
            if odd[place] is None or found[place] > most[place]:
                odd[place] = name
                most[place] = found[place]
        most = np.where(np.array([each is None for each in odd]), np.fmax(most, found), most)
    return most, odd


def _contradicted(found: Sequence[Conflict], labels: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Id to the ids of its near duplicates with another label."""
    return {
        each: tuple(other for other in conflict.ids if labels[other] != labels[each])
        for conflict in found
        for each in conflict.ids
    }


def _finding(
    evidence: Evidence,
    place: int,
    kinds: Sequence[Kind],
    margin_of_row: float,
    distances: Floats,
    odd_input: Sequence[InputName | None],
    near: tuple[str, ...],
) -> RowFinding:
    rows, samples = evidence.rows, evidence.rows.samples
    fused = _opinion(evidence.fused_probabilities[place], int(rows.given[place]), rows.labels)
    views = {
        name: _opinion(found[place], int(rows.given[place]), rows.labels)
        for name, found in evidence.probabilities.items()
        if not np.isnan(found[place]).any()
    }
    distance = float(distances[place])
    return RowFinding(
        id=samples.ids[place],
        row=samples.manifest_rows[place],
        table=samples.tables[place],
        split=samples.splits[place],
        group=samples.groups[place],
        label=samples.labels[place],
        suggested=fused.label if KINDS[0] in kinds else None,
        kinds=tuple(kinds),
        why="; ".join(_why(kind, fused, views, odd_input[place], distance, near) for kind in kinds),
        margin=margin_of_row,
        fused=fused,
        views=views,
        outlyingness=None if np.isnan(distance) else distance,
        near=near[:_NEAR_SHOWN],
    )


def _opinion(probabilities: Floats, given: int, labels: Sequence[str]) -> Opinion:
    filled = np.nan_to_num(probabilities, nan=0.0)
    likely = int(filled.argmax())
    return Opinion(label=labels[likely], probability=float(filled[likely]), given=float(filled[given]))


def _why(
    kind: Kind,
    fused: Opinion,
    views: Mapping[str, Opinion],
    odd_input: str | None,
    distance: float,
    near: Sequence[str],
) -> str:
    if kind == "label error":
        return f"{fused.label} is more likely ({fused.probability:.0%}) than its label ({fused.given:.0%})"
    if kind == "near duplicates disagree":
        more = f" and {len(near) - 1} more" if len(near) > 1 else ""
        return f"nearly the same as {near[0]}{more}, labelled otherwise"
    if kind == "inputs disagree":
        return ", ".join(f"{name} says {each.label} ({each.probability:.0%})" for name, each in views.items())
    return f"{odd_input}: {distance:.1f} times as far from its nearest neighbours as is usual"
