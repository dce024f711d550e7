"""What the gate took for evidence and was none: each of these candidates was promoted before, or an equal one refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from benchmarks.gate import MODES, simulate
from data_contracts.refs import ChampionRef
from tasks.config import GateConfig, Rule, RunConfig
from tasks.evaluate.comparison import against, compare
from tasks.evaluate.overlap import find_seen
from tasks.evaluate.slice_regressions import chance_of_loss, find_regressions
from tasks.gate.comparison import compare_models, is_not_worse, next_anchor
from tasks.gate.gate import gate
from tasks.gate.rules import evaluate_rule
from tasks.modeling.row_clusters import clusters_of, number_clusters
from tasks.modeling.training_rows import ROWS, read_seen, write_rows
from tasks.problems.multiclass_metrics import ClassScorer
from tasks.samples import Samples
from tasks.store import Store
from tests.support.gate_reports import make_report

CHAMPION = ChampionRef(uri="champions/k", sha256="0" * 64, rows=0, name="m", version="3", model_sha256="1" * 64)


def scorer(truth: np.ndarray, right: np.ndarray, classes: int = 2) -> ClassScorer:
    return ClassScorer(
        np.full((len(truth), classes), 1 / classes), truth, np.where(right, truth, (truth + 1) % classes)
    )


def lines(ours: ClassScorer, theirs: ClassScorer, classes: int = 2, **settings: Any) -> list[str]:
    present = np.full(ours.rows, "image")
    labels = [f"c{n}" for n in range(classes)]
    report = make_report(
        **against(compare((ours, theirs), CHAMPION, RunConfig())),
        slice_regressions=find_regressions((ours, theirs), labels, present, None, 20),
    )
    return [f"{line.outcome}: {line.detail}" for line in compare_models(report, GateConfig(**settings))]


def test_equal_answers_to_fifty_rows_are_no_evidence() -> None:
    """A model that loses 2 points agrees on all of 50 rows once in three times; the interval is [0, 0]."""
    truth = np.arange(50) % 2
    same = scorer(truth, np.arange(50) % 10 > 0)
    (first, *_) = lines(same, same)
    assert first.startswith("inconclusive: ")
    assert (
        "is not ruled out, as a model that loses so much often agrees on so few rows; of a model as good it would"
        in first
    )
    assert "(difference +0.000 [-0.062, +0.000] at 99.8 %, margin 0.02)" in first, (
        "it is told as far as so few rows reach"
    )
    truth = np.arange(2_000) % 2
    assert lines(scorer(truth, truth >= 0), scorer(truth, truth >= 0))[0].startswith("pass: ")


def test_few_rows_that_differ_show_no_gain() -> None:
    """4 against 0: McNemar's exact test says p = 1 in 8, and a bootstrap that it is certain; 8 against 0 is evidence."""
    truth = np.arange(100) % 2
    for gained, outcome in ((4, "inconclusive"), (8, "pass")):
        ours, theirs = (scorer(truth, np.arange(100) >= wrong) for wrong in (10 - gained, 10))
        assert lines(ours, theirs, mode="better")[0].startswith(outcome)


def test_a_lost_class_is_found_among_two_hundred() -> None:
    truth = np.repeat(np.arange(200), 50)
    ours, theirs = scorer(truth, truth != 7, 200), scorer(truth, truth >= 0, 200)
    found = lines(ours, theirs, 200)
    assert found[-1].startswith("fail: worse than the champion on class 'c7' (none of its 50 rows is answered rightly")
    rare = truth[np.arange(len(truth)) % 10 == 0]  # 5 rows a class: too few for any correction
    assert lines(scorer(rare, rare != 7, 200), scorer(rare, rare >= 0, 200), 200)[-1].startswith("fail: ")
    assert lines(theirs, theirs, 200)[-1].startswith("pass: ")


def test_a_loss_by_chance_is_the_exact_tail() -> None:
    assert chance_of_loss(np.array([-1.0] * 5)) == pytest.approx(1 / 32)
    assert chance_of_loss(np.array([-1.0] * 4 + [1.0])) == pytest.approx(6 / 32)
    assert chance_of_loss(np.zeros(9)) == 1.0
    clusters = np.repeat(np.arange(5), 4)  # twenty rows that are lost together are five losses
    assert chance_of_loss(-np.ones(20), clusters) == pytest.approx(1 / 32)
    assert chance_of_loss(-np.ones(20)) < 1e-5


def test_more_confidence_never_lets_more_pass() -> None:
    rng = np.random.default_rng(0)
    for _ in range(6):
        rows = int(rng.integers(50, 900))
        truth, base = np.arange(rows) % 2, rng.random(rows) < 0.9
        pair = [scorer(truth, base ^ (rng.random(rows) < 0.02)) for _ in range(2)]
        for mode in ("better", "not-worse"):
            passed = []
            for confidence in (0.7, 0.9, 0.95, 0.99):
                config = RunConfig(gate=GateConfig(mode=mode, confidence=confidence))  # type: ignore[arg-type]
                report = make_report(**against(compare((pair[0], pair[1]), CHAMPION, config)))
                passed.append(compare_models(report, config.gate)[0].outcome == "pass")
            assert passed == sorted(passed, reverse=True)


def test_small_losses_do_not_add_up() -> None:
    """Within the margin of the champion, and 4 points below the best so far."""
    truth = np.arange(4_000) % 2
    ours, champion, best = (scorer(truth, np.arange(4_000) >= wrong) for wrong in (440, 400, 280))
    report = make_report(
        **against(compare((ours, champion), CHAMPION, RunConfig())),
        anchor=compare((ours, best), CHAMPION.model_copy(update={"version": "1"}), RunConfig()),
    )
    assert [line.outcome for line in compare_models(report, GateConfig())] == ["pass", "fail"]
    assert [line.outcome for line in compare_models(report, GateConfig(anchor="off"))] == ["pass"]
    assert next_anchor(report, GateConfig()) == "1"
    gained = make_report(**against(compare((best, champion), CHAMPION, RunConfig())))
    assert next_anchor(gained, GateConfig()) is None, "what is shown to be better is the best so far itself"


def test_the_margin_itself_is_not_within_the_margin() -> None:
    assert is_not_worse(0.0, -0.02, 0.02, 0.02, None, 0.95) == "inconclusive"
    assert is_not_worse(0.0, -0.0199, 0.02, 0.02, None, 0.95) == "pass"


@pytest.mark.parametrize(
    ("rows", "agreement", "change", "mode"), [(50, 0.95, 0, "better"), (200, 0.95, -2, "not-worse")]
)
def test_worse_models_pass_seldom(rows: int, agreement: float, change: float, mode: str) -> None:
    """By a few hundred decisions of benchmarks/gate.py: before, 11 % and 10 to 50 %."""
    assert simulate(rows, agreement, change, 60, 100, {mode: MODES[mode]}).share(mode) <= 0.06


def samples(ids: list[str], split: list[str], group: list[str | None], text: list[str]) -> Samples:
    return Samples(pa.table({"id": ids, "split": split, "group": pa.array(group, pa.string()), "text": text}))


def test_rows_that_the_champion_was_trained_on_take_no_part(tmp_path: Path) -> None:
    """By id, by content under another id, by group, by near duplicate; not what both have seen."""
    old = samples(["a", "b", "c", "d"], ["train", "val", "train", "test"], [None, None, "g", None], list("1234"))
    write_rows(old, tmp_path / ROWS, ("text",))
    today = samples(
        ["a", "x", "y", "z", "d", "n", "new", "t", "u"],
        ["test"] * 7 + ["train", "test"],
        [None, None, "g", "h", None, None, None, "h", "h"],
        ["1", "2", "5", "6", "4", "7", "8", "9", "10"],
    )
    numbers = number_clusters(today, {"n": 0, "a": 0})
    seen = find_seen(today, today, numbers, tmp_path, ("text",))
    assert [name for name, known in zip(today.ids, seen, strict=True) if known] == ["a", "x", "y", "n"]


def test_a_continued_model_has_seen_what_the_one_before_had(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    write_rows(samples(["a"], ["train"], ["g"], ["1"]), tmp_path / "one" / ROWS, ("text",))
    write_rows(samples(["b"], ["val"], [None], ["2"]), tmp_path / ROWS, ("text",), continued_from=tmp_path / "one")
    seen = read_seen(tmp_path)
    assert (len(seen.ids), len(seen.contents), len(seen.groups)) == (2, 2, 1)


def test_too_few_unseen_rows_are_inconclusive_and_said_so() -> None:
    report = make_report(
        champion_sha256="1" * 64, champion_version="3", champion_metrics={"macro_f1": 0.9}, champion_rows=12,
        champion_seen=488, differences={"macro_f1": (0.1, 0.05, 0.15)},
    )  # fmt: skip
    (line,) = compare_models(report, GateConfig())
    assert line.outcome == "inconclusive"
    assert line.detail == (
        "12 test rows to compare with the champion on, fewer than 50 (gate.min_rows); 488 rows were left out, which the "
        "champion was trained on"
    )


def test_intervals_know_that_rows_of_a_group_resemble_each_other() -> None:
    """20 groups of 25 rows, each answered wholly rightly or wrongly: that is 20 rows, not 500."""
    clusters, truth = np.repeat(np.arange(20), 25), np.arange(500) % 2
    found = scorer(truth, clusters >= 2)
    (low, high), (near, far) = (found.intervals(0, clusters=of)["accuracy"] for of in (None, clusters))
    assert high - low < 0.06
    assert far - near > 0.25
    theirs = scorer(truth, (clusters < 10) | (clusters >= 13))
    plain, grouped = (found.differences(theirs, 0, clusters=of)["macro_f1"] for of in (None, clusters))
    assert plain[1] > 0.0 or plain[2] - plain[1] < (grouped[2] - grouped[1]) / 2
    assert grouped[1] < 0 < grouped[2]
    assert clusters_of(np.arange(5), np.array([4, 1, 4, 0, 2])) is not None
    assert clusters_of(np.arange(3), np.array([4, 1, 0])) is None


def test_few_clusters_are_said_of_every_interval() -> None:
    for clusters, doubted in ((None, False), (19, True), (20, False)):
        report = make_report(clusters=clusters)
        found = evaluate_rule(Rule(metric="accuracy", min=0.5), report)
        assert (found.clusters, found.interval) == (clusters, (0.87, 0.93))
        assert found.detail.endswith("; few clusters (19): the interval is rough") is doubted


def test_every_line_has_a_sentence_for_those_who_know_no_statistics() -> None:
    truth = np.arange(2_000) % 2
    ours, theirs = scorer(truth, np.arange(2_000) >= 600), scorer(truth, np.arange(2_000) >= 200)

    def sentences(pair: tuple[ClassScorer, ClassScorer], **settings: Any) -> list[str]:
        losses = find_regressions(pair, ("a", "b"), np.full(pair[0].rows, "image"), None, 20)
        report = make_report(**against(compare(pair, CHAMPION, RunConfig())), slice_regressions=losses)
        return [line.sentence for line in compare_models(report, GateConfig(**settings))]

    production = "the model in production"
    quiet = "On no class, and on no kind of row, has the new model clearly become worse."
    assert sentences((ours, theirs)) == [
        f"The new model is worse than {production}, by more than the 2 points that may be lost.",
        "The new model has become worse on class 'a', class 'b'.",
    ]
    assert sentences((theirs, ours), mode="better") == [
        f"The new model is better than {production}, by more than chance explains on 2,000 test rows.", quiet,
    ]  # fmt: skip
    assert sentences((ours, ours)) == [f"The new model is as good as {production}, or less than 2 points worse.", quiet]
    few = ours.take(np.arange(540, 640))
    assert (
        sentences((few, few))[0]
        == f"100 test rows are too few to tell whether the new model is as good as {production}."
    )
    (first,) = compare_models(make_report(), GateConfig())
    assert first.sentence == "This is the first model: there is none in production to compare it with."
    low = evaluate_rule(Rule(metric="accuracy", min=0.95), make_report())
    assert low.sentence == "Accuracy is 0.900: that is below the 0.95 that is asked for (at least)."
    undefined = evaluate_rule(Rule(metric="accuracy", min=0.95), make_report(None))
    assert undefined.sentence == "Accuracy cannot be computed on these test rows."


def test_a_rule_may_ask_a_person_instead_of_rejecting(tmp_path: Path) -> None:
    asks = Rule(metric="accuracy", min=0.95, outcome="needs-approval")
    open_ = Rule(metric="accuracy", above_majority=True)
    cases = [
        (0.96, (asks,), "promote"),
        (0.90, (asks,), "needs-approval"),
        (None, (asks,), "reject"),  # the line on the champion fails: no figure at all
        (0.90, (asks, Rule(metric="accuracy", min=0.91)), "reject"),
        (0.21, (asks, open_), "inconclusive"),
        (0.21, (open_.model_copy(update={"outcome": "needs-approval"}),), "needs-approval"),
    ]
    for value, rules, decision in cases:
        verdict = gate(make_report(value), RunConfig(gate=GateConfig(rules=rules)), Store(tmp_path))
        assert verdict.decision == decision
    assert verdict.reason.startswith("needs approval: accuracy 0.210, but its interval")
    assert verdict.rules[0].sentence.endswith(" A person decides whether that is accepted.")
