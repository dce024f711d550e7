"""slices.json: figures on every slice of the test rows, beside the champion's, and all that rules of the gate ask of parts."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data_contracts.modalities import modality_of
from data_contracts.refs import InputName
from data_contracts.slices import (
    Bounds,
    PartFigures,
    ReferenceFigures,
    RobustnessCurve,
    SliceFigures,
    SliceReport,
    SuspectedSlice,
)
from tasks.config import Rule, RunConfig
from tasks.evaluate.slice_regressions import Values, measure_parts, slice_parts
from tasks.evaluate.slices import Partition
from tasks.evaluate.suspected_slices import find_suspected_slices
from tasks.gate_rules import EVERY
from tasks.modalities import all_corruptions
from tasks.modeling.row_clusters import clusters_of
from tasks.problems.intervals import CONFIDENCE
from tasks.problems.metric import Indices
from tasks.problems.scoring import AnyScorer, Clusters
from tasks.store import canonical_json, write_text


@dataclass(frozen=True)
class BesideChampion:
    """Candidate and champion on the test rows that they are compared on."""

    version: str
    pair: tuple[AnyScorer, AnyScorer]
    chosen: Indices
    """Positions of those rows among the test rows."""
    clusters: Clusters


def named_values(partitions: Sequence[Partition], chosen: Indices) -> Values:
    """The slices of the config, of some of the test rows."""
    return {each.by.name: each.values[chosen] for each in partitions if each.is_named}


def asked_of_parts(config: RunConfig) -> list[list[object]]:
    """What rules ask to be measured, as it enters an evaluation's key."""
    rules = [rule for rule in config.gate.rules if rule.is_of_parts]
    corrupted = [[rule.corruption, rule.severity] if rule.corruption else [] for rule in rules]
    return [
        [rule.slice, rule.modalities, rule.confidence, rule.max_drop is not None, *of]
        for rule, of in zip(rules, corrupted, strict=True)
    ]


def asked_modalities(config: RunConfig, modalities: Collection[InputName]) -> list[tuple[InputName, ...]]:
    """The sets of inputs that rules are about, of those that a model reads."""
    named = dict.fromkeys(tuple(rule.modalities.split("+")) for rule in config.gate.rules if rule.modalities)
    return [names for names in named if set(names) <= set(modalities)]


def asked_corruptions(config: RunConfig, modalities: Collection[InputName]) -> list[str]:
    """Those that are measured of a model with these inputs: `image/noise`."""
    named = {rule.corruption for rule in config.gate.rules}
    known = all_corruptions({modality_of(name) for name in modalities})
    return [each for each in known if config.evaluate.robustness == "on" or each in named]


@dataclass(frozen=True)
class Measured:
    """The test rows of a report."""

    scored: AnyScorer
    """The candidate's answers."""
    clusters: Clusters
    beside: BesideChampion | None
    config: RunConfig

    def report(
        self,
        partitions: Sequence[Partition],
        by_inputs: Mapping[str, AnyScorer],
        suspected: Sequence[SuspectedSlice],
        robustness: Sequence[RobustnessCurve] = (),
    ) -> SliceReport:
        """All of it; `by_inputs` are the answers with some modalities only."""
        rules, asked = self.config.gate.rules, {rule.modalities for rule in self.config.gate.rules}
        p_values = self._chances(partitions)
        whole = [rule for rule in rules if not rule.slice and not rule.modalities and not rule.corruption]
        every = np.arange(self.scored.rows)
        has_interval = any(rule.is_of_parts and not rule.confidence and rule.max_drop is None for rule in whole)
        return SliceReport(
            champion=None if self.beside is None else self.beside.version,
            whole=self._part(every, whole, has_interval=has_interval),
            by=tuple(each.by for each in partitions),
            slices=tuple(figures for each in partitions for figures in self._slices(each, p_values)),
            inputs={name: self._inputs(name, given) for name, given in by_inputs.items() if name in asked},
            robustness=tuple(robustness),
            suspected=tuple(suspected),
        )

    def _chances(self, partitions: Sequence[Partition]) -> dict[str, float]:
        """Slice to how likely so great a loss is by chance, over all slices together."""
        if self.beside is None:
            return {}
        ours, theirs = self.beside.pair
        values = {each.by.name: each.values[self.beside.chosen] for each in partitions}
        parts = slice_parts(values, ours.gains(theirs))
        return {
            found.value: found.p
            for found in measure_parts(parts, self.beside.clusters, self.config.gate.min_slice_rows)
        }

    def _slices(self, partition: Partition, p_values: Mapping[str, float]) -> Iterable[SliceFigures]:
        rules = [rule for rule in self.config.gate.rules if rule.slice_name == partition.by.name]
        for value in np.unique(partition.values).tolist():
            own = [rule for rule in rules if rule.slice_value in (value, EVERY)]
            rows = np.flatnonzero(partition.values == value)
            found = self._part(rows, own, has_interval=len(rows) >= self.config.gate.min_slice_rows)
            name = f"{partition.by.name}={value}"
            if found.reference is not None:
                reference = found.reference.model_copy(update={"p": p_values.get(name)})
                found = found.model_copy(update={"reference": reference})
            yield SliceFigures(**dict(found), slice=partition.by.name, value=value, shown=partition.describe(value))

    def _part(self, rows: Indices, rules: Sequence[Rule], *, has_interval: bool) -> PartFigures:
        """Some of the test rows, `rows`, with the intervals that `rules` ask for."""
        clusters = None if self.clusters is None else clusters_of(rows, self.clusters)
        levels = {rule.confidence for rule in rules if rule.confidence and rule.max_drop is None}
        found = measure(self.scored.take(rows), clusters, levels | ({CONFIDENCE} if has_interval else set()), self.seed)
        if self.beside is None:
            return found
        drops = {rule.confidence or CONFIDENCE for rule in rules if rule.max_drop is not None}
        chosen = np.flatnonzero(np.isin(self.beside.chosen, rows))
        ours, theirs = (scored.take(chosen) for scored in self.beside.pair)
        of_chosen = None if self.beside.clusters is None else clusters_of(chosen, self.beside.clusters)
        return found.model_copy(update={"reference": hold_against(ours, theirs, of_chosen, drops, self.seed)})

    def _inputs(self, name: str, given: AnyScorer) -> PartFigures:
        """All test rows, with some modalities only."""
        rules = [rule for rule in self.config.gate.rules if rule.modalities == name]
        levels = {rule.confidence or CONFIDENCE for rule in rules if rule.max_drop is None}
        drops = {rule.confidence or CONFIDENCE for rule in rules if rule.max_drop is not None}
        reference = hold_against(given, self.scored, self.clusters, drops, self.seed)
        found = measure(given, self.clusters, levels, self.seed)
        return found.model_copy(update={"reference": reference})

    @property
    def seed(self) -> int:
        """Of the resamples."""
        return self.config.seed


def write_slices(
    path: Path,
    partitions: Sequence[Partition],
    by_inputs: Mapping[str, AnyScorer],
    measured: Measured,
    robustness: Sequence[RobustnessCurve] = (),
) -> None:
    """`path` holds the figures on every slice, and where errors are frequent without having been asked for."""
    least, seed = measured.config.gate.min_slice_rows, measured.seed
    suspected = find_suspected_slices(partitions, measured.scored, measured.clusters, least, seed)
    report = measured.report(partitions, by_inputs, suspected, robustness)
    write_text(path, canonical_json(report.model_dump(mode="json")))


def measure(scored: AnyScorer, clusters: Clusters, levels: Collection[float], seed: int) -> PartFigures:
    """Every metric, with its interval at some levels of confidence."""
    return PartFigures(
        rows=scored.rows,
        clusters=None if clusters is None else int(clusters.max()) + 1,
        metrics=scored.score(),
        intervals={level: _finite(scored.intervals(seed, level, clusters)) for level in sorted(levels)},
    )


def hold_against(
    ours: AnyScorer, theirs: AnyScorer, clusters: Clusters, levels: Collection[float], seed: int
) -> ReferenceFigures:
    """The second's figures, and how far the first's are from them, on the same rows."""
    own, other = ours.score(), theirs.score()
    return ReferenceFigures(
        rows=theirs.rows,
        clusters=None if clusters is None else int(clusters.max()) + 1,
        metrics=other,
        changes={name: a - b for name, a in own.items() if a is not None and (b := other[name]) is not None},
        intervals={level: _bounds(ours, theirs, seed, level, clusters) for level in sorted(levels)}
        if ours.rows
        else {},
    )


def _bounds(ours: AnyScorer, theirs: AnyScorer, seed: int, level: float, clusters: Clusters) -> dict[str, Bounds]:
    found = ours.differences(theirs, seed, level, clusters)
    return {name: (low, high) for name, (_, low, high) in found.items()}


def _finite(intervals: Mapping[str, Bounds]) -> dict[str, Bounds]:
    """Those that say something: a single cluster tells nothing of how much an error varies."""
    return {name: bounds for name, bounds in intervals.items() if np.isfinite(bounds).all()}
