"""What the report and the terminal say of classical features: what they reach by each input, and with fewer training rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from data_contracts.baselines import ClassicalBaselines, CurvePoint
from data_contracts.encoder_choice import EncoderChoice
from data_contracts.modalities import modality_of
from data_contracts.refs import EvalReport, Modality
from tasks.config import RunConfig
from tasks.encoder_choice import compared_kinds, is_blend
from tasks.encoder_ids import AUTO, BUILT_IN
from tasks.modalities import MODALITIES, Preset
from tasks.reporting.charts import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Point, Ticks, nice_ticks, path_of
from tasks.reporting.formatting import percent, points

MARGIN = 0.005
"""Half a point: no trained network should be further below."""
PRESET: Preset = "fast"
"""Whose encoders are small enough for any machine."""


class ClassicalRow(NamedTuple):
    """What one input, or all of them, is worth."""

    inputs: str
    model: float | None
    """Accuracy of the model given these only."""
    baseline: float | None
    difference: tuple[float, float, float] | None
    """The model's minus the baseline's."""
    width: int
    c: float
    notes: tuple[str, ...]


class LearningCurve(NamedTuple):
    """Accuracy over training rows."""

    path: str
    marks: list[Point]
    whiskers: list[tuple[float, float, float]]
    """x, and the y of either end of an interval."""
    x_ticks: Ticks
    y_ticks: Ticks


class ClassicalSection(NamedTuple):
    """All of it."""

    rows: list[ClassicalRow]
    fitted: int
    """Training rows of the last one."""
    warnings: tuple[str, ...]
    curve: LearningCurve | None
    points: tuple[CurvePoint, ...]
    worth: str
    """What more training rows would bring."""
    skipped: str | None


def classical_section(
    report: EvalReport | None, config: RunConfig, choice: EncoderChoice | None = None
) -> ClassicalSection | None:
    """None where nothing was measured."""
    if report is None or report.classical is None:
        return None
    found = report.classical
    rows = [
        ClassicalRow(
            inputs,
            report.by_modalities.get(inputs, {}).get("accuracy"),
            each.metrics.get("accuracy"),
            each.differences.get("accuracy"),
            each.width,
            each.c,
            each.notes,
        )
        for inputs, each in found.by_inputs.items()
    ]
    fitted = [each.rows for each in found.by_inputs.values()]
    return ClassicalSection(
        rows=rows,
        fitted=fitted[-1] if fitted else 0,
        warnings=classical_warnings(report, config, choice),
        curve=_curve(found.curve) if found.curve else None,
        points=found.curve,
        worth=say_worth(found),
        skipped=found.skipped,
    )


def classical_warnings(report: EvalReport, config: RunConfig, choice: EncoderChoice | None = None) -> tuple[str, ...]:
    """A line for every input that a small network from scratch reads worse than a linear model of classical features, by
    more than half a point. `choice`: what the validation rows made of encoders that were left open."""
    if report.classical is None:
        return ()
    lines = []
    for inputs, each in report.classical.by_inputs.items():
        trained = [name for name in inputs.split("+") if config.encoders.of(name) == "tiny"]
        gap = each.differences.get("accuracy")
        if not trained or gap is None or gap[0] >= -MARGIN:
            continue
        behind = "{} points [{}, {}]".format(*(points(-each).removeprefix("+") for each in (gap[0], gap[2], gap[1])))
        kinds = list(dict.fromkeys(map(modality_of, trained)))
        lines.append(
            f"{inputs}: on the test rows the model is {behind} less accurate than logistic regression on classical features "
            f"({percent(each.metrics.get('accuracy'))}); {_what_to_try(kinds, choice)}"
        )
    return tuple(lines)


def _what_to_try(kinds: Sequence[Modality], choice: EncoderChoice | None) -> str:
    if choice is not None and is_blend(choice.encoders):
        other = "a model of these features answers with the network already, as the validation rows chose"
    elif choice is not None and set(kinds) <= set(compared_kinds(choice)):
        other = "encoders of these features were trained, too, and the validation rows chose tiny"
    elif choice is not None and choice.why:
        other = f"{_settings(kinds, BUILT_IN[1])} trains on these features"
    else:
        other = f"{_settings(kinds, AUTO)} tries both and keeps what is better on the validation rows"
    return f"{other}{_pretrained(kinds)}"


def _settings(kinds: Sequence[Modality], encoder: str) -> str:
    return " ".join(f"--set encoders.{kind}={encoder}" for kind in kinds)


def _pretrained(kinds: Sequence[Modality]) -> str:
    """What a pretrained encoder for each of these would take; empty where there is none."""
    chosen = {MODALITIES[kind].presets[PRESET] for kind in kinds if PRESET in MODALITIES[kind].presets}
    if not chosen:
        return ""
    size_mb = sum(each.size_mb for each in chosen)
    return f", and a pretrained encoder is worth trying: --preset {PRESET} ({size_mb} MB; docs/encoders.md)"


def say_worth(found: ClassicalBaselines) -> str:
    """What the last doubling of the training rows brought, and so what the next may; empty where there is no curve."""
    if not found.curve or found.gain is None:
        return ""
    (value, low, high), before, after = found.gain, found.curve[-2], found.curve[-1]
    brought = (
        f"From {before.rows:,} to {after.rows:,} training rows its accuracy changed by {points(value)} points "
        f"[{points(low)}, {points(high)}]: "
    )
    if low > 0:
        return (
            brought
            + "more rows help, and the next doubling is likely to bring something, as a rule less than this one."
        )
    if high < 0:
        return brought + "more rows of this kind made it worse; look at what distinguishes the added ones."
    return (
        brought
        + f"these test rows do not show whether more rows help; doubling them brought {points(high)} points at most."
    )


def _curve(curve: tuple[CurvePoint, ...]) -> LearningCurve:
    """In the size of the other charts; the horizontal axis is the share of the training rows."""
    known = [value for point in curve for value in (point.accuracy, *(point.interval or ()))]
    ticks = nice_ticks(min(known), max(known))

    def place(share: float, value: float) -> Point:
        """Pixels from the left and from the top edge."""
        height = (value - ticks[0]) / (ticks[-1] - ticks[0])
        return LEFT + share * (WIDTH - RIGHT - LEFT - 20), HEIGHT - BOTTOM - height * (HEIGHT - BOTTOM - TOP)

    marks = [place(point.share, point.accuracy) for point in curve]
    return LearningCurve(
        path=path_of(marks),
        marks=marks,
        whiskers=[
            (place(point.share, 0)[0], place(0, point.interval[0])[1], place(0, point.interval[1])[1])
            for point in curve
            if point.interval is not None
        ],
        x_ticks=[(place(point.share, 0)[0], f"{point.rows:,}") for point in curve],
        y_ticks=[(place(0, tick)[1], percent(tick, 0 if ticks[1] - ticks[0] >= 0.01 else 1)) for tick in ticks],
    )
