"""What test rows say of a model's prediction sets, abstention, flags and calibration: `EvalReport.uncertainty`."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

Bounds = tuple[float, float]
"""Wilson's interval, 95 %, of rows in clusters on as many independent rows as vary as they do."""


class _Frozen(BaseModel):
    """As data_contracts.refs.Frozen, which imports this module."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class MeasuredShare(_Frozen):
    """How many of the rows that a promise is about."""

    count: int
    rows: int
    interval: Bounds
    """All from 0 to 1 where there are too few clusters."""
    clusters: int | None = None
    """Of the rows; None: each stands for itself."""

    @property
    def share(self) -> float:
        """`count` of `rows`."""
        return self.count / self.rows


class SetFigures(_Frozen):
    """Prediction sets, or of numbers intervals."""

    alpha: float
    covered: MeasuredShare
    """Rows whose set holds the truth."""
    mean_size: float
    """Labels in a set; of numbers the width of an interval."""
    single: int | None = None
    """Rows whose set holds the answer only; None for numbers."""


class SelectiveFigures(_Frozen):
    """Answers given, and wrong ones among them."""

    max_risk: float
    answered: MeasuredShare
    wrong: MeasuredShare | None
    """Of the rows answered; None where there are none."""


class OutlierFigures(_Frozen):
    """Test rows flagged, each by mistake as far as they are like the validation rows."""

    false_positive_rate: float
    flagged: MeasuredShare


class UncertaintyFigures(_Frozen):
    """Of the first label column, on test rows; None where the model says nothing of it."""

    temperature: float | None = None
    unscaled: dict[str, float | None] = Field(default_factory=dict)
    """The figures without the temperature."""
    sets: SetFigures | None = None
    selective: SelectiveFigures | None = None
    outliers: OutlierFigures | None = None
    aurc: float | None = None
    """The area under the risk-coverage curve: the mean share of wrong answers over all shares of the rows that could be
    answered, the surest first; of classes only."""
