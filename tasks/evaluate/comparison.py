"""The champion, scored again on the rows that the candidate was judged on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data_contracts.refs import Rival
from tasks.config import RunConfig
from tasks.contract import read_table
from tasks.evaluate.answers import Answers, answers_of
from tasks.evaluate.intervals import paired_differences
from tasks.evaluate.metrics import Indices, score
from tasks.modeling.card import read_card
from tasks.modeling.decision import read_offsets
from tasks.modeling.lineage import are_known, read_rows
from tasks.store import Store


def champion_answers(samples: pa.Table, rival: Rival, labels: tuple[str, ...], store: Store) -> tuple[Indices, Answers]:
    """Positions (S,) of the test rows that the champion's samples hold too, and its answers (S) to them.

    Under other media knobs a row may be refused, or become another row's duplicate; it then takes no part in the comparison.
    """
    from tasks.modeling.inference import predict_probabilities
    from tasks.modeling.package import load_model

    folder = store.path(rival.champion.uri)
    theirs = read_table(store.path(rival.valid.uri) / "samples.parquet")
    places = pc.index_in(samples["id"], value_set=theirs["id"]).to_numpy(zero_copy_only=False)
    shared = np.flatnonzero(~np.isnan(places.astype(np.float64)))
    chosen = theirs.take(places[shared].astype(np.int64))
    probabilities = predict_probabilities(load_model(folder), chosen, rival.features, store)
    card = read_card(folder)
    return shared, answers_of(probabilities, tuple(card["labels"]), read_offsets(card), labels)


def forgetting(
    ids: list[str], pair: tuple[Answers, Answers], truth: Indices, folder: Path, config: RunConfig
) -> dict[str, Any]:
    """Candidate and champion, `pair`, apart on the rows that the champion was judged on when it was published, and on new
    ones. Empty where either set is, or the champion in `folder` does not tell."""
    known = read_rows(folder)
    if known is None:
        return {}
    old = are_known(ids, known["test"])
    if old.all() or not old.any():
        return {}
    return {name: _compared(pair, truth, np.flatnonzero(rows), config) for name, rows in (("old", old), ("new", ~old))}


def _compared(pair: tuple[Answers, Answers], truth: Indices, rows: Indices, config: RunConfig) -> dict[str, Any]:
    ours, theirs, right = pair[0].take(rows), pair[1].take(rows), truth[rows]
    differences = paired_differences(
        ours.probabilities,
        theirs.probabilities,
        right,
        config.seed,
        config.gate.confidence,
        (ours.predicted, theirs.predicted),
    )
    return {
        "rows": len(rows),
        "candidate": score(ours.probabilities, right, ours.predicted),
        "champion": score(theirs.probabilities, right, theirs.predicted),
        "differences": differences,
    }


def against(candidate: Answers, champion: Answers, truth: Indices, rival: Rival, config: RunConfig) -> dict[str, Any]:
    """The fields of EvalReport that tell how the candidate stands against the champion on the same rows."""
    return {
        "champion_sha256": rival.champion.model_sha256,
        "champion_version": rival.champion.version,
        "champion_metrics": score(champion.probabilities, truth, champion.predicted),
        "differences": paired_differences(
            candidate.probabilities,
            champion.probabilities,
            truth,
            config.seed,
            config.gate.confidence,
            (candidate.predicted, champion.predicted),
        ),
    }
