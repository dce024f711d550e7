"""What the report shows of how much an answer is worth: what was promised on validation rows, and what test rows say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypedDict

from data_contracts.eval_detail import EvalDetail
from data_contracts.refs import EvalReport
from data_contracts.training_history import TemperatureScaling, TrainingHistory
from data_contracts.uncertainty import MeasuredShare, SelectiveFigures, UncertaintyFigures
from tasks.reporting.charts import (
    BOTTOM,
    HEIGHT,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    CalibrationChart,
    Point,
    Ticks,
    calibration_chart,
    nice_ticks,
    path_of,
)
from tasks.reporting.formatting import figure, percent


class Promise(NamedTuple):
    """One line: a share that was promised, or is only measured, on test rows."""

    what: str
    promised: str
    measured: MeasuredShare | None
    note: str = ""


class RiskChart(TypedDict):
    """Wrong answers among those given, over the share of rows that are answered."""

    path: str
    x_ticks: Ticks
    y_ticks: Ticks
    limit_y: float | None
    """Of the stated risk; None without one."""
    chosen: Point | None
    """Where the threshold lies on these rows."""


class UncertaintySection(TypedDict):
    """The section."""

    scaling: TemperatureScaling | None
    lines: list[Promise]
    before: CalibrationChart | None
    """The reliability diagram without the temperature; None where there is none."""
    nll: tuple[float, float] | None
    """Of the test rows, without the temperature and with it."""
    curve: RiskChart | None
    aurc: float | None
    """The area under it."""
    has_clusters: bool


def uncertainty_section(
    report: EvalReport | None, detail: EvalDetail | None, history: TrainingHistory | None
) -> UncertaintySection | None:
    """None where there is nothing to show."""
    if report is None or detail is None:
        return None
    figures = report.uncertainty or UncertaintyFigures()
    before, after = figures.unscaled.get("log_loss"), report.metrics["test"].get("log_loss")
    section: UncertaintySection = {
        "scaling": history.temperature if history else None,
        "lines": promises(figures),
        "before": calibration_chart(detail.unscaled_calibration) if detail.unscaled_calibration else None,
        "nll": None if before is None or after is None else (before, after),
        "curve": risk_chart(detail.risk_curve, figures.selective) if detail.risk_curve else None,
        "aurc": figures.aurc,
        "has_clusters": any(line.measured and line.measured.clusters is not None for line in promises(figures)),
    }
    return section if section["scaling"] or section["lines"] or section["curve"] else None


def promises(figures: UncertaintyFigures) -> list[Promise]:
    """The lines of the table."""
    found = []
    if sets := figures.sets:
        least = f"at least {percent(1 - sets.alpha)}"
        if sets.single is None:
            note = f"intervals are {figure(sets.mean_size, 'number')} wide on average"
            found.append(Promise("Intervals that hold the true number", least, sets.covered, note))
        else:
            alone = percent(sets.single / sets.covered.rows)
            note = f"a set has {sets.mean_size:.2f} labels on average; {alone} of the sets hold the answer only"
            found.append(Promise("Prediction sets that hold the true label", least, sets.covered, note))
    if selective := figures.selective:
        note = "" if selective.answered.count else "no threshold was shown to keep the risk"
        found.append(Promise("Rows answered, the others abstained from", "", selective.answered, note))
        found.append(Promise("Wrong among these answers", f"at most {percent(selective.max_risk)}", selective.wrong))
    if outliers := figures.outliers:
        most = f"at most {percent(outliers.false_positive_rate)}"
        note = "by mistake, as far as these rows are like the validation rows"
        found.append(Promise("Rows flagged as out of distribution", most, outliers.flagged, note))
    return found


def risk_chart(curve: Sequence[Point], selective: SelectiveFigures | None) -> RiskChart:
    """The risk-coverage curve, with the chosen point where there is one."""
    risks = [risk for _, risk in curve]
    ticks = nice_ticks(0, max(*risks, selective.max_risk if selective else 0, 0.001))

    def place(coverage: float, risk: float) -> Point:
        """Pixels from the left and from the top edge."""
        x = LEFT + coverage * (WIDTH - RIGHT - LEFT)
        return x, HEIGHT - BOTTOM - risk / ticks[-1] * (HEIGHT - BOTTOM - TOP)

    digits = 0 if ticks[1] >= 0.01 else 2
    chosen = None
    if selective and selective.wrong:
        chosen = place(selective.answered.share, selective.wrong.share)
    return {
        "path": path_of([place(*point) for point in curve]),
        "x_ticks": [(place(t / 4, 0)[0], f"{t * 25} %") for t in range(5)],
        "y_ticks": [(place(0, tick)[1], f"{100 * tick:.{digits}f} %") for tick in ticks],
        "limit_y": place(0, selective.max_risk)[1] if selective else None,
        "chosen": chosen,
    }
