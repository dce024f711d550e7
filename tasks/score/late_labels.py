"""Labels that come after the scores, beside what two model versions answered to the same rows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tasks.score.partition import read_parts
from tasks.score.row_keys import ROW

_COLUMNS = ("id", "probabilities", "modalities", "group", "content", "seen", "rows_of_id")


@dataclass(frozen=True)
class LateLabels:
    """A file of labels."""

    labels: dict[str, str]
    """By id."""
    repeated: int
    """Lines that say of an id what a line before them says."""
    conflicting: int
    """Ids of which two lines say different things: they are left out."""
    unusable: int
    """Lines without an id or a label."""


def collect_labels(lines: Iterable[tuple[str | None, str | None]]) -> LateLabels:
    """The labels of the lines, each an id and a label."""
    labels: dict[str, str] = {}
    conflicting: set[str] = set()
    repeated = unusable = 0
    for name, label in lines:
        if name is None or label is None:
            unusable += 1
        elif labels.setdefault(name, label) != label:
            conflicting.add(name)
        else:
            repeated += 1
    kept = {name: label for name, label in labels.items() if name not in conflicting}
    return LateLabels(kept, repeated - len(labels), len(conflicting), unusable)


@dataclass(frozen=True)
class PairedScores:
    """What both versions answered to the N rows that can be compared on."""

    candidate: pa.Table
    """Of scores_schema, N rows in the order of their ids."""
    champion: pa.Table
    """The same rows."""
    unknown: int
    """Labelled ids that neither has scored."""
    ambiguous: int
    """Ids of several rows of the data that either scored: which of them a label is about cannot be known."""
    unpaired: int
    """That one of them has not scored, or not with the content that the other one saw."""
    seen: int
    """Rows left out: either was trained on them, or one of them, and not the other, on others of their group."""

    @property
    def ids(self) -> list[str]:
        """(N,)"""
        ids: list[str] = self.candidate["id"].to_pylist()
        return ids

    @property
    def rows(self) -> int:
        """N."""
        return int(self.candidate.num_rows)


def read_scores(folder: Path, model_sha256: str, ids: Iterable[str]) -> pa.Table:
    """The newest score of each of these ids that has one, in their order; errors as `read_parts`."""
    asked = pa.array(sorted(ids), pa.string())
    parts = [part.filter(pc.is_in(part["id"], value_set=asked)) for part in read_parts(folder, _COLUMNS, model_sha256)]
    if not parts:
        return pa.table({name: pa.array([], pa.string()) for name in _COLUMNS})
    table = pa.concat_tables(parts)
    newest = {name: row for row, name in enumerate(table["id"].to_pylist())}
    return table.take(pa.array([newest[name] for name in sorted(newest)], pa.int64()))


def pair_scores(candidate: pa.Table, champion: pa.Table, labelled: Iterable[str], same_inputs: bool) -> PairedScores:
    """The rows that both have scored and that neither knows from training.

    `same_inputs`: whether both read the same inputs, so that what they saw can be compared by its digest.
    """
    several: set[str] = set()
    for table in (candidate, champion):
        several.update(table["id"].filter(pc.greater(table["rows_of_id"], 1)).to_pylist())
    theirs = {name: row for row, name in enumerate(champion["id"].to_pylist())}
    known = {*candidate["id"].to_pylist(), *theirs}
    places = [
        (row, theirs[name])
        for row, name in enumerate(candidate["id"].to_pylist())
        if name in theirs and name not in several
    ]
    ours, others = (
        table.take(pa.array([place[side] for place in places], pa.int64()))
        for side, table in enumerate((candidate, champion))
    )
    same = np.asarray(pc.equal(ours["content"], others["content"])) if same_inputs else np.ones(len(places), bool)
    marks = list(zip(ours["seen"].to_pylist(), others["seen"].to_pylist(), strict=True))
    seen = np.array([ROW in pair or pair[0] != pair[1] for pair in marks], bool)
    chosen = pa.array(same & ~seen)
    return PairedScores(
        candidate=ours.filter(chosen),
        champion=others.filter(chosen),
        unknown=len({*labelled} - known),
        ambiguous=len(several),
        unpaired=len(known - several) - int(same.sum()),
        seen=int((same & seen).sum()),
    )


def outputs_of(scores: pa.Table) -> NDArray[np.float32]:
    """(N, outputs) all that the model gave out."""
    return np.array(scores["probabilities"].to_pylist(), np.float32).reshape(
        scores.num_rows, -1 if scores.num_rows else 0
    )
