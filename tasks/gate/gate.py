"""EvalReport to Verdict: every rule must pass for a model to be promoted. A refusal is a result, not an error."""

from __future__ import annotations

from collections.abc import Sequence

from data_contracts.refs import Decision, EvalReport, RuleResult, Verdict
from data_contracts.slices import SLICES, SliceReport
from tasks.config import GateConfig, RunConfig
from tasks.fingerprint import code_fingerprint
from tasks.gate.comparison import compare_models, next_anchor
from tasks.gate.rules import evaluate_parts, evaluate_rule
from tasks.store import Store, canonical_json, digest_json, write_text

KIND = "verdicts"


def gate_key(report: EvalReport, config: RunConfig) -> str:
    """The digest of everything that a verdict depends on.

    Of two evaluations that came to the same, as of one model from two trainings, each has a verdict that rests on it.
    """
    rules = config.gate.model_dump(mode="json", exclude={"approval", "approval_days"})  # which shape no verdict
    return digest_json(
        {"report": [report.uri, report.sha256], "config": {"gate": rules}, "code": code_fingerprint("gate")}
    )


def gate(report: EvalReport, config: RunConfig, store: Store) -> Verdict:
    """The verdict on a candidate is stored: promote, reject, inconclusive or needs-approval, with the rules and the reason."""
    key = gate_key(report, config)
    found = store.find(KIND, key)
    if found is not None:
        return Verdict.model_validate(found.ref)
    rules = (*evaluate_rules(report, config.gate, store), *compare_models(report, config.gate))
    decision = decide(rules)
    content = {
        "rows": report.rows,
        "parents": [report.sha256],
        "decision": decision,
        "reason": explain(decision, rules),
        "rules": [rule.model_dump(mode="json") for rule in rules],
        "model_sha256": report.model_sha256,
        "anchor": next_anchor(report, config.gate),
    }
    verdict = Verdict.model_validate({**content, "uri": f"{KIND}/{key}", "sha256": digest_json(content)})
    with store.create(KIND, key, [report.uri], code_fingerprint("gate")) as draft:
        write_text(draft.path / "verdict.json", canonical_json(content))
        draft.ref = verdict.model_dump(mode="json")
    return verdict


def evaluate_rules(report: EvalReport, config: GateConfig, store: Store) -> list[RuleResult]:
    """The lines of the config's rules, in their order."""
    if not any(rule.is_of_parts for rule in config.rules):
        return [evaluate_rule(rule, report) for rule in config.rules]
    parts = SliceReport.model_validate_json((store.path(report.uri) / SLICES).read_text(encoding="utf-8"))
    found: list[RuleResult] = []
    for rule in config.rules:
        of_parts = rule.is_of_parts
        found += (
            evaluate_parts(rule, report, parts, config.min_slice_rows) if of_parts else [evaluate_rule(rule, report)]
        )
    return found


def decide(rules: Sequence[RuleResult]) -> Decision:
    """Any failure rejects; otherwise what is inconclusive leaves it open, then what a person is to accept waits for one; only a
    clean table promotes."""
    outcomes = {rule.outcome for rule in rules}
    if "fail" in outcomes or not rules:
        return "reject"
    if "inconclusive" in outcomes:
        return "inconclusive"
    return "promote" if outcomes == {"pass"} else "needs-approval"


def explain(decision: Decision, rules: Sequence[RuleResult]) -> str:
    """The decision as one readable line, with the figures that made it."""
    deciding, word = {
        "promote": ("pass", "promoted"),
        "reject": ("fail", "rejected"),
        "inconclusive": ("inconclusive", "inconclusive"),
        "needs-approval": ("needs-approval", "needs approval"),
    }[decision]
    details = dict.fromkeys(rule.detail for rule in rules if rule.outcome == deciding)
    return f"{word}: {'; '.join(details) or 'no rule to decide by'}"
