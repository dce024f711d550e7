"""Spurious correlations: circumstances that tell the label, so that a model may learn them in place of the content."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from data_contracts.audit import Shortcut
from tasks.audit.circumstances import Circumstance
from tasks.problems.scoring import holm

PERMUTATIONS = 999
"""The smallest p-value is 1 / 1000: after Holm's correction over 50 tests still 0.05."""
NAMES_LABEL = 0.8
"""Share of rows whose value is the label's own text from which on a circumstance is the label by another name."""
Indices = NDArray[np.int64]


def find_shortcuts(
    found: Sequence[Circumstance],
    labels: Sequence[str],
    given: Indices,
    folds: Indices,
    clusters: Indices,
    alpha: float,
    min_effect: float,
    seed: int,
) -> list[Shortcut]:
    """Every circumstance with how well it tells the label out of fold, the strongest first.

    The chance of so much is from labels that are permuted: among rows, or where all rows of a cluster have one label, among
    clusters. `found` needs both that chance, corrected for the number of tests (Holm), and an effect of `min_effect`.
    """
    by_cluster = _of_clusters(given, clusters)
    tests = []
    for place, each in enumerate(found):
        effect, null = _effects(each, given, folds, clusters, by_cluster, len(labels), [seed, place])
        tests.append((each, effect, (1 + int((null >= effect - 1e-12).sum())) / (1 + len(null))))
    adjusted = holm([p for _, _, p in tests])
    shortcuts = [
        _shortcut(each, effect, p, labels, given, alpha, min_effect)
        for (each, effect, _), p in zip(tests, adjusted, strict=True)
    ]
    return sorted(shortcuts, key=lambda each: (not each.found, -each.effect, each.name))


def _of_clusters(given: Indices, clusters: Indices) -> Indices | None:
    """(K,) the label of each cluster where all of its rows have one and clusters hold several rows; else None."""
    low, high = (
        np.full(clusters.max(initial=-1) + 1, given.max(initial=0) + 1),
        np.full(clusters.max(initial=-1) + 1, -1),
    )
    np.minimum.at(low, clusters, given)
    np.maximum.at(high, clusters, given)
    return low if len(low) < len(given) and (low == high).all() else None


def _effects(
    each: Circumstance,
    given: Indices,
    folds: Indices,
    clusters: Indices,
    by_cluster: Indices | None,
    classes: int,
    seed: list[int],
) -> tuple[float, NDArray[np.float64]]:
    """The effect, and those of permuted labels."""
    rng = np.random.default_rng(seed)
    known = each.codes >= 0
    codes, inside = each.codes[known], folds[known]
    effect = tell_label(codes, given[known], inside, classes)
    null = np.empty(PERMUTATIONS)
    for place in range(PERMUTATIONS):
        drawn = rng.permutation(given) if by_cluster is None else rng.permutation(by_cluster)[clusters]
        null[place] = tell_label(codes, drawn[known], inside, classes)
    return effect, null


def tell_label(codes: Indices, given: Indices, folds: Indices, classes: int) -> float:
    """Balanced accuracy of the class that is most over-represented among other folds' rows with a row's value; scaled.

    0: as by chance; 1: every label. A value that the other folds lack is answered with their most frequent class.
    """
    if not len(codes):
        return 0.0
    values, count = int(codes.max()) + 1, int(folds.max()) + 1
    cells = np.bincount((folds * values + codes) * classes + given, minlength=count * values * classes)
    by_fold = cells.reshape(count, values, classes)
    others = by_fold.sum(axis=0) - by_fold
    shares = others / np.maximum(others.sum(axis=1, keepdims=True), 1)  # of each class's rows, those with a value
    answers = shares.argmax(axis=2)
    right = np.take_along_axis(by_fold, answers[:, :, None], axis=2)[:, :, 0]
    hits = np.bincount(answers.ravel(), right.ravel(), classes)
    totals = by_fold.sum(axis=(0, 1))
    occurring = totals > 0
    recall = float((hits[occurring] / totals[occurring]).mean())
    chance = 1 / max(int(occurring.sum()), 2)
    return (recall - chance) / (1 - chance)


def _shortcut(
    each: Circumstance, effect: float, p: float, labels: Sequence[str], given: Indices, alpha: float, min_effect: float
) -> Shortcut:
    known = each.codes >= 0
    named = np.array([each.values[code].casefold() == labels[label].casefold() for code, label in
                      zip(each.codes[known].tolist(), given[known].tolist(), strict=True)], bool)  # fmt: skip
    is_label = bool(len(named)) and float(named.mean()) >= NAMES_LABEL
    return Shortcut(
        name=each.name,
        rows=int(known.sum()),
        effect=round(effect, 6),
        p=p,
        found=not is_label and p <= alpha and effect >= min_effect,
        says="it is the label by another name" if is_label else _strongest(each, labels, given),
    )


def _strongest(each: Circumstance, labels: Sequence[str], given: Indices, shown: int = 3) -> str:
    """The values that go with one label most: `12 to 30: 8 (61 % of 140 rows, 10 % of all)`."""
    known = each.codes >= 0
    table = np.zeros((len(each.values), len(labels)))
    np.add.at(table, (each.codes[known], given[known]), 1)
    rows, overall = table.sum(axis=1), table.sum(axis=0) / max(table.sum(), 1)
    surplus = table - rows[:, None] * overall
    found = []
    for value in np.argsort(-surplus.max(axis=1), kind="stable")[:shown].tolist():
        label = int(surplus[value].argmax())
        share = table[value, label] / max(rows[value], 1)
        found.append(
            f"{each.values[value]}: {labels[label]} ({share:.0%} of {int(rows[value])} rows, {overall[label]:.0%} of all)"
        )
    return "; ".join(found)
