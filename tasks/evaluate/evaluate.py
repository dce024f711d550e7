"""Checkpoint to EvalReport: figures on the test rows, with intervals, by modalities, and against the champion."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from data_contracts.refs import CheckpointRef, EvalReport, FeatureRef, Floor, Modality, Rival, ValidatedRef
from data_contracts.tables import predictions_schema
from tasks import progress
from tasks.config import RunConfig
from tasks.contract import read_table
from tasks.errors import DataError
from tasks.evaluate.answers import Answers, Probabilities, align, answers_of, read_labels
from tasks.evaluate.comparison import against, champion_answers, forgetting
from tasks.evaluate.detail import describe, present
from tasks.evaluate.floor import fit_floor, reads_embeddings
from tasks.evaluate.intervals import intervals, paired_differences
from tasks.evaluate.metrics import Indices, score
from tasks.fingerprint import code_fingerprint
from tasks.modalities import MODALITIES, joined
from tasks.modeling.card import read_card
from tasks.modeling.decision import decide, read_offsets
from tasks.store import Store, canonical_json, digest_file, digest_json, write_text

KIND = "evaluations"
Features = dict[Modality, FeatureRef]


def evaluate_key(
    valid: ValidatedRef, features: Features, checkpoint: CheckpointRef, rival: Rival | None, config: RunConfig
) -> str:
    """The digest of everything that an evaluation depends on."""
    against = None
    if rival is not None:
        champion, refs = rival.champion, {name: ref.sha256 for name, ref in rival.features.items()}
        against = [champion.sha256, champion.model_sha256, champion.version, rival.valid.sha256, refs]
    return digest_json(
        {
            "valid": valid.sha256,
            "features": {name: ref.sha256 for name, ref in features.items()},
            "model": [checkpoint.train_key, checkpoint.model_sha256],
            "rival": against,
            "config": {"seed": config.seed, "confidence": config.gate.confidence},
            "code": code_fingerprint("tasks.evaluate.evaluate", libraries=("numpy", "scikit-learn", "torch")),
        }
    )


def evaluate(
    valid: ValidatedRef,
    features: Features,
    checkpoint: CheckpointRef,
    rival: Rival | None,
    config: RunConfig,
    store: Store,
) -> EvalReport:
    """The candidate is judged on every test row, and the champion on the same ones; DataError when there are none."""
    key = evaluate_key(valid, features, checkpoint, rival, config)
    found = store.find(KIND, key)
    if found is not None:
        return EvalReport.model_validate(found.ref)
    samples = read_test_rows(valid, store)
    with store.create(KIND, key) as draft:
        labels = _universe(valid, checkpoint, rival, store)
        truth = class_indices(samples, labels)
        subset = predict_subsets(samples, features, checkpoint, store)
        card = read_card(store.path(checkpoint.uri))
        offsets = read_offsets(card)
        full = subset[joined(checkpoint.modalities)]
        candidate = answers_of(full, checkpoint.labels, offsets, labels)
        predictions = _predictions(samples, full, candidate, checkpoint)
        pq.write_table(predictions, draft.path / "predictions.parquet", compression="zstd")
        shown = candidate.probabilities
        detail = describe(samples, shown, truth, labels, checkpoint.modalities, candidate.predicted)
        payload: dict[str, Any] = {
            "rows": samples.num_rows,
            "parents": [valid.sha256, checkpoint.sha256],
            "model_sha256": checkpoint.model_sha256,
            "metrics": {"test": score(shown, truth, candidate.predicted)},
            "intervals": intervals(shown, truth, config.seed, predicted=candidate.predicted),
            "by_modalities": {
                name: score(align(given, checkpoint.labels, labels), truth, decide(given, offsets))
                for name, given in subset.items()
            },
            "majority_share": float(np.bincount(truth).max() / len(truth)),
        }
        if rival is not None:
            payload["parents"].append(rival.champion.sha256)
            shared, theirs = champion_answers(samples, rival, labels, store)
            detail["champion_rows"] = len(shared)
            payload |= against(candidate.take(shared), theirs, truth[shared], rival, config)
            ids, folder = samples["id"].take(shared).to_pylist(), store.path(rival.champion.uri)
            pair = (candidate.take(shared), theirs)
            payload["forgetting"] = forgetting(ids, pair, truth[shared], folder, config)
        if reads_embeddings(card) and (floor := _floor(valid, features, labels, (candidate, truth), config, store)):
            payload["floor"] = floor.model_dump(mode="json")
        write_text(draft.path / "detail.json", canonical_json(detail))
        contents = {path.name: digest_file(path) for path in sorted(draft.path.iterdir())}
        report = EvalReport(uri=f"{KIND}/{key}", sha256=digest_json({"ref": payload, "files": contents}), **payload)
        draft.ref = report.model_dump(mode="json")
    return report


def read_test_rows(valid: ValidatedRef, store: Store) -> pa.Table:
    """The rows of the test split, in the samples table's order; DataError when there are none."""
    samples = read_table(store.path(valid.uri) / "samples.parquet", filters=[("split", "==", "test")])
    if samples.num_rows == 0:
        given = ", ".join(f"{name} {rows}" for name, rows in valid.clean.splits.items())
        raise DataError(
            f"split 'test': 0 rows ({given}); a model cannot be judged without test rows: "
            "give some in the split column, or leave it out so that split.test divides them"
        )
    return samples


def class_indices(samples: pa.Table, labels: tuple[str, ...]) -> Indices:
    """Each sample's position of its label in `labels` (N,)."""
    positions = {label: index for index, label in enumerate(labels)}
    return np.array([positions[label] for label in samples["label"].to_pylist()], dtype=np.int64)


def subsets(modalities: tuple[Modality, ...]) -> list[tuple[Modality, ...]]:
    """Every single modality, every pair where there are three or more, and all of them; in the table's order."""
    ordered = tuple(name for name in MODALITIES if name in modalities)
    sizes = sorted({1, len(ordered)} | ({2} if len(ordered) >= 3 else set()))
    return [chosen for size in sizes for chosen in itertools.combinations(ordered, size)]


def _universe(valid: ValidatedRef, checkpoint: CheckpointRef, rival: Rival | None, store: Store) -> tuple[str, ...]:
    """The candidate's labels first, then those that only the data or the champion know."""
    others = read_labels(store.path(rival.champion.uri)) if rival is not None else ()
    return tuple(dict.fromkeys((*checkpoint.labels, *valid.clean.labels, *others)))


def predict_subsets(
    samples: pa.Table, features: Features, checkpoint: CheckpointRef, store: Store
) -> dict[str, Probabilities]:
    """`image+audio` to the probabilities (N, C) of the same model given only those modalities."""
    from tasks.modeling.inference import predict_probabilities
    from tasks.modeling.package import load_model

    model = load_model(store.path(checkpoint.uri))
    chosen = subsets(checkpoint.modalities)
    found = {}
    for done, given in enumerate(chosen):
        progress.report("evaluate", done, len(chosen), joined(given))
        found[joined(given)] = predict_probabilities(model, samples, features, store, given=given)
    progress.report("evaluate", len(chosen), len(chosen))
    return found


def _floor(
    valid: ValidatedRef,
    features: Features,
    labels: tuple[str, ...],
    judged: tuple[Answers, Indices],
    config: RunConfig,
    store: Store,
) -> Floor | None:
    """The floor's figures beside the model's answers and the truth, `judged`, on the same rows."""
    fitted = fit_floor(valid, features, labels, config.seed, store)
    if fitted is None:
        return None
    model, truth = judged
    return Floor(
        metrics=score(fitted.probabilities, truth),
        c=fitted.c,
        rows=fitted.rows,
        width=fitted.width,
        differences=paired_differences(
            model.probabilities, fitted.probabilities, truth, config.seed, predicted=(model.predicted, None)
        ),
        notes=fitted.notes,
    )


def _predictions(
    samples: pa.Table, probabilities: Probabilities, answers: Answers, checkpoint: CheckpointRef
) -> pa.Table:
    """`probabilities` are over the checkpoint's own labels, which come first in those of the answers."""
    best = answers.predicted
    return pa.table(
        {
            "id": samples["id"],
            "label": samples["label"],
            "predicted": [checkpoint.labels[index] for index in best],
            "probability": np.take_along_axis(probabilities, best[:, None], axis=1)[:, 0].astype(np.float32),
            "probabilities": list(probabilities.astype(np.float32)),
            "modalities": present(samples, checkpoint.modalities),
        },
        schema=predictions_schema(),
    )
