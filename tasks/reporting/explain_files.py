"""What an explanation leaves in its folder: report.html, and explanations.json with every figure of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data_contracts.explanations import REPORT, Attribution, ExplanationReport, FidelityCurve, RowExplanation
from data_contracts.modalities import in_order, modality_of
from data_contracts.refs import CleanRef, InputName
from tasks.media.media_store import MediaReader
from tasks.number_format import short_number
from tasks.pages import page_template
from tasks.redaction import redact, redact_json
from tasks.reporting.charts import path_of
from tasks.reporting.thumbnails import Thumbnails, media_players, picture_media
from tasks.samples import Samples
from tasks.store import Store, replace_file

LABELS_SHOWN = 30
COLOURS = 6
"""Of inputs, see the template; a seventh begins again."""
CHART = (220, 130)
Medium = tuple[np.ndarray | str, int]


@dataclass(frozen=True)
class Word:
    """A word with how strongly it is coloured, -1 to 1."""

    text: str
    value: float
    strength: float


@dataclass(frozen=True)
class ShownAttribution:
    """One input of a row."""

    found: Attribution
    picture: str | None
    """A data URI."""
    words: tuple[Word, ...]
    player: str | None


@dataclass(frozen=True)
class Card:
    """One row."""

    row: RowExplanation
    seen: Thumbnails
    bars: tuple[tuple[InputName, float, float], ...]
    """Input, value, and length in percent of the longest."""
    attributions: tuple[ShownAttribution, ...]
    neighbours: tuple[tuple[str, str, float, Thumbnails], ...]
    """Id, label, similarity, and what it looks like."""


@dataclass(frozen=True)
class CurveChart:
    """The curves of an input as SVG paths."""

    curve: FidelityCurve
    deletion: str
    insertion: str
    random_deletion: str
    random_insertion: str
    low: str
    high: str


def write_explanations(
    folder: Path,
    report: ExplanationReport,
    reason: str,
    clean: CleanRef,
    notes: Sequence[str],
    run: str,
    store: Store,
    page: str = "report.html",
) -> None:
    """Both files lie in the folder, each written in one step. `notes` are for people."""
    content = redact_json(report.model_dump(mode="json"))
    replace_file(folder / REPORT, json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False).encode())
    cards = _cards(report, clean, store)
    template = page_template(
        Path(__file__).with_name("explain.html.j2"), percent="{:.0%}".format, short=_short, interval=_interval
    )
    order = [each.input for each in report.inputs]
    labels = sorted({label for each in report.inputs for label in each.by_label})[:LABELS_SHOWN]
    most = max((value for each in report.inputs for value in each.by_label.values()), default=0.0) or 1.0
    html = template.render(
        report=ExplanationReport.model_validate(content),
        reason=redact(reason),
        notes=[redact(note) for note in notes],
        cards=cards,
        colour={name: place % COLOURS for place, name in enumerate(order)},
        labels=labels,
        most=most,
        charts=[_chart(each) for each in report.fidelity],
        box=CHART,
        run=run,
    )
    replace_file(folder / page, html.encode())


def _short(value: float) -> str:
    return short_number(value, sign=True, digits=3).replace("-", "−")


def _interval(value: tuple[float, float] | None, percent: bool = False) -> str:
    if value is None:
        return ""
    low, high = ((f"{100 * end:.0f}" if percent else short_number(end, digits=3)) for end in value)
    return f"[{low}, {high}]".replace("-", "−")


def _cards(report: ExplanationReport, clean: CleanRef, store: Store) -> list[Card]:
    samples = Samples.read(store.path(clean.uri))
    place = {each: number for number, each in enumerate(samples.ids)}
    near = list(dict.fromkeys(each.id for row in report.explained for each in row.neighbours if each.id in place))
    shown = [*(row.id for row in report.explained), *near]
    chosen = samples.take([place[each] for each in shown])
    columns = {name: chosen.digests(name) for name in clean.media if name in chosen.names}
    digests = [
        {name: digest for name, cells in columns.items() if (digest := cells[number]) is not None}
        for number in range(len(shown))
    ]
    count = len(report.explained)
    seen = picture_media(digests, clean.media, store)
    heard = media_players(digests[:count], clean.media, store)
    media = _media(digests[:count], clean.media, store)
    looks = dict(zip(near, seen[count:], strict=True))
    return [
        Card(
            row=RowExplanation.model_validate(redact_json(row.model_dump(mode="json"))),
            seen=seen[number],
            bars=_bars(row.shapley.shapley),
            attributions=tuple(_show(each, media[number], heard[number]) for each in row.attributions),
            neighbours=tuple(
                (redact(each.id), each.label, each.similarity, looks[each.id])
                for each in row.neighbours
                if each.id in looks
            ),
        )
        for number, row in enumerate(report.explained)
    ]


def _media(
    rows: Sequence[Mapping[InputName, str]], media: Mapping[InputName, str], store: Store
) -> list[dict[InputName, Medium]]:
    """The rows' media with their rates, to be drawn over."""
    found: dict[tuple[InputName, str], Medium] = {}
    for name, fingerprint in media.items():
        reader = MediaReader(store, modality_of(name), fingerprint)
        for digest, medium in reader.read([row[name] for row in rows if name in row]):
            found[name, digest] = (medium, reader.rate_hz)
    return [{name: found[name, digest] for name, digest in row.items() if (name, digest) in found} for row in rows]


def _bars(values: Mapping[InputName, float]) -> tuple[tuple[InputName, float, float], ...]:
    longest = max((abs(value) for value in values.values()), default=0.0) or 1.0
    return tuple((name, values[name], round(100 * abs(values[name]) / longest, 1)) for name in in_order(values))


def _show(found: Attribution, media: Mapping[InputName, Medium], heard: Mapping[InputName, str]) -> ShownAttribution:
    medium = media.get(found.input)
    picture = None if medium is None else _draw(found, *medium)
    most = max((abs(each.value) for each in found.values), default=0.0) or 1.0
    words = tuple(Word(redact(each.name), each.value, round(each.value / most, 3)) for each in found.values)
    return ShownAttribution(found, picture, words, heard.get(found.input))


def _draw(found: Attribution, medium: np.ndarray | str, rate_hz: int) -> str | None:
    from tasks.media.overlays import draw_frames, draw_over_picture, draw_over_sound  # which need Pillow

    if isinstance(medium, str):
        return None
    if found.form == "picture":
        return draw_over_picture(medium, found.map)
    if found.form == "spectrogram":
        return draw_over_sound(medium, rate_hz, found.map, found.seconds)
    if found.form == "frames":
        return draw_frames(medium, [each.value for each in found.values])
    return None


def _chart(curve: FidelityCurve) -> CurveChart:
    kinds = ("deletion", "insertion", "random_deletion", "random_insertion")
    values = [value for kind in kinds for value in getattr(curve, kind)]
    low, high = min(values), max(values)
    width, height = CHART

    def path(kind: str) -> str:
        """An SVG path in a box of CHART."""
        span = (high - low) or 1.0
        points = [
            (share * width, height - (value - low) / span * height)
            for share, value in zip(curve.shares, getattr(curve, kind), strict=True)
        ]
        return path_of(points)

    return CurveChart(
        curve=curve,
        deletion=path("deletion"),
        insertion=path("insertion"),
        random_deletion=path("random_deletion"),
        random_insertion=path("random_insertion"),
        low=_short(low),
        high=_short(high),
    )
