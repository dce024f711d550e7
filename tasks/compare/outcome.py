"""What a comparison came to: every variant's figures beside the reference's, the ranking, the finding, and the artifact."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from data_contracts.comparison import (
    COMPARE,
    CompareReport,
    ComparisonRef,
    FitCost,
    FitRef,
    PairedDifference,
    Ranking,
    VariantRecord,
)
from data_contracts.refs import Ref, ValidatedRef
from tasks.compare.finding import conclude, describe_findings
from tasks.compare.fits import TestRows
from tasks.compare.paired import Measured, compare_with, correct, measure
from tasks.compare.ranking import rank_variants
from tasks.compare.variants import Variant
from tasks.problems.registry import get_metric
from tasks.problems.scoring import Clusters
from tasks.store import Store, canonical_json, digest_json, write_text

KIND = "comparisons"
Fits = Mapping[str, Sequence[FitRef]]


@dataclass(frozen=True)
class Compared:
    """All variants side by side."""

    variants: tuple[VariantRecord, ...]
    """The reference first, the others by their mean, the best first."""
    ranking: Ranking
    finding: tuple[str, ...]
    rows: int


@dataclass(frozen=True)
class Rules:
    """What distinguishes variants."""

    metric: str
    alpha: float
    seed: int
    """Of the resamples."""


def compare_fits(
    variants: Sequence[Variant], fits: Fits, valid: ValidatedRef, clusters: Clusters, rules: Rules, store: Store
) -> Compared:
    """The variants, the reference first, on the test rows of `valid`; `clusters` (T,) are those of its rows."""
    rows = TestRows.read(valid, [fit for variant in variants for fit in fits[variant.name]], store)
    metric = get_metric(rules.metric)
    measured = [
        measure(
            variant.name,
            [rows.score(variant.name, fit, store) for fit in fits[variant.name]],
            metric,
            rules.seed,
            clusters,
        )
        for variant in variants
    ]
    found = correct([compare_with(each, measured[0], metric, clusters, rules.alpha) for each in measured[1:]])
    ranks, ranking = rank_variants(measured, clusters, rules.alpha)
    lower = metric.lower_is_better
    records = [
        _record(variant, each, fits[variant.name], ranks[variant.name], difference, lower, rules.alpha)
        for variant, each, difference in zip(variants, measured, [None, *found], strict=True)
    ]
    others = sorted(records[1:], key=lambda record: record.mean if lower else -record.mean)
    finding = describe_findings(others, records[0], rules.metric, rules.alpha)
    return Compared((records[0], *others), ranking, finding, len(rows.ids))


def _record(
    variant: Variant,
    measured: Measured,
    fits: Sequence[FitRef],
    rank: float,
    difference: PairedDifference | None,
    lower_is_better: bool,
    alpha: float,
) -> VariantRecord:
    scores = measured.scores
    return VariantRecord(
        name=variant.name,
        group=variant.group,
        says=variant.says,
        settings=dict(variant.settings),
        method=variant.method,
        scores=scores,
        mean=statistics.fmean(scores),
        spread=statistics.stdev(scores) if len(scores) > 1 else None,
        difference=difference,
        conclusion=None if difference is None else conclude(difference, lower_is_better, alpha),
        rank=rank,
        cost=mean_cost([fit.cost for fit in fits]),
        chosen=fits[0].chosen,
        notes=tuple(dict.fromkeys(note for fit in fits for note in fit.notes)),
    )


def mean_cost(costs: Sequence[FitCost]) -> FitCost:
    """Mean over fits; of CPU time and energy over those whose own is known."""

    def mean(values: Sequence[float | None]) -> float | None:
        """None where none is known."""
        known = [value for value in values if value is not None]
        return round(statistics.fmean(known), 3) if known else None

    return FitCost(
        train_s=mean([cost.train_s for cost in costs]),
        cpu_s=mean([cost.cpu_s for cost in costs]),
        parameters=costs[0].parameters,
        trainable=costs[0].trainable,
        energy_j=mean([cost.energy_j for cost in costs]),
        energy_source=costs[0].energy_source,
    )


def keep_comparison(report: CompareReport, made_from: Sequence[Ref], store: Store) -> ComparisonRef:
    """The comparison as an artifact; the fits that it rests on stay as long as it is kept."""
    content = report.model_dump(mode="json", exclude={"run", "machine"})
    key = digest_json([content, [ref.sha256 for ref in made_from]])
    if (found := store.find(KIND, key)) is not None:
        return ComparisonRef.model_validate(found.ref)
    with store.create(KIND, key, dict.fromkeys(ref.uri for ref in made_from)) as draft:
        write_text(draft.path / COMPARE, canonical_json(content))
        ref = ComparisonRef(
            uri=f"{KIND}/{key}",
            sha256=key,
            rows=report.test_rows,
            parents=tuple(dict.fromkeys(ref.sha256 for ref in made_from)),
            reference=report.reference,
        )
        draft.ref = ref.model_dump(mode="json")
    return ref
