"""Checkpoint to EvalReport: figures on the test rows, with intervals, by modalities, and against the champion."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from data_contracts.refs import CheckpointRef, EvalReport, FeatureRef, Modality, Rival, ValidatedRef
from data_contracts.tables import predictions_schema
from tasks import progress
from tasks.config import RunConfig
from tasks.contract import read_table
from tasks.errors import DataError
from tasks.evaluate.detail import describe, present
from tasks.evaluate.intervals import intervals, paired_differences
from tasks.evaluate.metrics import Indices, score
from tasks.fingerprint import code_fingerprint
from tasks.modalities import MODALITIES, joined
from tasks.store import Store, canonical_json, digest_file, digest_json, write_text

KIND = "evaluations"
Probabilities = NDArray[np.floating[Any]]
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
            "code": code_fingerprint("tasks.evaluate.evaluate", libraries=("numpy", "torch")),
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
        full = subset[joined(checkpoint.modalities)]
        candidate = align(full, checkpoint.labels, labels)
        predictions = _predictions(samples, full, checkpoint)
        pq.write_table(predictions, draft.path / "predictions.parquet", compression="zstd")
        detail = describe(samples, candidate, truth, labels, checkpoint.modalities)
        payload: dict[str, Any] = {
            "rows": samples.num_rows,
            "parents": [valid.sha256, checkpoint.sha256],
            "model_sha256": checkpoint.model_sha256,
            "metrics": {"test": score(candidate, truth)},
            "intervals": intervals(candidate, truth, config.seed),
            "by_modalities": {
                name: score(align(given, checkpoint.labels, labels), truth) for name, given in subset.items()
            },
            "majority_share": float(np.bincount(truth).max() / len(truth)),
        }
        if rival is not None:
            payload["parents"].append(rival.champion.sha256)
            shared, theirs = _champion_probabilities(samples, rival, labels, store)
            detail["champion_rows"] = len(shared)
            payload |= _against(candidate[shared], theirs, truth[shared], rival, config)
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


def align(probabilities: Probabilities, own: tuple[str, ...], labels: tuple[str, ...]) -> Probabilities:
    """Columns moved from a model's own label order to `labels`; a label that the model does not know gets 0."""
    if own == labels:
        return probabilities
    positions = {label: index for index, label in enumerate(labels)}
    aligned = np.zeros((len(probabilities), len(labels)), dtype=probabilities.dtype)
    aligned[:, [positions[label] for label in own]] = probabilities
    return aligned


def subsets(modalities: tuple[Modality, ...]) -> list[tuple[Modality, ...]]:
    """Every single modality, every pair where there are three or more, and all of them; in the table's order."""
    ordered = tuple(name for name in MODALITIES if name in modalities)
    sizes = sorted({1, len(ordered)} | ({2} if len(ordered) >= 3 else set()))
    return [chosen for size in sizes for chosen in itertools.combinations(ordered, size)]


def _universe(valid: ValidatedRef, checkpoint: CheckpointRef, rival: Rival | None, store: Store) -> tuple[str, ...]:
    """The candidate's labels first, then those that only the data or the champion know."""
    others = _labels(store.path(rival.champion.uri)) if rival is not None else ()
    return tuple(dict.fromkeys((*checkpoint.labels, *valid.clean.labels, *others)))


def _labels(folder: Path) -> tuple[str, ...]:
    return tuple(json.loads((folder / "model.json").read_text(encoding="utf-8"))["labels"])


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


def _champion_probabilities(
    samples: pa.Table, rival: Rival, labels: tuple[str, ...], store: Store
) -> tuple[Indices, Probabilities]:
    """Positions (S,) of the test rows that the champion's samples hold too, and its probabilities (S, C) for them.

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
    return shared, align(probabilities, _labels(folder), labels)


def _against(
    candidate: Probabilities, champion: Probabilities, truth: Indices, rival: Rival, config: RunConfig
) -> dict[str, Any]:
    return {
        "champion_sha256": rival.champion.model_sha256,
        "champion_version": rival.champion.version,
        "champion_metrics": score(champion, truth),
        "differences": paired_differences(candidate, champion, truth, config.seed, config.gate.confidence),
    }


def _predictions(samples: pa.Table, probabilities: Probabilities, checkpoint: CheckpointRef) -> pa.Table:
    best = np.nan_to_num(probabilities).argmax(axis=1)
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
