"""Checkpoint to EvalReport: figures on the test rows, with intervals, by modalities, and against the champion."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

from data_contracts.eval_detail import DETAIL
from data_contracts.modalities import in_order
from data_contracts.refs import (
    CheckpointRef,
    EvalReport,
    FeatureRef,
    InputName,
    LinearBaseline,
    PreparedChampion,
    ValidatedRef,
)
from data_contracts.tables import PREDICTIONS
from tasks import progress
from tasks.config import RunConfig
from tasks.errors import DataError
from tasks.evaluate.comparison import against, champion_outputs, forgetting, require_same_problem
from tasks.evaluate.detail import describe
from tasks.evaluate.linear_baseline import fit_linear_baseline, reads_embeddings
from tasks.evaluate.scorers import judge_column
from tasks.fingerprint import code_fingerprint
from tasks.modalities import joined, spec_of
from tasks.modeling.card import ModelCard, read_card
from tasks.modeling.predictions import predictions_table, write_predictions
from tasks.problems.metric import Probabilities
from tasks.problems.registry import problem_of
from tasks.problems.scoring import AnyScorer
from tasks.samples import Samples
from tasks.store import Store, canonical_json, digest_file, digest_json, write_text

KIND = "evaluations"
Features = dict[InputName, FeatureRef]


def evaluate_key(
    valid: ValidatedRef,
    features: Features,
    checkpoint: CheckpointRef,
    prepared_champion: PreparedChampion | None,
    config: RunConfig,
) -> str:
    """The digest of everything that an evaluation depends on."""
    against = None
    if prepared_champion is not None:
        champion, refs = (
            prepared_champion.champion,
            {name: ref.sha256 for name, ref in prepared_champion.features.items()},
        )
        against = [champion.sha256, champion.model_sha256, champion.version, prepared_champion.valid.sha256, refs]
    return digest_json(
        {
            "valid": valid.sha256,
            "features": {name: ref.sha256 for name, ref in features.items()},
            "model": [checkpoint.train_key, checkpoint.model_sha256],
            "champion": against,
            "config": {"seed": config.seed, "confidence": config.gate.confidence},
            "code": code_fingerprint("evaluate"),
        }
    )


def evaluate(
    valid: ValidatedRef,
    features: Features,
    checkpoint: CheckpointRef,
    prepared_champion: PreparedChampion | None,
    config: RunConfig,
    store: Store,
) -> EvalReport:
    """The candidate is judged on every test row, and the champion on the same ones; DataError when there are none."""
    key = evaluate_key(valid, features, checkpoint, prepared_champion, config)
    found = store.find(KIND, key)
    if found is not None:
        return EvalReport.model_validate(found.ref)
    samples = read_test_rows(valid, store)
    card = read_card(store.path(checkpoint.uri))
    theirs = None if prepared_champion is None else read_card(store.path(prepared_champion.champion.uri))
    if prepared_champion is not None and theirs is not None:
        require_same_problem(prepared_champion.champion, theirs, card.label_targets[0])
    with store.create(KIND, key) as draft:
        subset = predict_subsets(samples, features, checkpoint, card, store)
        full = subset[joined(checkpoint.modalities)]
        table = predictions_table(samples, full, card, checkpoint.modalities)
        write_predictions(draft.path / PREDICTIONS, table)
        columns = Columns(samples, card, _universes(valid, card, theirs))
        candidate, problem = columns.judge(full), problem_of(card.label_targets[0])
        detail = describe(samples, problem, candidate, columns.labels[0], checkpoint.modalities)
        payload: dict[str, Any] = {
            "rows": len(samples),
            "parents": [valid.sha256, checkpoint.sha256],
            "model_sha256": checkpoint.model_sha256,
            "problem": problem.name,
            "metrics": {"test": candidate.score()},
            "intervals": candidate.intervals(config.seed),
            "by_modalities": {name: columns.judge(given).score() for name, given in subset.items()},
            "baselines": candidate.baselines(),
            "majority_share": candidate.baselines().get("accuracy"),
            "known_rows": {},
            "problems": {},
        }
        for key_, figures in columns.judge_others(full, config.seed).items():
            payload[key_] |= figures
        if prepared_champion is not None and theirs is not None:
            payload["parents"].append(prepared_champion.champion.sha256)
            compared, shared = _beside_champion(columns, candidate, prepared_champion, theirs, config, store)
            payload |= compared
            detail = detail.model_copy(update={"champion_rows": shared})
        if problem.has_classes and reads_embeddings(card):
            linear_baseline = _linear_baseline(valid, features, columns, candidate, config, store)
            payload["linear_baseline"] = None if linear_baseline is None else linear_baseline.model_dump(mode="json")
        if any(spec_of(name).joined_columns() is not None for name in checkpoint.modalities):
            from tasks.evaluate.column_importance import measure_importance  # which needs torch

            importance = measure_importance(valid, features, checkpoint, config.seed, store)
            detail = detail.model_copy(update={"importance": importance})
        write_text(draft.path / DETAIL, canonical_json(detail.model_dump(mode="json")))
        contents = {path.name: digest_file(path) for path in sorted(draft.path.iterdir())}
        report = EvalReport(uri=f"{KIND}/{key}", sha256=digest_json({"ref": payload, "files": contents}), **payload)
        draft.ref = report.model_dump(mode="json")
    return report


def _beside_champion(
    columns: Columns,
    candidate: AnyScorer,
    prepared_champion: PreparedChampion,
    card: ModelCard,
    config: RunConfig,
    store: Store,
) -> tuple[dict[str, Any], int]:
    """The comparison with the champion on the rows that both can answer, what was forgotten, and how many rows those are."""
    shared, outputs = champion_outputs(columns.samples, prepared_champion, card, store)
    samples = columns.samples.take(shared)
    pair = (candidate.take(shared), Columns(samples, card, columns.labels).judge(outputs))
    forgotten = forgetting(samples.ids, pair, store.path(prepared_champion.champion.uri), config)
    return against(*pair, prepared_champion, config) | {"forgetting": forgotten}, len(shared)


def read_test_rows(valid: ValidatedRef, store: Store) -> Samples:
    """The rows of the test split, in the samples table's order; DataError when there are none."""
    samples = Samples.read(store.path(valid.uri)).of_split("test")
    if not len(samples):
        given = ", ".join(f"{name} {rows}" for name, rows in valid.clean.splits.items())
        raise DataError(
            f"split 'test': 0 rows ({given}); a model cannot be judged without test rows: "
            "give some in the split column, or leave it out so that split.test divides them"
        )
    return samples


def subsets(modalities: tuple[InputName, ...]) -> list[tuple[InputName, ...]]:
    """Every single modality, every pair where there are three or four, and all of them; in their order.

    Of more than four inputs, whose pairs would be many, all but one instead of pairs.
    """
    ordered = in_order(modalities)
    count = len(ordered)
    sizes = sorted({1, count} | ({2 if count <= 4 else count - 1} if count >= 3 else set()))
    return [chosen for size in sizes for chosen in itertools.combinations(ordered, size)]


@dataclass(frozen=True)
class Columns:
    """The truth of some rows in every label column of a model, and the labels to judge over."""

    samples: Samples
    card: ModelCard
    labels: tuple[tuple[str, ...], ...]
    """Per label column: the candidate's own first."""

    def judge(self, outputs: Probabilities) -> AnyScorer:
        """The first column, of which every row's truth is known."""
        return judge_column(self.card, 0, outputs, self.samples.targets(0, ""), self.labels[0])[0]

    def judge_others(self, outputs: Probabilities, seed: int) -> dict[str, dict[str, Any]]:
        """Fields of EvalReport with the figures of every further column on the rows whose truth is known."""
        found: dict[str, dict[str, Any]] = {
            name: {} for name in ("metrics", "intervals", "baselines", "known_rows", "problems")
        }
        for place, target in enumerate(self.card.label_targets):
            if place == 0:
                continue
            cells = self.samples.targets(place, target.name)
            scorer, _ = judge_column(self.card, place, outputs, cells, self.labels[place])
            found["metrics"][target.name] = scorer.score()
            found["known_rows"][target.name] = scorer.rows
            found["problems"][target.name] = target.problem
            ranges = scorer.intervals(seed) if scorer.rows else {}
            found["intervals"] |= {f"{target.name}.{name}": value for name, value in ranges.items()}
            found["baselines"] |= {f"{target.name}.{name}": value for name, value in scorer.baselines().items()}
        return found


def _universes(valid: ValidatedRef, card: ModelCard, champion: ModelCard | None) -> tuple[tuple[str, ...], ...]:
    """Per label column the candidate's labels first, then those that only the data or the champion know."""
    theirs = () if champion is None else champion.label_targets
    found = []
    for place, (own, data) in enumerate(zip(card.label_targets, valid.clean.label_targets, strict=True)):
        others = theirs[0].labels if place == 0 and theirs else ()
        found.append(tuple(dict.fromkeys((*own.labels, *data.labels, *others))))
    return tuple(found)


def predict_subsets(
    samples: Samples, features: Features, checkpoint: CheckpointRef, card: ModelCard, store: Store
) -> dict[str, Probabilities]:
    """`image+audio` to the probabilities (N, C) of the same model given only those modalities."""
    from tasks.modeling.inference import predict_probabilities
    from tasks.modeling.package import load_model

    model = load_model(store.path(checkpoint.uri), card)
    chosen = subsets(checkpoint.modalities)
    found = {}
    for done, given in enumerate(chosen):
        progress.report("evaluate", done, len(chosen), joined(given))
        found[joined(given)] = predict_probabilities(model, samples, features, store, given=given)
    progress.report("evaluate", len(chosen), len(chosen))
    return found


def _linear_baseline(
    valid: ValidatedRef,
    features: Features,
    columns: Columns,
    candidate: AnyScorer,
    config: RunConfig,
    store: Store,
) -> LinearBaseline | None:
    """The baseline's figures, and the candidate's minus them, on the same rows."""
    labels, target = columns.labels[0], columns.card.label_targets[0]
    fitted = fit_linear_baseline(valid, features, labels, config.seed, store)
    if fitted is None:
        return None
    cells = columns.samples.targets(0, "")
    wide = target.model_copy(update={"labels": labels})
    linear_baseline = problem_of(target).scorer(fitted.probabilities, cells, wide, labels, None)
    return LinearBaseline(
        metrics=linear_baseline.score(),
        c=fitted.c,
        rows=fitted.rows,
        width=fitted.width,
        differences=candidate.differences(linear_baseline, config.seed),
        notes=fitted.notes,
    )
