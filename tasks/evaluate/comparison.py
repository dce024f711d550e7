"""The champion, and the best champion so far, scored again on the rows that the candidate was evaluated on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypedDict

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from data_contracts.refs import (
    ChampionRef,
    Compared,
    InputName,
    Metrics,
    Pairing,
    PreparedChampion,
    Target,
    ValidatedRef,
)
from data_contracts.slices import SliceRegressions
from tasks.config import RunConfig
from tasks.errors import UsageError
from tasks.evaluate.overlap import find_seen
from tasks.modeling.card import ModelCard
from tasks.modeling.row_clusters import clusters_of, number_clusters
from tasks.modeling.training_rows import ROWS, are_known, read_rows
from tasks.problems.metric import Indices, Probabilities
from tasks.problems.registry import width
from tasks.problems.scoring import AnyScorer, Clusters, design_effect
from tasks.samples import Samples, read_near_duplicates
from tasks.store import Store


def require_same_problem(champion: ChampionRef, card: ModelCard, target: Target) -> None:
    """UsageError where the champion answers another kind of question than this first label column asks, or the same kind
    with not one label in common: every answer of either would be wrong by the other's."""
    theirs = card.label_targets[0]
    if theirs.problem != target.problem:
        raise UsageError(
            f"model {champion.name} version {champion.version}: the champion is of data.problem="
            f"{theirs.problem}, this run of {target.problem}; give the new model another name (--set name=...)"
        )
    if theirs.labels and target.labels and not set(theirs.labels) & set(target.labels):
        known, ours = (", ".join(map(repr, labels[:5])) for labels in (theirs.labels, target.labels))
        raise UsageError(
            f"model {champion.name} version {champion.version}: the champion knows {known}, this run's labels "
            f"are {ours}, none in common; give the new model another name (--set name=...)"
        )


@dataclass(frozen=True)
class ComparisonRows:
    """The test rows of a run, and what is needed to leave out those that another model has seen."""

    every: Samples
    """Of every split."""
    numbers: Indices
    """The cluster of each row of `every`."""
    places: Indices
    """Those of the test rows in `every`, in the order in which they are evaluated."""

    @classmethod
    def read(cls, valid: ValidatedRef, store: Store) -> ComparisonRows:
        """The rows of a validated table."""
        samples = Samples.read(store.path(valid.uri))
        numbers = number_clusters(samples, read_near_duplicates(store.path(valid.clean.uri)))
        return cls(samples, numbers, np.flatnonzero(np.array(samples.splits) == "test"))

    @property
    def ids(self) -> list[str]:
        """(S,) of the test rows."""
        return self.every.take(self.places).ids

    @property
    def clusters(self) -> Clusters:
        """(S,) of the test rows; None where each is one of its own."""
        return self.clusters_of(np.arange(len(self.places)))

    @property
    def cluster_of_ids(self) -> dict[str, int] | None:
        """Id to the number of its cluster, None where each test row is one of its own."""
        numbers = self.clusters
        return None if numbers is None else dict(zip(self.ids, numbers.tolist(), strict=True))

    def clusters_of(self, chosen: Indices) -> Clusters:
        """Of some of the test rows, by their positions among them."""
        return clusters_of(self.places[chosen], self.numbers)

    def take(self, chosen: Indices) -> ComparisonRows:
        """Some of the test rows, by their positions among them."""
        return ComparisonRows(self.every, self.numbers, self.places[chosen])

    def seen_by_itself(self, folder: Path, modalities: Sequence[InputName]) -> NDArray[np.bool_]:
        """(S,) those that the published model in `folder`, evaluated by itself, was trained or validated on, or others of
        their cluster. A model that was just trained on today's rows, and is not published, has seen none."""
        if not (folder / ROWS).is_file():
            return np.zeros(len(self.places), bool)
        return find_seen(self.every, self.every, self.numbers, folder, modalities)[self.places]

    def seen_by(self, other: PreparedChampion, card: ModelCard, store: Store) -> NDArray[np.bool_]:
        """(S,) see `find_seen`."""
        theirs = Samples.read(store.path(other.valid.uri))
        folder = store.path(other.champion.uri)
        return find_seen(self.every, theirs, self.numbers, folder, card.modalities)[self.places]


def champion_outputs(
    samples: Samples, prepared_champion: PreparedChampion, card: ModelCard, store: Store
) -> tuple[Indices, Probabilities]:
    """Positions (S,) of the rows that the champion's samples hold too, and all that it gives out (S, outputs) to them.

    Under other media settings a row may be refused, or become another row's duplicate; it then takes no part in the comparison.
    """
    from tasks.modeling.inference import predict_probabilities
    from tasks.modeling.package import load_model

    folder = store.path(prepared_champion.champion.uri)
    theirs = Samples.read(store.path(prepared_champion.valid.uri))
    places = pc.index_in(samples.column("id"), value_set=theirs.column("id")).to_numpy(zero_copy_only=False)
    shared = np.flatnonzero(~np.isnan(places.astype(np.float64)))
    chosen = theirs.take(places[shared].astype(np.int64))
    if not len(shared):
        return shared, np.zeros((0, width(card.label_targets)), np.float32)
    return shared, predict_probabilities(load_model(folder, card), chosen, prepared_champion.features, store)


def forgetting(
    ids: list[str], pair: tuple[AnyScorer, AnyScorer], folder: Path, config: RunConfig, clusters: Clusters = None
) -> dict[Literal["old", "new"], Compared]:
    """Candidate and champion, `pair`, apart on the rows that the champion was evaluated on when it was published, and on new
    ones. Empty where either set is. The champion lies in `folder`."""
    old = are_known(ids, read_rows(folder)["test"])
    if old.all() or not old.any():
        return {}
    return {
        "old": _compared(pair, np.flatnonzero(old), config, clusters),
        "new": _compared(pair, np.flatnonzero(~old), config, clusters),
    }


def _compared(pair: tuple[AnyScorer, AnyScorer], rows: Indices, config: RunConfig, clusters: Clusters) -> Compared:
    ours, theirs = pair[0].take(rows), pair[1].take(rows)
    of_rows = None if clusters is None else clusters_of(rows, clusters)
    return Compared(
        rows=len(rows),
        candidate=ours.score(),
        champion=theirs.score(),
        differences=ours.differences(theirs, config.seed, config.gate.confidence, of_rows),
    )


def compare(
    pair: tuple[AnyScorer, AnyScorer], other: ChampionRef, config: RunConfig, clusters: Clusters = None, seen: int = 0
) -> Pairing:
    """How the candidate stands against another model, `pair`, on the same rows; `seen` were left out."""
    ours, theirs = pair
    effect = design_effect(ours.gains(theirs), clusters)
    return Pairing(
        version=other.version,
        model_sha256=other.model_sha256,
        rows=theirs.rows,
        clusters=None if clusters is None else int(clusters.max()) + 1,
        seen=seen,
        metrics=theirs.score(),
        differences=ours.differences(theirs, config.seed, config.gate.confidence, clusters),
        differing=ours.count_differing(theirs, clusters),
        effective_rows={name: rows / effect for name, rows in ours.effective_rows().items()},
    )


class ChampionFields(TypedDict, total=False):
    """The fields of EvalReport that tell how the candidate stands against the champion; none without one."""

    champion_sha256: str
    champion_version: str
    champion_metrics: Metrics
    champion_rows: int
    champion_clusters: int | None
    champion_seen: int
    champion_differing: int | None
    champion_effective_rows: dict[str, float]
    differences: dict[str, tuple[float, float, float]]
    slice_regressions: SliceRegressions
    forgetting: dict[Literal["old", "new"], Compared]
    anchor: Pairing


def against(found: Pairing) -> ChampionFields:
    """The pairing as fields of EvalReport."""
    return {
        "champion_sha256": found.model_sha256,
        "champion_version": found.version,
        "champion_metrics": found.metrics,
        "champion_rows": found.rows,
        "champion_clusters": found.clusters,
        "champion_seen": found.seen,
        "champion_differing": found.differing,
        "champion_effective_rows": found.effective_rows,
        "differences": found.differences,
    }
