"""Groups placed one by one, so that the splits' shares of the rows and of every label come close to those of the config.

`split.by = "stratified-group"`. The greedy rule of scikit-learn's StratifiedGroupKFold, the largest groups first, for
shares that differ: each group goes where it brings the counts of its labels, and of all rows, nearest to their targets
(the sum of squared distances, each over its target), and is looked at again once all are placed. A group that was placed before
keeps its split: only new ones are placed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from data_contracts.refs import Split

ALL = None
"""Stands for every row among the labels."""
_ROUNDS, _MOST_AGAIN = 5, 10_000
"""How often groups are looked at again; more of them than this are as near at once."""
Counts = Counter[str | None]
"""Label to the number of rows that have it."""


@dataclass
class Unit:
    """Rows that stay together."""

    name: str
    tie: float
    """Decides between units of one size."""
    counts: Counts = field(default_factory=Counter)
    earlier: Split | None = None

    def add(self, labels: Collection[str], earlier: Split | None) -> None:
        """One more row; where rows were in several splits, train comes before val, and val before test: what a model was
        trained on tests none."""
        self.counts.update((ALL, *set(labels)))
        self.earlier = min((split for split in (self.earlier, earlier) if split), key=_ORDER.index, default=None)


_ORDER: tuple[Split, ...] = ("train", "val", "test")


def place_units(units: Sequence[Unit], shares: Mapping[Split, float]) -> dict[str, Split]:
    """Unit to its split. No split whose share is positive stays empty while there are units for it."""
    open_ = [split for split in _ORDER if shares[split] > 0]
    held: dict[Split, Counts] = {split: Counter() for split in open_}
    total: Counts = Counter()
    placed: dict[str, Split] = {}
    new = []
    for unit in units:
        total.update(unit.counts)
        if unit.earlier in held:
            placed[unit.name] = unit.earlier
            held[unit.earlier].update(unit.counts)
        else:
            new.append(unit)
    new.sort(key=lambda unit: (-unit.counts[ALL], unit.tie, unit.name))

    def nearest(unit: Unit, choices: Sequence[Split]) -> Split:
        """Where a unit that is in no split brings the counts nearest to their targets."""
        return min(choices, key=lambda split: _cost(unit, held[split], total, shares[split]))

    for done, unit in enumerate(new):
        empty = [split for split in open_ if not held[split]]
        placed[unit.name] = split = nearest(unit, empty if empty and len(new) - done <= len(empty) else open_)
        held[split].update(unit.counts)
    for _ in range(_ROUNDS if len(new) <= _MOST_AGAIN else 0):
        moved = False
        for unit in new:
            before = placed[unit.name]
            if held[before][ALL] > unit.counts[ALL]:  # else the split would be empty
                held[before].subtract(unit.counts)
                placed[unit.name] = split = nearest(unit, [before, *(other for other in open_ if other != before)])
                held[split].update(unit.counts)
                moved = moved or split != before
        if not moved:
            break
    return placed


def _cost(unit: Unit, held: Counts, total: Counts, share: float) -> float:
    """How much farther from its targets a split would be with the unit in it: sum of ((n + u - t)^2 - (n - t)^2) / t."""
    return sum(
        rows * (rows + 2 * (held[label] - share * total[label])) / (share * total[label])
        for label, rows in unit.counts.items()
    )
