from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from data_contracts.refs import EvalReport
from tasks.config import GateConfig, Rule, RunConfig
from tasks.gate.gate import gate, gate_key
from tasks.store import Store, write_text
from tests.support.gate_reports import SHA, against, errors, make_report


def decide(report: EvalReport, tmp_path: Path, **settings: Any) -> tuple[str, str]:
    verdict = gate(report, RunConfig(gate=GateConfig(**settings)), Store(tmp_path))
    return verdict.decision, verdict.reason


@pytest.mark.parametrize(
    ("difference", "low", "high", "better", "not_worse"),
    [
        (0.030, 0.010, 0.050, "promote", "promote"),  # a gain that is shown
        (0.002, -0.009, 0.012, "inconclusive", "promote"),  # equal, shown to lose less than the margin
        (0.000, -0.018, 0.018, "inconclusive", "inconclusive"),  # the margin is not ruled out
        (-0.006, -0.024, 0.012, "inconclusive", "inconclusive"),  # a small loss that is not shown
        (-0.010, -0.030, 0.010, "inconclusive", "inconclusive"),  # just at the margin
        (-0.015, -0.035, 0.005, "inconclusive", "inconclusive"),  # a large loss that is not shown
        (-0.005, -0.007, -0.003, "reject", "promote"),  # a loss that is shown to stay within the margin
        (-0.008, -0.015, -0.001, "reject", "inconclusive"),  # a shown loss that may exceed the margin
        (-0.030, -0.055, -0.005, "reject", "reject"),  # a real loss
        (0.020, 0.000, 0.040, "inconclusive", "promote"),  # an interval that touches 0 shows no gain
        (-0.020, -0.040, 0.000, "inconclusive", "inconclusive"),  # nor a loss
        (-0.005, -0.020, 0.000, "inconclusive", "inconclusive"),
        (-0.005, -0.010, -0.001, "reject", "inconclusive"),  # a shown loss that may be the margin itself
        (-0.010, -0.030, -0.001, "reject", "inconclusive"),  # a shown loss whose best estimate is the margin itself
        (-0.030, -0.050, -0.012, "reject", "reject"),
    ],
)
def test_against_the_champion(
    difference: float, low: float, high: float, better: str, not_worse: str, tmp_path: Path
) -> None:
    champion: dict[str, Any] = {"champion_sha256": SHA, "champion_version": "3"}
    shares = against(0.9, difference, low, high)
    # Of errors less is more: the same cases mirrored, with the margin as a share of the champion's error, which is 1.
    mirrored = {"champion_metrics": {"mae": 1.0}, "differences": {"mae": (-difference, -high, -low)}}
    for report in (shares, errors(0.5, (0.4, 0.6), **champion, **mirrored)):
        assert decide(report, tmp_path, mode="better")[0] == better
        assert decide(report, tmp_path, mode="not-worse", margin=0.01, anchor="off")[0] == not_worse


@pytest.mark.parametrize("bad", [None, math.nan, math.inf])
@pytest.mark.parametrize("champion", [True, False])
@pytest.mark.parametrize(
    "rules", [(), (Rule(metric="accuracy", min=0.0),), (Rule(metric="accuracy", above_majority=True),)]
)
def test_an_undefined_figure_never_passes(bad: float | None, champion: bool, rules: Any, tmp_path: Path) -> None:
    metrics = {"test": {"accuracy": bad, "macro_f1": bad}}
    report = against(0.9, 0.0, -0.01, 0.01, metrics=metrics) if champion else make_report(metrics=metrics)
    assert decide(report, tmp_path, rules=rules)[0] == "reject"


@pytest.mark.parametrize(
    "changes",
    [
        {"differences": {}},
        {"differences": {"macro_f1": (math.nan, -0.01, 0.01)}},
        {"champion_metrics": {"macro_f1": None}},
        {"champion_metrics": None},
    ],
)
def test_what_cannot_be_compared_is_inconclusive(changes: dict[str, Any], tmp_path: Path) -> None:
    assert decide(against(0.9, 0.0, -0.01, 0.01, **changes), tmp_path)[0] == "inconclusive"


@pytest.mark.parametrize("mode", ["better", "not-worse"])
def test_a_difference_without_interval_shows_nothing(mode: str, tmp_path: Path) -> None:
    for bounds in ((math.nan, math.nan), (-0.02, math.nan)):
        assert decide(against(0.9, 0.01, *bounds), tmp_path, mode=mode)[0] == "inconclusive"


@pytest.mark.parametrize(
    ("value", "interval", "majority", "expected"),
    [
        (0.90, (0.87, 0.93), 0.20, "promote"),
        (0.22, (0.19, 0.25), 0.20, "inconclusive"),
        (0.22, (0.20, 0.25), 0.20, "inconclusive"),
        (0.20, (0.17, 0.23), 0.20, "reject"),
        (0.10, (0.07, 0.13), 0.20, "reject"),
        (0.90, None, 0.20, "inconclusive"),
        (0.90, (math.nan, math.nan), 0.20, "inconclusive"),
        (0.90, (0.87, 0.93), math.nan, "reject"),
    ],
)
def test_above_majority(value: float, interval: Any, majority: float, expected: str, tmp_path: Path) -> None:
    report = make_report(value, intervals={"accuracy": interval} if interval else {}, majority_share=majority)
    decision, reason = decide(report, tmp_path)
    assert decision == expected
    assert ("too few rows for an interval" in reason) == (interval is None or math.isnan(interval[0]))


@pytest.mark.parametrize(
    ("value", "interval", "expected"),
    [
        (0.8, (0.7, 0.9), "promote"),
        (0.9, (0.7, 1.1), "inconclusive"),
        (0.9, (0.8, 1.0), "inconclusive"),
        (1.0, (0.9, 1.1), "reject"),
        (1.2, (1.1, 1.3), "reject"),
        (0.8, None, "inconclusive"),
    ],
)
def test_errors_must_stay_below_those_of_the_mean(value: float, interval: Any, expected: str, tmp_path: Path) -> None:
    assert decide(errors(value, interval), tmp_path)[0] == expected


@pytest.mark.parametrize(("minimum", "expected"), [(0.84, "promote"), (0.9, "promote"), (0.91, "reject")])
def test_minimum_is_a_floor_on_the_figure(minimum: float, expected: str, tmp_path: Path) -> None:
    decision, reason = decide(make_report(0.9), tmp_path, rules=(Rule(metric="macro_f1", min=minimum),))
    assert decision == expected
    if minimum == 0.91:
        assert reason == "rejected: macro_f1 0.900 < 0.91"


def rule_result(rule: Rule, report: EvalReport, tmp_path: Path) -> Any:
    return gate(report, RunConfig(gate=GateConfig(rules=(rule,))), Store(tmp_path)).rules[0]


MAJORITY = Rule(metric="auto", above_majority=True)
SETS: dict[str, Any] = {
    "metrics": {"test": {"mean_ap": 0.6, "macro_f1": 0.5}}, "problem": "multilabel", "intervals": {"mean_ap": (0.5, 0.7)},
}  # fmt: skip
SIZES: dict[str, Any] = {
    "metrics": {"test": {"accuracy": 0.9}, "size": {"mae": 2.5, "rmse": 3.0, "r2": 0.5}},
    "baselines": {"accuracy": 0.2, "size.mae": 4.0}, "intervals": {"size.mae": (2.0, 3.0)}, "known_rows": {"size": 37},
    "problems": {"size": "regression"},
}  # fmt: skip


@pytest.mark.parametrize(
    ("rule", "report", "line"),
    [
        (Rule(metric="macro_f1", min=0.84), make_report(0.9),
         "pass: macro_f1 >= 0.84: macro_f1 0.900 >= 0.84; macro_f1 0.9, absolute minimum 0.84, n 500"),
        (Rule(metric="accuracy", min=0.84, column="label"), make_report(0.8),
         "fail: accuracy >= 0.84: accuracy 0.800 [0.770, 0.830] < 0.84; accuracy 0.8, absolute minimum 0.84, n 500"),
        (Rule(metric="mae", max=0.5), errors(0.5, (0.4, 0.6)),
         "pass: mae <= 0.5: mae 0.5 [0.4, 0.6] <= 0.5; mae 0.5, absolute maximum 0.5, n 500"),
        (Rule(metric="accuracy", min=0.84), make_report(None, intervals={}),
         "fail: accuracy >= 0.84: accuracy is not defined on these test rows; accuracy None, absolute minimum 0.84, n 500"),
        (MAJORITY, make_report(0.9),
         "pass: accuracy above majority: accuracy 0.900 [0.870, 0.930] > majority share 0.200; "
         "accuracy 0.9, always the most frequent class 0.2, n 500"),
        (MAJORITY, make_report(0.9, intervals={"accuracy": (0.87, math.nan)}),
         "inconclusive: accuracy above majority: accuracy 0.900 > majority share 0.200, but there are "
         "too few rows for an interval; accuracy 0.9, always the most frequent class 0.2, n 500"),
        (MAJORITY, make_report(0.20004, intervals={}),
         "inconclusive: accuracy above majority: accuracy 0.20004 > majority share 0.200, but there are "
         "too few rows for an interval; accuracy 0.20004, always the most frequent class 0.2, n 500"),
        (MAJORITY, make_report(0.22, intervals={"accuracy": (0.19, 0.25)}),
         "inconclusive: accuracy above majority: accuracy 0.220, but its interval [0.190, 0.250] reaches the majority share "
         "0.200; accuracy 0.22, always the most frequent class 0.2, n 500"),
        (MAJORITY, make_report(0.2, intervals={"accuracy": (0.17, 0.23)}),
         "fail: accuracy above majority: accuracy 0.200 [0.170, 0.230] does not exceed 0.200, the share of the largest class; "
         "accuracy 0.2, always the most frequent class 0.2, n 500"),
        (MAJORITY, make_report(None, intervals={}),
         "fail: accuracy above majority: accuracy or majority share is not defined on these test rows; "
         "accuracy None, always the most frequent class 0.2, n 500"),
        (MAJORITY, errors(0.8, (0.7, 0.9)),
         "pass: mae below that of the mean: mae 0.8 [0.7, 0.9] < what the same answer to every row scores 1; "
         "mae 0.8, always the mean of the train rows 1.0, n 500"),
        (Rule(metric="rmse", above_majority=True), errors(1.2, None),
         "fail: rmse below that of the mean: rmse 1.2 does not stay below 1, what the same answer to every row scores; "
         "rmse 1.2, always the mean of the train rows 1.0, n 500"),
        (MAJORITY, make_report(**SETS, baselines={"mean_ap": 0.3}),
         "pass: mean_ap above chance: mean_ap 0.600 [0.500, 0.700] > what the same answer to every row scores 0.300; "
         "mean_ap 0.6, the same scores for every row 0.3, n 500"),
        (MAJORITY, make_report(**SETS),
         "fail: mean_ap above chance: mean_ap or what the same answer to every row scores is not defined on these test rows; "
         "mean_ap 0.6, the same scores for every row None, n 500"),
        (Rule(metric="auto", above_majority=True, column="size"), make_report(**SIZES),
         "pass: size.mae below that of the mean: size.mae 2.5 [2, 3] < what the same answer to every row scores 4; "
         "size.mae 2.5, always the mean of the train rows 4.0, n 37"),
    ],
)  # fmt: skip
def test_every_word_of_a_rules_line(rule: Rule, report: EvalReport, line: str, tmp_path: Path) -> None:
    assert in_words(rule_result(rule, report, tmp_path)) == line


def in_words(found: Any) -> str:
    """All fields of a line of the gate's table."""
    figures = f"{found.metric} {found.value}, {found.baseline} {found.threshold}, n {found.n}"
    return f"{found.outcome}: {found.rule}: {found.detail}; {figures}"


BESIDE: dict[str, Any] = {"champion_metrics": {"macro_f1": 0.875}}


@pytest.mark.parametrize(
    ("mode", "report", "line"),
    [
        ("not-worse", make_report(0.9),
         "pass: macro_f1 not worse than the champion: macro_f1 0.900; no champion to compare with; "
         "macro_f1 0.9, no champion yet None, n 500"),
        ("not-worse", make_report(None, intervals={}),
         "fail: macro_f1 not worse than the champion: macro_f1 is not defined on these test rows; "
         "macro_f1 None, no champion yet None, n 500"),
        ("not-worse", against(0.9, 0.025, -0.02, 0.04, **BESIDE),
         "pass: macro_f1 not worse than the champion: macro_f1 0.900 against the champion's 0.875 (difference +0.025 "
         "[-0.046, +0.049] at 99.8 %, margin 0.25); macro_f1 0.9, champion version 3: 0.875 0.625, n 500"),
        ("better", against(0.9, 0.025, -0.02, 0.04, **BESIDE),
         "inconclusive: macro_f1 better than the champion: macro_f1 0.900 against the champion's 0.875 (difference +0.025 "
         "[-0.020, +0.040]): no gain is shown; macro_f1 0.9, champion version 3: 0.875 0.875, n 500"),
        ("better", against(0.9, 0.025, -0.02, math.nan, **BESIDE),
         "inconclusive: macro_f1 better than the champion: macro_f1 0.900 cannot be compared: the champion has none on these "
         "test rows; macro_f1 0.9, champion version 3: 0.875 0.875, n 500"),
        ("not-worse", against(0.9, 0.025, -0.02, 0.04, champion_metrics=None, champion_rows=430),
         "inconclusive: macro_f1 not worse than the champion: macro_f1 0.900 cannot be compared: the champion has none on "
         "these test rows; macro_f1 0.9, champion version 3 None, n 430"),
        ("not-worse", errors(1.5, None, champion_sha256=SHA, champion_version="3", champion_metrics={"mae": 2.0},
                             differences={"mae": (-0.5, -0.7, -0.3)}),
         "pass: mae not worse than the champion: mae 1.5 against the champion's 2 (difference -0.5 [-0.8153, -0.1847] at "
         "99.8 %, margin 0.5); mae 1.5, champion version 3: 2 2.5, n 500"),
    ],
)  # fmt: skip
def test_every_word_of_the_comparisons_line(mode: Any, report: EvalReport, line: str, tmp_path: Path) -> None:
    verdict = gate(report, RunConfig(gate=GateConfig(mode=mode, margin=0.25)), Store(tmp_path))
    assert in_words(verdict.rules[-1]) == line


@pytest.mark.parametrize(
    ("value", "limit", "message"),
    [
        (0.0004213, 0.0005, "mae 0.0004213 [0.0004171, 0.0004255] <= 0.0005"),
        (123456.789, 123500.25, "mae 123457 [122222, 124691] <= 123500.25"),
        (12.3504, 12.35, "mae 12.3504 [12.23, 12.47] > 12.35"),
    ],
)
def test_errors_are_told_with_digits_that_count(value: float, limit: float, message: str, tmp_path: Path) -> None:
    report = make_report(
        metrics={"test": {"mae": value}}, intervals={"mae": (0.99 * value, 1.01 * value)}, problem="regression"
    )
    rule = rule_result(Rule(metric="mae", max=limit), report, tmp_path)
    assert rule.detail == message
    assert rule.rule == f"mae <= {limit}"


def test_small_errors_against_the_champion(tmp_path: Path) -> None:
    report = make_report(
        metrics={"test": {"mae": 0.0004}}, problem="regression", majority_share=None, baselines={"mae": 0.001},
        champion_sha256=SHA, champion_version="3", champion_metrics={"mae": 0.00045},
        intervals={"mae": (0.0003, 0.0005)}, differences={"mae": (-0.00005, -0.00007, -0.00003)},
    )  # fmt: skip
    decision, reason = decide(report, tmp_path)
    assert decision == "promote"
    assert "mae 0.0004 against the champion's 0.00045 (difference -5e-05 [" in reason
    assert "[-8.153e-05, -1.847e-05] at 99.8 %, margin 9e-06)" in reason


def test_a_figure_just_below_its_limit_is_not_told_as_equal(tmp_path: Path) -> None:
    rule = rule_result(Rule(metric="macro_f1", min=0.9), make_report(0.89996), tmp_path)
    assert rule.detail == "macro_f1 0.89996 < 0.9"


@pytest.mark.parametrize(
    ("value", "interval", "detail"),
    [
        (7 / 13, (0.35, 0.71), "accuracy 0.538 [0.350, 0.710] does not exceed 0.538, the share of the largest class"),
        (0.5389, None, "accuracy 0.539 > majority share 0.538, but there are too few rows for an interval"),
        (0.53847, None, "accuracy 0.5385 > majority share 0.538, but there are too few rows for an interval"),
        (0.6, (0.53847, 0.7), "accuracy 0.600 [0.5385, 0.700] > majority share 0.538"),
        (0.6, (0.53844, 0.7), "accuracy 0.600, but its interval [0.538, 0.700] reaches the majority share 0.5385"),
    ],
)  # fmt: skip
def test_equal_figures_are_not_told_as_unequal(
    value: float, interval: tuple[float, float] | None, detail: str, tmp_path: Path
) -> None:
    report = make_report(value, intervals={"accuracy": interval} if interval else {}, majority_share=7 / 13)
    assert rule_result(Rule(metric="accuracy", above_majority=True), report, tmp_path).detail == detail


def test_a_rule_on_a_further_column_counts_the_rows_that_it_judged(tmp_path: Path) -> None:
    figures = {"test": {"accuracy": 0.9}, "size": {"mae": 2.5, "rmse": 3.0, "r2": 0.5}}
    report = make_report(metrics=figures, known_rows={"size": 37})
    assert rule_result(Rule(metric="mae", max=3.0, column="size"), report, tmp_path).n == 37
    assert rule_result(Rule(metric="accuracy", min=0.5, column="label"), report, tmp_path).n == 500
    old = EvalReport.model_validate(report.model_dump(exclude={"known_rows"}) | {"sha256": SHA})
    assert rule_result(Rule(metric="mae", max=3.0, column="size"), old, tmp_path).n == 500


def test_the_comparison_counts_the_rows_that_both_have_seen(tmp_path: Path) -> None:
    verdict = gate(against(0.9, 0.0, -0.01, 0.01, champion_rows=430), RunConfig(), Store(tmp_path))
    assert [rule.n for rule in verdict.rules] == [500, 430]


def test_any_failure_rejects_even_beside_an_inconclusive_rule(tmp_path: Path) -> None:
    rules = (Rule(metric="accuracy", above_majority=True), Rule(metric="macro_f1", min=0.95))
    report = make_report(0.22)
    assert decide(report, tmp_path, rules=rules)[0] == "reject"


def test_the_first_model_is_promoted_and_the_table_is_complete(tmp_path: Path) -> None:
    verdict = gate(make_report(), RunConfig(), Store(tmp_path))
    assert verdict.decision == "promote"
    assert verdict.reason.startswith("promoted: accuracy 0.900 [0.870, 0.930] > majority share 0.200")
    assert "no champion" in verdict.reason
    assert [rule.n for rule in verdict.rules] == [500, 500]
    assert "\n" not in verdict.reason


def test_of_two_evaluations_that_came_to_the_same_each_has_a_verdict_that_rests_on_it(tmp_path: Path) -> None:
    store, config = Store(tmp_path), RunConfig()
    # Of one model from two trainings (other epochs, the same weights): equal files, and so the same digest.
    reports = [make_report().model_copy(update={"uri": f"evaluations/{key * 64}"}) for key in "ab"]
    assert reports[0].sha256 == reports[1].sha256
    for report in reports:
        with store.create("evaluations", report.uri.partition("/")[2], [], "0" * 64) as draft:
            write_text(draft.path / "detail.json", "{}")
            draft.ref = {"uri": report.uri}
    verdicts = [gate(report, config, store) for report in reports]
    assert verdicts[0].sha256 == verdicts[1].sha256
    for report, verdict in zip(reports, verdicts, strict=True):
        record = store.record_of(verdict.uri)
        assert record is not None
        assert list(record.parents) == [report.uri]


def test_stored_once_and_found_again(tmp_path: Path) -> None:
    store, report, config = Store(tmp_path), make_report(), RunConfig()
    first = gate(report, config, store)
    assert gate(report, config, store) == first
    assert first.uri == f"verdicts/{gate_key(report, config)}"
    stricter = RunConfig(gate=GateConfig(rules=(Rule(metric="accuracy", min=0.99),)))
    assert gate(report, stricter, store).decision == "reject"


@pytest.mark.parametrize(
    ("clusters", "why"),
    [
        (None, "there are too few rows for an interval"), (6, "there are too few rows for an interval"),
        (5, "5 clusters are too few for an interval (6 are enough)"),
        (1, "1 cluster is too few for an interval (6 are enough)"),
    ],
)  # fmt: skip
def test_a_missing_interval_is_blamed_on_what_lacks(clusters: int | None, why: str, tmp_path: Path) -> None:
    report = make_report(intervals={}, clusters=clusters)
    (line, *_) = gate(report, RunConfig(), Store(tmp_path)).rules
    assert (line.outcome, line.detail) == ("inconclusive", f"accuracy 0.900 > majority share 0.200, but {why}")


def test_the_sentence_counts_clusters_where_they_are_few(tmp_path: Path) -> None:
    def sentence(clusters: int) -> str:
        report = against(0.9, 0.0, -0.03, 0.03, champion_rows=9_000, champion_clusters=clusters)
        return gate(report, RunConfig(), Store(tmp_path)).rules[1].sentence

    said = "are too few to tell whether the new model is as good as the model in production."
    assert sentence(7) == f"9,000 test rows in 7 clusters {said}"
    assert sentence(20) == f"9,000 test rows {said}"


def test_no_interval_of_a_difference_is_told_wider_than_the_metrics_range(tmp_path: Path) -> None:
    wide = {"champion_rows": 9_000, "champion_differing": 2, "champion_clusters": 8}
    line = gate(against(0.9, 0.0, -1.0, 1.0, **wide), RunConfig(), Store(tmp_path)).rules[1]
    assert line.interval == (-1.0, 1.0)
    assert "(difference +0.000 [-1.000, +1.000] at 99.8 %, margin 0.02): a loss of 0.02 or more is not" in line.detail
