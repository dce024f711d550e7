"""One table in several files: those whose names differ in a number only, and a range of numbers in braces."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

from tasks.errors import UsageError
from tasks.ingest.sources.listing import SHARD, Listing
from tasks.ingest.sources.streams import format_of

_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
_OF_SPARK = re.compile(r"part-\d+-[0-9a-f]{8}[0-9a-f-]*(?:-c\d+)?")
"""What Spark calls the parts of a table: part-00000-8a1f0c2e-…-c000.csv."""
_OF_REDSHIFT = re.compile(r"(.*?)\d{4}_part_\d{2,}")
_DAY = re.compile(r"(?:19|20)\d{6}")
_NUMBERS = re.compile(r"(?:[-_]\d+)+$")
"""Of a day (tickets_2026-01-31), or of the parts that Snowflake unloads (data_0_1_0)."""
_MAX_FILES = 10_000


def names_range(path: Path) -> bool:
    """Whether a path stands for several files: train-{000000..000003}.tar."""
    return _RANGE.search(path.name) is not None


def expand_range(path: Path) -> list[Path]:
    """The files that such a path stands for. UsageError where one is not there, or the range is no range."""
    found = _RANGE.search(path.name)
    assert found is not None
    first, last = int(found[1]), int(found[2])
    if not 0 <= last - first < _MAX_FILES:
        raise UsageError(f"data {str(path)!r}: {found[0]} is no range of at most {_MAX_FILES} numbers")
    names = [
        f"{path.name[: found.start()]}{n:0{len(found[1])}}{path.name[found.end() :]}" for n in range(first, last + 1)
    ]
    missing = [name for name in names if not path.with_name(name).is_file()]
    if missing:
        raise UsageError(
            f"data {str(path)!r}: {len(missing)} of its {len(names)} files are not there, the first is {missing[0]}"
        )
    return [path.with_name(name) for name in names]


def shards_of(listing: Listing) -> list[str]:
    """The tables of a folder, sorted, where there are several and their names differ in the number of a shard only."""
    names = listing.tables
    kinds = {(str(PurePosixPath(name).parent), _stem(name), format_of(name)) for name in names}
    return sorted(names) if len(names) > 1 and len(kinds) == 1 and _stem(names[0]) is not None else []


def _stem(name: str) -> str | None:
    """The name without the numbers of its shard, or of its day; None where it has none."""
    stem = PurePosixPath(name).name.split(".")[0]
    if _OF_SPARK.fullmatch(stem):
        return "part"
    if of_redshift := _OF_REDSHIFT.fullmatch(stem):
        return of_redshift[1]
    if _DAY.fullmatch(stem):
        return ""
    rest = _NUMBERS.sub("", SHARD.sub("", stem))
    return None if rest == stem else "" if rest.isdigit() else rest
