"""The order of the stages, once, without Prefect: what `--plain` runs and what retrain.py wraps."""

from __future__ import annotations

from collections.abc import Sequence

from data_contracts.refs import ChampionRef, CheckpointRef, Decision, EvalReport, PreparedChampion, Verdict
from flows.champion import (
    champion_config,
    checkpoint_of,
    prepare_champion,
    require_comparable,
)
from flows.data_stages import (
    extract_features,
    extract_to_evaluate,
    prepare,
    require_trainable,
)
from flows.encoder_choice import train_chosen
from flows.journaling import record_decisions, record_verdict
from flows.request import Request
from flows.results import ask_for_approval, results_in
from flows.run_state import RunState
from flows.signing import load_sign_key
from flows.stages import Stages
from tasks import run_log
from tasks.config import RunConfig
from tasks.errors import PromotionRefused, UsageError
from tasks.evaluate.rule_checks import require_rules_fit
from tasks.gate.gate import gate_key
from tasks.modeling.card import CARD, read_card
from tasks.publish.approval import waiting_verdicts
from tasks.publish.publish import PublishInputs
from tasks.publish.registry import fetch_champion
from tasks.samples import Samples
from tasks.store import Store, digest_file


def run_pipeline(request: Request, stages: Stages, run_state: RunState) -> None:
    """Runs every stage in order, filling `run_state`; raises CrossmodalError where one fails."""
    config, store = request.config, request.store
    sign_key = load_sign_key(request)
    run_state.before = results_in(store)
    valid = run_state.valid = prepare(request, config, stages, run_state)
    samples = Samples.read(store.path(valid.uri))
    run_state.splits = samples.count_splits()
    require_trainable(samples, config.split.min_test_per_class, valid.clean.label_targets)
    require_rules_fit(config, valid, store)
    with run_state.timed("validate"):
        champion = fetch_champion(request.name, config.publish.alias, store, request.tracking_uri, request.verify_key)
        if champion is not None:
            require_comparable(champion, read_card(store.path(champion.uri), champion.card_sha256), valid, request)
    trained = train_chosen(champion, valid, request, stages, run_state)
    request, config, checkpoint = trained.request, trained.request.config, trained.checkpoint
    features, start = trained.features, run_state.start
    features = run_state.features = extract_to_evaluate(checkpoint, valid, features, config, store, stages, run_state)
    with run_state.timed("evaluate"):  # asked again: training takes time, and another model may have been promoted
        champion = run_state.champion = fetch_champion(
            request.name, config.publish.alias, store, request.tracking_uri, request.verify_key
        )
    # Against itself a model need not be compared: the evaluation of the run that published it is still right.
    is_champion = champion is not None and is_same_model(champion, checkpoint, store)
    prepared_champion = run_state.prepared_champion = (
        None if champion is None or is_champion else prepare_champion(champion, request, stages, run_state, ("test",))
    )
    report = evaluate_model(checkpoint, prepared_champion, config, store, stages, run_state)
    with run_state.timed("evaluate"):
        evaluated_before = store.find("verdicts", gate_key(report, config)) is not None
        verdict = run_state.verdict = stages.gate(report, config, store)
        run_state.test_uses = record_verdict(request, verdict, report, valid)
    run_log.log_gate(verdict)
    waiting = waiting_verdicts(config.publish)
    run_state.decision, run_state.reason = conclude(verdict, champion, is_champion, evaluated_before, waiting)
    if run_state.decision in ("promote", *waiting):
        inputs = PublishInputs(verdict, checkpoint, report, valid, features, start, sign_key)
        publish_candidate(inputs, request, stages, run_state)


def publish_candidate(inputs: PublishInputs, request: Request, stages: Stages, run_state: RunState) -> None:
    """A model that passed is the champion, or waits for a person, who `run_state.reason` tells what to do."""
    config = request.config
    waits: Decision = "inconclusive" if inputs.verdict.decision == "inconclusive" else "needs-approval"
    with run_state.timed("publish"):
        try:
            release = stages.publish(inputs, config, request.store, request.tracking_uri, request.run_id)
        except PromotionRefused as refusal:  # rolled back by hand, say: a person decides
            run_state.decision, run_state.reason = waits, str(refusal)
            return
        record_decisions(request.name, config.publish.alias, request.store, request.tracking_uri)
    run_state.release = release
    run_log.log_release(release)
    if release.alias != config.publish.alias:
        run_state.decision, run_state.reason = waits, ask_for_approval(release, config, inputs.verdict)


def is_same_model(champion: ChampionRef, checkpoint: CheckpointRef, store: Store) -> bool:
    """Whether two models have the same weights and the same card: thresholds and the temperature answer, too."""
    if champion.model_sha256 != checkpoint.model_sha256:
        return False
    ours, theirs = (digest_file(store.path(ref.uri) / CARD) for ref in (checkpoint, champion))
    return ours == theirs


def conclude(
    verdict: Verdict,
    champion: ChampionRef | None,
    is_champion: bool,
    evaluated_before: bool,
    waiting: Sequence[Decision] = ("needs-approval",),
) -> tuple[Decision, str]:
    """The run's decision and its reason: `unchanged` when this very model is, or was compared with, the champion.

    A champion that new test rows or new rules fail is reported once, as what the gate says; it stays until something beats it.
    """
    passes, waits = verdict.decision == "promote", verdict.decision in waiting
    if champion is not None and is_champion and (passes or waits or evaluated_before):
        doubt = "" if passes else f", which no longer passes the gate: {verdict.reason}"
        name = f"{champion.name} version {champion.version}"
        return "unchanged", f"nothing that shapes the model has changed: it is {name}{doubt}"
    if champion is not None and is_champion:
        return (
            verdict.decision,
            f"version {champion.version} is champion and no longer passes the gate: {verdict.reason}",
        )
    if evaluated_before and not passes and not waits:
        return (
            "unchanged",
            f"nothing has changed since this model was refused (the figures are its own): {verdict.reason}",
        )
    return verdict.decision, verdict.reason


def evaluate_champion(request: Request, stages: Stages, run_state: RunState) -> None:
    """Evaluates the champion on today's test rows by the gate's rules; nothing is trained, and nothing published.

    The samples are read as the champion reads them. UsageError where there is no champion.
    """
    store, alias = request.store, request.config.publish.alias
    champion = run_state.champion = fetch_champion(request.name, alias, store, request.tracking_uri, request.verify_key)
    if champion is None:
        raise UsageError(f"mode 'evaluate only': there is no {request.name}@{alias} yet; run with mode 'full' first")
    card = read_card(store.path(champion.uri), champion.card_sha256)
    config = champion_config(champion, card, request)
    run_state.before = results_in(store)
    valid = run_state.valid = prepare(request, config, stages, run_state)
    run_state.splits = Samples.read(store.path(valid.uri)).count_splits()
    require_comparable(champion, card, valid, request)
    require_rules_fit(config, valid, store)
    run_state.features = extract_features(valid, config, store, stages, run_state)
    checkpoint = checkpoint_of(champion, card)
    report = evaluate_model(checkpoint, None, config, store, stages, run_state)
    with run_state.timed("evaluate"):
        verdict = stages.gate(report, config, store)
    rules = verdict.rules[:-1]  # the last compares with the champion, which this is
    passes = verdict.decision == "promote"
    open_ = verdict.decision == "inconclusive"
    run_state.decision = "unchanged" if passes else "inconclusive" if open_ else "reject"
    name, stands = f"{champion.name} version {champion.version}", "still passes" if passes else "no longer passes"
    details = "; ".join(rule.detail for rule in rules if passes or rule.outcome != "pass")
    rows = f"{report.rows} test rows"
    if report.seen:
        rows += (
            f" ({report.seen:,} more were left out: it was trained or validated on them, or on others of their group)"
        )
    run_state.reason = reason = f"{name} {stands} the gate on {rows}: {details or 'it has no rules'}"
    own_verdict = run_state.verdict = verdict.model_copy(update={"rules": rules, "reason": reason})
    run_log.log_gate(own_verdict)


def evaluate_model(
    checkpoint: CheckpointRef,
    prepared_champion: PreparedChampion | None,
    config: RunConfig,
    store: Store,
    stages: Stages,
    run_state: RunState,
) -> EvalReport:
    """The figures of a model on the test rows of the run, beside the champion's, and its predictions validated."""
    assert run_state.valid is not None
    with run_state.timed("evaluate"):
        report = run_state.report = stages.evaluate(
            run_state.valid, run_state.features, checkpoint, prepared_champion, config, store
        )
    run_log.log_evaluation(report, run_state.reused(report))
    with run_state.timed("validate"):
        run_state.note("predictions", stages.validate_predictions(report, checkpoint, store))
    return report
