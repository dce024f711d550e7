"""What can be promised of a row that comes from where the validation rows come from, by their ranks. Pure numpy.

Split conformal prediction (Vovk, Gammerman & Shafer 2005; Angelopoulos & Bates 2023): a new row's score is as likely to have
any rank among the n validation rows' as any other, so a quantile with the correction for n + 1 rows keeps its level for
every model and every n, on average over validation rows. Where n is too small for the level there is none.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.floating[Any]]
_ROUNDING = 1e-9
"""(n + 1)(1 - alpha) may be a whole number that floats miss: 10 x (1 - 0.1)."""


def rows_needed(alpha: float) -> int:
    """The least number of validation rows from which on a level of 1 - alpha can be kept."""
    return math.ceil(1 / alpha - 1 - _ROUNDING)


def set_threshold(of_truth: Values, alpha: float) -> float | None:
    """The probability from which on a class belongs to a row's prediction set, from those of the true classes (N,); None where
    there are too few rows.

    A set then holds the true class of a new row with a chance of at least 1 - alpha. These are the sets of Sadinle, Lei &
    Wasserman (2019): of all with this coverage the smallest on average ("least ambiguous"; LAC in MAPIE). Adaptive sets (APS)
    cover difficult classes more evenly, but are larger, and exact only where a random number decides, so that the same
    row would have another set every time it is asked.
    """
    place = _upper_rank(len(of_truth), alpha)
    return None if place is None else float(np.sort(of_truth)[::-1][place - 1])


def prediction_sets(probabilities: Values, threshold: float | None, answers: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(N, C) which classes belong to each row's set: those from the threshold on, and the answer (N,) in any case.

    Of a model that is more often right than the sets need be, those of the rows that it is least sure of would be empty; with
    the answer they cover more than they promise, and never less.
    """
    found = np.zeros(probabilities.shape, bool) if threshold is None else probabilities >= threshold
    np.put_along_axis(found, answers[:, None], True, axis=1)
    return np.asarray(found, bool)


def residual_quantile(residuals: Values, alpha: float) -> float | None:
    """How far a prediction may be off on either side: the true number of a new row lies within with a chance of at least
    1 - alpha (Lei, G'Sell, Rinaldo, Tibshirani & Wasserman 2018). None where there are too few residuals (N,)."""
    place = _upper_rank(len(residuals), alpha)
    return None if place is None else float(np.sort(np.abs(residuals))[place - 1])


def _upper_rank(rows: int, alpha: float) -> int | None:
    place = math.ceil((rows + 1) * (1 - alpha) - _ROUNDING)
    return place if place <= rows else None


def outlier_threshold(scores: Values, false_positive_rate: float) -> float | None:
    """The score below which a row is flagged, from those of the validation rows (N,), high where a row is usual.

    A new row that is like them is flagged with a chance of at most `false_positive_rate`: a conformal p-value (Bates, Candes,
    Lei, Romano & Sesia 2023). None where there are too few rows.
    """
    place = math.floor(false_positive_rate * (len(scores) + 1) + _ROUNDING)
    return None if place < 1 else float(np.sort(scores)[place - 1])


def energy(logits: Values, excluding: bool) -> NDArray[np.float64]:
    """(N,) the negative free energy of a row's logits (N, C), high where the model knows something like it.

    Of classes that exclude each other the log of the sum of exponentials (Liu, Wang, Owens & Li 2020), of labels that do not
    the sum over labels (Wang, Liu, Bocchieri & Li 2021). Before temperature scaling.
    """
    logits = logits.astype(np.float64)
    if not excluding:
        return np.asarray(np.logaddexp(0, logits).sum(axis=1), np.float64)
    return np.asarray(np.logaddexp.reduce(logits, axis=1), np.float64)
