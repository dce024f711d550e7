"""Leakage between splits: the same or nearly the same content, or one group, on two sides of train, val and test.

A row leaks when its counterpart, a row of the same content or group, lies on a later side: rows of train with one in
val or test, rows of val with one in test. Those are the rows that `split.leakage = "drop"` leaves out, so the test rows
never change.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa

from data_contracts.refs import InputName
from data_contracts.row_examples import LeakedPair, LeakedRows, RowExample
from tasks.errors import DataError
from tasks.modalities import spec_of

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
    splits: list[str] = samples["split"].to_pylist()
    media = zip(*(samples[modality].to_pylist() for modality in modalities), strict=True)
    recognised = [spec_of(name).identifies for name in modalities]  # by a few columns alone no sample is
    content = _later_counterparts([key if any(itertools.compress(key, recognised)) else None for key in media], splits)
    group = _later_counterparts(samples["group"].to_pylist(), splits)
    ids = samples["id"].to_pylist()
    near = _later_counterparts([(clusters or {}).get(name) for name in ids], splits)
    near = [counterpart if same is None else None for counterpart, same in zip(near, content, strict=True)]
    found = {"same content": content, "near duplicate": near, "same group": group}
    rows = tuple(
        row for row in range(len(splits)) if any(counterparts[row] is not None for counterparts in found.values())
    )
    if not rows:
        return None
    counts = Counter(splits[row] for row in rows)
    return Leakage(
        rows=rows,
        same_content=sum(counterpart is not None for counterpart in content),
        same_group=sum(counterpart is not None for counterpart in group),
        near=sum(counterpart is not None for counterpart in near),
        by_split={split: counts[split] for split in SIDES if counts[split]},
        examples=tuple(str(ids[row]) for row in rows[:EXAMPLES]),
        pairs=tuple(_pairs(found)),
    )


def _later_counterparts(keys: Sequence[Hashable | None], splits: list[str]) -> list[int | None]:
    """Of each row the first one with the same key (None: no key) on the latest side, where that is later than its own."""
    latest: dict[Hashable, int] = {}
    sides = [SIDES.get(split, 0) for split in splits]
    for place, key in enumerate(keys):
        if key is not None and (key not in latest or sides[place] > sides[latest[key]]):
            latest[key] = place
    return [
        latest[key] if key is not None and sides[latest[key]] > side else None
        for key, side in zip(keys, sides, strict=True)
    ]


def _pairs(found: Mapping[str, Sequence[int | None]]) -> Iterator[tuple[int, int, str]]:
    shown: set[int] = set()
    for cause, counterparts in found.items():
        chosen = [
            (row, counterpart)
            for row, counterpart in enumerate(counterparts)
            if counterpart is not None and row not in shown
        ][:PAIRS]
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
