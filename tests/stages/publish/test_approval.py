"""Candidates that wait for a person: pending, approved, rejected, expired, overtaken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from mlflow import MlflowClient

from tasks.config import GateConfig, Rule
from tasks.config_sections import PublishConfig
from tasks.errors import PromotionRefused, UsageError
from tasks.gate.gate import gate, gate_key
from tasks.publish import registry
from tasks.publish.approval import CHALLENGER, DAY_MS, Approval
from tasks.publish.journal_events import checked_journal, record_registry

MakeCase = Callable[..., Any]
RUN = "20261125-030000-1a2b3c4d"
STARTED_MS = 1795575600000  # of that run
LATER = Approval("ann", STARTED_MS + DAY_MS, "looks good")
TOO_LATE = Approval("ann", STARTED_MS + 14 * DAY_MS, "looks good")

pytestmark = pytest.mark.usefixtures("quick")


@pytest.fixture
def waiting(make_case: MakeCase) -> Callable[..., Any]:
    """A case like make_case's, whose candidate needs approval."""

    def make(**settings: Any) -> Any:
        case = make_case(run_id=RUN, **settings)
        gate = case.request.config.gate.model_copy(update={"approval": "required"})
        config = case.request.config.model_copy(update={"gate": gate})
        return type(case)(
            case.verdict, case.checkpoint, case.report, case.valid, case.features,
            type(case.request)(config, case.request.store, case.request.tracking_uri, RUN),
        )  # fmt: skip

    return make


def alias_of(case: Any, alias: str) -> str | None:
    found = registry.fetch_champion("tiny", alias, *case.place)
    return None if found is None else found.version


def test_a_passing_candidate_waits_and_an_approved_one_is_champion(waiting: Callable[..., Any]) -> None:
    case = waiting()
    release = case.publish()
    assert (release.version, release.alias) == ("1", CHALLENGER)
    assert (alias_of(case, "champion"), alias_of(case, CHALLENGER)) == (None, "1")
    (entry,) = registry.list_pending(*case.place, LATER.at_ms)
    assert (entry["name"], entry["version"], entry["state"], entry["age_days"]) == ("tiny", "1", "pending", 1.0)
    assert entry["expires"] == "2026-12-09 03:00"
    assert case.publish() == release, "the same run again leaves it as it is"

    with pytest.raises(UsageError, match="--reason"):
        registry.promote("tiny", "1", "champion", *case.place)
    registry.promote("tiny", "1", "champion", *case.place, LATER)
    assert (alias_of(case, "champion"), alias_of(case, CHALLENGER)) == ("1", None)
    with pytest.raises(PromotionRefused, match="is champion already, approved by ann on 2026-11-26 03:00"):
        registry.promote("tiny", "1", "champion", *case.place, LATER)
    assert registry.list_pending(*case.place, LATER.at_ms) == []
    (move,) = registry.history("tiny", *case.place)
    assert (move.action, move.by, move.at_ms, move.reason) == (
        "promote", "ann", LATER.at_ms, "looks good",
    )  # fmt: skip
    (shown,) = registry.show_model("tiny", *case.place)
    assert (shown["approval"], shown["status"]) == ("approved", "verified")


def test_a_rejected_candidate_is_not_asked_about_again(waiting: Callable[..., Any]) -> None:
    case = waiting()
    case.publish()
    with pytest.raises(UsageError, match="say why"):
        registry.reject("tiny", "1", Approval("ann", LATER.at_ms, " "), *case.place)
    registry.reject("tiny", "1", Approval("ann", LATER.at_ms, "biased"), *case.place)
    assert (alias_of(case, "champion"), alias_of(case, CHALLENGER)) == (None, None)
    with pytest.raises(PromotionRefused, match=r"rejected by ann \(biased\)"):
        case.publish()
    with pytest.raises(PromotionRefused, match="does not wait for approval"):
        registry.reject("tiny", "1", LATER, *case.place)
    client = MlflowClient(tracking_uri=case.request.tracking_uri, registry_uri=case.request.tracking_uri)
    tags = client.get_model_version("tiny", "1").tags
    assert (tags["crossmodal.approval_by"], tags["crossmodal.approval_reason"]) == ("ann", "biased")


def test_an_expired_candidate_needs_another_run(waiting: Callable[..., Any]) -> None:
    case = waiting()
    case.publish()
    (entry,) = registry.list_pending(*case.place, TOO_LATE.at_ms)
    assert entry["state"] == "expired"
    with pytest.raises(PromotionRefused, match="expired on 2026-12-09 03:00; run crossmodal retrain again"):
        registry.promote("tiny", "1", "champion", *case.place, TOO_LATE)
    assert alias_of(case, "champion") is None
    later = type(case.request)(case.request.config, *case.place, "20261210-030000-1a2b3c4d")
    assert case.publish(request=later).version == "1", "the very model again: its time begins anew"
    assert registry.list_pending(*case.place, TOO_LATE.at_ms)[0]["state"] == "pending"
    registry.promote("tiny", "1", "champion", *case.place, TOO_LATE)
    assert alias_of(case, "champion") == "1"


def test_a_candidate_that_another_champion_overtook_is_refused(
    waiting: Callable[..., Any], make_case: MakeCase
) -> None:
    waiting(seed=1).publish()
    case = make_case(seed=0)
    assert case.publish().version == "2"
    with pytest.raises(PromotionRefused, match="the champion is now version 2, another than"):
        registry.promote("tiny", "1", "champion", *case.place, LATER)
    assert alias_of(case, "champion") == "2"


def test_the_champion_stays_while_its_successor_waits(waiting: Callable[..., Any], make_case: MakeCase) -> None:
    first = make_case(seed=0)
    first.publish()
    second = waiting(seed=1, champion=first.checkpoint)
    assert second.publish().version == "2"
    assert (alias_of(first, "champion"), alias_of(first, CHALLENGER)) == ("1", "2")
    registry.promote("tiny", "2", "champion", *first.place, LATER)
    assert alias_of(first, "champion") == "2"
    assert registry.rollback("tiny", "champion", *first.place).version == "1"


def test_whether_to_ask_shapes_no_verdict(waiting: Callable[..., Any], make_case: MakeCase) -> None:
    asked, unasked = waiting(), make_case()
    assert gate_key(asked.report, asked.request.config) == gate_key(unasked.report, unasked.request.config)


def test_the_only_candidate_need_not_be_named(waiting: Callable[..., Any]) -> None:
    case = waiting()
    with pytest.raises(UsageError, match="those that wait are: none"):
        registry.find_pending("", "", *case.place, LATER.at_ms)
    case.publish()
    assert registry.find_pending("", "", *case.place, LATER.at_ms) == ("tiny", "1")
    assert registry.find_pending("other", "3", *case.place, LATER.at_ms) == ("other", "3"), "promote says what is wrong"
    with pytest.raises(UsageError, match="those that wait are: tiny version 1"):
        registry.find_pending("other", "", *case.place, LATER.at_ms)


def test_an_override_needs_a_name_and_a_reason_and_is_in_the_journal(make_case: MakeCase) -> None:
    """A rule that asks a person: its candidate is published, and nothing but a decision moves the alias."""
    case = make_case(run_id=RUN)
    rule = Rule(metric="accuracy", min=1.1, outcome="needs-approval")
    config = case.request.config.model_copy(update={"gate": GateConfig(rules=(rule,))})
    verdict = gate(case.report, config, case.request.store)
    assert verdict.decision == "needs-approval"
    case = replace(case, verdict=verdict, request=replace(case.request, config=config))
    release = case.publish()
    assert (release.version, release.alias) == ("1", CHALLENGER)
    assert alias_of(case, "champion") is None
    for reason in ("", " "):
        with pytest.raises(UsageError, match="say why with --reason"):
            registry.promote("tiny", "1", "champion", *case.place, Approval("ann", LATER.at_ms, reason))
    with pytest.raises(UsageError, match="say why with --reason"):
        registry.promote("tiny", "1", "champion", *case.place)
    at = datetime.fromtimestamp(LATER.at_ms / 1000, UTC)
    record_registry("tiny", "champion", *case.place, "bob", at)
    registry.promote("tiny", "1", "champion", *case.place, LATER)
    record_registry("tiny", "champion", *case.place, "bob", at)
    lines, _ = checked_journal("tiny", *case.place)
    waited, promoted = [line.entry for line in lines]
    assert (waited.event, waited.version) == ("pending", "1")
    assert (promoted.event, promoted.by, promoted.reason, promoted.decision) == (
        "promote", "ann", "looks good", "needs-approval",
    )  # fmt: skip


def test_what_no_verdict_let_pass_is_not_published(make_case: MakeCase) -> None:
    case = make_case(run_id=RUN)
    for decision, outcome in (("needs-approval", "fail"), ("promote", "needs-approval"), ("inconclusive", "pass")):
        rules = tuple(rule.model_copy(update={"outcome": outcome}) for rule in case.verdict.rules)
        verdict = case.verdict.model_copy(update={"decision": decision, "rules": rules})
        with pytest.raises(PromotionRefused, match="the verdict is"):
            replace(case, verdict=verdict).publish()


def test_an_inconclusive_candidate_is_the_challenger_only_where_the_config_says_so(make_case: MakeCase) -> None:
    case = make_case(run_id=RUN, accuracy=0.55)
    assert case.verdict.decision == "inconclusive"
    with pytest.raises(PromotionRefused, match="the verdict is 'inconclusive'"):
        case.publish()
    config = case.request.config.model_copy(update={"publish": PublishConfig(challenger="inconclusive")})
    case = replace(case, request=replace(case.request, config=config))
    release = case.publish()
    assert (release.alias, alias_of(case, "champion")) == (CHALLENGER, None)
    with pytest.raises(UsageError, match="say why with --reason"):
        registry.promote("tiny", "1", "champion", *case.place)
    registry.promote("tiny", "1", "champion", *case.place, LATER)
    record_registry("tiny", "champion", *case.place, "bob", datetime.fromtimestamp(LATER.at_ms / 1000, UTC))
    entries = [line.entry for line in checked_journal("tiny", *case.place)[0]]
    (promoted,) = (entry for entry in entries if entry.event == "promote")
    assert (promoted.decision, promoted.reason) == ("inconclusive", "looks good")
