"""The pictures of a search over settings, as numbers: its course, its epochs, each setting, and the Pareto front."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypedDict

from data_contracts.tuning import SearchedSetting, TrialRecord, TuneReport, Value
from tasks.number_format import short_number
from tasks.problems.registry import figure_text, get_metric
from tasks.reporting.charts import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Ticks, nice_ticks, path_of

OBJECTIVES = {"latency_ms": "milliseconds of one row", "size_mb": "MB of weights"}
_SHOWN = 24
"""Characters of a choice under its place on the axis, all choices together."""


class Mark(TypedDict):
    """A trial's point, and what it says when it is pointed at."""

    x: float
    y: float
    tone: str
    """best, before, front or plain."""
    says: str


class Picture(TypedDict):
    """Points and lines in a box of charts.WIDTH x charts.HEIGHT."""

    name: str
    marks: list[Mark]
    paths: list[tuple[str, str]]
    """Colour class and path."""
    level: float | None
    """Pixels from the top edge of a dashed line: the settings as they were."""
    x_ticks: Ticks
    y_ticks: Ticks
    x_title: str


Scale = Callable[[float], float]


def _axis(values: Sequence[float], start: float, end: float) -> tuple[Scale, list[float]]:
    """Where values lie between two pixels, and round ticks that enclose them."""
    ticks = nice_ticks(min(values), max(values))
    low, high = ticks[0], ticks[-1]

    def place(value: float) -> float:
        """Pixels from the edge."""
        return start + (value - low) / (high - low) * (end - start)

    return place, ticks


def _scores(report: TuneReport) -> list[TrialRecord]:
    return [trial for trial in report.trials if trial.state == "complete"]


def _before(report: TuneReport) -> float | None:
    return report.defaults.validation.get(report.metric)


def _y_axis(report: TuneReport) -> tuple[Scale, Ticks]:
    before = _before(report)
    values = [trial.values[0] for trial in _scores(report)] + ([] if before is None else [before])
    y, ticks = _axis(values, HEIGHT - BOTTOM, TOP)
    digits = max((len(short_number(tick).partition(".")[2]) for tick in ticks), default=0)
    return y, [(y(tick), f"{tick:.{digits}f}" if digits else short_number(tick)) for tick in ticks]


def _tone(trial: TrialRecord, report: TuneReport) -> str:
    if trial.number == report.best.trial:
        return "best"
    return "before" if trial.number == report.defaults.trial else "plain"


def _says(trial: TrialRecord, report: TuneReport) -> str:
    values = [f"{report.metric} {figure_text(trial.values[0], report.metric, decimals=4)}"]
    values += [f"{name} {value:.4g}" for name, value in zip(report.objectives[1:], trial.values[1:], strict=True)]
    return f"trial {trial.number}: {', '.join(values)}"


def course_picture(report: TuneReport) -> Picture:
    """The score over the trials, and the best by then."""
    y, y_ticks = _y_axis(report)
    last = max(1, report.trials[-1].number)
    x, ticks = _axis([0, last], LEFT, WIDTH - RIGHT)
    lower = get_metric(report.metric).lower_is_better
    steps: list[tuple[float, float]] = []
    best: float | None = None
    for trial in _scores(report):
        value = trial.values[0]
        if best is None or (value < best if lower else value > best):
            steps += [] if best is None else [(x(trial.number), y(best))]
            best = value
        steps.append((x(trial.number), y(best)))
    steps += [(x(last), steps[-1][1])] if steps else []
    before = _before(report)
    return {
        "name": "Score of every trial",
        "marks": [
            {"x": x(trial.number), "y": y(trial.values[0]), "tone": _tone(trial, report), "says": _says(trial, report)}
            for trial in _scores(report)
        ],
        "paths": [("blue", path_of(steps))],
        "level": None if before is None else y(before),
        "x_ticks": [(x(tick), f"{tick:g}") for tick in ticks if tick <= last and tick == int(tick)],
        "y_ticks": y_ticks,
        "x_title": "trial",
    }


def epochs_picture(report: TuneReport) -> Picture | None:
    """The validation metric over the epochs of every trial; those that were pruned end early. None where none was reported."""
    drawn = [trial for trial in report.trials if trial.epochs]
    if not drawn:
        return None
    y, ticks = _axis([value for trial in drawn for value in trial.epochs], HEIGHT - BOTTOM, TOP)
    longest = max(len(trial.epochs) for trial in drawn)
    x, x_ticks = _axis([1, max(2, longest)], LEFT, WIDTH - RIGHT)
    paths = []
    for trial in sorted(drawn, key=lambda trial: (trial.number == report.best.trial, trial.state == "complete")):
        points = [(x(epoch), y(value)) for epoch, value in enumerate(trial.epochs, start=1)]
        tone = "best" if trial.number == report.best.trial else "pruned" if trial.state == "pruned" else "faint"
        paths.append((tone, path_of(points)))
    ends = [trial for trial in drawn if trial.state == "pruned"]
    return {
        "name": f"Validation {get_metric(report.epoch_metric).phrase} over the epochs",
        "marks": [
            {
                "x": x(len(trial.epochs)),
                "y": y(trial.epochs[-1]),
                "tone": "pruned",
                "says": f"trial {trial.number}: pruned after epoch {len(trial.epochs)}",
            }
            for trial in ends
        ],
        "paths": paths,
        "level": None,
        "x_ticks": [(x(tick), f"{tick:g}") for tick in x_ticks if tick == int(tick) and 1 <= tick <= longest],
        "y_ticks": [(y(tick), short_number(tick)) for tick in ticks],
        "x_title": "epoch",
    }


def setting_pictures(report: TuneReport) -> list[Picture]:
    """Every setting against the score, in the report's order."""
    return [_setting_picture(setting, report) for setting in report.settings]


def _setting_picture(setting: SearchedSetting, report: TuneReport) -> Picture:
    y, y_ticks = _y_axis(report)
    x, x_ticks = _setting_axis(setting)
    before = _before(report)
    marks: list[Mark] = []
    for trial in sorted(_scores(report), key=lambda trial: trial.number == report.best.trial):
        value = trial.settings[setting.name]
        says = f"{_says(trial, report)}, {setting.name} {setting_text(value)}"
        marks.append({"x": x(value), "y": y(trial.values[0]), "tone": _tone(trial, report), "says": says})
    return {
        "name": setting.name,
        "marks": marks,
        "paths": [],
        "level": None if before is None else y(before),
        "x_ticks": x_ticks,
        "y_ticks": y_ticks,
        "x_title": "log scale" if setting.log else "",
    }


def _setting_axis(setting: SearchedSetting) -> tuple[Callable[[Value], float], Ticks]:
    left, right = LEFT + 10, WIDTH - RIGHT - 10
    if setting.kind == "categorical":
        step = (right - left) / len(setting.choices)
        places = {(type(choice), choice): left + (place + 0.5) * step for place, choice in enumerate(setting.choices)}
        room = max(3, 2 * _SHOWN // len(setting.choices))
        ticks = [(places[type(choice), choice], _cut(setting_text(choice), room)) for choice in setting.choices]
        return lambda value: places[type(value), value], ticks
    assert setting.low is not None
    assert setting.high is not None
    change: Callable[[float], float] = math.log10 if setting.log else float
    low, high = change(setting.low), change(setting.high)

    def place(value: Value) -> float:
        """Pixels from the left edge."""
        return left + (change(float(value)) - low) / (high - low) * (right - left)

    if not setting.log:
        inside = [tick for tick in nice_ticks(setting.low, setting.high) if setting.low <= tick <= setting.high]
        return place, [(place(tick), short_number(tick)) for tick in inside]
    powers = [10.0**power for power in range(math.ceil(low - 1e-9), math.floor(high + 1e-9) + 1)]
    ends = [setting.low, setting.high] if len(powers) < 2 else powers
    return place, [(place(tick), short_number(tick)) for tick in ends]


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def setting_text(value: Value | None) -> str:
    """`true`, `0.001`, `concat`; a dash for none."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def pareto_pictures(report: TuneReport) -> list[Picture]:
    """The score against each cost, with the trials that no other one beats in all objectives; [] for one objective."""
    return [_pareto(report, place) for place in range(1, len(report.objectives))]


def _pareto(report: TuneReport, place: int) -> Picture:
    trials = _scores(report)
    y, y_ticks = _y_axis(report)
    x, ticks = _axis([trial.values[place] for trial in trials], LEFT, WIDTH - RIGHT)
    front = sorted((trial.values[place], trial.values[0]) for trial in trials if trial.number in report.pareto)
    marks: list[Mark] = []
    for trial in trials:
        tone = _tone(trial, report)
        tone = "front" if tone == "plain" and trial.number in report.pareto else tone
        marks.append({"x": x(trial.values[place]), "y": y(trial.values[0]), "tone": tone, "says": _says(trial, report)})
    points = [(x(cost), y(score)) for cost, score in front]
    return {
        "name": f"{get_metric(report.metric).title} against {OBJECTIVES[report.objectives[place]]}",
        "marks": marks,
        "paths": [("front", path_of(points))] if len(points) > 1 and len(report.objectives) == 2 else [],
        "level": None,
        "x_ticks": [(x(tick), short_number(tick)) for tick in ticks],
        "y_ticks": y_ticks,
        "x_title": OBJECTIVES[report.objectives[place]],
    }
