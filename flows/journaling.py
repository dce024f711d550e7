"""Verdicts and promotions written to the store's journal: who and when come from here, what from the registry."""

from __future__ import annotations

from datetime import UTC, datetime

from data_contracts.refs import EvalReport, ValidatedRef, Verdict
from flows.environment import user_name
from flows.request import Request
from tasks.publish import journal_events
from tasks.store import Store


def record_verdict(request: Request, verdict: Verdict, report: EvalReport, valid: ValidatedRef) -> float:
    """The verdict of this run is in the journal, before anything is published on it; how often its test rows had decided."""
    name, store, at = request.name, request.store, datetime.now(UTC)
    recorded = journal_events.record_verdict(name, verdict, report, valid, request.run_id, store, user_name(), at)
    if recorded.is_new:
        journal_events.name_last_entry(name, store, request.tracking_uri)
    return recorded.test_uses


def record_decisions(name: str, alias: str, store: Store, tracking_uri: str) -> None:
    """Every move of the alias, and every decision on a candidate, is in the journal."""
    journal_events.record_registry(name, alias, store, tracking_uri, user_name(), datetime.now(UTC))
