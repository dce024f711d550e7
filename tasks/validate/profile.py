"""A profile of the data in figures: what the report draws. JSON: counts, shares and histograms, no row of the data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray

from data_contracts.data_profile import ClassRows, ClassSizes, ColumnSummary, DataProfile, Histogram, InputProfile
from data_contracts.modalities import modality_of
from data_contracts.refs import CleanRef, InputName, Modality, Target
from tasks.media.media_store import media_parts, media_sizes
from tasks.modalities import spec_of
from tasks.part_index import DigestPlaces
from tasks.problems.registry import problem_of
from tasks.samples import Samples
from tasks.store import Store

CLASSES = 40
"""Classes listed; of more, the largest and the smallest halves of so many."""
BINS = 12
Columns = Mapping[InputName, Sequence[ColumnSummary]]
NO_COLUMNS: Columns = MappingProxyType({})


def profile_samples(samples: Samples, clean: CleanRef, store: Store, columns: Columns = NO_COLUMNS) -> DataProfile:
    """Rows per class and split, and per modality: how many lack it, how many media are distinct, and their sizes."""
    return {
        "rows": len(samples),
        "classes": _classes(samples, clean.label_targets[0]),
        "numbers": _numbers(samples, clean.label_targets[0]),
        "modalities": [_modality(samples, name, clean, store, columns.get(name, ())) for name in clean.modalities],
    }


def _numbers(samples: Samples, target: Target) -> Histogram | None:
    """How the numbers of the first label column are spread; None where it has labels."""
    return histogram([float(text) for text in samples.labels]) if problem_of(target).is_numeric else None


def _classes(samples: Samples, target: Target) -> ClassSizes:
    """The classes or labels by size, each with its rows per split; none for numbers."""
    counts: Counter[tuple[str, str]] = Counter()
    sizes: Counter[str] = Counter()
    for (cell, split), number in samples.count_targets(0, target.name).items():
        for label in problem_of(target).labels_of(cell):
            counts[label, split] += number
            sizes[label] += number
    ordered = sorted(sizes, key=lambda label: (-sizes[label], label))
    shown = ordered if len(ordered) <= CLASSES else ordered[: CLASSES // 2] + ordered[-CLASSES // 2 :]
    rows = [
        ClassRows(
            label=label,
            rows=sizes[label],
            train=counts[label, "train"],
            val=counts[label, "val"],
            test=counts[label, "test"],
        )
        for label in shown
    ]
    return {"count": len(ordered), "left_out": len(ordered) - len(shown), "rows": rows}


def _modality(
    samples: Samples, name: InputName, clean: CleanRef, store: Store, columns: Sequence[ColumnSummary]
) -> InputProfile:
    modality = modality_of(name)
    digests = samples.column(name).drop_null()
    sizes = np.empty(0)
    if name in clean.media:
        sizes = _sizes(store, modality, clean.media[name], digests)
    return {
        "name": name,
        "missing": len(samples) - len(digests),
        "distinct": len(digests.unique()),
        "unit": spec_of(name).size_unit,
        "sizes": histogram(sizes),
        "columns": list(columns),
    }


def _sizes(store: Store, modality: Modality, fingerprint: str, digests: pa.Array) -> NDArray[np.float64]:
    """(M,) of the media of these rows that are stored; a part of them is in memory at a time."""
    distinct = digests.value_counts()
    media, counts = distinct.field("values"), distinct.field("counts").to_numpy()
    found, places = np.full(len(media), np.nan), DigestPlaces(media)
    for part in media_parts(store, modality, fingerprint, ("digest", "shape", "rate_hz"), media):
        found[places.find(part["digest"])] = media_sizes(part, modality)
    is_stored = ~np.isnan(found)
    return np.asarray(np.repeat(found[is_stored], counts[is_stored]), np.float64)


def histogram(values: ArrayLike) -> Histogram | None:
    """Counts in equal bins from the smallest to the largest of some numbers (N,), and their median; None for none."""
    ordered = np.sort(np.asarray(values, np.float64))
    if not len(ordered):
        return None
    low, high = float(ordered[0]), float(ordered[-1])
    bins = BINS if high > low else 1
    places = (
        np.minimum((ordered - low) / (high - low) * bins, bins - 1).astype(int) if high > low else [0] * len(ordered)
    )
    counts: list[int] = np.bincount(places, minlength=bins).tolist()
    return {"low": low, "high": high, "median": float(ordered[len(ordered) // 2]), "counts": counts}
