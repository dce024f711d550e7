"""The smallest change that some test rows can show, in every mode of the gate: by the functions that decide verdicts.

The difference of two models on other rows like these would vary as its interval says, and be as wide. So a true change is found
in 80 % of the runs where it lies so far beyond the smallest difference that passes. Lines on classes, and rules on the figures
of the candidate alone, are left out: they can only stop more.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

from data_contracts.refs import Pairing
from tasks.config import GateConfig
from tasks.gate.comparison import POWER, Comparison
from tasks.problems.registry import get_metric

_MOST_ROWS = 10_000_000
Mode = Literal["better", "not-worse"]
MODES: tuple[tuple[str, Mode, bool], ...] = (
    ("better", "better", False),
    ("not-worse", "not-worse", True),
    ("not-worse, gate.anchor = off", "not-worse", False),
)
"""Name, gate.mode, and whether the champion is the best so far, which asks for more confidence."""


@dataclass(frozen=True)
class ModePower:
    """What one mode shows on these rows. None: nothing, however large."""

    mode: str
    smallest_change: float | None
    """In the metric's unit, candidate minus champion: a model that differs by it is promoted in 80 % of the runs."""
    equal_promoted: float
    """Share of the runs in which a model as good is promoted."""
    enough_rows: int | None
    """On so many such rows 80 % of the models that are as good are promoted; in mode better, of those better by the margin."""


def assume_pairing(rows: int, agreement: float, metric: str, config: GateConfig) -> Pairing:
    """Two equal models that give the same answer to so large a share of `rows` rows: the interval of their shares of right
    answers, which that of macro F1 is near to."""
    differing = round((1 - agreement) * rows)
    half = _quantile(differing, config.confidence) * math.sqrt((1 - agreement) / rows)
    found = (0.0, -half, half)
    return Pairing(
        version="?", model_sha256="0" * 64, rows=rows, metrics={metric: 0.5}, differences={metric: found},
        differing=differing, effective_rows={metric: float(rows)},
    )  # fmt: skip


def measure_power(pairing: Pairing, metric: str, config: GateConfig) -> list[ModePower]:
    """One line a mode, of two models that differ on the rows as often as these do."""
    found = []
    for name, mode, strict in MODES:
        pass_from = _passing(pairing, metric, config, mode, strict)
        goal = config.margin if mode == "better" else 0.0
        smallest = pass_from(pairing.rows) + NormalDist().inv_cdf(POWER) * _error(pairing, metric, config)
        found.append(
            ModePower(
                mode=name,
                smallest_change=None if math.isinf(smallest) else smallest * _sign(metric),
                equal_promoted=_chance(pairing, metric, config, pass_from, pairing.rows, 0.0),
                enough_rows=_enough(lambda n: _chance(pairing, metric, config, pass_from, n, goal) >= POWER),  # noqa: B023
            )
        )
    return found


def _sign(metric: str) -> int:
    return -1 if get_metric(metric).lower_is_better else 1


def _quantile(differing: int | None, confidence: float) -> float:
    from scipy.special import stdtrit

    degrees = math.inf if differing is None else max(differing - 1, 1)
    return float(stdtrit(degrees, (1 + confidence) / 2))


def _half(pairing: Pairing, metric: str, rows: int) -> float:
    _, low, high = pairing.differences[metric]
    return (high - low) / 2 * math.sqrt(pairing.rows / rows)


def _error(pairing: Pairing, metric: str, config: GateConfig, rows: int | None = None) -> float:
    """Standard error of the difference."""
    return _half(pairing, metric, rows or pairing.rows) / _quantile(pairing.differing, config.confidence)


def _passing(pairing: Pairing, metric: str, config: GateConfig, mode: Mode, strict: bool) -> Callable[[int], float]:
    """Rows to the smallest difference that passes on them, so that more is better; infinite where none does."""

    def pass_from(rows: int) -> float:
        """By bisection: what passes, passes with a larger difference, too."""
        scale = rows / pairing.rows
        scaled = pairing.model_copy(
            update={
                "rows": rows,
                "effective_rows": {name: scale * each for name, each in pairing.effective_rows.items()},
                "differing": None if pairing.differing is None else round(scale * pairing.differing),
            }
        )
        line = Comparison(scaled, "the champion", config, mode, metric, strict)
        half = _half(pairing, metric, rows)
        low, high = -4 * half - 2 * line.margin, 4 * half + 2 * line.margin + 1e-9
        if rows < config.min_rows or line.decide((high, high - half, high + half)) != "pass":
            return math.inf
        while high - low > 1e-6:
            middle = (low + high) / 2
            passes = line.decide((middle, middle - half, middle + half)) == "pass"
            low, high = (low, middle) if passes else (middle, high)
        return high

    return pass_from


def _chance(
    pairing: Pairing, metric: str, config: GateConfig, pass_from: Callable[[int], float], rows: int, change: float
) -> float:
    """That a model with this true change is promoted on so many rows."""
    error, beyond = _error(pairing, metric, config, rows), pass_from(rows) - change
    if error == 0:
        return float(beyond <= 0)
    return NormalDist().cdf(-beyond / error) if math.isfinite(beyond) else 0.0


def _enough(holds: Callable[[int], bool]) -> int | None:
    """The smallest number of rows for which it holds, with two digits."""
    most = 10
    while not holds(most):
        most *= 2
        if most > _MOST_ROWS:
            return None
    least = most // 2
    while most - least > max(most // 100, 1):
        middle = (least + most) // 2
        least, most = (least, middle) if holds(middle) else (middle, most)
    digit = int(10 ** max(len(str(most)) - 2, 0))
    return math.ceil(most / digit) * digit
