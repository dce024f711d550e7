"""Leakage between splits: the same or nearly the same content, or one group, on two sides of train, val and test.

A row leaks when its counterpart, a row of the same content or group, lies on a later side: rows of train with one in
val or test, rows of val with one in test. Those are the rows that `split.leakage = "drop"` leaves out, so the test rows
never change.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from data_contracts.refs import InputName
from data_contracts.row_examples import LeakedPair, LeakedRows, RowExample
from tasks.errors import DataError
from tasks.modalities import spec_of

Numbers = NDArray[np.int64]
Policy = Literal["report", "drop", "fail"]
SIDES = {"train": 0, "val": 1, "test": 2}
EXAMPLES = 5
PAIRS = 4
"""Rows of each cause that the report shows beside their counterpart."""


@dataclass(frozen=True)
class Leakage:
    """The rows that leak, by position, and which of them for what cause."""

    rows: tuple[int, ...]
    same_content: int
    same_group: int
    near: int
    """Those whose counterpart is a near duplicate (data_contracts.tables.near_duplicates_schema) and not the same content."""
    by_split: dict[str, int]
    """How many of them lie in train and in val."""
    examples: tuple[str, ...]
    """Up to five of their ids."""
    pairs: tuple[tuple[int, int, str], ...] = ()
    """(row, its counterpart, cause), by position: the first few of each cause, each row once."""

    def describe(self) -> str:
        """What leaks, in one clause."""
        places = " and ".join(f"{count} of {split}" for split, count in self.by_split.items())
        near = f", near duplicate: {self.near}" if self.near else ""
        return (
            f"leakage: samples with a counterpart on a later side of train, val, test: {places}"
            f" (same content: {self.same_content}, same group: {self.same_group}{near}), for example {', '.join(self.examples)}"
        )


def find_leakage(
    samples: pa.Table, modalities: tuple[InputName, ...], clusters: Mapping[str, int] | None = None
) -> Leakage | None:
    """The rows that leak, or None. Content is the set of digests of all modalities that the row has.

    `clusters`: id to the number of its cluster of near duplicates.
    """
    if not {"id", "split", "group", *modalities} <= set(samples.column_names):
        return None  # the suite says which column is missing
    splits = samples["split"].combine_chunks()
    sides = np.asarray(pc.fill_null(pc.index_in(splits, value_set=pa.array(list(SIDES))), 0), np.int64)
    content = _later_counterparts(_contents(samples, modalities), sides)
    group = _later_counterparts(_codes(samples["group"]), sides)
    clustered = pc.index_in(samples["id"], value_set=pa.array(list(clusters or {}), pa.string()))
    numbers = np.append(np.fromiter((clusters or {}).values(), np.int64), -1)  # -1: of no cluster
    near = _later_counterparts(numbers[np.asarray(pc.fill_null(clustered, -1), np.int64)], sides)
    near[content >= 0] = -1
    found = {"same content": content, "near duplicate": near, "same group": group}
    rows = np.flatnonzero(np.any([counterparts >= 0 for counterparts in found.values()], axis=0)).tolist()
    if not rows:
        return None
    counts = Counter(splits.take(pa.array(rows)).to_pylist())
    return Leakage(
        rows=tuple(rows),
        same_content=int((content >= 0).sum()),
        same_group=int((group >= 0).sum()),
        near=int((near >= 0).sum()),
        by_split={split: counts[split] for split in SIDES if counts[split]},
        examples=tuple(map(str, samples["id"].take(pa.array(rows[:EXAMPLES])).to_pylist())),
        pairs=tuple(_pairs(found)),
    )


def _codes(cells: pa.ChunkedArray) -> Numbers:
    """(N,) a number for each cell, equal where the cells are; -1 for an empty one."""
    return np.asarray(cells.combine_chunks().dictionary_encode().indices.cast(pa.int64()).fill_null(-1))


def _contents(samples: pa.Table, modalities: tuple[InputName, ...]) -> Numbers:
    """(N,) a number for the media of each row, equal where all of them are; -1 where none of them identifies the sample."""
    codes = {name: _codes(samples[name]) for name in modalities}
    identified = [codes[name] >= 0 for name in modalities if spec_of(name).identifies]  # by a few columns alone none is
    if not identified:
        return np.full(samples.num_rows, -1)
    found = next(iter(codes.values()))
    if len(codes) > 1:
        found = np.unique(np.stack(list(codes.values()), axis=1), axis=0, return_inverse=True)[1].reshape(-1)
    return np.where(np.any(identified, axis=0), found, -1)


def _later_counterparts(keys: Numbers, sides: Numbers) -> Numbers:
    """(N,) of each row the first one with the same key (-1: no key) on the latest side, where that is later than its own;
    else -1.
    """
    keyed = np.flatnonzero(keys >= 0)
    ordered = keyed[np.lexsort((-sides[keyed], keys[keyed]))]  # stable: the first of equals stays first
    firsts = ordered[np.unique(keys[ordered], return_index=True)[1]]
    latest = np.full(keys.max(initial=-1) + 2, -1)  # at its end, where -1 looks, there is none
    latest[keys[firsts]] = firsts
    counterparts = latest[keys]
    return np.where((counterparts >= 0) & (sides[counterparts] > sides), counterparts, -1)


def _pairs(found: Mapping[str, Numbers]) -> Iterator[tuple[int, int, str]]:
    shown: set[int] = set()
    for cause, counterparts in found.items():
        leaking = (row for row in np.flatnonzero(counterparts >= 0).tolist() if row not in shown)
        chosen = [(row, int(counterparts[row])) for row in itertools.islice(leaking, PAIRS)]
        shown |= {row for row, _ in chosen}
        yield from ((row, counterpart, cause) for row, counterpart in chosen)


def describe_pairs(
    samples: pa.Table, leakage: Leakage, modalities: tuple[InputName, ...], policy: Policy
) -> LeakedRows:
    """The content of leaked.json: how many rows leak, whether they were dropped, and the pairs with digests of their media."""

    def example(place: int) -> RowExample:
        """What a page shows of a sample: its cells, and digests of its media by modality."""
        row = samples.slice(place, 1).to_pylist()[0]
        media = {name: row[name] for name in modalities if row[name] is not None}
        return {"id": row["id"], "label": row["label"], "split": row["split"], "group": row["group"], "media": media}

    pairs: list[LeakedPair] = [
        {"row": example(row), "counterpart": example(counterpart), "cause": cause}
        for row, counterpart, cause in leakage.pairs
    ]
    return {"rows": len(leakage.rows), "dropped": policy == "drop", "pairs": pairs}


def apply_policy(samples: pa.Table, leakage: Leakage | None, policy: Policy) -> tuple[pa.Table, list[str]]:
    """The samples that stay, and what to warn of. DataError under `fail`; only `drop` leaves rows out."""
    if leakage is None:
        return samples, []
    found = leakage.describe()
    if policy == "fail":
        raise DataError(f"{found}; correct the split or group column, or choose split.leakage=drop or report")
    if policy == "report":
        return samples, [f"{found}; split.leakage=drop leaves them out"]
    stays = np.ones(samples.num_rows, dtype=bool)
    stays[list(leakage.rows)] = False
    return samples.filter(pa.array(stays)), [f"{found}; {len(leakage.rows)} rows were dropped (split.leakage=drop)"]
