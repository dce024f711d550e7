"""The rows that an audit looks at: train and val, and rows without a label as candidates for labelling."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from data_contracts.refs import CleanRef, InputName, ValidatedRef
from tasks.errors import DataError
from tasks.samples import Samples, read_near_duplicates
from tasks.store import Store, digest_json

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class AuditRows:
    """N labelled rows in the order of their ids, and M without a label."""

    samples: Samples
    """(N,) of classes with enough rows."""
    pool: Samples
    """(M,) without a label."""
    labels: tuple[str, ...]
    """Of the N rows, sorted."""
    given: Indices
    """(N,) positions of their labels."""
    clusters: Indices
    """(N,) numbers, equal where rows belong together: of one group, or near duplicates; folds keep them on one side."""
    near: dict[str, int]
    """Id to the cluster of near duplicates."""
    left_out: dict[str, int]
    """Classes with too few rows to be evaluated."""

    def digests(self, name: InputName) -> pa.Array:
        """(N + M,) of an input's media, null where a row lacks it."""
        columns = [each.column(name) for each in (self.samples, self.pool) if name in each.names]
        return pa.concat_arrays([column.cast(pa.string()) for column in columns])

    def digest(self) -> str:
        """The sha256 of what the models of the folds see of the rows besides their inputs."""
        return digest_json([self.samples.ids, self.given.tolist(), self.clusters.tolist(), self.pool.ids, self.labels])


def least_rows(folds: int) -> int:
    """Rows that a class needs: two in each fold, so that all others hold several when one is left out."""
    return 2 * folds


def read_audit_rows(valid: ValidatedRef, pool: CleanRef | None, folds: int, store: Store) -> AuditRows:
    """Train and val rows of classes that have enough, and the pool's rows without a label. DataError as `scored_classes`."""
    samples = Samples.read(store.path(valid.uri)).of_split("train", "val").sorted_by_id()
    scored = scored_classes(Counter(samples.labels), folds)
    left_out = {label: rows for label, rows in sorted(Counter(samples.labels).items()) if label not in scored}
    samples = samples.where(np.isin(samples.labels, scored))
    near = read_near_duplicates(store.path(valid.clean.uri))
    return AuditRows(
        samples=samples,
        pool=_pool(pool, samples, store),
        labels=tuple(scored),
        given=np.searchsorted(np.array(scored), np.array(samples.labels)).astype(np.int64),
        clusters=join_clusters(samples.groups, [near.get(each) for each in samples.ids]),
        near=near,
        left_out=left_out,
    )


def scored_classes(rows: Counter[str], folds: int) -> list[str]:
    """The classes with enough rows, sorted. DataError where they are fewer than two."""
    least = least_rows(folds)
    found = sorted(label for label, count in rows.items() if count >= least)
    if len(found) >= 2:
        return found
    listed = ", ".join(f"{label!r} {count}" for label, count in rows.most_common(5))
    raise DataError(
        f"audit: {len(found)} of {len(rows)} classes have the {least} train and val rows that evaluating them by "
        f"{folds} folds takes, two are needed ({listed or 'no rows'}); add rows, or lower audit.folds (2 folds: "
        f"{least_rows(2)} rows a class)"
    )


def join_clusters(*columns: Sequence[object]) -> Indices:
    """(N,) a number for each row, equal where rows are joined by a chain of equal cells in any column; None joins nothing."""
    parents = list(range(len(columns[0])))

    def root(place: int) -> int:
        """The first row of the cluster that a row is in."""
        while parents[place] != place:
            parents[place] = place = parents[parents[place]]
        return place

    for column in columns:
        first: dict[object, int] = {}
        for place, cell in enumerate(column):
            if cell is not None:
                one, other = root(first.setdefault(cell, place)), root(place)
                parents[max(one, other)] = min(one, other)
    return np.unique([root(place) for place in range(len(parents))], return_inverse=True)[1].astype(np.int64)


def _pool(pool: CleanRef | None, labelled: Samples, store: Store) -> Samples:
    if pool is None:
        return labelled.take([])
    found = Samples.read(store.path(pool.uri)).sorted_by_id()
    return found.where(np.array([not label for label in found.labels], bool))
