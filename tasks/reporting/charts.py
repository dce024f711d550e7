"""What the report draws, as numbers: the template turns them into inline SVG and tables. Pure Python.

Drawn by the browser and not by matplotlib: labels in any script find a font, text can be selected and searched, nothing
must be embedded, and a report costs no two seconds of imports.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

from tasks.number_format import short_number

WIDTH, HEIGHT = 420, 260
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 12, 38
CONFUSION_CLASSES = 20
CONFUSED_PAIRS = 12
# Okabe & Ito 2008, "Color Universal Design": told apart under every common colour blindness.
BLUE, ORANGE = (0, 114, 178), (213, 94, 0)


def curve_chart(epochs: Sequence[dict[str, Any]], series: Sequence[tuple[str, str, str]]) -> dict[str, Any] | None:
    """Lines over epochs. `series`: (key of an epoch, name, colour class). None where fewer than one value is known."""
    known = [(key, name, colour) for key, name, colour in series if any(_is_number(e.get(key)) for e in epochs)]
    values = [float(e[key]) for key, _, _ in known for e in epochs if _is_number(e.get(key))]
    if not values:
        return None
    ticks = nice_ticks(min(values), max(values))
    first, last = int(epochs[0]["epoch"]), int(epochs[-1]["epoch"])

    def x(epoch: float) -> float:
        """Pixels from the left edge."""
        return _scale(epoch, first, max(last, first + 1), LEFT, WIDTH - RIGHT)

    def y(value: float) -> float:
        """Pixels from the top edge."""
        return _scale(value, ticks[0], ticks[-1], HEIGHT - BOTTOM, TOP)

    lines = []
    for key, name, colour in known:
        points = [(x(e["epoch"]), y(float(e[key]))) for e in epochs if _is_number(e.get(key))]
        lines.append({"name": name, "colour": colour, "points": points, "path": path_of(points)})
    return {
        "lines": lines,
        "y_ticks": [(y(tick), short_number(tick)) for tick in ticks],
        "x_ticks": [(x(tick), str(tick)) for tick in _whole_ticks(first, last)],
        "x": x,
    }


def calibration_chart(bins: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Per confidence bin: its accuracy, the gap to its mean confidence, and how many rows stand behind it."""
    most = max((b["count"] for b in bins), default=0) or 1

    def x(value: float) -> float:
        """Pixels from the left edge of a share."""
        return _scale(value, 0, 1, LEFT, WIDTH - RIGHT)

    def y(value: float) -> float:
        """Pixels from the top edge of a share."""
        return _scale(value, 0, 1, HEIGHT - BOTTOM, TOP)

    return {
        "bars": [
            {
                "x": x(b["low"]) + 1,
                "width": x(b["high"]) - x(b["low"]) - 2,
                "y": y(b["accuracy"]),
                "low_y": y(min(b["accuracy"], b["confidence"])),
                "height": y(0) - y(min(b["accuracy"], b["confidence"])),
                "gap_y": min(y(b["accuracy"]), y(b["confidence"])),
                "gap": abs(y(b["accuracy"]) - y(b["confidence"])),
                "strength": 0.35 + 0.65 * math.sqrt(b["count"] / most),
                **b,
            }
            for b in bins
            if b["count"]
        ],
        "diagonal": (x(0), y(0), x(1), y(1)),
        "y_ticks": [(y(t / 4), f"{t * 25} %") for t in range(5)],
        "x_ticks": [(x(t / 4), f"{t * 25} %") for t in range(5)],
    }


def confusion_chart(labels: Sequence[str], cells: Sequence[Sequence[int]]) -> dict[str, Any]:
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


def path_of(points: Sequence[tuple[float, float]]) -> str:
    """An SVG path through the points."""
    return " ".join(f"{'M' if i == 0 else 'L'}{px:.1f} {py:.1f}" for i, (px, py) in enumerate(points))


def size_chart(sizes: dict[str, Any]) -> dict[str, Any]:
    """A histogram of equal bins from `low` to `high` as bars in a box of 200 x 56, and what stands below it."""
    counts = sizes["counts"]
    width, most = 200 / len(counts), max(counts)
    step = (sizes["high"] - sizes["low"]) / len(counts)
    edges = [short_number(sizes["low"] + place * step) for place in range(len(counts) + 1)]
    bars = [
        {
            "x": place * width + 0.5,
            "width": width - 1,
            "y": 56 - 54 * count / most,
            "height": 54 * count / most,
            "says": f"{edges[place]} to {edges[place + 1]}: {count:,}",
        }
        for place, count in enumerate(counts)
    ]
    return {"bars": bars, **{name: short_number(sizes[name]) for name in ("low", "median", "high")}}


def nice_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """About `count` round values that enclose low and high."""
    span = high - low or abs(high) or 1.0
    raw = span / (count - 1)
    unit = 10 ** math.floor(math.log10(raw))
    step = unit * next(m for m in (1, 2, 2.5, 5, 10) if m * unit >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(i * step, 12) for i in range(first, max(last, first + 1) + 1)]


def _whole_ticks(first: int, last: int) -> list[int]:
    step = max(round(nice_ticks(0, max(last - first, 1), 8)[1]), 1)
    return sorted({first, *range(first - first % step + step, last + 1, step)})


def _cell(rows: int, support: int, right: bool) -> dict[str, Any]:
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


def _scale(value: float, low: float, high: float, start: float, end: float) -> float:
    return start + (value - low) / (high - low) * (end - start)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
