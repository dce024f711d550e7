"""What test rows say of a model's prediction sets, abstention, flags and calibration; `EvalDetail.uncertainty`."""

from __future__ import annotations

from pydantic import Field

from data_contracts.refs import Frozen, Metrics

Bounds = tuple[float, float]
"""Wilson's interval, 95 %."""


class MeasuredShare(Frozen):
    """How many of the rows that a promise is about."""

    count: int
    rows: int
    interval: Bounds

    @property
    def share(self) -> float:
        """`count` of `rows`."""
        return self.count / self.rows


class SetFigures(Frozen):
    """Prediction sets, or of numbers intervals."""

    alpha: float
    covered: MeasuredShare
    """Rows whose set holds the truth."""
    mean_size: float
    """Labels in a set; of numbers the width of an interval."""
    single: int | None = None
    """Rows whose set holds the answer only; None for numbers."""


class SelectiveFigures(Frozen):
    """Answers given, and wrong ones among them."""

    max_risk: float
    answered: MeasuredShare
    wrong: MeasuredShare | None
    """Of the rows answered; None where there are none."""


class OutlierFigures(Frozen):
    """Test rows flagged, each by mistake as far as they are like the validation rows."""

    false_positive_rate: float
    flagged: MeasuredShare


class UncertaintyFigures(Frozen):
    """Of the first label column, on test rows; None where the model says nothing of it."""

    temperature: float | None = None
    unscaled: Metrics = Field(default_factory=dict)
    """The figures without the temperature."""
    sets: SetFigures | None = None
    selective: SelectiveFigures | None = None
    outliers: OutlierFigures | None = None
    risk_curve: tuple[tuple[float, float], ...] = ()
    """(share of the rows answered, share of wrong answers among them), the surest first; of classes only."""
