"""Whether rows are answered by the mean over a picture and its mirror image, decided on the validation rows.

Test-time augmentation costs a second pass through the encoder for every answer, so chance alone should not bring it in: each
validation row's loss is taken with and without, and the mean of the differences must exceed twice its standard error. Both
losses are of the probabilities that a model would answer with, each after a temperature of its own: a mean of two vectors makes
logits smaller, which by itself is worth no second pass. No test row is looked at.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from data_contracts.refs import FeatureRef, InputName, Target
from data_contracts.training_history import TestTimeFlip
from tasks.config import TrainConfig
from tasks.mirrored_labels import why_not_mirrored
from tasks.modalities import spec_of
from tasks.modeling.card import FeatureForm, ModelCard
from tasks.modeling.features import FeatureTable
from tasks.modeling.fusion.classifier import FusedClassifier
from tasks.modeling.inference import answered_ref, predict_logits
from tasks.modeling.targets import EncodedTargets
from tasks.problems.registry import get_metric, problem_of
from tasks.store import Store
from tasks.train.dataset import Dataset
from tasks.train.request import TrainJob, cluster_val_rows
from tasks.train.uncertainty import batch_rows, find_temperature

STANDARD_ERRORS = 2.0
"""By how many of them the loss must fall: with many clusters of rows, chance alone does that for about one model in forty
whose flip changes nothing; with few of them for more."""


@dataclass(frozen=True)
class FlipChoice:
    """The card, and the validation rows as the model that it describes reads them."""

    card: ModelCard
    val: Dataset
    record: TestTimeFlip | None = None
    """None where there was nothing to choose."""


def choose_flip(
    card: ModelCard,
    model: FusedClassifier,
    val: Dataset,
    groups: NDArray[np.int64] | None,
    job: TrainJob,
    store: Store,
) -> FlipChoice:
    """The card with test_time_flip for all pictures and frames, where that lowers the validation loss by more than chance would
    and improves the validation metric; `model` answers so from then on. `groups` (N,) are those that the temperature is
    cross-validated by.

    `card` is of a training without; nothing is chosen where features of the mirrored validation rows were not extracted.
    """
    features, config = job.features, job.config.train
    names = [name for name in card.modalities if spec_of(name).has_pixels]
    frozen = [name for name in names if card.encoders[name].reads == "embedding"]
    why = why_not_mirrored(card.label_targets, config)
    if names and why is not None:
        return FlipChoice(card, val, TestTimeFlip(used=False, why=why))
    if not names or any(features[name].test_time is None for name in frozen):
        return FlipChoice(card, val)
    flipped = _with_flip(card, names, features)
    tables = dict(val.inputs.tables)
    for name in frozen:
        digests = val.inputs.tables[name].digests
        tables[name] = FeatureTable.load(store, answered_ref(flipped.encoders[name], features[name]), only=digests)
    places = {
        name: _moved(val.inputs.places[name], val.inputs.tables[name], tables[name]) if name in frozen else here
        for name, here in val.inputs.places.items()
    }
    both = replace(val, inputs=replace(val.inputs, tables=tables, places=places))
    batch = batch_rows(model, config)
    plain = validate_logits(predict_logits(model, val.inputs, batch), val.targets, groups, config)
    specs, model.specs = model.specs, {name: flipped.encoders[name] for name in model.modalities}
    averaged = validate_logits(predict_logits(model, both.inputs, batch), val.targets, groups, config)
    record = decide(plain, averaged, val.weights, cluster_val_rows(job.valid, store), card.label_targets[0])
    if record.used:
        return FlipChoice(flipped, both, record)
    model.specs = specs
    return FlipChoice(card, val, record)


@dataclass(frozen=True)
class Validated:
    """What the first label column's answers are worth on N validation rows, once the model is calibrated."""

    losses: NDArray[np.float64]
    """(N,) NaN where a row has no label."""
    score: float
    """The validation metric."""


def validate_logits(
    logits: NDArray[np.float32], encoded: EncodedTargets, groups: NDArray[np.int64] | None, config: TrainConfig
) -> Validated:
    """Of (N, outputs) logits, under the temperature that the model would have for them.

    The loss is that of the probabilities: without smoothing or focus, under which being less certain is worth something.
    """
    scaling = find_temperature(logits, encoded, groups, config)
    temperature = scaling.temperature if scaling is not None and scaling.used else 1.0
    targets = replace(encoded.targets, temperature=temperature)
    target, cut = targets.columns[0], targets.slices[0]
    problem = problem_of(target)
    plain = config.model_copy(update={"loss": "cross-entropy", "label_smoothing": 0.0})
    soft = encoded.soft(torch.arange(len(logits)))[:, cut]
    losses = problem.loss(torch.from_numpy(logits[:, cut] / np.float32(temperature)), soft.nan_to_num(), plain, None)
    losses = losses.double()
    losses[soft.isnan().any(dim=1)] = torch.nan
    outputs = targets.activate(torch.from_numpy(logits))[:, cut].numpy()
    return Validated(losses.numpy(), float(problem.validation_score(outputs, encoded.first, target)))


def decide(
    plain: Validated,
    averaged: Validated,
    row_weights: NDArray[np.float32],
    clusters: NDArray[np.int64] | None,
    target: Target,
) -> TestTimeFlip:
    """Whether rows are answered by both views; rows of one of the `clusters` (N,) vary together, None: each by itself."""
    metric = problem_of(target).validation_metric
    known = np.isfinite(plain.losses) & np.isfinite(averaged.losses)
    weights = row_weights[known].astype(np.float64)
    gained = plain.losses[known] - averaged.losses[known]
    gain = float(np.average(gained, weights=weights))
    error = standard_error(gained, weights, None if clusters is None else clusters[known])
    difference = averaged.score - plain.score
    better = difference < 0 if get_metric(metric).lower_is_better else difference > 0
    return TestTimeFlip(
        rows=int(known.sum()),
        used=bool(better and gain > STANDARD_ERRORS * error),
        metric=metric,
        score=plain.score,
        flipped_score=averaged.score,
        loss=float(np.average(plain.losses[known], weights=weights)),
        flipped_loss=float(np.average(averaged.losses[known], weights=weights)),
        standard_error=None if np.isinf(error) else error,
    )


def standard_error(
    values: NDArray[np.float64], weights: NDArray[np.float64], clusters: NDArray[np.int64] | None
) -> float:
    """Of the weighted mean of `values` (N,), whose rows vary with those of their cluster (N,); inf for a single cluster."""
    own = np.arange(len(values)) if clusters is None else np.unique(clusters, return_inverse=True)[1]
    count = int(own.max(initial=-1)) + 1
    if count < 2:
        return float("inf")
    off = np.bincount(own, weights * (values - np.average(values, weights=weights)), minlength=count)
    return float(np.sqrt(count / (count - 1) * (off**2).sum()) / weights.sum())


def _with_flip(card: ModelCard, names: list[InputName], features: Mapping[InputName, FeatureRef]) -> ModelCard:
    encoders = {name: spec.model_copy(update={"test_time_flip": name in names}) for name, spec in card.encoders.items()}
    settings = card.config.encoders.model_copy(update={"test_time_flip": "on"})  # by which its features are found again
    config = card.config.model_copy(update={"encoders": settings})
    forms = dict(card.features)
    for name in names:
        read = answered_ref(encoders[name], features[name])
        forms[name] = FeatureForm(fingerprint=read.fingerprint, dtype=read.dtype)
    return card.model_copy(update={"encoders": encoders, "config": config, "features": forms})


def _moved(places: NDArray[np.int64], before: FeatureTable, after: FeatureTable) -> NDArray[np.int64]:
    """(N,) the places in one table of what lies at `places` (N,) in another; -1 stays."""
    moved = after.locate(before.digests)
    return np.where(places >= 0, moved[np.maximum(places, 0)], -1)
