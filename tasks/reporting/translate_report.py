"""The report of a translation: what was generated, and whether it helps; one HTML file that names no external address."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from data_contracts.refs import InputName, ValidatedRef
from data_contracts.run_summary import Finding
from data_contracts.translation import ArmFigures, ArmPairing, ShownRow, TranslationReport
from tasks.pages import page_template
from tasks.problems.registry import figure_text, get_metric
from tasks.redaction import redact, redact_json
from tasks.reporting.thumbnails import Thumbnails, media_players, picture_media
from tasks.store import Store, replace_file

TONES: dict[str, str] = {"helps": "good", "hurts": "bad", "no difference shown": "open"}
TITLES: dict[str, str] = {
    "helps": "Generated {} helps",
    "hurts": "Generated {} hurts",
    "no difference shown": "No difference shown by generated {}",
}


class Heading(NamedTuple):
    """What the page says of the run."""

    name: str
    """The model's."""
    run: str
    finding: Finding
    reason: str
    notes: Sequence[str]
    """For people."""


class Bar(NamedTuple):
    """A figure with its interval, as a bar: the numbers are percent of its track."""

    name: str
    text: str
    interval: str
    width: float
    low: float
    high: float
    generated: bool
    rows: int


class Line(NamedTuple):
    """A paired difference with its interval around zero: the numbers are percent of its track."""

    name: str
    rows: int
    text: str
    interval: str
    value: float
    low: float
    high: float
    tone: str


def write_translate_page(
    path: Path, report: TranslationReport, heading: Heading, valid: ValidatedRef, store: Store
) -> None:
    """`path` holds the report, in one step."""
    shown = TranslationReport.model_validate(redact_json(report.model_dump(mode="json")))
    seen, heard, made, played = _media(report.shown, report, valid, store)
    template = page_template(
        Path(__file__).with_name("translate_report.html.j2"), share="{:.1%}".format, percent="{:.2%}".format
    )
    page = template.render(
        report=shown,
        title=TITLES[heading.finding].format(report.target),
        tone=TONES[heading.finding],
        reason=redact(heading.reason),
        notes=[redact(note) for note in heading.notes],
        bars=[_bar(arm, report) for arm in report.arms],
        lines=_lines(report),
        metric=report.metric,
        cards=list(zip(shown.shown, seen, heard, made, played, strict=True)),
        name=heading.name,
        run=heading.run,
    )
    replace_file(path, page.encode())


def _bar(arm: ArmFigures, report: TranslationReport) -> Bar:
    value, metric = arm.metrics.get(report.metric), report.metric
    low, high = arm.intervals.get(metric, (value, value))
    most = max(
        abs(each.intervals.get(metric, (0.0, each.metrics.get(metric) or 0.0))[1] or 0.0) for each in report.arms
    )
    scale = 100 / (get_metric(metric).high if get_metric(metric).high == 1.0 else most or 1.0)
    if value is None or low is None or high is None:
        return Bar(arm.plan.name, "–", "", 0, 0, 0, arm.generated > 0, arm.rows)
    texts = [figure_text(each, metric) for each in (value, low, high)]
    width, start, end = (min(100.0, max(0.0, each * scale)) for each in (value, low, high))
    return Bar(arm.plan.name, texts[0], f"{texts[1]} to {texts[2]}", width, start, end, arm.generated > 0, arm.rows)


def _lines(report: TranslationReport) -> list[Line]:
    found = [
        (pairing, pairing.differences[report.metric])
        for pairing in report.pairings
        if report.metric in pairing.differences
    ]
    most = max((abs(each) for _, difference in found for each in difference), default=0.0) or 1.0
    return [_line(pairing, difference, most, report.metric) for pairing, difference in found]


def _line(pairing: ArmPairing, difference: tuple[float, float, float], most: float, metric: str) -> Line:
    sign = -1 if get_metric(metric).lower_is_better else 1
    texts = [figure_text(each, metric, sign=True) for each in difference]
    value, low, high = (50 + 48 * each / most for each in difference)
    ends = sorted(sign * each for each in difference[1:])
    tone = "good" if ends[0] > 0 else "bad" if ends[1] < 0 else "same"
    name = f"{pairing.ours}, against {pairing.theirs}"
    return Line(name, pairing.rows, texts[0], f"{texts[1]} to {texts[2]}", value, low, high, tone)


def _media(
    rows: Sequence[ShownRow], report: TranslationReport, valid: ValidatedRef, store: Store
) -> tuple[list[Thumbnails], list[dict[InputName, str]], list[Thumbnails], list[dict[InputName, str]]]:
    """What the real sources look and sound like, and the same of what was generated from them."""
    sources = [{report.source: row.source} for row in rows]
    outputs = [{report.target: row.generated} for row in rows]
    real, made = {report.source: valid.clean.media[report.source]}, {report.target: report.media}
    return (
        picture_media(sources, real, store),
        media_players(sources, real, store),
        picture_media(outputs, made, store),
        media_players(outputs, made, store),
    )
