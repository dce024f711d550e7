"""The exponents of figures that are known, and the picture of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.pipeline_scale import STAGES, Figures, draw, exponent


def figures(rows: int, power: float) -> Figures:
    seconds = dict.fromkeys((*STAGES, "total"), (rows / 1000) ** power)
    return {
        "rows": rows, "seconds": seconds, "cpu_s": rows / 500, "peak_mb": 900.0, "private_mb": 500.0,
        "children_mb": 600.0, "accuracy": 0.9,
    }  # fmt: skip


def test_an_exponent_is_of_the_larger_sizes_where_there_are_three() -> None:
    found = [figures(10_000, 1), figures(100_000, 1.2)]
    assert exponent([found[0], figures(100_000, 1)], "train") == pytest.approx(1)
    assert exponent(found, "cpu") == pytest.approx(1)
    assert exponent([*found, figures(1_000_000, 1.2)], "train") == pytest.approx(1.2), (
        "the first, mostly starts, is left out"
    )


def test_it_is_drawn(tmp_path: Path) -> None:
    draw([figures(10_000, 1), figures(100_000, 1)], tmp_path / "scale.png", "texts")
    assert (tmp_path / "scale.png").read_bytes().startswith(b"\x89PNG")
