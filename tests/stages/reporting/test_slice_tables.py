"""The section on slices as what is drawn."""

from __future__ import annotations

from typing import Any

import pytest

from data_contracts.refs import EvalReport
from data_contracts.slices import PartFigures, ReferenceFigures, SliceBy, SliceFigures, SliceReport
from tasks.config import load_config
from tasks.reporting.slice_tables import slice_section


def slice_of(name: str, value: str, figure: float | None, **changes: Any) -> SliceFigures:
    bounds = (
        {} if figure is None else {0.95: {"macro_f1": (figure - 0.1, figure + 0.05), "mae": (figure - 0.1, figure)}}
    )
    fields = {"rows": 40, "metrics": {"macro_f1": figure, "accuracy": 0.9, "mae": figure}, "intervals": bounds}
    return SliceFigures.model_validate({"slice": name, "value": value, "shown": value, **fields, **changes})


def test_the_worst_value_comes_first() -> None:
    reference = ReferenceFigures(rows=30, metrics={}, changes={"macro_f1": -0.2}, p=0.01)
    parts = SliceReport(
        champion="3", whole=PartFigures(rows=90, metrics={"macro_f1": 0.8, "mae": 2.0}),
        by=(SliceBy(name="speaker", others=1_200), SliceBy(name="text.size", unit="characters", edges=(3.0, 4.5))),
        slices=(slice_of("speaker", "bob", 0.9, clusters=4), slice_of("text.size", "q1", 0.7), slice_of("speaker", "zoe", None),
                slice_of("speaker", "ann", 0.5, reference=reference)),
    )  # fmt: skip
    report = EvalReport.model_construct(problem="multiclass")
    found = slice_section(parts, report, load_config({}))
    assert found is not None
    assert (found.metric.name, found.second and found.second.name, found.place) == ("macro_f1", "accuracy", 0.8)
    speakers, sizes = found.tables
    assert [row.value for row in speakers.rows] == ["ann", "bob", "zoe"]
    assert (speakers.note, sizes.note) == (
        "(others): 1,200 rarer values together", "cut at the quartiles of the train rows: 3, 4.5",
    )  # fmt: skip
    assert (sizes.title, found.has_clusters) == ("text.size (characters)", True)
    ann = speakers.rows[0]
    assert (ann.length, ann.low, ann.high, ann.change, ann.p, ann.second) == (
        0.5, pytest.approx(0.4), pytest.approx(0.55), -0.2, 0.01, 0.9,
    )  # fmt: skip
    numbers = slice_section(parts, EvalReport.model_construct(problem="regression"), load_config({}))
    assert numbers is not None
    assert [row.value for row in numbers.tables[0].rows] == ["bob", "ann", "zoe"], "of errors less is more"
    assert (numbers.second, numbers.tables[0].rows[0].length) == (None, 0.45)
    assert slice_section(parts.model_copy(update={"by": ()}), report, load_config({})) is None
