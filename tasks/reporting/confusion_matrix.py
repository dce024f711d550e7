"""The confusion matrix: as numbers for the report's table, and as an SVG file of its own for places that show pictures."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

from data_contracts.refs import EvalReport
from tasks.escaping import html_text, one_line
from tasks.reporting.artifacts import read_detail
from tasks.store import Store, replace_file

CONFUSION_CLASSES = 20
CONFUSED_PAIRS = 12
# Okabe & Ito 2008, "Color Universal Design": distinguishable under every common colour blindness.
BLUE, ORANGE = (0, 114, 178), (213, 94, 0)
CELL_PX, TEXT_PX, LABEL_CHARS = 34, 13, 18
_FONT = "system-ui, 'DejaVu Sans', sans-serif"


class ConfusionCell(TypedDict):
    """One cell of the matrix."""

    rows: int
    share: float
    right: bool
    percent: float
    colour: str
    light_text: bool


class ConfusedPair(TypedDict):
    """Two classes of which the one was answered for the other."""

    true: str
    predicted: str
    rows: int
    share: float


class ConfusionChart(TypedDict):
    """The matrix of the classes that are shown, a row per true class."""

    labels: list[str]
    matrix: list[list[ConfusionCell]]
    classes: int
    left_out: int
    mistakes_left_out: int
    pairs: list[ConfusedPair]
    pairs_left_out: int


def confusion_chart(labels: Sequence[str], cells: Sequence[tuple[int, int, int]]) -> ConfusionChart:
    """The matrix as coloured cells; of many classes, those with the most mistakes, and the pairs most often confused.

    `cells`: (true class, predicted class, rows). Colour: share of the true class's rows; blue is right, orange wrong.
    """
    support: dict[int, int] = {}
    wrong: dict[int, int] = {}
    occurring: set[int] = set()
    for true, predicted, rows in cells:
        occurring |= {true, predicted}
        support[true] = support.get(true, 0) + rows
        if true != predicted:
            wrong[true] = wrong.get(true, 0) + rows
            wrong[predicted] = wrong.get(predicted, 0) + rows
    shown = sorted(occurring)
    if len(shown) > CONFUSION_CLASSES:
        shown = sorted(sorted(shown, key=lambda c: (-wrong.get(c, 0), c))[:CONFUSION_CLASSES])
    counts = {(true, predicted): rows for true, predicted, rows in cells}
    matrix = [
        [_cell(counts.get((true, predicted), 0), support.get(true, 0), true == predicted) for predicted in shown]
        for true in shown
    ]
    pairs = sorted(((rows, t, p) for t, p, rows in cells if t != p), key=lambda pair: (-pair[0], pair[1:]))
    inside = sum(counts.get((t, p), 0) for t, p in itertools.product(shown, shown) if t != p)
    return {
        "labels": [labels[c] for c in shown],
        "matrix": matrix,
        "classes": len(occurring),
        "left_out": len(occurring) - len(shown),
        "mistakes_left_out": sum(rows for rows, _, _ in pairs) - inside,
        "pairs": [
            {"true": labels[t], "predicted": labels[p], "rows": rows, "share": rows / support[t]}
            for rows, t, p in pairs[:CONFUSED_PAIRS]
        ],
        "pairs_left_out": max(len(pairs) - CONFUSED_PAIRS, 0),
    }


def write_confusion(path: Path, report: EvalReport | None, store: Store) -> None:
    """`path` holds the picture; nothing is written where the problem has no confusion matrix."""
    detail = read_detail(report, store)
    if detail is not None and detail.confusion:
        replace_file(path, draw_confusion(detail.labels, detail.confusion).encode())


def draw_confusion(labels: Sequence[str], cells: Sequence[tuple[int, int, int]]) -> str:
    """The SVG text: a row per true class, a column per predicted one, coloured as in the report."""
    chart = confusion_chart(labels, cells)
    names = [html_text(one_line(label, LABEL_CHARS)) for label in chart["labels"]]
    margin = 30 + 8 * max((min(len(label), LABEL_CHARS) for label in chart["labels"]), default=0)
    side = margin + CELL_PX * len(names) + 12
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{side}" height="{side + 24}" viewBox="0 0 {side} {side + 24}" '
        f'font-family="{_FONT}" font-size="{TEXT_PX}"><rect width="100%" height="100%" fill="#fff"/>',
        f'<text x="{margin}" y="{side + 12}" fill="#5b6675">rows: true class; columns: predicted'
        f"{_left_out(chart)}</text>",
    ]
    for place, name in enumerate(names):
        middle = margin + CELL_PX * (place + 0.5)
        parts.append(f'<text x="{margin - 8}" y="{middle + 4}" text-anchor="end">{name}</text>')
        parts.append(f'<text transform="translate({middle + 4},{margin - 8}) rotate(-90)">{name}</text>')
    for row, line in enumerate(chart["matrix"]):
        for column, cell in enumerate(line):
            x, y = margin + CELL_PX * column, margin + CELL_PX * row
            colour = cell["colour"] if cell["rows"] else "#f5f7f9"
            ink = "#fff" if cell["light_text"] else "#1c2430"
            parts.append(
                f'<rect x="{x + 1}" y="{y + 1}" width="{CELL_PX - 2}" height="{CELL_PX - 2}" fill="{colour}"/>'
            )
            if cell["rows"]:
                at = f'x="{x + CELL_PX / 2}" y="{y + CELL_PX / 2 + 4}"'
                parts.append(f'<text {at} text-anchor="middle" fill="{ink}">{cell["rows"]}</text>')
    return "".join(parts) + "</svg>\n"


def _cell(rows: int, support: int, right: bool) -> ConfusionCell:
    share = rows / support if support else 0.0
    # The square root lifts rare mistakes out of the white.
    strength = 0.08 + 0.92 * (share if right else math.sqrt(share)) if rows else 0.0
    red, green, blue = (round(255 + (c - 255) * strength) for c in (BLUE if right else ORANGE))
    return {
        "rows": rows,
        "share": share,
        "right": right,
        "percent": round(100 * strength, 1),
        "colour": f"rgb({red},{green},{blue})",
        "light_text": right and strength > 0.85,  # on orange dark text is easier to read
    }


def _left_out(chart: ConfusionChart) -> str:
    return f"; {chart['left_out']} of {chart['classes']} classes are not shown" if chart["left_out"] else ""
