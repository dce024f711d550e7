"""The champion, scored again on the rows that the candidate was judged on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc

from data_contracts.refs import ChampionRef, PreparedChampion, Target
from tasks.config import RunConfig
from tasks.errors import UsageError
from tasks.modeling.card import ModelCard
from tasks.modeling.training_rows import are_known, read_rows
from tasks.problems.metric import Indices, Probabilities
from tasks.problems.scoring import AnyScorer
from tasks.samples import Samples
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


def champion_outputs(
    samples: Samples, prepared_champion: PreparedChampion, card: ModelCard, store: Store
) -> tuple[Indices, Probabilities]:
    """Positions (S,) of the test rows that the champion's samples hold too, and all that it gives out (S, outputs) to them.

    Under other media settings a row may be refused, or become another row's duplicate; it then takes no part in the comparison.
    """
    from tasks.modeling.inference import predict_probabilities
    from tasks.modeling.package import load_model

    folder = store.path(prepared_champion.champion.uri)
    theirs = Samples.read(store.path(prepared_champion.valid.uri))
    places = pc.index_in(samples.column("id"), value_set=theirs.column("id")).to_numpy(zero_copy_only=False)
    shared = np.flatnonzero(~np.isnan(places.astype(np.float64)))
    chosen = theirs.take(places[shared].astype(np.int64))
    return shared, predict_probabilities(load_model(folder, card), chosen, prepared_champion.features, store)


def forgetting(ids: list[str], pair: tuple[AnyScorer, AnyScorer], folder: Path, config: RunConfig) -> dict[str, Any]:
    """Candidate and champion, `pair`, apart on the rows that the champion was judged on when it was published, and on new
    ones. Empty where either set is. The champion lies in `folder`."""
    old = are_known(ids, read_rows(folder)["test"])
    if old.all() or not old.any():
        return {}
    return {name: _compared(pair, np.flatnonzero(rows), config) for name, rows in (("old", old), ("new", ~old))}


def _compared(pair: tuple[AnyScorer, AnyScorer], rows: Indices, config: RunConfig) -> dict[str, Any]:
    ours, theirs = pair[0].take(rows), pair[1].take(rows)
    return {
        "rows": len(rows),
        "candidate": ours.score(),
        "champion": theirs.score(),
        "differences": ours.differences(theirs, config.seed, config.gate.confidence),
    }


def against(
    candidate: AnyScorer, champion: AnyScorer, prepared_champion: PreparedChampion, config: RunConfig
) -> dict[str, Any]:
    """The fields of EvalReport that tell how the candidate stands against the champion on the same rows."""
    return {
        "champion_sha256": prepared_champion.champion.model_sha256,
        "champion_version": prepared_champion.champion.version,
        "champion_metrics": champion.score(),
        "champion_rows": champion.rows,
        "differences": candidate.differences(champion, config.seed, config.gate.confidence),
    }
