"""Where errors are frequent, found without being asked: a shallow tree on what is known of the test rows besides their
media.

It is grown on one half of the rows (whole clusters) and each of its leaves is tested on the other half, so that what is shown
is not what was searched for; the p-values are corrected for the number of leaves (Holm). Exploratory: no rule decides by it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from data_contracts.slices import SuspectedSlice
from tasks.evaluate.slices import MISSING, Partition
from tasks.number_format import short_number
from tasks.problems.metric import Floats, Indices
from tasks.problems.scoring import AnyScorer, Clusters, holm

MAX_DEPTH = 2


@dataclass(frozen=True)
class _Feature:
    """One column that the tree may split by."""

    values: Floats
    """(S,)"""
    below: str
    """The condition of the rows below a threshold, with a place for it where it is a number."""
    above: str

    def condition(self, is_below: bool, threshold: float) -> str:
        """What holds on one side of a split."""
        return (self.below if is_below else self.above).format(short_number(threshold))


def find_suspected_slices(
    partitions: Sequence[Partition], scored: AnyScorer, clusters: Clusters, min_rows: int, seed: int
) -> list[SuspectedSlice]:
    """Leaves with more errors than the other rows of the half on which they are tested, the greatest surplus first."""
    features = [feature for each in partitions for feature in _features(each)]
    errors = scored.errors()
    numbers = np.arange(len(errors)) if clusters is None else clusters
    drawn = np.random.default_rng(seed).permutation(int(numbers.max(initial=-1)) + 1)
    is_first = (drawn % 2 == 0)[numbers]
    first, second = np.flatnonzero(is_first), np.flatnonzero(~is_first)
    if not features or min(len(first), len(second)) < 2 * min_rows or not errors[first].any():
        return []
    leaves = _grow(features, errors, first, second, min_rows, seed)
    found = []
    for conditions, inside in leaves:
        rows = second[inside]
        if min_rows <= len(rows) <= len(second) - min_rows:
            p = _chance_of_surplus(errors[second], inside, None if clusters is None else clusters[second])
            found.append(
                SuspectedSlice(
                    conditions=conditions,
                    rows=len(rows),
                    error=float(errors[rows].mean()),
                    rest=float(errors[second[~inside]].mean()),
                    p=p,
                )
            )
    adjusted = holm([each.p for each in found])
    corrected = [each.model_copy(update={"p": p}) for each, p in zip(found, adjusted, strict=True)]
    return sorted(
        (each for each in corrected if each.error > each.rest), key=lambda each: (each.p, each.rest - each.error)
    )


def _features(partition: Partition) -> list[_Feature]:
    """Numbers as they are, what is missing at their median; of other values one column each."""
    name, found = partition.by.name, []
    if partition.numbers is not None:
        known = partition.numbers[~np.isnan(partition.numbers)]
        middle = float(np.median(known)) if len(known) else 0.0
        filled = np.where(np.isnan(partition.numbers), middle, partition.numbers)
        found.append(_Feature(filled, f"{_plain(name)} ≤ {{}}", f"{_plain(name)} > {{}}"))
    values = [MISSING] if partition.numbers is not None else np.unique(partition.values).tolist()
    for value in values:
        is_it = (partition.values == value).astype(np.float64)
        if 0 < is_it.sum() < len(is_it):
            found.append(_Feature(is_it, _plain(f"{name} ≠ {value}"), _plain(f"{name} = {value}")))
    return found


def _plain(text: str) -> str:
    """A text in which braces are not places."""
    return text.replace("{", "{{").replace("}", "}}")


def _grow(
    features: Sequence[_Feature], errors: Floats, first: Indices, second: Indices, min_rows: int, seed: int
) -> list[tuple[tuple[str, ...], np.ndarray]]:
    """Each leaf of the tree grown on `first`: its conditions, and which (S2,) of the rows `second` are in it."""
    from sklearn.tree import DecisionTreeRegressor

    matrix = np.stack([feature.values for feature in features], axis=1).astype(np.float32)
    grown = DecisionTreeRegressor(max_depth=MAX_DEPTH, min_samples_leaf=min_rows, random_state=seed)
    grown.fit(matrix[first], errors[first])
    tree, leaf_of = grown.tree_, grown.apply(matrix[second])
    found: list[tuple[tuple[str, ...], np.ndarray]] = []

    def walk(node: int, conditions: dict[tuple[int, bool], str]) -> None:
        """The leaves below a node; a threshold that is met again is tighter."""
        if tree.children_left[node] < 0:
            found.append((tuple(conditions.values()), leaf_of == node))
            return
        column = int(tree.feature[node])
        for child, is_below in ((tree.children_left[node], True), (tree.children_right[node], False)):
            said = features[column].condition(is_below, float(tree.threshold[node]))
            walk(int(child), conditions | {(column, is_below): said})

    walk(0, {})
    return found


def _chance_of_surplus(errors: Floats, inside: np.ndarray, clusters: Clusters) -> float:
    """How likely so much more error among the rows `inside` is by chance, one-sided: of answers that are right or wrong, each
    by itself, Fisher's exact test; else Student's t on the difference of means, over clusters."""
    if clusters is None and np.isin(errors, (0.0, 1.0)).all():
        from scipy.stats import hypergeom

        wrong, drawn = int(errors.sum()), int(inside.sum())
        return float(hypergeom.sf(int(errors[inside].sum()) - 1, len(errors), wrong, drawn))
    from scipy.special import stdtr

    within, without = errors[inside], errors[~inside]
    influence = np.zeros(len(errors))
    influence[inside] = (within - within.mean()) / len(within)
    influence[~inside] = -(without - without.mean()) / len(without)
    sums = influence if clusters is None else np.bincount(clusters, influence)
    spread = float(np.sqrt(np.square(sums).sum()))
    degrees = max(int(np.count_nonzero(sums)) - 2, 1)
    return 1.0 if spread == 0 else float(stdtr(degrees, -(within.mean() - without.mean()) / spread))
