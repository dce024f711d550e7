"""What the thresholds chosen on validation rows keep on test rows, on which nothing was chosen."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from data_contracts.eval_detail import EvalDetail
from data_contracts.refs import CheckpointRef, FeatureRef, InputName
from data_contracts.uncertainty import (
    MeasuredShare,
    OutlierFigures,
    SelectiveFigures,
    SetFigures,
    UncertaintyFigures,
)
from tasks.modeling.assessment import RowUncertainty, assess_rows
from tasks.modeling.card import ModelCard
from tasks.modeling.decision import answer_column
from tasks.modeling.predictions import present_modalities
from tasks.modeling.selective import risk_curve
from tasks.problems.intervals import wilson
from tasks.problems.registry import problem_of
from tasks.problems.scoring import AnyScorer
from tasks.samples import Samples
from tasks.store import Store

if TYPE_CHECKING:
    from tasks.modeling.fusion.classifier import FusedClassifier

Outputs = NDArray[np.floating[Any]]


def add_uncertainty(
    detail: EvalDetail,
    samples: Samples,
    checkpoint: CheckpointRef,
    card: ModelCard,
    outputs: Outputs,
    energies: NDArray[np.floating[Any]] | None,
    judge: Callable[[Outputs], AnyScorer],
) -> tuple[EvalDetail, UncertaintyFigures | None]:
    """The detail with what is drawn of the model's uncertainty on these N test rows, and the figures; None without any.

    `outputs` (N, outputs) and `energies` (N,) are the model's with all that the rows have; `judge` scores such outputs.
    """
    truth = samples.targets(0, "")
    figures = measure_uncertainty(card, outputs, truth, present_modalities(samples, checkpoint.modalities), energies)
    drawn: dict[str, Any] = {}
    problem = problem_of(card.label_targets[0])
    answers, confidence = answer_column(card, 0, outputs)
    if confidence is not None and problem.has_classes:
        drawn["risk_curve"] = tuple(risk_curve(confidence, are_right(answers, truth)))
    if card.temperature != 1:
        before = judge(without_temperature(card, outputs))
        figures = figures.model_copy(update={"temperature": card.temperature, "unscaled": before.score()})
        drawn["unscaled_calibration"] = problem.details(before, detail.labels).get("calibration", ())
    return detail.model_copy(update=drawn), None if figures == UncertaintyFigures() else figures


def are_right(answers: Sequence[str], truth: Sequence[str | None]) -> NDArray[np.bool_]:
    """(N,) whether the answer is the true cell."""
    return np.array([answer == cell for answer, cell in zip(answers, truth, strict=True)], bool)


def measure_uncertainty(
    card: ModelCard,
    outputs: Outputs,
    truth: Sequence[str | None],
    present: Sequence[str],
    energies: NDArray[np.floating[Any]] | None,
) -> UncertaintyFigures:
    """The figures from the outputs (N, outputs), the true cells (N,), what each row has (N,), and energy scores (N,)."""
    found, known = assess_rows(card, outputs, present, energies), card.uncertainty
    if known is None:
        return UncertaintyFigures()
    sets = selective = outliers = None
    if known.conformal_alpha is not None:
        sets = _sets(known.conformal_alpha, found, truth)
    if known.max_risk is not None:
        selective = _selective(known.max_risk, found, are_right(answer_column(card, 0, outputs)[0], truth))
    if known.ood_false_positive_rate is not None:
        flags = [row.out_of_distribution for row in found if row.out_of_distribution is not None]
        if flags:
            outliers = OutlierFigures(
                false_positive_rate=known.ood_false_positive_rate, flagged=_share(sum(flags), len(flags))
            )
    return UncertaintyFigures(sets=sets, selective=selective, outliers=outliers)


def _sets(alpha: float, found: Sequence[RowUncertainty], truth: Sequence[str | None]) -> SetFigures | None:
    pairs = list(zip(found, truth, strict=True))
    labels = [(row.prediction_set, cell) for row, cell in pairs if row.prediction_set is not None]
    if labels:
        sizes = [len(members) for members, _ in labels]
        return SetFigures(
            alpha=alpha,
            covered=_share(sum(cell in members for members, cell in labels), len(labels)),
            mean_size=float(np.mean(sizes)),
            single=sizes.count(1),
        )
    numbers = [(row.prediction_interval, cell) for row, cell in pairs if row.prediction_interval is not None]
    if not numbers:
        return None
    inside = [low <= float(cell or "nan") <= high for (low, high), cell in numbers]
    return SetFigures(
        alpha=alpha,
        covered=_share(sum(inside), len(numbers)),
        mean_size=float(np.mean([high - low for (low, high), _ in numbers])),
    )


def _selective(max_risk: float, found: Sequence[RowUncertainty], right: NDArray[np.bool_]) -> SelectiveFigures:
    answered = np.array([not row.abstained for row in found], bool)
    count = int(answered.sum())
    return SelectiveFigures(
        max_risk=max_risk,
        answered=_share(count, len(found)),
        wrong=_share(int((~right[answered]).sum()), count) if count else None,
    )


def _share(count: int, rows: int) -> MeasuredShare:
    return MeasuredShare(count=count, rows=rows, interval=wilson(count, rows))


def has_energies(card: ModelCard) -> bool:
    """Whether the model flags rows by their energy score."""
    known = card.uncertainty
    return known is not None and any(of_set.energy is not None for of_set in known.thresholds.values())


def predict_with_energies(
    model: FusedClassifier, samples: Samples, features: Mapping[InputName, FeatureRef], store: Store
) -> tuple[NDArray[np.float32], NDArray[np.float64] | None]:
    """What the model answers (N, outputs) with all that the rows have, and the energy scores (N,), in one pass."""
    from tasks.modeling.features import Inputs
    from tasks.modeling.inference import energies_of, predict_logits, to_outputs

    known = {name: ref for name, ref in features.items() if name in model.modalities}
    logits = predict_logits(model, Inputs.load(samples, known, store))
    return to_outputs(model, logits), energies_of(model, logits)


def without_temperature(card: ModelCard, outputs: Outputs) -> Outputs:
    """(N, outputs) what the model would have given out without its temperature."""
    import torch

    from tasks.modeling.targets import Targets, targets_of_card

    scaled = targets_of_card(card)
    found: Outputs = Targets(scaled.columns).activate(scaled.logits_of(torch.from_numpy(outputs))).numpy()
    return found
