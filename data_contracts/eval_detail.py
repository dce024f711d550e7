"""detail.json: what an evaluation leaves beside its figures, for the pages of a run. `EvalReport.uri` is its folder."""

from __future__ import annotations

from typing import Literal

from data_contracts.refs import Frozen, InputName, Metrics, ProblemName

DETAIL = "detail.json"


class ClassFigures(Frozen):
    """The figures of one class or label; None where they are not defined."""

    label: str
    precision: float | None
    recall: float | None
    f1: float
    average_precision: float | None = None
    """Of a label of a set; classes have none."""
    support: int
    """Test rows of it."""
    predicted: int
    """Test rows that the model answered it for."""


class CalibrationBin(Frozen):
    """The rows whose confidence lies from `low` up to `high`; None where there are none."""

    low: float
    high: float
    count: int
    confidence: float | None
    accuracy: float | None


class Slice(Frozen):
    """Some of the test rows."""

    by: Literal["modalities", "class"]
    value: str
    """The modalities that are present in them, `image+audio`, or their class."""
    n: int
    metrics: Metrics
    accuracy_interval: tuple[float, float] | None = None
    """Wilson's, 95 %."""


class Mistake(Frozen):
    """A test row that the model answered wrongly, as text."""

    id: str
    true: str
    predicted: str
    probability: float | None = None
    """Of the answer, and of the truth: of classes only."""
    true_probability: float | None = None
    media: dict[InputName, str]
    """Input to the digest of its medium."""


class PrecisionRecallCurve(Frozen):
    """(recall, precision) of one label at its thresholds."""

    label: str
    points: tuple[tuple[float, float], ...]


class Residuals(Frozen):
    """A histogram of predicted minus true numbers: one count fewer than edges."""

    counts: tuple[int, ...]
    edges: tuple[float, ...]


class ColumnImportance(Frozen):
    """How much a model relies on one of the columns that an input is made of."""

    input: InputName
    name: str
    drop: float
    """How much worse the metric is where the column's cells are dealt out anew among the rows: the mean over some deals."""
    low: float
    high: float
    """The least and the most of any deal."""


class Importance(Frozen):
    """All such columns of a model, the one that it relies on most first."""

    metric: str
    unit: Literal["share", "score", "number"]
    value: float
    """With every cell at its place."""
    rows: int
    """Validation rows that were looked at."""
    columns: tuple[ColumnImportance, ...]


class EvalDetail(Frozen):
    """What is drawn of the first label column; what its problem does not have is empty."""

    problem: ProblemName = "multiclass"
    labels: tuple[str, ...]
    slices: tuple[Slice, ...]
    """Per set of modalities present, the most frequent first; of classes also per class."""
    mistakes: tuple[Mistake, ...]
    """The worst first."""
    mistakes_in_all: int
    """Rows answered wrongly; of numbers all rows."""
    not_finite: int = 0
    """Rows whose probabilities are not finite: they were scored as if these were 0."""
    champion_rows: int | None = None
    """Test rows that the champion was scored on; None without one."""
    per_class: tuple[ClassFigures, ...] = ()
    confusion: tuple[tuple[int, int, int], ...] = ()
    """(true class, predicted class, rows) of the cells that are not 0."""
    calibration: tuple[CalibrationBin, ...] = ()
    unscaled_calibration: tuple[CalibrationBin, ...] = ()
    """The same without the temperature, where there is one."""
    risk_curve: tuple[tuple[float, float], ...] = ()
    """(share of the rows answered, share of wrong answers among them), the surest rows first; of classes only."""
    pr_curves: tuple[PrecisionRecallCurve, ...] = ()
    points: tuple[tuple[float, float], ...] = ()
    """(true, predicted) numbers."""
    residuals: Residuals | None = None
    importance: Importance | None = None
    """Where an input is made of several columns."""
