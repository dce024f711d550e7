"""How the test rows are divided into slices: by columns of the manifest, by the modalities present, by the size of inputs.

Numbers are cut at the quartiles of the train rows, so that a slice is the same whatever the test rows are. An empty cell is a
value of its own. Of many values the most frequent are kept, and the others are one slice.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from data_contracts.modalities import modality_of
from data_contracts.refs import InputName, ValidatedRef
from data_contracts.slices import SliceBy
from tasks.config import RunConfig
from tasks.config_sections import split_slice
from tasks.contract import read_table
from tasks.gate_rules import BY_MODALITIES, EVERY, size_slice
from tasks.media.media_store import media_index, media_sizes
from tasks.modalities import spec_of
from tasks.modeling.predictions import present_modalities
from tasks.number_format import number_text, short_number
from tasks.problems.metric import Floats, Indices
from tasks.samples import METADATA, Samples
from tasks.store import Store

MISSING = "(missing)"
OTHERS = "(others)"
LONGEST = 100
"""Characters of a value; of a longer one a digest tells it from others."""
EXACT = 2**53
"""Integers beyond are not all floats."""
FEW_NUMBERS = 8
"""A column of no more distinct numbers is taken as it is: a rating, the number of a camera."""
MOSTLY = 0.9
"""A column of which so large a share of the filled cells is a number is one of numbers: the others say why there is none."""
Cell = str | int | float | bool | None
_NO_NAMES: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class Partition:
    """One way to divide the test rows."""

    by: SliceBy
    values: NDArray[np.str_]
    """(S,) of the test rows."""
    shown: Mapping[str, str]
    """Quartile to its text for people."""
    known: frozenset[str]
    """Values that any row of any split has."""
    numbers: Floats | None
    """(S,) what was cut into quartiles, NaN where it is missing."""
    is_named: bool
    """Whether it is of the config, not built in."""

    def describe(self, value: str) -> str:
        """A value for people."""
        return self.shown.get(value, value)


def find_partitions(
    valid: ValidatedRef,
    samples: Samples,
    places: Indices,
    modalities: Sequence[InputName],
    config: RunConfig,
    store: Store,
) -> list[Partition]:
    """Those of the config, then the built-in ones that have more than one value; `places` (S,) are the test rows' among the
    samples of all splits."""
    train = np.flatnonzero(np.array(samples.splits) == "train")
    named = [
        _by_columns(name, columns, train, places, config)
        for name, columns in _read_columns(valid, samples, config, store)
    ]
    present = np.array(present_modalities(samples, modalities))
    built_in = [_whole(SliceBy(name=BY_MODALITIES), present, places)]
    for name in modalities:
        sizes = _read_sizes(samples, name, valid, store)
        cut = None if sizes is None else _cut(sizes, train)
        if cut is not None and sizes is not None:
            by = SliceBy(name=size_slice(name), unit=spec_of(name).size_unit, edges=cut.edges)
            built_in.append(_whole(by, cut.values, places, cut.shown, sizes))
    return [*named, *(each for each in built_in if len(np.unique(each.values)) > 1)]


def _whole(
    by: SliceBy,
    values: NDArray[Any],
    places: Indices,
    shown: Mapping[str, str] = _NO_NAMES,
    numbers: Floats | None = None,
) -> Partition:
    return Partition(
        by=by,
        values=values[places],
        shown=shown,
        known=frozenset(values.tolist()),
        numbers=None if numbers is None else numbers[places],
        is_named=False,
    )


# -- columns of the manifest ---


def _read_columns(
    valid: ValidatedRef, samples: Samples, config: RunConfig, store: Store
) -> list[tuple[str, list[list[Cell]]]]:
    """Every slice of the config with the cells (N,) of its columns."""
    if not config.slices:
        return []
    table = read_table(store.path(valid.clean.uri) / METADATA, ["id", "metadata"])
    kept = dict(zip(table["id"].to_pylist(), table["metadata"].to_pylist(), strict=True))
    parts_in_use = {part for name in config.slices for part in (name, *name.split("+"))}
    cells: dict[str, list[Cell]] = {}
    for place, name in enumerate(samples.ids):
        row = {} if kept[name] is None else json.loads(kept[name])
        for column in parts_in_use & row.keys():
            cells.setdefault(column, [None] * len(samples))[place] = row[column]
    empty: list[Cell] = [None] * len(samples)
    return [(name, [cells.get(column, empty) for column in split_slice(name, cells.keys())]) for name in config.slices]


def _by_columns(
    name: str, columns: Sequence[Sequence[Cell]], train: Indices, places: Indices, config: RunConfig
) -> Partition:
    parts = [_read_column(cells, train) for cells in columns]
    joined = (
        parts[0].values.tolist() if len(parts) == 1 else map(_join, zip(*(part.values for part in parts), strict=True))
    )
    values = np.array(list(joined), np.str_)
    shown = _NO_NAMES if len(parts) > 1 or not parts[0].shown else parts[0].shown
    rules = [rule for rule in config.gate.rules if rule.slice_name == name]
    support = min([config.gate.min_slice_rows, *(rule.support for rule in rules if rule.support)])
    most = config.evaluate.max_slice_values + len(shown)  # all quartiles
    kept, others = _most_frequent(values[places].tolist(), most, {rule.slice_value for rule in rules}, support)
    return Partition(
        by=SliceBy(name=name, edges=() if len(parts) > 1 else parts[0].edges, others=others),
        values=np.array([value if value in kept else OTHERS for value in values[places].tolist()], np.str_),
        shown=shown,
        known=frozenset(values.tolist()),
        numbers=parts[0].numbers[places] if len(parts) == 1 and parts[0].numbers is not None else None,
        is_named=True,
    )


@dataclass(frozen=True)
class _Cut:
    """A column as values (N,)."""

    values: NDArray[np.str_]
    edges: tuple[float, ...] = ()
    shown: Mapping[str, str] = field(default_factory=dict)
    numbers: Floats | None = None


def _read_column(cells: Sequence[Cell], train: Indices) -> _Cut:
    """Numbers in quartiles where there are many, and few other texts, each of which is a value of its own; else each cell's
    text."""
    numbers = [_number(cell) for cell in cells]
    filled, there = [number for number in numbers if number is not None], sum(cell is not None for cell in cells)
    if len(filled) >= MOSTLY * there and len(set(filled)) > FEW_NUMBERS:
        found = np.array([math.nan if number is None else number for number in numbers])
        cut = _cut(found, train)
        if cut is not None:
            others = {n: _text(cell) for n, cell in enumerate(cells) if cell is not None and numbers[n] is None}
            values = cut.values.tolist()
            for place, text in others.items():
                values[place] = f"\\{text}" if text in cut.shown else text
            return replace(cut, values=np.array(values, np.str_))
    return _Cut(np.array([MISSING if cell is None else _text(cell) for cell in cells], np.str_))


def _number(cell: Cell) -> float | None:
    if isinstance(cell, bool) or cell is None:
        return None
    try:
        number = float(cell)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _text(cell: Cell) -> str:
    if isinstance(cell, bool):
        return str(cell).lower()
    if isinstance(cell, int | float):
        return str(cell) if isinstance(cell, int) and abs(cell) > EXACT else number_text(float(cell))
    text = str(cell).strip().replace("\0", "\\0")  # which numpy would drop at the end
    if text in (MISSING, OTHERS, EVERY):
        return f"\\{text}"
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _join(values: Sequence[str]) -> str:
    """The values of several columns as one, from which each can be read back: `ann+low`, a plus in a value as `\\+`."""
    return "+".join(value.replace("\\", "\\\\").replace("+", "\\+") for value in values)


def _cut(numbers: Floats, train: Indices) -> _Cut | None:
    """Numbers (N,) as q1 to q4, fewer where many are equal; None where no edge is left."""
    seen = numbers[train]
    seen = seen[~np.isnan(seen)]
    if not len(seen):
        return None
    quartiles = np.unique(np.quantile(seen, (0.25, 0.5, 0.75)))
    edges = quartiles[quartiles < seen.max()]
    if not len(edges):
        return None
    places = np.searchsorted(edges, numbers)  # the first edge that is not below
    names = np.array([f"q{place + 1}" for place in range(len(edges) + 1)] + [MISSING])
    values = names[np.where(np.isnan(numbers), len(names) - 1, places)]
    ends = [short_number(float(edge)) for edge in edges]
    spans = [
        f"{ends[0]} or less",
        *(f"over {a} to {b}" for a, b in itertools.pairwise(ends)),
        f"over {ends[-1]}",
    ]
    shown = {str(name): f"{name} ({span})" for name, span in zip(names, spans, strict=False)}
    return _Cut(values, tuple(float(edge) for edge in edges), shown, numbers)


def _most_frequent(values: Sequence[str], most: int, asked: Collection[str], support: int) -> tuple[set[str], int]:
    """Values that are kept, and how many distinct ones are not: the most frequent ones, those that are asked for, and each with
    rows enough to be decided by, as a class of rows must not vanish among others."""
    counts = Counter(values)
    ordered = sorted(counts, key=lambda value: (value not in asked, -counts[value], value))
    kept = {*ordered[:most], *(value for value in counts if value in asked or counts[value] >= support)}
    return kept, len(counts) - len(kept)


# -- sizes ---


def _read_sizes(samples: Samples, name: InputName, valid: ValidatedRef, store: Store) -> Floats | None:
    """(N,) how large each row's medium is, NaN where it has none; None where no medium of the input is stored."""
    if name not in valid.clean.media or name not in samples.names:
        return None
    modality = modality_of(name)
    index = media_index(store, modality, valid.clean.media[name], ("digest", "shape", "rate_hz"))
    index = index.filter(index["digest"].is_valid())  # what did not decode has no shape
    places = pc.index_in(samples.column(name), value_set=index["digest"].combine_chunks())
    sizes = np.append(media_sizes(index, modality), math.nan)  # the last: of a row without
    return np.asarray(sizes[pc.fill_null(places, len(index)).to_numpy(zero_copy_only=False)])
