"""Rules about slices, modalities, intervals and losses: every line word by word."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from data_contracts.refs import RuleResult
from data_contracts.slices import SLICES, PartFigures, ReferenceFigures, SliceFigures, SliceReport
from tasks.config import GateConfig, Rule, RunConfig
from tasks.gate.gate import gate
from tasks.gate.rules import evaluate_parts
from tasks.store import Store
from tests.support.gate_reports import errors, make_report


def figures(value: float, rows: int = 100, **changes: Any) -> dict[str, Any]:
    bounds = {"accuracy": (value - 0.05, value + 0.04)}
    fields = {"rows": rows, "metrics": {"accuracy": value, "mae": value}, "intervals": {0.95: bounds, 0.9: bounds}}
    return fields | changes


def reference(value: float, change: float, rows: int = 90, **changes: Any) -> ReferenceFigures:
    ends = dict.fromkeys(("accuracy", "mae"), (change - 0.03, change + 0.02))
    fields: dict[str, Any] = {
        "rows": rows, "metrics": {"accuracy": value, "mae": value}, "changes": {"accuracy": change, "mae": change},
        "intervals": {0.95: ends, 0.9: ends},
    }  # fmt: skip
    return ReferenceFigures(**(fields | changes))


def speaker(value: str, figure: float, **changes: Any) -> SliceFigures:
    return SliceFigures(slice="speaker", value=value, shown=value, **figures(figure, **changes))


PARTS = SliceReport(
    champion="3",
    whole=PartFigures(**figures(0.9, reference=reference(0.95, -0.06))),
    by=(),
    slices=(
        speaker("ann", 0.7, clusters=12, reference=reference(0.72, -0.02)), speaker("bob", 0.9),
        speaker("eve", 0.5, rows=9), speaker("(missing)", 0.5, rows=1),
    ),
    inputs={"image": PartFigures(**figures(0.8, reference=reference(0.9, -0.1)))},
)  # fmt: skip


def judge(rule: dict[str, Any], parts: SliceReport = PARTS) -> tuple[RuleResult, ...]:
    return evaluate_parts(Rule(**({"metric": "accuracy"} | rule)), make_report(), parts, 20)


@pytest.mark.parametrize(
    ("rule", "outcome", "detail", "sentence"),
    [
        ({"slice": "speaker=ann", "min": 0.7}, "pass",
         "accuracy on speaker=ann 0.700 [0.650, 0.740] >= 0.7; few clusters (12): the interval is rough",
         "Accuracy on speaker=ann is 0.700: that reaches the 0.7 that is asked for (at least)."),
        ({"slice": "speaker=ann", "min": 0.7, "confidence": 0.9}, "inconclusive",
         "accuracy on speaker=ann 0.700 [0.650, 0.740] >= 0.7, but its interval at 90 % reaches beyond; few clusters (12): "
         "the interval is rough",
         "Accuracy on speaker=ann is 0.700, but too few test rows show that it is at least 0.7 on others, too."),
        ({"slice": "speaker=bob", "min": 0.85, "confidence": 0.95}, "pass",
         "accuracy on speaker=bob 0.900 [0.850, 0.940] >= 0.85",
         "Accuracy on speaker=bob is 0.900: that reaches the 0.85 that is asked for (at least)."),
        ({"slice": "speaker=bob", "min": 0.85, "confidence": 0.99}, "inconclusive",
         "accuracy on speaker=bob 0.900 >= 0.85, but there are too few rows for an interval",
         "Accuracy on speaker=bob is 0.900, but too few test rows show that it is at least 0.85 on others, too."),
        ({"slice": "speaker=bob", "min": 0.91, "confidence": 0.95}, "fail",
         "accuracy on speaker=bob 0.900 [0.850, 0.940] < 0.91",
         "Accuracy on speaker=bob is 0.900: that is below the 0.91 that is asked for (at least)."),
        ({"slice": "speaker=eve", "min": 0.1}, "inconclusive", "accuracy on speaker=eve: 9 test rows, fewer than 20",
         "Accuracy on speaker=eve: too few test rows to tell."),
        ({"slice": "speaker=zoe", "min": 0.1}, "inconclusive", "accuracy on speaker=zoe: 0 test rows, fewer than 20",
         "Accuracy on speaker=zoe: too few test rows to tell."),
        ({"slice": "speaker=*", "min": 0.1, "support": 200}, "inconclusive",
         "accuracy on speaker=*: no value has 200 test rows (at most 100)",
         "Accuracy on speaker=*: too few test rows to tell."),
        ({"slice": "speaker=eve", "min": 0.1, "support": 9}, "pass", "accuracy on speaker=eve 0.500 [0.450, 0.540] >= 0.1",
         "Accuracy on speaker=eve is 0.500: that reaches the 0.1 that is asked for (at least)."),
        ({"modalities": "text", "max": 0.8}, "inconclusive", "accuracy with text only: 0 test rows, fewer than 1",
         "Accuracy with text only: too few test rows to tell."),
        ({"modalities": "image", "max": 0.8}, "pass", "accuracy with image only 0.800 [0.750, 0.840] <= 0.8",
         "Accuracy with image only is 0.800: that stays within the 0.8 that is asked for (at most)."),
        ({"modalities": "image", "max_drop": 0.05}, "fail",
         "accuracy with image only 0.800 against all modalities' 0.900 (difference -0.100 [-0.130, -0.080], at most 0.05 "
         "lost)", "Accuracy with image only is 0.800, all modalities' 0.900: the loss exceeds the 0.05 that are "
         "allowed."),
        ({"min": 0.8, "support": 101}, "inconclusive", "accuracy: 100 test rows, fewer than 101",
         "Accuracy: too few test rows to tell."),
        ({"max_drop": 0.06}, "pass",
         "accuracy 0.900 against the champion's 0.950 (difference -0.060 [-0.090, -0.040], at most 0.06 lost)",
         "Accuracy is 0.900, the champion's 0.950: the loss stays within the 0.06 that are allowed."),
        ({"max_drop": 0.06, "confidence": 0.95}, "inconclusive",
         "accuracy 0.900 against the champion's 0.950 (difference -0.060 [-0.090, -0.040], at most 0.06 lost), but its "
         "interval at 95 % reaches beyond",
         "Accuracy is 0.900, the champion's 0.950: too few test rows show that the loss stays within the 0.06 that are "
         "allowed."),
        ({"max_drop": 0.09, "confidence": 0.95}, "pass",
         "accuracy 0.900 against the champion's 0.950 (difference -0.060 [-0.090, -0.040], at most 0.09 lost)",
         "Accuracy is 0.900, the champion's 0.950: the loss stays within the 0.09 that are allowed."),
    ],
)  # fmt: skip
def test_every_word_of_a_line(rule: dict[str, Any], outcome: str, detail: str, sentence: str) -> None:
    (line,) = judge(rule)
    assert (line.outcome, line.detail, line.sentence) == (outcome, detail, sentence)


def test_every_value_with_enough_rows_has_a_line() -> None:
    ann, bob = judge({"slice": "speaker=*", "min": 0.8})
    assert [(each.rule, each.outcome, each.value, each.n, each.clusters) for each in (ann, bob)] == [
        ("accuracy on speaker=ann >= 0.8", "fail", 0.7, 100, 12), ("accuracy on speaker=bob >= 0.8", "pass", 0.9, 100, None),
    ]  # fmt: skip
    assert ann.detail.endswith("; not tested, with fewer than 20 test rows: speaker=eve, speaker=(missing)")
    assert "not tested" not in bob.detail


def test_a_loss_is_counted_on_the_rows_that_both_answered() -> None:
    (line,) = judge({"slice": "speaker=ann", "max_drop": 0.02})
    assert (line.n, line.clusters, line.threshold, line.interval) == (90, None, pytest.approx(0.70), (-0.05, 0.0))
    assert (line.rule, line.baseline) == (
        "accuracy on speaker=ann at most 0.02 worse than the champion",
        "champion version 3: 0.720",
    )
    common = PARTS.model_copy(update={"slices": (speaker("ann", 0.7, reference=reference(0.7, 0.0, rows=3)),)})
    assert judge({"slice": "speaker=ann", "max_drop": 0.02}, common)[0].detail.endswith("3 test rows, fewer than 20")
    first = PARTS.model_copy(update={"champion": None, "whole": PartFigures(**figures(0.9))})
    (line,) = judge({"max_drop": 0.02}, first)
    assert (line.outcome, line.detail) == ("pass", "accuracy 0.900; no champion to compare with")


def test_less_is_more_of_errors() -> None:
    rule = Rule(metric="mae", max_drop=0.05)
    for change, outcome in ((0.05, "pass"), (0.06, "fail"), (-0.5, "pass")):
        whole = PartFigures(**figures(0.9, reference=reference(0.9 - change, change)))
        (line,) = evaluate_parts(rule, errors(0.9, None), PARTS.model_copy(update={"whole": whole}), 20)
        assert (line.outcome, line.threshold) == (outcome, pytest.approx(0.95 - change))


def test_the_gate_reads_what_the_evaluation_left(tmp_path: Path) -> None:
    store, report = Store(tmp_path), make_report()
    store.path(report.uri).mkdir(parents=True)
    (store.path(report.uri) / SLICES).write_text(PARTS.model_dump_json())
    rules = (
        Rule(metric="accuracy", min=0.8, slice="speaker=*", outcome="needs-approval"),
        Rule(metric="accuracy", min=0.8),
    )
    verdict = gate(report, RunConfig(gate=GateConfig(rules=rules)), store)
    assert verdict.decision == "needs-approval"
    assert [line.rule for line in verdict.rules] == [
        "accuracy on speaker=ann >= 0.8", "accuracy on speaker=bob >= 0.8", "accuracy >= 0.8",
        "macro_f1 not worse than the champion",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("rule", "word"),
    [
        ({"min": 1, "slice": "speaker"}, "write NAME=VALUE"),
        ({"min": 1, "modalities": "imgae"}, "did you mean 'image'"),
        ({"min": 1, "slice": "a=b", "modalities": "image"}, "two rules"),
        ({"above_majority": True, "confidence": 0.9}, "above_majority goes with none of"),
        ({"min": 1, "column": "size", "slice": "a=b"}, "column goes with none of"),
    ],
)
def test_a_rule_that_makes_no_sense(rule: dict[str, Any], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        Rule(**({"metric": "accuracy"} | rule))


def test_a_loss_that_no_row_could_show_is_not_ruled_out() -> None:
    """Where no row differs, the interval is a point, and says nothing of rows to come."""
    same = reference(0.7, 0.0, intervals={0.9: {"accuracy": (0.0, 0.0)}})
    parts = PARTS.model_copy(update={"slices": (speaker("ann", 0.7, reference=same),)})
    (line,) = judge({"slice": "speaker=ann", "max_drop": 0.0, "confidence": 0.9}, parts)
    assert line.outcome == "inconclusive"
    (line,) = judge({"slice": "speaker=ann", "max_drop": 0.0}, parts)
    assert line.outcome == "pass", "without a confidence the figures themselves count"


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"metric": "accuracy", "min": True}, "takes a number"),
        ({"metric": "accuracy", "min": 0.5, "slice": "a=*", "support": True}, "valid integer"),
    ],
)
def test_a_rule_that_cannot_be_meant_is_refused(rule: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Rule(**rule)
