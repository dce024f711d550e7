"""Candidates that wait for a person: `gate.approval = "required"` leaves a passing model as a pending version, and so does a
rule with `outcome = "needs-approval"` one that does not pass it, and `publish.challenger = "inconclusive"` one on which the
gate could not decide.

Its state is a tag of the version, so nothing has to run while it waits; the alias `challenger` points to the newest one.
pending -> approved (the alias moved), or rejected. A pending one whose time is over is expired: it was compared with the
champion of its day, and only a new run, which compares again, makes it pending anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypedDict, get_args

from data_contracts.refs import Decision, EvalReport, Metrics
from tasks.config import GateConfig
from tasks.config_sections import PublishConfig
from tasks.errors import PromotionRefused, UsageError
from tasks.number_format import utc_text
from tasks.publish import versions
from tasks.redaction import redact

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

CHALLENGER = "challenger"
"""MLflow's name for a model that is to replace the champion."""
OVERRIDDEN = ("needs-approval", "inconclusive")
"""Verdicts that a person, who promotes such a candidate, overrides; the latter where publish.challenger says so."""
State = Literal["pending", "expired", "approved", "rejected"]
STATES: tuple[State, ...] = get_args(State)
DAY_MS = 86_400_000

# Tags of a version.
STATE = "crossmodal.approval"
SINCE_MS = "crossmodal.approval_since_ms"
UNTIL_MS = "crossmodal.approval_until_ms"
AGAINST = "crossmodal.approval_against"  # sha256 of the champion it was compared with, or `none`
BY = "crossmodal.approval_by"
AT_MS = "crossmodal.approval_at_ms"
REASON = "crossmodal.approval_reason"


@dataclass(frozen=True)
class Approval:
    """A person's decision on a version."""

    by: str
    at_ms: int
    """Since 1970."""
    reason: str
    """Without credentials, which end up in tags, in the journal and on pages."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "reason", redact(self.reason))


def waiting_verdicts(config: PublishConfig) -> tuple[Decision, ...]:
    """Verdicts whose candidates are not promoted, and become the challenger."""
    return ("needs-approval", "inconclusive") if config.challenger == "inconclusive" else ("needs-approval",)


def state_of(version: versions.Tagged, now_ms: int) -> State | None:
    """Where a version stands; None for one that never had to wait."""
    state = next((known for known in STATES if known == version.tags.get(STATE)), None)
    return "expired" if state == "pending" and now_ms >= int(version.tags[UNTIL_MS]) else state


def mark_pending(
    client: MlflowClient, version: ModelVersion, report: EvalReport, config: GateConfig, now_ms: int
) -> None:
    """The version waits from now on for `gate.approval_days`; the challenger is this one."""
    tags = {
        SINCE_MS: str(now_ms),
        UNTIL_MS: str(now_ms + round(config.approval_days * DAY_MS)),
        AGAINST: report.champion_sha256 or "none",
        STATE: "pending",
    }
    for key, value in tags.items():
        client.set_model_version_tag(version.name, str(version.version), key, value)
    client.set_registered_model_alias(version.name, CHALLENGER, str(version.version))


def require_not_rejected(version: ModelVersion) -> None:
    """Raises PromotionRefused for a model that a person rejected: a run that arrives at it again does not ask again."""
    if version.tags.get(STATE) == "rejected":
        raise PromotionRefused(
            f"model {version.name} version {version.version}: this very model was rejected by {version.tags.get(BY)} "
            f"({version.tags.get(REASON)}); change the data or the settings, or bring it back with "
            f"crossmodal models promote {version.name} {version.version} --reason ..."
        )


def require_approvable(version: ModelVersion, champion: ModelVersion | None, approval: Approval | None) -> None:
    """Raises PromotionRefused where a candidate's time is over or the champion is another than it was compared with.

    UsageError where nobody says why. A version that never had to wait passes.
    """
    state, passed = version.tags.get(STATE), version.tags.get(versions.VERDICT) not in OVERRIDDEN
    if state == "approved" or (state is None and passed):
        return
    which = f"model {version.name} version {version.version}"
    if approval is None or not approval.reason.strip():
        raise UsageError(f"{which}: waits for approval; say why with --reason")
    if state_of(version, approval.at_ms) == "expired":
        raise PromotionRefused(
            f"{which}: its approval expired on {utc_text(int(version.tags[UNTIL_MS]))}; run crossmodal retrain again"
        )
    sha256 = "none" if champion is None else champion.tags.get(versions.MODEL_SHA256)
    if sha256 != version.tags.get(AGAINST):
        now = "none" if champion is None else f"version {champion.version}"
        raise PromotionRefused(
            f"{which}: the champion is now {now}, another than this candidate was compared with; run crossmodal retrain again"
        )


def record_decision(client: MlflowClient, version: ModelVersion, state: State, approval: Approval) -> None:
    """The version's tags say who decided, when and why; it is no longer the challenger."""
    number = str(version.version)
    tags = {BY: approval.by, AT_MS: str(approval.at_ms), REASON: approval.reason, STATE: state}
    for key, value in tags.items():
        client.set_model_version_tag(version.name, number, key, value[:1000])
    challenger = versions.aliased_version(client, version.name, CHALLENGER)
    if challenger is not None and str(challenger.version) == number:
        client.delete_registered_model_alias(version.name, CHALLENGER)


class PendingEntry(TypedDict):
    """A candidate that waits for approval, as lists and scripts see it."""

    name: str
    version: str
    state: State | None
    age_days: float
    expires: str
    """`2026-12-09 03:00` in UTC."""
    run: str | None
    metrics: Metrics


def pending_entry(version: versions.Tagged, now_ms: int) -> PendingEntry:
    """A candidate for a list: its age, when it expires, its figures."""
    since, until = int(version.tags[SINCE_MS]), int(version.tags[UNTIL_MS])
    return {
        "name": str(version.name),
        "version": str(version.version),
        "state": state_of(version, now_ms),
        "age_days": round((now_ms - since) / DAY_MS, 1),
        "expires": utc_text(until),
        "run": version.tags.get(versions.RUN),
        "metrics": versions.figures(version),
    }
