"""A comparison of a model's variants: what `crossmodal compare` runs and flows/compare.py wraps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from data_contracts.comparison import COMPARE, CompareReport, NotRun
from data_contracts.modalities import ALL_MODALITIES, in_order
from data_contracts.refs import InputName, RawRef, Target
from data_contracts.run_summary import ComparedSummary, CompareSummary, Finding, RunSummary
from flows.compare_fits import Ended, Fit, Perform, perform_here, plan_fits, run_fits
from flows.data_stages import prepare, require_trainable
from flows.encoder_choice import choose_encoders
from flows.execute import execute_study
from flows.machine import describe_machine
from flows.preflight import failure, preflight
from flows.request import Request
from flows.run_state import RunState
from flows.shared_features import SharedFeatures
from flows.stages import Scan, Stages
from flows.summary import notes_of, summarise, write_summary
from tasks import locks
from tasks.compare.choosing import Chosen, choose_variants, compare_config, require_known
from tasks.compare.outcome import Rules, compare_fits, keep_comparison
from tasks.compare.variants import Known, Variant, list_candidates
from tasks.config import RunConfig, with_settings
from tasks.encoder_choice import named_provisionally, with_encoders
from tasks.errors import DataError, UsageError
from tasks.evaluate.comparison import ComparisonRows
from tasks.problems.registry import get_metric, metric_names, problem_of
from tasks.reporting.compare_report import write_compare_page
from tasks.samples import Samples
from tasks.store import Store, digest_json, replace_file

NOT_NEEDED = ("registry", "champion")
"""Of the preflight of a training: a comparison publishes nothing, and starts from nothing."""


def compare_models(request: Request, stages: Stages | None = None, perform: Perform = perform_here) -> RunSummary:
    """The summary of a comparison that ended; report.html and compare.json lie in the run's folder.

    Raises UsageError and EnvironmentFailed before any work for what can be known before, RunFailed where a stage refused.
    """
    own, request = request.config, replace(request, config=compare_config(request.config))
    require_ready(request)
    run_state = RunState()
    return execute_study(
        request,
        "compare",
        run_state,
        lambda: compare(request, own, stages or Stages(), run_state, perform),
        lambda report: leave_results(request, run_state, report),
    )


def require_ready(request: Request) -> None:
    """All is checked that can be before data are read: the variants' names and settings, their encoders' files, the machine."""
    request = replace(request, config=named_provisionally(request.config))
    require_known(request.config)
    asked = (*request.config.compare.variants, request.config.compare.reference)
    configs = [request.config]
    for candidate in list_candidates(_known(request.config, in_order(_switched_on(request.config)), ())):
        variant = candidate.variant
        if candidate.missing is None and (variant.name in asked or variant.group in asked):
            configs.append(with_settings(request.config, variant.settings))
    checks = [check for check in preflight(request) if check.name not in NOT_NEEDED]
    for config in configs[1:]:
        if config.encoders != request.config.encoders:
            others = preflight(replace(request, config=config))
            checks += [check for check in others if check.name.startswith("encoders.") and check not in checks]
    refusal = failure(checks)
    if refusal is not None:
        raise refusal


def _switched_on(config: RunConfig) -> list[InputName]:
    return [kind for kind in ALL_MODALITIES if config.encoders.of(kind) != "off"]


def _known(config: RunConfig, inputs: tuple[InputName, ...], targets: tuple[Target, ...]) -> Known:
    """What is known of a model; UsageError for a metric that its problem does not have."""
    metric = config.gate.metric if config.compare.metric == "auto" else config.compare.metric
    if not targets:
        return Known(config, inputs, targets, "accuracy")
    problem = problem_of(targets[0])
    metric = problem.gate_metric if metric == "auto" else metric
    if metric not in metric_names(problem.name):
        known = ", ".join(metric_names(problem.name))
        raise UsageError(f"compare.metric = {metric!r}: {problem.name} has no such metric; it has {known}")
    return Known(config, inputs, targets, metric)


def compare(request: Request, own: RunConfig, stages: Stages, run_state: RunState, perform: Perform) -> CompareReport:
    """What the comparison came to, kept as an artifact; every fit is one, too. `own` are the settings as they are."""
    config, store = request.config, request.store
    # Two workers begin together: what they share is computed once.
    with locks.held(_lock(store, config), store.lock_timeout_s, request.run_id):
        checked = replace(stages, scan=_refusing(stages.scan))
        valid = run_state.valid = prepare(request, config, checked, run_state)
        samples = Samples.read(store.path(valid.uri))
        run_state.splits = samples.count_splits()
        require_trainable(samples, config.split.min_test_per_class, valid.clean.label_targets)
        encoders = choose_encoders(valid, replace(request, config=own), stages, run_state)
        config, own = with_encoders(config, encoders), with_encoders(own, encoders)
        request = replace(request, config=config)
        known = _known(config, _with_encoder(config, valid.clean.modalities), valid.clean.label_targets)
        chosen = choose_variants(known)
        shared = SharedFeatures(config, valid, store, stages, run_state)
        run_state.features = shared.features_of(config)
        planned = plan_fits(chosen.variants, config, shared, request, stages)
        fits = [fit for each in planned.values() for fit in each]
        for fit in fits:  # encoded here, once for both
            if fit.variant.method == "network" or fit.variant.modality is None:
                fit.shared.features_of(fit.config)
    ended = run_fits(fits, perform)
    chosen = without_failed(chosen, planned, ended)
    refs = {each.name: [ended.done[fit.label] for fit in planned[each.name]] for each in chosen.variants}
    clusters = ComparisonRows.read(valid, store).clusters
    rules = Rules(known.metric, config.compare.alpha, config.seed)
    with run_state.timed("evaluate"):
        compared = compare_fits(chosen.variants, refs, valid, clusters, rules, store)
    first = compared.variants[0]
    report = CompareReport(
        run=request.run_id,
        model=request.name,
        metric=known.metric,
        lower_is_better=get_metric(known.metric).lower_is_better,
        reference=first.name,
        seeds=tuple((config.seed + place) % 2**32 for place in range(config.compare.seeds)),
        alpha=config.compare.alpha,
        epochs=config.train.epochs,
        test_rows=compared.rows,
        clusters=None if clusters is None else int(clusters.max()) + 1,
        variants=compared.variants,
        not_run=chosen.not_run,
        ranking=compared.ranking,
        finding=compared.finding,
        machine=describe_machine("torch", "scikit-learn"),
        notes=notes_on(own, run_state),
    )
    run_state.comparison = keep_comparison(report, [ref for each in refs.values() for ref in each], store)
    return report


def without_failed(chosen: Chosen, planned: Mapping[str, Sequence[Fit]], ended: Ended) -> Chosen:
    """The variants of which every fit is done; the others stand among those that were not run, with the reason.

    DataError where the reference, or all but it, cannot be fitted.
    """
    kept, failed = list[Variant](), list[NotRun]()
    for variant in chosen.variants:
        reasons = [ended.failed[fit.label] for fit in planned[variant.name] if fit.label in ended.failed]
        if not reasons:
            kept.append(variant)
            continue
        failed.append(NotRun(name=variant.name, group=variant.group, reason=f"failed: {reasons[0]}", applies=False))
    if len(kept) < 2 or kept[0] is not chosen.variants[0]:
        raise DataError(f"compare: {failed[0].name} cannot be fitted, and so nothing be compared: {failed[0].reason}")
    return Chosen(tuple(kept), (*failed, *chosen.not_run))


def _with_encoder(config: RunConfig, inputs: tuple[InputName, ...]) -> tuple[InputName, ...]:
    return tuple(name for name in inputs if config.encoders.of(name) != "off")


def _refusing(scan: Scan) -> Scan:
    """The stage `scan`, after which variants that do not apply to these data are refused, before anything is decoded."""

    def scan_and_choose(config: RunConfig, store: Store, data: Path) -> RawRef:
        """The raw table. UsageError where a variant does not apply, or none is left."""
        raw = scan(config, store, data)
        config = named_provisionally(config)
        choose_variants(_known(config, _with_encoder(config, raw.modalities), raw.targets))
        return raw

    return scan_and_choose


def _lock(store: Store, config: RunConfig) -> Path:
    shared = config.subset("data", "media", "split", "encoders", "extract")
    return store.root / "work" / f"compare-{digest_json(shared)[:16]}.lock"


def notes_on(own: RunConfig, run_state: RunState) -> tuple[str, ...]:
    """What a reader must know of the data, and of how variants were trained otherwise than a retrain would."""
    found = [*notes_of(run_state)]
    if own.compare.epochs is not None and own.compare.epochs != own.train.epochs:
        found.append(
            f"Every variant was trained with compare.epochs = {own.compare.epochs}; a retrain trains with train.epochs = "
            f"{own.train.epochs}. With more epochs the order may be another one."
        )
    if own.train.continue_from != "none":
        found.append("Variants start from nothing, whatever train.continue_from says.")
    return tuple(found)


def leave_results(request: Request, run_state: RunState, report: CompareReport) -> RunSummary:
    """The report, compare.json and the summary lie in the run's folder."""
    path = request.folder / "report.html"
    write_compare_page(path, report)
    replace_file(request.folder / COMPARE, (report.model_dump_json(indent=1) + "\n").encode())
    differ = any(each.conclusion in ("better", "worse") for each in report.variants)
    finding: Finding = "differences" if differ else "no differences"
    summary = summarise(
        request,
        run_state,
        "compare",
        report=path.relative_to(request.store.root).as_posix(),
        finding=finding,
        reason=" ".join(report.finding),
        compare=in_short(report),
    )
    write_summary(request, run_state, summary)
    return summary


def in_short(report: CompareReport) -> CompareSummary:
    """For summary.json."""
    return CompareSummary(
        metric=report.metric,
        reference=report.reference,
        seeds=len(report.seeds),
        test_rows=report.test_rows,
        variants=tuple(
            ComparedSummary(
                name=each.name,
                mean=each.mean,
                difference=None if each.difference is None else each.difference.interval,
                p_holm=None if each.difference is None else each.difference.p_holm,
                conclusion=each.conclusion,
                train_s=each.cost.train_s,
                parameters=each.cost.parameters,
            )
            for each in report.variants
        ),
        not_run=tuple(each.name for each in report.not_run if each.applies),
    )
