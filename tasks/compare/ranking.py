"""Variants ranked over many blocks, as a critical-difference picture shows them.

Demsar ("Statistical Comparisons of Classifiers over Multiple Data Sets", 2006) ranks classifiers on many data sets. Here is one
set and a few seeds, which are no independent blocks: every seed answers the same rows. So a block is what was drawn apart: a
test row, or a cluster of rows that belong together. In it each variant counts how wrongly it answers, averaged over seeds.
Pairs are tested by Wilcoxon's signed-rank test with Holm's correction (as Benavoli, Corani & Mangili, 2016, advise: by mean
ranks, whether two differ depends on the others). What this says is about other rows, for the models that were trained.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Sequence

import numpy as np

from data_contracts.comparison import PairTest, Ranking
from tasks.compare.paired import Measured
from tasks.problems.metric import Floats
from tasks.problems.scoring import MIN_CLUSTERS, Clusters, holm


def rank_variants(measured: Sequence[Measured], clusters: Clusters, alpha: float) -> tuple[dict[str, float], Ranking]:
    """Variant to its average rank, 1 the best, and which of them are alike."""
    from scipy.stats import rankdata

    errors = np.stack([np.mean([scorer.errors() for scorer in each.scorers], axis=0) for each in measured])
    if clusters is not None:
        errors = np.stack([np.bincount(clusters, row) for row in errors]) / np.bincount(clusters)
    names, blocks = [each.name for each in measured], errors.shape[1]
    ranks = dict(zip(names, rankdata(errors, axis=0).mean(axis=1).tolist(), strict=True))
    block = "row" if clusters is None else "cluster"
    if blocks < MIN_CLUSTERS:
        note = f"{blocks} test {block}s are too few to be ranked by ({MIN_CLUSTERS} are enough)"
        return ranks, Ranking(block=block, blocks=blocks, friedman_p=None, note=note)
    pairs = _test_pairs(names, errors)
    order = sorted(names, key=lambda name: (ranks[name], names.index(name)))
    return ranks, Ranking(
        block=block,
        blocks=blocks,
        friedman_p=_friedman(errors),
        pairs=tuple(pairs),
        alike=tuple(alike_sets(order, pairs, alpha)),
    )


def _friedman(errors: Floats) -> float | None:
    """The p-value of all variants being alike; of two there is the pair alone."""
    from scipy.stats import friedmanchisquare

    if len(errors) < 3 or (errors == errors[:1]).all():
        return None
    p = float(friedmanchisquare(*errors).pvalue)
    return p if np.isfinite(p) else None


def _test_pairs(names: Sequence[str], errors: Floats) -> list[PairTest]:
    tested = [(a, b, _wilcoxon(errors[a] - errors[b])) for a, b in itertools.combinations(range(len(names)), 2)]
    adjusted = holm([p for _, _, p in tested])
    return [
        PairTest(first=names[a], second=names[b], p=p, p_holm=corrected)
        for (a, b, p), corrected in zip(tested, adjusted, strict=True)
    ]


def _wilcoxon(apart: Floats) -> float:
    """Two-sided; blocks that both answer alike enter the ranks, not the sum (Pratt 1959). Never below 2^(1 - blocks that
    differ)."""
    from scipy.stats import wilcoxon

    differing = int(np.count_nonzero(apart))
    if not differing:
        return 1.0
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # that the normal approximation is rough for few blocks is why there is a least p
        p = float(wilcoxon(apart, zero_method="pratt", method="asymptotic").pvalue)
    return max(p if np.isfinite(p) else 1.0, 2.0 ** (1 - differing))


def alike_sets(order: Sequence[str], pairs: Sequence[PairTest], alpha: float) -> list[tuple[str, ...]]:
    """Runs of neighbours in `order` of which no two differ significantly, two at least; none lies within another."""
    apart = {frozenset((pair.first, pair.second)) for pair in pairs if pair.p_holm <= alpha}
    found: list[tuple[str, ...]] = []
    reached = 0
    for start in range(len(order)):
        end = start + 1
        while end < len(order) and not any(frozenset((order[end], name)) in apart for name in order[start:end]):
            end += 1
        if end - start > 1 and end > reached:
            found.append(tuple(order[start:end]))
            reached = end
    return found
