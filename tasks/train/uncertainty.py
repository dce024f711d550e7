"""How certain an answer is, chosen on the validation rows once training has ended: temperature, decision, thresholds.

One after the other, because each works on what the one before leaves: the temperature changes the probabilities to which
decision offsets are added, and which the thresholds are compared with. No test row is looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_contracts.modalities import in_order
from data_contracts.refs import InputName
from data_contracts.training_history import TemperatureScaling, ThresholdTuning
from tasks.config import TrainConfig
from tasks.modalities import joined
from tasks.modeling import conformal, selective
from tasks.modeling.calibration import tune_temperature
from tasks.modeling.card import ModelCard
from tasks.modeling.decision import answer_column
from tasks.modeling.features import Inputs
from tasks.modeling.fusion.classifier import FusedClassifier
from tasks.modeling.inference import energies_of, predict_logits, to_outputs
from tasks.modeling.targets import EncodedTargets, targets_of_card
from tasks.modeling.uncertainty import Thresholds, Uncertainty
from tasks.problems.registry import problem_of
from tasks.samples import Samples
from tasks.train.dataset import Dataset
from tasks.train.thresholds import tune_card
from tasks.train.validation import BATCH

MOST_SUBSETS = 15
"""All subsets of four inputs."""


@dataclass(frozen=True)
class Calibrated:
    """A card that says what answers are worth, and the record of how it came about."""

    card: ModelCard
    scaling: TemperatureScaling | None = None
    thresholds: ThresholdTuning | None = None
    notes: tuple[str, ...] = ()


def calibrate(
    card: ModelCard, model: FusedClassifier, val: Dataset, groups: NDArray[np.int64] | None, config: TrainConfig
) -> Calibrated:
    """The card with temperature, decision and thresholds as the config asks for them; `model` answers by this card from then
    on. `groups` (N,) are those of the validation rows, None where each is one of its own."""
    problem = problem_of(card.label_targets[0])
    batch = batch_rows(model, config)
    logits = predict_logits(model, val.inputs, batch)
    tuned = None
    scaling = find_temperature(logits, val.targets, groups, config)
    if scaling is not None and scaling.used:
        card = card.model_copy(update={"uncertainty": Uncertainty(temperature=scaling.temperature)})
        model.targets = targets_of_card(card)
    if config.tune_thresholds:
        card, tuned = tune_card(card, to_outputs(model, logits), val.targets.first)
    uncertainty = Uncertainty(
        temperature=card.uncertainty.temperature if card.uncertainty else None,
        conformal_alpha=(config.conformal_alpha or None) if problem.is_numeric or problem.has_classes else None,
        max_risk=config.max_risk or None,
        ood_false_positive_rate=(config.ood_false_positive_rate or None) if not problem.is_numeric else None,
    )
    chosen = {}
    if any((uncertainty.conformal_alpha, uncertainty.max_risk, uncertainty.ood_false_positive_rate)):
        chosen = _choose_thresholds(card, uncertainty, model, val, batch)
    uncertainty = uncertainty.model_copy(update={"thresholds": chosen})
    found = card.model_copy(update={"uncertainty": None if uncertainty == Uncertainty() else uncertainty})
    return Calibrated(found, scaling, tuned, tuple(_notes(uncertainty, joined(card.modalities))))


def batch_rows(model: FusedClassifier, config: TrainConfig) -> int:
    """Rows of a batch of validation rows: on a GPU what fits in training fits here, too."""
    return min(BATCH, config.batch_size) if next(model.parameters()).is_cuda else BATCH


def number_groups(samples: Samples) -> NDArray[np.int64] | None:
    """(N,) rows of one group have one number, rows without a group one of their own; None where no row is in a group."""
    groups = samples.groups if "group" in samples.names else []
    if all(group is None for group in groups):
        return None
    names = [("row", str(row)) if group is None else ("group", group) for row, group in enumerate(groups)]
    places = {name: place for place, name in enumerate(dict.fromkeys(names))}
    return np.array([places[name] for name in names], np.int64)


def find_temperature(
    logits: NDArray[np.floating[Any]], encoded: EncodedTargets, groups: NDArray[np.int64] | None, config: TrainConfig
) -> TemperatureScaling | None:
    """What dividing the first label column's logits, among the model's (N, outputs), by one number does; None where
    train.temperature_scaling is off, the column holds numbers, or no row tells."""
    targets = encoded.targets
    if config.temperature_scaling != "auto" or problem_of(targets.columns[0]).is_numeric:
        return None
    logits, truth = logits[:, targets.slices[0]], encoded.first
    known = truth >= 0 if truth.ndim == 1 else np.isfinite(truth).all(axis=1)
    fit = tune_temperature(logits[known], truth[known], None if groups is None else groups[known])
    if fit is None:
        return None
    return TemperatureScaling(
        temperature=fit.temperature,
        nll=fit.nll,
        scaled_nll=fit.scaled_nll,
        left_out_nll=fit.left_out_nll,
        used=fit.helps,
    )


def _choose_thresholds(
    card: ModelCard, asked: Uncertainty, model: FusedClassifier, val: Dataset, batch: int
) -> dict[str, Thresholds]:
    """By set of modalities, on the validation rows that have all of them, the others hidden."""
    names = [name for name in val.inputs.tables if name in card.modalities]
    has = {name: val.inputs.places[name] >= 0 for name in names}
    present = [joined([name for name in names if has[name][row]]) for row in range(val.rows)]
    found = {}
    for subset in subsets_of(names, present):
        rows = np.flatnonzero(np.all([has[name] for name in subset], axis=0))
        if len(rows):
            logits = predict_logits(model, _only(val.inputs, subset, rows), batch)
            found[joined(subset)] = _thresholds(card, asked, model, logits, val.targets.first[rows])
    return found


def subsets_of(modalities: Sequence[InputName], present: Sequence[str] = ()) -> list[tuple[InputName, ...]]:
    """The sets of modalities that thresholds are chosen for: all there are, or of more than four inputs each by itself, all
    but one, all of them, and the most frequent of `present`, which is of validation rows, `image+audio`."""
    ordered = in_order(modalities)
    sizes = range(1, len(ordered) + 1) if len(ordered) <= 4 else {1, len(ordered) - 1, len(ordered)}
    found = [chosen for size in sizes for chosen in combinations(ordered, size)]
    names = {joined(chosen): chosen for chosen in found}
    values, counts = np.unique(np.array(present, str), return_counts=True)
    for place in np.argsort(-counts, kind="stable")[:MOST_SUBSETS]:
        chosen = tuple(name for name in ordered if name in str(values[place]).split("+"))
        if chosen:
            names.setdefault(joined(chosen), chosen)
    return list(names.values())


def _only(inputs: Inputs, subset: tuple[InputName, ...], rows: NDArray[np.int64]) -> Inputs:
    """Some rows with only these modalities."""
    tables = {name: inputs.tables[name] for name in subset}
    return replace(inputs, tables=tables, places={name: inputs.places[name][rows] for name in subset}, rows=len(rows))


def _thresholds(
    card: ModelCard,
    asked: Uncertainty,
    model: FusedClassifier,
    logits: NDArray[np.float32],
    truth: NDArray[Any],
) -> Thresholds:
    target, cut = card.label_targets[0], model.targets.slices[0]
    problem = problem_of(target)
    known = truth >= 0 if problem.has_classes else np.isfinite(truth).all(axis=1)
    logits, truth = logits[known], truth[known]
    outputs, energies = to_outputs(model, logits), energies_of(model, logits)
    found = Thresholds(rows=len(logits))
    if asked.conformal_alpha is not None and problem.is_numeric:
        residuals = outputs[:, cut.start] - (truth[:, 0].astype(np.float64) * target.std + target.mean)
        width = conformal.residual_quantile(residuals, asked.conformal_alpha)
        found = found.model_copy(update={"prediction_set": width})
    elif asked.conformal_alpha is not None:
        of_truth = np.take_along_axis(outputs[:, cut], truth[:, None], axis=1)[:, 0]
        found = found.model_copy(update={"prediction_set": conformal.set_threshold(of_truth, asked.conformal_alpha)})
    if asked.max_risk is not None:
        labels, confidence = answer_column(card, 0, outputs)
        assert confidence is not None  # tasks/labels.py refuses max_risk where there is none
        right = np.array(labels, object) == np.array(target.labels, object)[truth]
        found = found.model_copy(
            update={"answer": selective.risk_threshold(confidence, np.asarray(right, bool), asked.max_risk)}
        )
    if asked.ood_false_positive_rate is not None and energies is not None:
        score = conformal.outlier_threshold(energies, asked.ood_false_positive_rate)
        found = found.model_copy(update={"energy": score})
    return found


def _notes(uncertainty: Uncertainty, full: str) -> list[str]:
    """What was asked for and could not be had, for rows with every modality."""
    found = uncertainty.thresholds.get(full, Thresholds(rows=0))
    notes = []
    for key, level, value in (
        ("train.conformal_alpha", uncertainty.conformal_alpha, found.prediction_set),
        ("train.ood_false_positive_rate", uncertainty.ood_false_positive_rate, found.energy),
    ):
        if level is not None and value is None:
            notes.append(
                f"{key} = {level:g} needs {conformal.rows_needed(level):,} validation rows with {full}; "
                f"there are {found.rows:,}, so it says nothing of them."
            )
    if uncertainty.max_risk is not None and found.answer in (None, selective.NEVER):
        notes.append(
            f"train.max_risk = {uncertainty.max_risk:g}: on {found.rows:,} validation rows with {full} no threshold is shown "
            f"to keep it, so every answer is marked as abstained. It takes {selective.rows_needed(uncertainty.max_risk):,} "
            "rows answered without a mistake, or more with some."
        )
    return notes
