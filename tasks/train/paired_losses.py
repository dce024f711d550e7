"""Two trained models on the same validation rows: the loss of each, how sure the difference is, and with one modality only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from data_contracts.encoder_choice import PairedLosses
from data_contracts.modalities import modality_of
from data_contracts.refs import CheckpointRef, FeatureRef, InputName, Modality, ValidatedRef
from tasks.config import RunConfig
from tasks.fingerprint import code_fingerprint
from tasks.samples import Samples
from tasks.store import Store, canonical_json, digest_json, write_text
from tasks.train.request import cluster_val_rows, read_samples

if TYPE_CHECKING:
    from tasks.train.test_time_flip import Validated

KIND = "paired_losses"
LOSSES = "losses.json"


@dataclass(frozen=True)
class TrainedModel:
    """A model, and the features that it reads."""

    checkpoint: CheckpointRef
    features: Mapping[InputName, FeatureRef]
    config: RunConfig


def stored_losses(one: CheckpointRef, other: CheckpointRef, store: Store) -> PairedLosses | None:
    """As they were taken before; None where they were not."""
    found = store.find(KIND, _key(one, other))
    if found is not None:
        return PairedLosses.model_validate(found.ref["losses"])
    found = store.find(KIND, _key(other, one))
    return None if found is None else PairedLosses.model_validate(found.ref["losses"]).swapped()


def pair_losses(
    one: TrainedModel, other: TrainedModel, kinds: Iterable[Modality], valid: ValidatedRef, store: Store
) -> PairedLosses:
    """The mean losses of the first label column's probabilities, each model under a temperature of its own, over the rows that
    have a label, and the standard error of their difference; of each of these modalities the losses with it only."""
    known = stored_losses(one.checkpoint, other.checkpoint, store)
    if known is not None:
        return known
    from tasks.train.test_time_flip import standard_error  # which needs torch

    val = read_samples(valid, store).of_split("val")
    ours, theirs = (_validate(model, val, None, store).losses for model in (one, other))
    rows = np.isfinite(ours) & np.isfinite(theirs)
    weights = val.weights[rows].astype(np.float64)

    def mean_of(losses: NDArray[np.float64]) -> float:
        """Over the rows that have a label."""
        return float(np.average(losses[rows], weights=weights))

    clusters = cluster_val_rows(valid, store)
    error = standard_error((ours - theirs)[rows], weights, None if clusters is None else clusters[rows])
    found = PairedLosses(
        rows=int(rows.sum()),
        losses=(mean_of(ours), mean_of(theirs)),
        standard_error=None if np.isinf(error) else error,
        by_modality={
            kind: (mean_of(_validate(one, val, kind, store).losses), mean_of(_validate(other, val, kind, store).losses))
            for kind in kinds
        },
    )
    key = _key(one.checkpoint, other.checkpoint)
    made_from = [valid.uri, one.checkpoint.uri, other.checkpoint.uri]
    with store.create(KIND, key, made_from, code_fingerprint("paired_losses")) as draft:
        write_text(draft.path / LOSSES, canonical_json(found.model_dump(mode="json")))
        draft.ref = {"uri": f"{KIND}/{key}", "losses": found.model_dump(mode="json")}
    return found


def _validate(model: TrainedModel, val: Samples, only: Modality | None, store: Store) -> Validated:
    from tasks.modeling.inference import load_inputs, predict_logits
    from tasks.modeling.package import load_model
    from tasks.train.test_time_flip import validate_logits
    from tasks.train.uncertainty import number_groups

    network = load_model(store.path(model.checkpoint.uri))
    present = tuple(name for name in model.features if only in (None, modality_of(name)))
    logits = predict_logits(network, load_inputs(network, val, model.features, store, present))
    return validate_logits(logits, network.targets.encode(val), number_groups(val), model.config.train)


def _key(one: CheckpointRef, other: CheckpointRef) -> str:
    """The checkpoints' keys tell the rows and the settings."""
    models = [[each.train_key, each.model_sha256] for each in (one, other)]
    return digest_json({"models": models, "code": code_fingerprint("paired_losses")})
