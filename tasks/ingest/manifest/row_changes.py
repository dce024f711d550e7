"""Which rows of a manifest are new, changed or gone since an earlier read of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from tasks.modalities import MODALITIES


@dataclass(frozen=True)
class RowChanges:
    """Counts of rows, known by their ids."""

    new: int
    changed: int
    removed: int

    def __bool__(self) -> bool:
        return bool(self.new or self.changed or self.removed)

    def __str__(self) -> str:
        return f"{self.new:,} new, {self.changed:,} changed, {self.removed:,} removed"


def compare_rows(before: pa.Table, now: pa.Table) -> RowChanges:
    """How the rows of `now` differ from those of `before`, both as `scan` writes them. Another order is no difference."""
    ours, theirs = _contents(before), _contents(now)
    common = ours.keys() & theirs.keys()
    changed = sum(ours[row] != theirs[row] for row in common)
    return RowChanges(len(theirs) - len(common), changed, len(ours) - len(common))


def _contents(table: pa.Table) -> dict[tuple[str, int], str]:
    """What a row holds, under its id and how often that came before."""
    names = sorted(name for name in table.column_names if name != "id" and not _is_place(name))
    cells = [pc.coalesce(table[name].cast(pa.string()), "\0") for name in names]
    joined = pc.binary_join_element_wise(*cells, "\1").to_pylist()
    seen: Counter[str] = Counter()
    found = {}
    for row, content in zip(table["id"].to_pylist(), joined, strict=True):
        found[row, seen[row]] = content
        seen[row] += 1
    return found


def _is_place(name: str) -> bool:
    """Whether a column says where a row or its media lie: image, or image_2, beside image_2_sha256."""
    input_name, _, number = name.partition("_")
    return name in ("row", "table") or (input_name in MODALITIES and (not number or number.isdigit()))
