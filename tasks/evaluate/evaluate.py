"""Checkpoint to EvalReport: figures on the test rows, with intervals, by modalities, and against the champion."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_contracts.baselines import ClassicalBaselines, LinearBaseline
from data_contracts.eval_detail import DETAIL, EvalDetail
from data_contracts.modalities import in_order
from data_contracts.refs import (
    CheckpointRef,
    EvalReport,
    FeatureRef,
    InputName,
    Metrics,
    PreparedChampion,
    ValidatedRef,
)
from data_contracts.slices import SLICES, RobustnessCurve
from data_contracts.tables import PREDICTIONS
from data_contracts.uncertainty import UncertaintyFigures
from tasks import progress
from tasks.config import RunConfig
from tasks.errors import DataError
from tasks.evaluate.classical_baseline import measure_classical
from tasks.evaluate.comparison import (
    ChampionFields,
    ComparisonRows,
    against,
    champion_outputs,
    compare,
    forgetting,
    require_same_problem,
)
from tasks.evaluate.detail import describe
from tasks.evaluate.linear_baseline import measure_linear, reads_embeddings
from tasks.evaluate.scorers import ColumnFigures, Columns
from tasks.evaluate.slice_figures import (
    BesideChampion,
    Measured,
    asked_corruptions,
    asked_modalities,
    asked_of_parts,
    named_values,
    write_slices,
)
from tasks.evaluate.slice_regressions import find_regressions
from tasks.evaluate.slices import Partition, find_partitions
from tasks.evaluate.uncertainty import add_uncertainty, has_energies, predict_with_energies
from tasks.fingerprint import code_fingerprint
from tasks.modalities import joined, spec_of
from tasks.modeling.card import ModelCard, read_card
from tasks.modeling.predictions import predictions_table, present_modalities, write_predictions
from tasks.modeling.training_rows import ROWS
from tasks.problems.metric import Floats, Indices, Probabilities
from tasks.problems.registry import problem_of
from tasks.problems.scoring import AnyScorer, Clusters
from tasks.samples import METADATA, NEAR_DUPLICATES, Samples
from tasks.store import Store, canonical_json, digest_file, digest_json, write_text

KIND = "evaluations"
Features = dict[InputName, FeatureRef]


def evaluate_key(
    valid: ValidatedRef,
    features: Features,
    checkpoint: CheckpointRef,
    prepared_champion: PreparedChampion | None,
    config: RunConfig,
    store: Store,
) -> str:
    """The digest of everything that an evaluation depends on."""
    anchor = None if prepared_champion is None else prepared_champion.anchor
    near = store.path(valid.clean.uri) / NEAR_DUPLICATES  # which valid.sha256 does not cover
    metadata = store.path(valid.clean.uri) / METADATA
    seen = store.path(checkpoint.uri) / ROWS  # of a published model that is evaluated by itself
    corruptions = asked_corruptions(config, checkpoint.modalities)
    return digest_json(
        {
            "valid": valid.sha256,
            "near_duplicates": digest_file(near) if near.is_file() else None,
            "features": {name: ref.sha256 for name, ref in features.items()},
            "model": [checkpoint.train_key, checkpoint.model_sha256],
            **({"seen": digest_file(seen)} if seen.is_file() else {}),
            "champion": [None if other is None else _identity(other) for other in (prepared_champion, anchor)],
            "config": {
                "seed": config.seed,
                "confidence": config.gate.confidence,
                "min_slice_rows": config.gate.min_slice_rows,
                "classical_rows": config.evaluate.classical_rows,
                "slices": [config.slices, config.evaluate.max_slice_values, asked_of_parts(config)],
            },
            **({"metadata": digest_file(metadata)} if config.slices else {}),
            **({"robustness": [corruptions, config.evaluate.robustness_rows]} if corruptions else {}),
            "code": code_fingerprint("evaluate"),
        }
    )


def _identity(other: PreparedChampion) -> list[Any]:
    """What a comparison with a published model depends on."""
    refs = {name: ref.sha256 for name, ref in other.features.items()}
    champion = other.champion
    return [champion.sha256, champion.model_sha256, champion.version, other.valid.sha256, refs]


def evaluate(
    valid: ValidatedRef,
    features: Features,
    checkpoint: CheckpointRef,
    prepared_champion: PreparedChampion | None,
    config: RunConfig,
    store: Store,
) -> EvalReport:
    """The candidate is evaluated on every test row, and the champion on the same ones; DataError when there are none.

    A published model that is evaluated by itself is not evaluated on rows that it was trained on, or others of their group.
    """
    key = evaluate_key(valid, features, checkpoint, prepared_champion, config, store)
    found = store.find(KIND, key)
    if found is not None:
        return EvalReport.model_validate(found.ref)
    card = read_card(store.path(checkpoint.uri))
    every, rows = read_test_rows(valid, store), ComparisonRows.read(valid, store)
    unseen = require_unseen(rows.seen_by_itself(store.path(checkpoint.uri), card.modalities))
    samples, rows = every.take(unseen), rows.take(unseen)
    others = read_others(prepared_champion, card, store)
    made_from = [valid.uri, checkpoint.uri, *(other.champion.uri for other, _ in others)]
    with store.create(KIND, key, made_from, code_fingerprint("evaluate")) as draft:
        asked = asked_modalities(config, checkpoint.modalities)
        subset, energies = predict_subsets(samples, features, checkpoint, card, store, asked)
        full = subset[joined(checkpoint.modalities)]
        table = predictions_table(samples, full, card, checkpoint.modalities)
        write_predictions(draft.path / PREDICTIONS, table)
        columns = Columns(samples, card, _universes(valid, card, [theirs for _, theirs in others]))
        by_inputs = {name: columns.scorer(given) for name, given in subset.items()}
        candidate, clusters = by_inputs[joined(checkpoint.modalities)], rows.clusters
        partitions = find_partitions(valid, rows.every, rows.places, checkpoint.modalities, config, store)
        fields, beside = _beside_champion(columns, candidate, others, rows, partitions, config, store)
        model = _Model(valid, features, checkpoint, config, store)
        detail, uncertainty = _describe(model, columns, candidate, full, energies, clusters)
        measured = Measured(candidate, clusters, beside, config)
        curves = _robustness(model, others[0][0] if others else None, columns, measured)
        write_slices(draft.path / SLICES, partitions, by_inputs, measured, curves)
        _write_detail(draft.path, detail, fields.get("champion_rows"))
        linear, classical = _baselines(model, columns, by_inputs, rows, unseen)
        report = EvalReport(
            uri=f"{KIND}/{key}",
            sha256=digest_json({path.name: digest_file(path) for path in sorted(draft.path.iterdir())}),
            rows=len(samples),
            seen=len(every) - len(samples),
            clusters=None if clusters is None else int(clusters.max()) + 1,
            parents=(valid.sha256, checkpoint.sha256, *(other.champion.sha256 for other, _ in others)),
            model_sha256=checkpoint.model_sha256,
            problem=problem_of(card.label_targets[0]).name,
            uncertainty=uncertainty,
            linear_baseline=linear,
            classical=classical,
            **_own_figures(columns, by_inputs, checkpoint.modalities, full, config.seed, clusters),
            **fields,
        )
        sha256 = digest_json(report.model_dump(mode="json", exclude={"uri"}))  # with the digest of the files
        report = report.model_copy(update={"sha256": sha256})
        draft.ref = report.model_dump(mode="json")
    return report


@dataclass(frozen=True)
class _Model:
    """What is evaluated, and what it reads."""

    valid: ValidatedRef
    features: Features
    checkpoint: CheckpointRef
    config: RunConfig
    store: Store


def _describe(
    model: _Model,
    columns: Columns,
    candidate: AnyScorer,
    outputs: Probabilities,
    energies: Floats | None,
    clusters: Clusters,
) -> tuple[EvalDetail, UncertaintyFigures | None]:
    """What is drawn of the candidate's answers, and the figures of how sure it is of them."""
    samples, card, checkpoint = columns.samples, columns.card, model.checkpoint
    problem = problem_of(card.label_targets[0])
    detail = describe(samples, problem, candidate, columns.labels[0], checkpoint.modalities)
    if any(spec_of(name).joined_columns() is not None for name in checkpoint.modalities):
        from tasks.evaluate.column_importance import measure_importance  # which needs torch

        importance = measure_importance(model.valid, model.features, checkpoint, model.config.seed, model.store)
        detail = detail.model_copy(update={"importance": importance})
    return add_uncertainty(detail, samples, checkpoint, card, outputs, energies, columns.scorer, clusters)


def _robustness(
    model: _Model, champion: PreparedChampion | None, columns: Columns, measured: Measured
) -> list[RobustnessCurve]:
    """The figures on corrupted media; none where none were asked for."""
    if not asked_corruptions(model.config, model.checkpoint.modalities):
        return []
    from tasks.evaluate.robustness import MediaModel, measure_robustness  # which needs torch

    reading = MediaModel.of(model.checkpoint, model.valid, model.features, columns.card)
    return measure_robustness(reading, champion, columns, measured, model.store)


def _baselines(
    model: _Model, columns: Columns, by_inputs: Mapping[str, AnyScorer], rows: ComparisonRows, unseen: Indices
) -> tuple[LinearBaseline | None, ClassicalBaselines | None]:
    """What a linear model reaches on the same frozen features, and on classical ones; of problems with classes."""
    if not problem_of(columns.card.label_targets[0]).has_classes:
        return None, None
    valid, config, store = model.valid, model.config, model.store
    candidate = by_inputs[joined(model.checkpoint.modalities)]
    linear = None
    if reads_embeddings(columns.card):
        linear = measure_linear(valid, model.features, columns, candidate, rows, unseen, config.seed, store)
    return linear, measure_classical(valid, by_inputs, columns, rows, unseen, config, store)


def _write_detail(folder: Path, detail: EvalDetail, champion_rows: int | None) -> None:
    detail = detail.model_copy(update={"champion_rows": champion_rows})
    write_text(folder / DETAIL, canonical_json(detail.model_dump(mode="json")))


class _OwnFigures(ColumnFigures):
    majority_share: float | None
    by_modalities: dict[str, Metrics]


def _own_figures(
    columns: Columns,
    by_inputs: Mapping[str, AnyScorer],
    modalities: tuple[InputName, ...],
    outputs: Probabilities,
    seed: int,
    clusters: Clusters,
) -> _OwnFigures:
    """The candidate's figures in every label column, in the first one also with some of the inputs only."""
    further, candidate = columns.score_others(outputs, seed, clusters), by_inputs[joined(modalities)]
    return {
        **further,
        "metrics": {"test": candidate.score(), **further["metrics"]},
        "intervals": candidate.intervals(seed, clusters=clusters) | further["intervals"],
        "baselines": candidate.baselines() | further["baselines"],
        "majority_share": candidate.baselines().get("accuracy"),
        "by_modalities": {name: by_inputs[name].score() for name in map(joined, subsets(modalities))},
    }


Other = tuple[PreparedChampion, ModelCard]


def read_others(prepared_champion: PreparedChampion | None, card: ModelCard, store: Store) -> list[Other]:
    """The champion, then the best champion so far where that is another one. UsageError where one cannot be compared with."""
    anchor = None if prepared_champion is None else prepared_champion.anchor
    found = [(other, read_card(store.path(other.champion.uri))) for other in (prepared_champion, anchor) if other]
    for other, theirs in found:
        require_same_problem(other.champion, theirs, card.label_targets[0])
    return found


def _beside_champion(
    columns: Columns,
    candidate: AnyScorer,
    others: list[Other],
    rows: ComparisonRows,
    partitions: list[Partition],
    config: RunConfig,
    store: Store,
) -> tuple[ChampionFields, BesideChampion | None]:
    """The fields of EvalReport that tell how the candidate stands against the champion, and against the best one so far, on
    the rows that both can answer and neither, or both, have seen; and those answers, beside the champion's."""
    found: ChampionFields = {}
    beside: BesideChampion | None = None
    for other, card in others:
        seen = rows.seen_by(other, card, store)
        unseen = np.flatnonzero(~seen)
        shared, outputs = champion_outputs(columns.samples.take(unseen), other, card, store)
        chosen = unseen[shared]
        samples, clusters = columns.samples.take(chosen), rows.clusters_of(chosen)
        pair = (candidate.take(chosen), Columns(samples, card, columns.labels).scorer(outputs))
        pairing = compare(pair, other.champion, config, clusters, int(seen.sum()))
        if found:
            found["anchor"] = pairing
            return found, beside
        beside = BesideChampion(other.champion.version, pair, chosen, clusters)
        present = np.array(present_modalities(samples, columns.card.modalities))
        slices, least = named_values(partitions, chosen), config.gate.min_slice_rows
        regressions = find_regressions(pair, columns.labels[0], present, clusters, least, slices)
        folder = store.path(other.champion.uri)
        found = against(pairing)
        found["slice_regressions"] = regressions
        found["forgetting"] = forgetting(samples.ids, pair, folder, config, clusters)
    return found, beside


def read_test_rows(valid: ValidatedRef, store: Store) -> Samples:
    """The rows of the test split, in the samples table's order; DataError when there are none."""
    samples = Samples.read(store.path(valid.uri)).of_split("test")
    if not len(samples):
        given = ", ".join(f"{name} {rows}" for name, rows in valid.clean.splits.items())
        raise DataError(
            f"split 'test': 0 rows ({given}); a model cannot be evaluated without test rows: "
            "give some in the split column, or leave it out so that split.test divides them"
        )
    return samples


def require_unseen(seen: NDArray[np.bool_]) -> Indices:
    """Positions of the test rows (S,) that the model has not seen; DataError where there are none."""
    unseen = np.flatnonzero(~seen)
    if not len(unseen):
        raise DataError(
            f"split 'test': all {len(seen):,} rows are among those that the model was trained or validated on, or of their "
            "groups, so no figure on them says how it answers new ones; give other test rows"
        )
    return unseen


def subsets(modalities: tuple[InputName, ...]) -> list[tuple[InputName, ...]]:
    """Every single modality, every pair where there are three or four, and all of them; in their order.

    Of more than four inputs, whose pairs would be many, all but one instead of pairs.
    """
    ordered = in_order(modalities)
    count = len(ordered)
    sizes = sorted({1, count} | ({2 if count <= 4 else count - 1} if count >= 3 else set()))
    return [chosen for size in sizes for chosen in itertools.combinations(ordered, size)]


def _universes(valid: ValidatedRef, card: ModelCard, champions: list[ModelCard]) -> tuple[tuple[str, ...], ...]:
    """Per label column the candidate's labels first, then those that only the data or the champions know."""
    known = [label for champion in champions for label in champion.label_targets[0].labels]
    found = []
    for place, (own, data) in enumerate(zip(card.label_targets, valid.clean.label_targets, strict=True)):
        found.append(tuple(dict.fromkeys((*own.labels, *data.labels, *(known if place == 0 else ())))))
    return tuple(found)


def predict_subsets(
    samples: Samples,
    features: Features,
    checkpoint: CheckpointRef,
    card: ModelCard,
    store: Store,
    asked: Sequence[tuple[InputName, ...]] = (),
) -> tuple[dict[str, Probabilities], Floats | None]:
    """`image+audio` to the probabilities (N, C) of the same model given only those modalities; `asked` are further sets. With
    the energy scores (N,) of the answers to all modalities, None where the card has no threshold for them."""
    from tasks.modeling.inference import predict_probabilities
    from tasks.modeling.package import load_model

    model = load_model(store.path(checkpoint.uri), card)
    chosen = list(dict.fromkeys((*subsets(checkpoint.modalities), *asked)))
    found, energies = {}, None
    for done, present in enumerate(chosen):
        progress.report("evaluate", done, len(chosen), joined(present))
        if has_energies(card) and joined(present) == joined(checkpoint.modalities):
            found[joined(present)], energies = predict_with_energies(model, samples, features, store)
        else:
            found[joined(present)] = predict_probabilities(model, samples, features, store, present=present)
    progress.report("evaluate", len(chosen), len(chosen))
    return found, energies
