"""A profile of the data in figures: what the report draws. JSON: counts, shares and histograms, no row of the data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from data_contracts.data_profile import ClassRows, ClassSizes, ColumnSummary, DataProfile, Histogram, InputProfile
from data_contracts.modalities import modality_of
from data_contracts.refs import CleanRef, InputName, Target
from tasks.media.media_store import media_index
from tasks.modalities import MODALITIES, spec_of
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
    pairs = zip(samples.labels, map(str, samples.splits), strict=True)
    counts = Counter((label, split) for text, split in pairs for label in problem_of(target).labels_of(text))
    sizes: Counter[str] = Counter()
    for (label, _), count in counts.items():
        sizes[label] += count
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
    digests = [digest for digest in samples.digests(name) if digest is not None]
    rows: Counter[str] = Counter(digests)
    sizes: list[float] = []
    if name in clean.media:
        index = media_index(store, modality, clean.media[name], ("digest", "shape", "rate_hz")).to_pylist()
        size = MODALITIES[modality].size
        known = {row["digest"]: size(row["shape"], row["rate_hz"] or 0) for row in index if row["digest"] in rows}
        sizes = [known[digest] for digest in digests if digest in known]
    return {
        "name": name,
        "missing": len(samples) - len(digests),
        "distinct": len(rows),
        "unit": spec_of(name).size_unit,
        "sizes": histogram(sizes),
        "columns": list(columns),
    }


def histogram(values: Sequence[float]) -> Histogram | None:
    """Counts in equal bins from the smallest to the largest value, and the median; None for no values."""
    if not values:
        return None
    ordered = sorted(values)
    low, high = ordered[0], ordered[-1]
    bins = [0] * (BINS if high > low else 1)
    for value in ordered:
        bins[min(int((value - low) / (high - low) * len(bins)), len(bins) - 1) if high > low else 0] += 1
    return {"low": low, "high": high, "median": ordered[len(ordered) // 2], "counts": bins}
