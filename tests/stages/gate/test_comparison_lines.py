"""The lines of the gate's table that compare with published models, word by word and number by number."""

from __future__ import annotations

import math
from typing import Any

import pytest

from data_contracts.refs import EvalReport, Pairing, RuleResult
from data_contracts.slices import SliceRegression, SliceRegressions
from tasks.config import GateConfig
from tasks.gate.comparison import compare_models, least_gap, next_anchor, stretch
from tests.support.gate_reports import against, errors, make_report


def anchor(difference: float, low: float, high: float, **changes: Any) -> Pairing:
    fields: dict[str, Any] = {
        "version": "1", "model_sha256": "2" * 64, "rows": 480, "clusters": None, "seen": 0,
        "metrics": {"macro_f1": 0.91}, "differences": {"macro_f1": (difference, low, high)}, "differing": None,
        "effective_rows": {},
    }  # fmt: skip
    return Pairing(**(fields | changes))


def loss(value: str, **changes: Any) -> SliceRegression:
    fields: dict[str, Any] = {"by": "class", "value": value, "rows": 40, "change": -0.2, "p": 0.001}
    return SliceRegression(**(fields | changes))


def with_losses(*parts: SliceRegression, tested: int = 5, too_small: int = 0, **settings: Any) -> RuleResult:
    losses = SliceRegressions(parts=parts, tested=tested, too_small=too_small, min_rows=20)
    report = against(0.9, 0.03, 0.01, 0.05, champion_rows=120, champion_clusters=31, slice_regressions=losses)
    return compare_models(report, GateConfig(mode="better", **settings))[-1]


def assert_shown(line: RuleResult, **expected: Any) -> None:
    assert {name: getattr(line, name) for name in expected} == expected


def detail(report: EvalReport, **settings: Any) -> str:
    return compare_models(report, GateConfig(**settings))[0].detail


def test_every_field_of_a_line() -> None:
    report = against(0.9, 0.03, 0.01, 0.05, champion_rows=120, champion_clusters=7, champion_seen=1)
    (line,) = compare_models(report, GateConfig(mode="better"))
    assert_shown(
        line,
        rule="macro_f1 better than the champion", metric="macro_f1", value=0.9, threshold=0.87,
        baseline="champion version 3: 0.870", n=120, clusters=7, outcome="pass",
        detail="macro_f1 0.900 against the champion's 0.870 (difference +0.030 [+0.010, +0.050]); 1 row was left "
        "out, which the champion was trained on; few clusters (7): the interval is rough",
    )  # fmt: skip
    (line,) = compare_models(report.model_copy(update={"champion_clusters": 20}), GateConfig(mode="not-worse"))
    assert (line.rule, line.threshold) == ("macro_f1 not worse than the champion", pytest.approx(0.85))
    assert line.detail == (
        "macro_f1 0.900 against the champion's 0.870 (difference +0.030 [-0.002, +0.062] at 99.8 %, margin 0.02); 1 row was "
        "left out, which the champion was trained on"
    )


def test_the_line_of_the_best_champion() -> None:
    report = against(0.9, 0.0, -0.01, 0.01, anchor=anchor(-0.01, -0.03, 0.01, differing=3, clusters=4, seen=2))
    first, second = compare_models(report, GateConfig())
    assert (
        first.detail == "macro_f1 0.900 against the champion's 0.900 (difference +0.000 [-0.010, +0.010], margin 0.02)"
    )
    assert_shown(
        second,
        rule="macro_f1 not worse than the best champion so far", metric="macro_f1", value=0.9, threshold=0.89,
        baseline="best champion so far, version 1: 0.910", n=480, clusters=4, outcome="inconclusive",
        detail="macro_f1 0.900 against the best champion so far's 0.910 (difference -0.010 [-0.114, +0.094] at 99.8 %, margin "
        "0.02): a loss of 0.02 or more is not ruled out: 4 clusters are too few for an interval (6 are enough); 2 rows were "
        "left out, which the best champion so far was trained on; few clusters (4): the interval is rough",
    )  # fmt: skip
    assert next_anchor(report, GateConfig()) == "1"
    better = against(0.9, 0.0, -0.01, 0.01, anchor=anchor(0.1, 0.05, 0.2))
    assert next_anchor(better, GateConfig()) is None
    assert next_anchor(better, GateConfig(anchor="off")) is None
    assert next_anchor(make_report(), GateConfig()) is None
    other_metric = against(0.9, 0.0, -0.01, 0.01, differences={"accuracy": (0.1, 0.05, 0.2)})
    assert [next_anchor(other_metric, GateConfig(metric=name)) for name in ("auto", "accuracy")] == ["3", None]


def test_the_first_line_of_a_first_model() -> None:
    (line,) = compare_models(make_report(0.9, clusters=9), GateConfig(mode="better"))
    assert_shown(
        line,
        rule="macro_f1 better than the champion", metric="macro_f1", value=0.9, threshold=None, baseline="no champion yet",
        n=500, clusters=9, outcome="pass", detail="macro_f1 0.900; no champion to compare with",
    )  # fmt: skip
    (line,) = compare_models(make_report(None), GateConfig())
    assert (line.rule, line.outcome) == ("macro_f1 not worse than the champion", "fail")
    assert line.detail == "macro_f1 is not defined on these test rows"


def test_errors_have_a_margin_of_their_own() -> None:
    """A hundredth of the champion's 2; and a whole champion's error, whose version the report does not name."""
    champion = {"champion_sha256": "1" * 64, "differences": {"mae": (0.01, -0.02, 0.04)}}
    report = errors(0.5, (0.4, 0.6), champion_version="3", champion_metrics={"mae": 2.0}, **champion)
    (line,) = compare_models(report, GateConfig(mode="not-worse", margin=0.01))
    assert (line.threshold, line.baseline) == (2.02, "champion version 3: 2")
    assert line.detail == (
        "mae 0.5 against the champion's 2 (difference +0.01 [-0.0373, +0.0573] at 99.8 %, margin 0.02): a loss of 0.02 or more "
        "is not ruled out; of a model as good it would be on about 4,600 such rows"
    )
    nameless = errors(0.5, (0.4, 0.6), champion_metrics={"mae": 1.0}, **champion)
    (line,) = compare_models(nameless, GateConfig(mode="not-worse", margin=1.0))
    assert (line.outcome, line.threshold, line.baseline) == ("pass", 2.0, "champion version ?: 1")
    wide = nameless.model_copy(update={"differences": {"mae": (0.0, -2.0, 2.0)}})
    # The half width is 2 z'/z = 3.153, with z' = 3.090 and a power of 0.8: 500 (3.153 (1 + 0.8416 / 3.090))^2 rows.
    assert "would be on about 8,100 such rows" in detail(wide, mode="not-worse", margin=1.0)


@pytest.mark.parametrize(
    ("report", "settings", "ending"),
    [
        (
            against(0.9, 0.0, -0.04, 0.04, champion_effective_rows={"macro_f1": 100.0}), {},
            "[-0.063, +0.063] at 99.8 %, margin 0.02): a loss of 0.02 or more is not ruled out; of a model as good it would be "
            "on about 8,100 such rows",
        ),
        (  # nothing differs: what decides is how seldom 100 rows would show a loss of 0.02
            against(0.9, 0.0, 0.0, 0.0, champion_effective_rows={"macro_f1": 100.0}), {"anchor": "off"},
            "margin 0.02): a loss of 0.02 or more is not ruled out, as a model that loses so much often agrees on so few rows; "
            "of a model as good it would be on about 2,000 such rows",
        ),
        (  # three rows differ: how many more would do cannot be told from an interval that is all of the range
            against(0.9, -0.008, -1.0, 0.02), {},
            "[-1.000, +0.036] at 99.8 %, margin 0.02): a loss of 0.02 or more is not ruled out: the two models differ on too "
            "few of these rows; see crossmodal gate power",
        ),
        (against(0.9, 0.0, 0.0, 0.0), {"anchor": "off", "margin": 0}, "margin 0): a loss of 0 or more is not ruled out"),
        (
            against(0.9, -0.019, -0.021, -0.017), {"anchor": "off"},
            "margin 0.02): a loss of 0.02 or more is not ruled out, and would be of a model as good on 500 rows",
        ),
        (against(0.9, 0.0, -0.01, 0.01), {"mode": "better"}, "[-0.010, +0.010]): no gain is shown"),
        (
            against(0.9, 0.0, -0.01, 0.01, champion_rows=1), {},
            "1 test row to compare with the champion on, fewer than 50 (gate.min_rows)",
        ),
        (
            against(0.9, 0.0, -0.01, 0.01, differences={}, champion_clusters=3), {},
            "cannot be compared with the champion: 3 clusters are too few for an interval (6 are enough); "
            "few clusters (3): the interval is rough",
        ),
        (
            against(0.9, 0.0, -0.01, 0.01, champion_metrics={}), {},
            "macro_f1 0.900 cannot be compared: the champion has none on these test rows",
        ),
    ],
)  # fmt: skip
def test_an_inconclusive_line_says_what_is_missing(report: EvalReport, settings: dict[str, Any], ending: str) -> None:
    (line,) = compare_models(report, GateConfig(**settings))
    assert line.outcome == "inconclusive"
    assert line.detail.endswith(ending)


def test_a_line_that_passes_shows_the_interval_itself_not_as_far_as_the_rows_reach() -> None:
    report = against(0.9, 0.0, 0.0, 0.0, champion_effective_rows={"macro_f1": 3000.0})
    (line,) = compare_models(report, GateConfig(anchor="off"))
    assert line.outcome == "pass"
    assert "[+0.000, +0.000], margin 0.02)" in line.detail
    assert line.interval == (0.0, 0.0)


def test_a_figure_that_is_not_defined_fails_against_a_champion_too() -> None:
    (line,) = compare_models(against(None, 0.0, -0.01, 0.01), GateConfig())
    assert (line.outcome, line.detail) == ("fail", "macro_f1 is not defined on these test rows")


def test_the_line_of_the_parts() -> None:
    assert_shown(
        with_losses(loss("a"), tested=5),
        rule="no class or slice worse than the champion", metric="macro_f1", value=None, threshold=None,
        baseline="champion version 3", n=120, clusters=31, outcome="fail",
        detail="worse than the champion on class 'a' (-0.2 on average over 40 rows, p 0.001)",
    )  # fmt: skip
    three = with_losses(loss("a"), loss("b"), loss("c"))
    assert three.detail.endswith("class 'c' (-0.2 on average over 40 rows, p 0.001)")
    many = with_losses(
        loss("a", lost=True, p=0.5), loss("image", by="modalities", p=1e-9), loss("c"), loss("d"), loss("x", p=0.9)
    )
    assert many.detail == (
        "worse than the champion on class 'a' (none of its 40 rows is answered rightly any more), rows with image (-0.2 on "
        "average over 40 rows, p 0.0001), class 'c' (-0.2 on average over 40 rows, p 0.001) and others"
    )
    assert with_losses().detail == "no class or set of modalities is significantly worse (5 tested, Holm)"
    untested = with_losses(loss("a", p=0.06), tested=0, too_small=3)
    assert untested.outcome == "pass"
    assert untested.detail == (
        "no class or set of modalities was tested; 3 with fewer than 20 test rows not tested"
    )  # fmt: skip


def test_a_loss_counts_up_to_its_alpha() -> None:
    assert with_losses(loss("a", p=0.03), slice_alpha=0.03).outcome == "fail"
    assert with_losses(loss("a", p=0.0301), slice_alpha=0.03).outcome == "pass"
    assert with_losses(loss("a", lost=True), slice_alpha=0.0).rule == "macro_f1 better than the champion"


@pytest.mark.parametrize(
    ("differing", "ratio"),
    [
        (None, 2.5758 / 1.9600), (1, 63.657 / 12.706), (2, 63.657 / 12.706), (3, 9.9248 / 4.3027), (4, 5.8409 / 3.1824),
        (10**9, 2.5758 / 1.9600),
    ],
)  # fmt: skip
def test_an_interval_is_stretched_by_students_t(differing: int | None, ratio: float) -> None:
    """Quantiles from a table of Student's t: 0.995 over 0.975, with one degree of freedom fewer than rows that differ."""
    expected = (0.1, 0.1 - 0.1 * ratio, 0.1 + 0.2 * ratio)
    assert stretch((0.1, 0.0, 0.3), 0.95, 0.99, differing) == pytest.approx(expected, abs=1e-4)


def test_the_least_gap_is_that_of_a_model_that_loses_the_margin() -> None:
    assert least_gap(0.02, 100, 0.95) == pytest.approx(1.95996 * math.sqrt(0.02 / 100), rel=1e-4)
    assert (least_gap(0.02, None, 0.95), least_gap(0.0, 100, 0.95)) == (0.0, 0.0)
