"""Whether rows are answered by the mean over a picture and its mirror image, decided on the validation rows.

Test-time augmentation costs a second pass through the encoder for every answer, so chance alone should not bring it in: each
validation row's loss is taken with and without, and the mean of the differences must exceed twice its standard error. No test
row is looked at.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from data_contracts.refs import FeatureRef, InputName
from data_contracts.training_history import TestTimeFlip
from tasks.config import TrainConfig
from tasks.mirrored_labels import why_not_mirrored
from tasks.modalities import spec_of
from tasks.modeling.card import ModelCard
from tasks.modeling.features import FeatureTable
from tasks.modeling.fusion.classifier import FusedClassifier
from tasks.modeling.inference import answered_ref, predict_logits, to_outputs
from tasks.problems.registry import get_metric, problem_of
from tasks.store import Store
from tasks.train.dataset import Dataset

STANDARD_ERRORS = 2.0
"""By how many of them the loss must fall: chance alone does that for about one model in forty."""


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
    features: Mapping[InputName, FeatureRef],
    config: TrainConfig,
    store: Store,
    batch: int,
) -> FlipChoice:
    """The card with test_time_flip for all pictures and frames, where that lowers the validation loss by more than chance would
    and improves the validation metric; `model` answers so from then on. `groups` (N,) of the rows vary together.

    `card` is of a training without; nothing is chosen where features of the mirrored validation rows were not extracted.
    """
    names = [name for name in card.modalities if spec_of(name).has_pixels]
    frozen = [name for name in names if card.encoders[name].reads == "embedding"]
    why = why_not_mirrored(card.label_targets, config)
    if names and why is not None:
        return FlipChoice(card, val, TestTimeFlip(used=False, why=why))
    if not names or any(features[name].test_time is None for name in frozen):
        return FlipChoice(card, val)
    flipped = _with_flip(card, names)
    tables = dict(val.inputs.tables)
    for name in frozen:
        digests = val.inputs.tables[name].digests
        tables[name] = FeatureTable.load(store, answered_ref(flipped.encoders[name], features[name]), only=digests)
    places = {
        name: _moved(val.inputs.places[name], val.inputs.tables[name], tables[name]) if name in frozen else here
        for name, here in val.inputs.places.items()
    }
    both = replace(val, inputs=replace(val.inputs, tables=tables, places=places))
    plain = _judge(model, val, config, batch)
    specs, model.specs = model.specs, {name: flipped.encoders[name] for name in model.modalities}
    averaged = _judge(model, both, config, batch)
    record = _decide(plain, averaged, val, groups, problem_of(card.label_targets[0]).validation_metric)
    if record.used:
        return FlipChoice(flipped, both, record)
    model.specs = specs
    return FlipChoice(card, val, record)


@dataclass(frozen=True)
class _Judged:
    losses: NDArray[np.float64]
    """(N,) of the first label column, NaN where a row has none."""
    score: float
    """The validation metric."""


def _judge(model: FusedClassifier, val: Dataset, config: TrainConfig, batch: int) -> _Judged:
    logits = predict_logits(model, val.inputs, batch)
    target, cut = model.targets.columns[0], model.targets.slices[0]
    problem = problem_of(target)
    soft = val.targets.soft(torch.arange(val.rows))[:, cut]
    losses = problem.loss(torch.from_numpy(logits[:, cut]), soft.nan_to_num(), config, None).double()
    losses[soft.isnan().any(dim=1)] = torch.nan
    score = problem.validation_score(to_outputs(model, logits)[:, cut], val.targets.first, target)
    return _Judged(losses.numpy(), float(score))


def _decide(
    plain: _Judged, averaged: _Judged, val: Dataset, groups: NDArray[np.int64] | None, metric: str
) -> TestTimeFlip:
    known = np.isfinite(plain.losses) & np.isfinite(averaged.losses)
    weights = val.weights[known].astype(np.float64)
    gained = plain.losses[known] - averaged.losses[known]
    gain = float(np.average(gained, weights=weights))
    error = standard_error(gained, weights, None if groups is None else groups[known])
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
    values: NDArray[np.float64], weights: NDArray[np.float64], groups: NDArray[np.int64] | None
) -> float:
    """Of the weighted mean of `values` (N,), whose rows vary with those of their group (N,); inf for a single group."""
    own = np.arange(len(values)) if groups is None else np.unique(groups, return_inverse=True)[1]
    count = int(own.max(initial=-1)) + 1
    if count < 2:
        return float("inf")
    off = np.bincount(own, weights * (values - np.average(values, weights=weights)), minlength=count)
    return float(np.sqrt(count / (count - 1) * (off**2).sum()) / weights.sum())


def _with_flip(card: ModelCard, names: list[InputName]) -> ModelCard:
    encoders = {name: spec.model_copy(update={"test_time_flip": name in names}) for name, spec in card.encoders.items()}
    settings = card.config.encoders.model_copy(update={"test_time_flip": "on"})  # by which its features are found again
    config = card.config.model_copy(update={"encoders": settings})
    return card.model_copy(update={"encoders": encoders, "config": config})


def _moved(places: NDArray[np.int64], before: FeatureTable, after: FeatureTable) -> NDArray[np.int64]:
    """(N,) the places in one table of what lies at `places` (N,) in another; -1 stays."""
    moved = after.locate(before.digests)
    return np.where(places >= 0, moved[np.maximum(places, 0)], -1)
