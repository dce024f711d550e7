"""The report of a search over settings: one HTML file that holds everything it shows and names no external address."""

from __future__ import annotations

from pathlib import Path

from data_contracts.run_summary import TuneSummary
from data_contracts.tuning import Difference, EvaluatedSettings, TuneReport
from tasks.display_table import DisplayTable
from tasks.pages import page_template
from tasks.problems.registry import figure_text, get_metric
from tasks.reporting.charts import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH
from tasks.reporting.formatting import seconds
from tasks.reporting.tune_charts import (
    OBJECTIVES,
    course_picture,
    epochs_picture,
    pareto_pictures,
    setting_pictures,
    setting_text,
)
from tasks.store import replace_file


def write_tune_page(path: Path, report: TuneReport) -> None:
    """`path` holds the report, in one step. Every value is escaped: settings may hold paths."""
    template = page_template(
        Path(__file__).with_name("tune_report.html.j2"), setting=setting_text, seconds=seconds, objective=objective_text
    )
    title, tone, on_test = conclude(report)
    page = template.render(
        report=report,
        title=title,
        tone=tone,
        on_test=on_test,
        score=get_metric(report.metric),
        figures=figure_rows(report),
        course=course_picture(report),
        epochs=epochs_picture(report),
        slices=setting_pictures(report),
        fronts=pareto_pictures(report),
        names={name: OBJECTIVES.get(name, report.metric) for name in report.objectives},
        most=max((setting.importance or 0.0 for setting in report.settings), default=0.0),
        box={
            "width": WIDTH,
            "height": HEIGHT,
            "left": LEFT,
            "right": WIDTH - RIGHT,
            "top": TOP,
            "bottom": HEIGHT - BOTTOM,
        },
    )
    replace_file(path, page.encode())


def conclude(report: TuneReport) -> tuple[str, str, str]:
    """The page's heading, its tone, and what the test rows say, which decide whether the gain is more than luck."""
    if not report.improved:
        return "The settings stay as they are", "same", ""
    found = report.test_difference.get(report.metric)
    if found is None:
        return "Better on the validation rows", "open", "What that is worth on the test rows is unknown."
    _, low, high = found
    text = f"On the {report.test_rows:,} test rows the difference is {_interval(report.metric, found)}: "
    if get_metric(report.metric).lower_is_better:
        low, high = -high, -low
    if low > 0:
        return "Better settings found", "good", f"{text}better there, too."
    if high < 0:
        return "Better on the validation rows only", "bad", f"{text}worse. The search fitted the validation rows."
    return "Better on the validation rows", "open", f"{text}no gain is shown."


def _interval(metric: str, found: Difference) -> str:
    value, low, high = (figure_text(number, metric, sign=True, decimals=4).replace("-", "−") for number in found)
    return f"{value} [{low}, {high}]"


def objective_text(value: float, objective: str, metric: str) -> str:
    """A value of an objective as a table shows it."""
    return figure_text(value, metric, decimals=4) if objective == "score" else f"{value:.4g}"


def figure_rows(report: TuneReport) -> list[tuple[str, ...]]:
    """Metric, before and best on the validation rows, before and best on the test rows, and the paired difference of these.

    The metric of the score comes first.
    """
    names = [name for name, value in report.best.test.items() if value is not None]
    names.sort(key=lambda name: name != report.metric)
    rows: list[tuple[str, ...]] = []
    for name in names:
        found = report.test_difference.get(name)
        difference = "–" if found is None else _interval(name, found)
        rows.append(
            (
                get_metric(name).title,
                *(_figure(one, "validation", name) for one in (report.defaults, report.best)),
                *(_figure(one, "test", name) for one in (report.defaults, report.best)),
                difference,
            )
        )
    return rows


def _figure(one: EvaluatedSettings, rows: str, name: str) -> str:
    value = (one.validation if rows == "validation" else one.test).get(name)
    return "–" if value is None else figure_text(value, name, decimals=4)


def settings_table(found: TuneSummary) -> DisplayTable:
    """Every searched setting as it was and in the best trial, for terminals and for Prefect."""
    return DisplayTable.of(
        {"setting": name, "before": setting_text(found.before.get(name)), "best": setting_text(best)}
        for name, best in found.settings.items()
    )
