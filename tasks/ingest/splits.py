"""Which split a row belongs to: the given one, else by a stable hash or by time.

**By hash** (`split.by = "hash"`). The hash of a row's group, else of its id, decides, and nothing else: so a row never
changes sides when others come. It is stratified in expectation: each class gives the configured shares, give or take
the binomial spread, and a group goes as a whole. Exact shares per class would need to know the other rows, and every
row added would then move old ones from side to side, test rows into train among them. Stability is chosen; a class too
small to be sure of test rows is reported, or refused, by `split.min_test_per_class`.

**By time** (`split.by = "time"`). The newest rows are test, those before them val. A group is as new as its newest row.
Newer rows move the boundary, and that is the point: yesterday's test rows become today's validation and training rows;
an older row never becomes test.

**Stratified by group** (`split.by = "stratified-group"`). With few groups a hash is far off: of 12 groups of 50 rows one draw
in seven has no test rows. Groups are placed so that rows and labels come near the configured shares
(tasks/ingest/stratified_groups.py). Where a group goes then depends on the others, so stability needs a memory: groups, and
rows without one, that the published model was made with keep the split that they had there, and only new ones are placed.

**Sealed** (`split.sealed`). A share of the units, by a hash of its own, is in no split, until `split.refresh` makes it the test
split: rows on which no verdict has rested yet. The others are divided as they would be without it.

**Near duplicates** (tasks/ingest/near_duplicates) go to one side, with all their groups: that of their oldest by time
where times are read, else of the one with the smallest hash. A near duplicate that is added therefore leaves an old
sample where it is unless it takes the lead: with a chance of 1 in 2 against one old sample, 1 in 3 against two, and the
old ones then go where the new one's own hash sends them. Without a memory nothing can tell old from new; give a `time`
or a `group` where it matters, or divide by stratified-group.
"""

from __future__ import annotations

import datetime
import hashlib
import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from data_contracts.refs import Split
from tasks.config_sections import SplitConfig
from tasks.ingest.stratified_groups import Unit, place_units

_SALT = "crossmodal split 1:"  # changing it would move every sample of every user
_SEALED_SALT = "crossmodal sealed 1:"  # another hash, too: what is sealed must not move the others
_REPRESENTATIVE_SALT = "crossmodal leader 1:"  # another hash than the split's: a side must not depend on who represents
_LARGEST_SHARE = 0.1  # near duplicates that are more of the rows than this are a habit of the data, not repeats
_ALWAYS_KEPT = 20
_FAR_OFF = 1 / 3  # of the configured share
Divide = Callable[[str], str]
"""The unit that stands for others, or for itself, to its split."""


@dataclass(frozen=True, slots=True)
class _Row:
    id: str
    given: str | None
    group: str | None
    time: float | None
    cluster: int | None
    labels: Sequence[str]
    earlier: Split | None

    @property
    def unit(self) -> str:
        """What is never divided: the group, else the row."""
        return f"group:{self.group}" if self.group is not None else f"id:{self.id}"


class _Rows:
    """Rows of columns (N,), each made when it is asked for: a million of them take a hundred megabytes."""

    def __init__(self, columns: Sequence[Sequence[Any]], keeps: Callable[[_Row], bool] = lambda row: True) -> None:
        self.columns, self.keeps = columns, keeps

    def __iter__(self) -> Iterator[_Row]:
        return filter(self.keeps, itertools.starmap(_Row, zip(*self.columns, strict=True)))


def hashed_share(identity: str, salt: str = _SALT) -> float:
    """A number in [0, 1) that depends only on the identity."""
    return int.from_bytes(hashlib.sha256((salt + identity).encode()).digest()[:8]) / 2**64


def parse_time(text: str) -> float | None:
    """A number as it is, an ISO 8601 date as seconds since 1970 (UTC where it names no zone); None for anything else."""
    try:
        number = float(text)
    except ValueError:
        pass
    else:
        return number if math.isfinite(number) else None
    try:
        moment = datetime.datetime.fromisoformat(text)
        aware = moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)
        return aware.timestamp()
    except (ValueError, OverflowError):
        return None


def assign_splits(
    given: Sequence[str | None],
    groups: Sequence[str | None],
    ids: Sequence[str],
    config: SplitConfig,
    times: Sequence[float | None] | None = None,
    clusters: Sequence[int | None] | None = None,
    labels: Sequence[Sequence[str]] | None = None,
    earlier: Sequence[Split | None] | None = None,
) -> list[str]:
    """One of train, val, test, and sealed under split.sealed, per row; `times` as numbers, `clusters` as the number of a row's
    cluster of near duplicates; stratified-group reads the `labels` of a row, and its split, or its group's, in an `earlier`
    run.

    Without any given split all three are ours to make. Where the manifest gives splits they stand; rows it leaves open,
    and a validation or test set that it does not give beside the two others, are taken from what is open or train.
    """
    nothing = [None] * len(ids)
    further = (times or nothing, clusters or nothing, labels or [()] * len(ids), earlier or nothing)
    rows = _Rows((ids, given, groups, *further))
    named = {split for split in given if split is not None}
    if named:
        open_ = _Rows(rows.columns, lambda row: row.given in (None, "train"))
        made = _made_of_train(named)
        shares = {
            "val": config.val / (1.0 - config.test) if made == "val" else 0.0,
            "test": config.test / (1.0 - config.val) if made == "test" else 0.0,
        }
    else:
        open_, shares = rows, {"val": config.val, "test": config.test}
    representatives = _represent_units(open_, len(ids))
    divide = {"time": _by_time, "hash": _by_hash, "stratified-group": _by_labels}[config.by]
    divided = _Rows(
        open_.columns,
        lambda row: open_.keeps(row) and not _is_sealed(representatives.get(row.unit, row.unit), config.sealed),
    )
    side = divide(divided, representatives, shares["val"], shares["test"])
    found = []
    for row in rows:
        representative = representatives.get(row.unit, row.unit)
        if row.given not in (None, "train"):
            split = str(row.given)
        elif _is_sealed(representative, config.sealed):
            split = "sealed"
        else:
            split = side(representative)
        found.append(_REFRESHED.get(split, split) if config.refresh else split)
    return found


def _is_sealed(representative: str, share: float) -> bool:
    return share > 0 and hashed_share(representative, _SEALED_SALT) < share


_REFRESHED = {"sealed": "test", "test": "val"}
"""Under split.refresh: nobody has chosen anything on the sealed rows yet, and validation rows may be chosen on."""


def _made_of_train(named: Collection[str | None]) -> str | None:
    """The split that is made of train because the manifest gives the two others."""
    if "val" not in named and "test" in named:
        return "val"
    return "test" if "test" not in named and {"train", "val"} <= set(named) else None


def describe_made_of_train(given: Sequence[str | None]) -> list[str]:
    """A note where the manifest gives train and val, and test is made of train."""
    if _made_of_train({split for split in given if split is not None}) != "test":
        return []
    return ["test: the manifest gives train and val; test is made of train by a stable hash, or by time (split.test)"]


def _by_hash(rows: Iterable[_Row], representatives: dict[str, str], val: float, test: float) -> Divide:
    def side(representative: str) -> str:
        """The split of a unit that stands for itself, or for others."""
        share = hashed_share(representative)
        return "test" if share < test else "val" if share < test + val else "train"

    return side


def _by_time(rows: Iterable[_Row], representatives: dict[str, str], val: float, test: float) -> Divide:
    """From the newest on, test until its share of the rows is reached, then val; equal times in the order of the names."""
    newest: dict[str, float] = defaultdict(lambda: -math.inf)
    sizes: dict[str, int] = defaultdict(int)
    for row in rows:
        representative = representatives.get(row.unit, row.unit)
        newest[representative] = max(newest[representative], -math.inf if row.time is None else row.time)
        sizes[representative] += 1
    sides, taken, total = {}, 0, sum(sizes.values())
    for representative in sorted(newest, key=lambda name: (-newest[name], name)):
        middle = (taken + sizes[representative] / 2) / total
        sides[representative] = "test" if middle < test else "val" if middle < test + val else "train"
        taken += sizes[representative]
    return sides.__getitem__


def _by_labels(rows: Iterable[_Row], representatives: dict[str, str], val: float, test: float) -> Divide:
    """See tasks/ingest/stratified_groups.py."""
    units: dict[str, Unit] = {}
    for row in rows:
        name = representatives.get(row.unit, row.unit)
        units.setdefault(name, Unit(name, hashed_share(name))).add(row.labels, row.earlier)
    return place_units(list(units.values()), {"train": 1 - val - test, "val": val, "test": test}).__getitem__


def describe_shares(
    splits: Sequence[str], given: Sequence[str | None], groups: Sequence[str | None], config: SplitConfig
) -> list[str]:
    """A note where a split that is ours to make is off its share of the rows by a third or more."""
    if not splits or config.refresh or any(split is not None for split in given):
        return []
    counts, targets = Counter(splits), {"val": config.val, "test": config.test}
    divided = len(splits) - counts["sealed"]
    found = {split: counts[split] / max(divided, 1) for split in targets}
    if not any(abs(found[split] - share) >= _FAR_OFF * share - 1e-9 for split, share in targets.items() if share):
        return []
    shares = " and ".join(
        f"{found[split]:.1%} {split} (split.{split} = {share:g})" for split, share in reversed(targets.items())
    )
    named = {group for group in groups if group is not None}
    units = len(named) + sum(group is None for group in groups)
    what = f"{units:,} groups" if len(named) == units else f"{units:,} rows and groups" if named else f"{units:,} rows"
    advice = {
        "hash": "few fall unevenly; split.by=stratified-group brings the shares near",
        "time": "large groups go whole; split.val and split.test set other shares",
        "stratified-group": "groups go whole, and those that the published model knows keep their split",
    }[config.by]
    return [f"split: of the rows are {shares}, of {what} divided by split.by={config.by}: {advice}"]


def largest_kept(total: int) -> float:
    """Of `total` rows, how many near duplicates may bind and still be kept on one side of a split that we make."""
    return max(_ALWAYS_KEPT, _LARGEST_SHARE * total)


def _represent_units(rows: Iterable[_Row], total: int) -> dict[str, str]:
    """Each unit that near duplicates tie to others to the representative of them all; any other stands for itself.

    Units that would bind more than a tenth of all rows (and more than 20) stay on their own: validate then reports them.
    """
    tied: dict[str, str] = {}

    def root(unit: str) -> str:
        """The unit at the end of the chain that a unit is tied by (union-find with path halving)."""
        while tied.setdefault(unit, unit) != unit:
            tied[unit] = unit = tied[tied[unit]]
        return unit

    first: dict[int, str] = {}
    oldest: dict[str, float] = defaultdict(lambda: math.inf)
    for row in rows:
        if row.cluster is not None:
            unit = root(row.unit)
            tied[unit] = root(first.setdefault(row.cluster, row.unit))
    rows = [row for row in rows if row.unit in tied]
    for row in rows:
        oldest[row.unit] = min(oldest[row.unit], math.inf if row.time is None else row.time)
    parties: dict[str, list[str]] = defaultdict(list)
    for unit in list(tied):
        parties[root(unit)].append(unit)
    sizes: dict[str, int] = defaultdict(int)
    for row in rows:
        sizes[root(row.unit)] += 1
    representatives: dict[str, str] = {}
    for party, units in parties.items():
        together = sizes[party] <= largest_kept(total)
        representative = min(units, key=lambda unit: (oldest[unit], hashed_share(unit, _REPRESENTATIVE_SALT), unit))
        representatives |= {unit: representative if together else unit for unit in units}
    return representatives
