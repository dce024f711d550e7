"""The confusion matrix as a picture: an SVG file of its own, for places that show pictures and not the report's table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from data_contracts.refs import EvalReport
from tasks.escaping import html_text, one_line
from tasks.reporting.charts import confusion_chart
from tasks.store import Store, replace_file

CELL_PX, TEXT_PX, LABEL_CHARS = 34, 13, 18
_FONT = "system-ui, 'DejaVu Sans', sans-serif"


def write_confusion(path: Path, report: EvalReport | None, store: Store) -> None:
    """`path` holds the picture; nothing is written where the problem has no confusion matrix."""
    source = None if report is None else store.path(report.uri) / "detail.json"
    if source is None or not source.is_file():
        return
    detail: dict[str, Any] = json.loads(source.read_text(encoding="utf-8"))
    if "confusion" in detail:
        replace_file(path, draw_confusion(detail["labels"], detail["confusion"]).encode())


def draw_confusion(labels: list[str], cells: list[list[int]]) -> str:
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


def _left_out(chart: dict[str, Any]) -> str:
    return f"; {chart['left_out']} of {chart['classes']} classes are not shown" if chart["left_out"] else ""
