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
from tasks.modeling.row_clusters import clusters_of
from tasks.modeling.selective import area_under_risk, risk_curve
from tasks.problems.registry import problem_of
from tasks.problems.scoring import AnyScorer, Clusters, interval_of_share
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
    scorer: Callable[[Outputs], AnyScorer],
    clusters: Clusters = None,
) -> tuple[EvalDetail, UncertaintyFigures | None]:
    """The detail with what is drawn of the model's uncertainty on these N test rows, and the figures; None without any.

    `outputs` (N, outputs) and `energies` (N,) are the model's with all that the rows have; `scorer` scores such outputs;
    `clusters` (N,) are the rows'.
    """
    truth = samples.targets(0, "")
    present = present_modalities(samples, checkpoint.modalities)
    figures = measure_uncertainty(card, outputs, truth, present, energies, clusters)
    drawn: dict[str, object] = {}
    problem = problem_of(card.label_targets[0])
    answers, confidence = answer_column(card, 0, outputs)
    if confidence is not None and problem.has_classes:
        right = are_right(answers, truth)
        drawn["risk_curve"] = tuple(risk_curve(confidence, right))
        figures = figures.model_copy(update={"aurc": area_under_risk(confidence, right)})
    if card.temperature != 1:
        before = scorer(without_temperature(card, outputs))
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
    clusters: Clusters = None,
) -> UncertaintyFigures:
    """The figures from the outputs (N, outputs), the true cells (N,), what each row has (N,), energy scores (N,) and the rows'
    clusters (N,)."""
    found, known = assess_rows(card, outputs, present, energies), card.uncertainty
    if known is None:
        return UncertaintyFigures()
    sets = selective = outliers = None
    if known.conformal_alpha is not None:
        sets = _sets(known.conformal_alpha, found, truth, clusters)
    if known.max_risk is not None:
        selective = _selective(known.max_risk, found, are_right(answer_column(card, 0, outputs)[0], truth), clusters)
    if known.ood_false_positive_rate is not None:
        flags = [row.out_of_distribution for row in found]
        if any(flag is not None for flag in flags):
            flagged = _share(flags, clusters)
            outliers = OutlierFigures(false_positive_rate=known.ood_false_positive_rate, flagged=flagged)
    return UncertaintyFigures(sets=sets, selective=selective, outliers=outliers)


def _sets(
    alpha: float, found: Sequence[RowUncertainty], truth: Sequence[str | None], clusters: Clusters
) -> SetFigures | None:
    pairs = list(zip(found, truth, strict=True))
    sizes = [len(row.prediction_set) for row in found if row.prediction_set is not None]
    if sizes:
        held = [None if row.prediction_set is None else cell in row.prediction_set for row, cell in pairs]
        return SetFigures(
            alpha=alpha, covered=_share(held, clusters), mean_size=float(np.mean(sizes)), single=sizes.count(1)
        )
    intervals = [(row.prediction_interval, cell) for row, cell in pairs]
    widths = [ends[1] - ends[0] for ends, _ in intervals if ends is not None]
    if not widths:  # classes, say, for which too few validation rows were found
        return None
    held = [None if ends is None else ends[0] <= float(cell or "nan") <= ends[1] for ends, cell in intervals]
    return SetFigures(alpha=alpha, covered=_share(held, clusters), mean_size=float(np.mean(widths)))


def _selective(
    max_risk: float, found: Sequence[RowUncertainty], right: NDArray[np.bool_], clusters: Clusters
) -> SelectiveFigures:
    answered = [not row.abstained for row in found]
    wrong = [not good if given else None for good, given in zip(right.tolist(), answered, strict=True)]
    return SelectiveFigures(
        max_risk=max_risk,
        answered=_share(answered, clusters),
        wrong=_share(wrong, clusters) if any(answered) else None,
    )


def _share(holds: Sequence[bool | None], clusters: Clusters) -> MeasuredShare:
    """Of the rows of which it is known (not None), those of which it holds."""
    known = [value for value in holds if value is not None]
    rows, values = np.flatnonzero([value is not None for value in holds]), np.array(known, bool)
    of_rows = None if clusters is None else clusters_of(rows, clusters)
    return MeasuredShare(
        count=int(values.sum()),
        rows=len(rows),
        interval=interval_of_share(values, clusters=of_rows) or (0.0, 1.0),
        clusters=None if of_rows is None else int(of_rows.max()) + 1,
    )


def has_energies(card: ModelCard) -> bool:
    """Whether the model flags rows by their energy score."""
    known = card.uncertainty
    return known is not None and any(of_set.energy is not None for of_set in known.thresholds.values())


def predict_with_energies(
    model: FusedClassifier, samples: Samples, features: Mapping[InputName, FeatureRef], store: Store
) -> tuple[NDArray[np.float32], NDArray[np.float64] | None]:
    """What the model answers (N, outputs) with all that the rows have, and the energy scores (N,), in one pass."""
    from tasks.modeling.inference import energies_of, load_inputs, predict_logits, to_outputs

    logits = predict_logits(model, load_inputs(model, samples, features, store))
    return to_outputs(model, logits), energies_of(model, logits)


def without_temperature(card: ModelCard, outputs: Outputs) -> Outputs:
    """(N, outputs) what the model would have given out without its temperature."""
    import torch

    from tasks.modeling.targets import Targets, targets_of_card

    scaled = targets_of_card(card)
    found: Outputs = Targets(scaled.columns).activate(scaled.logits_of(torch.from_numpy(outputs))).numpy()
    return found
