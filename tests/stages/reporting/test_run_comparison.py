"""What the page of two runs says of their differences, and where it draws them."""

from __future__ import annotations

import pytest

from tasks.reporting.run_comparison import describe_differences, draw_differences, tone_of
from tasks.reporting.run_diff import Figure, RunDiff, Triple


def figure(metric: str, difference: Triple | None) -> Figure:
    return Figure(metric, 0.5, 0.6, difference)


def diff_of(*figures: Figure, paired: str = "b minus a") -> RunDiff:
    return RunDiff("a", "b", [], [], list(figures), paired, [])


@pytest.mark.parametrize(
    ("metric", "difference", "tone"),
    [
        ("accuracy", (0.1, 0.05, 0.15), "good"),
        ("accuracy", (-0.1, -0.15, -0.05), "bad"),
        ("accuracy", (0.1, -0.05, 0.25), "same"),
        ("accuracy", (0.1, 0.0, 0.2), "same"),
        ("log_loss", (0.1, 0.05, 0.15), "bad"),
        ("log_loss", (-0.1, -0.15, -0.05), "good"),
    ],
)
def test_only_an_interval_without_0_has_a_side(metric: str, difference: Triple, tone: str) -> None:
    assert tone_of(figure(metric, difference)) == tone


def test_the_sentence_is_true_to_the_intervals() -> None:
    better, worse = figure("accuracy", (0.1, 0.05, 0.15)), figure("log_loss", (0.1, 0.05, 0.15))
    open_ = [figure(name, (0.1, -0.1, 0.3)) for name in ("macro_f1", "auroc")]
    assert describe_differences(diff_of(better, worse, *open_)) == (
        "b is better in accuracy and b is worse in log_loss; the intervals of the other 2 contain 0."
    )
    assert describe_differences(diff_of(*open_)).startswith("No figure differs by more than chance")
    assert describe_differences(diff_of(figure("accuracy", None), paired="no rows")) == (
        "The figures cannot be compared row by row: no rows."
    )


def test_differences_of_shares_are_drawn_on_one_axis() -> None:
    figures = [
        figure("accuracy", (0.1, 0.05, 0.15)),
        figure("macro_f1", (-0.1, -0.2, 0.0)),
        figure("log_loss", (3.0, 2.0, 4.0)),
        figure("auroc", None),
    ]
    chart = draw_differences(figures)
    assert chart is not None
    assert [mark.metric for mark in chart.marks] == ["accuracy", "macro_f1"]
    up, down = chart.marks
    assert down.low < down.x < down.high == pytest.approx(chart.zero)
    assert chart.zero < up.low < up.x < up.high
    assert up.x - chart.zero == pytest.approx(chart.zero - down.x)
    assert {text: x for x, text in chart.ticks}["0"] == pytest.approx(chart.zero)
    assert draw_differences(figures[2:]) is None
