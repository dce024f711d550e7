"""Smaller and faster versions of a published model: what `crossmodal compress` runs and flows/compress.py wraps."""

from __future__ import annotations

import os
import platform
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from data_contracts.compression import COMPRESS, CompressionRef, CompressReport
from data_contracts.run_summary import CompressedSummary, CompressSummary, Finding, RunSummary
from flows.champion import champion_config, checkpoint_of, prepare_champion
from flows.compress_methods import Methods, Perform, not_possible, perform_here
from flows.compress_request import Compression, refusing_without_test
from flows.data_stages import extract_features, prepare
from flows.execute import execute_study
from flows.pipeline import evaluate_model, publish_candidate
from flows.request import Request
from flows.results import results_in
from flows.run_state import RunState
from flows.signing import load_sign_key
from flows.stages import Stages
from flows.summary import notes_of, summarise, write_summary
from tasks import locks
from tasks.config import RunConfig
from tasks.evaluate.rule_checks import require_rules_fit
from tasks.publish.approval import waiting_verdicts
from tasks.publish.publish import PublishInputs
from tasks.reporting.compress_report import describe, write_compress_page
from tasks.samples import Samples
from tasks.store import Store, canonical_json, digest_json, replace_file, write_text

KIND = "compressions"
_LIBRARIES = ("torch", "onnxruntime", "onnx")


def compress_model(asked: Compression, stages: Stages | None = None, perform: Perform = perform_here) -> RunSummary:
    """The summary of a study that ended, its report and compress.json in the run's folder; one version published if asked.

    Raises RunFailed where a stage refused.
    """
    request, run_state = asked.request, RunState(champion=asked.champion)
    return execute_study(
        request,
        "compress",
        run_state,
        lambda: study(asked, stages or Stages(), run_state, perform),
        lambda report: leave_results(request, run_state, report),
    )


def study(asked: Compression, stages: Stages, run_state: RunState, perform: Perform) -> CompressReport:
    """Every method's figures; the study is an artifact."""
    request, champion, store = asked.request, asked.champion, asked.request.store
    sign_key = load_sign_key(request) if asked.publish else None
    config = champion_config(champion, asked.card, request)
    own = replace(request, config=config)
    run_state.before = results_in(store)
    # Two workers begin together: what they share is computed once.
    with locks.held(_lock(store, asked), store.lock_timeout_s, request.run_id):
        scan = refusing_without_test(stages.scan)
        valid = run_state.valid = prepare(own, config, replace(stages, scan=scan), run_state)
        run_state.splits = Samples.read(store.path(valid.uri)).count_splits()
        require_rules_fit(config, valid, store)
        run_state.features = extract_features(valid, config, store, stages, run_state)
        prepared = run_state.prepared_champion = prepare_champion(champion, own, stages, run_state)
        original = evaluate_model(checkpoint_of(champion, asked.card), None, config, store, stages, run_state)
    methods = Methods(asked, config, prepared, original, stages, run_state)
    methods.run(perform)
    report = make_report(asked, methods, config)
    if asked.publish is not None and asked.publish in methods.gated:
        gated = methods.gated[asked.publish]
        run_state.decision, run_state.reason = gated.verdict.decision, gated.verdict.reason
        if gated.verdict.decision in ("promote", *waiting_verdicts(request.config.publish)):
            inputs = PublishInputs(
                gated.verdict,
                gated.compressed.checkpoint,
                gated.report,
                gated.valid,
                gated.features,
                champion,
                sign_key,
            )
            publish_candidate(inputs, request, stages, run_state)
        if run_state.release is not None:
            report = report.model_copy(update={"published": run_state.release.version})
    run_state.compression = keep_compression(report, methods, store)
    return report


def _lock(store: Store, asked: Compression) -> Path:
    config = asked.request.config.subset("data", "split")
    return store.root / "work" / f"compress-{digest_json([asked.champion.sha256, config])[:16]}.lock"


def make_report(asked: Compression, methods: Methods, config: RunConfig) -> CompressReport:
    """The table, with what it was measured with."""
    from tasks.evaluate.inference_cost import THREADS
    from tasks.evaluate.latency import release_bytes

    request, gate = asked.request, asked.request.config.gate
    left = [not_possible(name, reason) for name, reason in asked.not_possible.items()]
    libraries = {"python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            libraries[name] = version(name)
        except PackageNotFoundError:
            continue
    return CompressReport(
        run=request.run_id,
        model=asked.champion.name,
        version=asked.champion.version,
        metric=methods.metric,
        margin=gate.margin,
        confidence=gate.confidence,
        test_rows=methods.original.rows,
        size_bytes=release_bytes(methods.checkpoint, config, request.store),
        metrics=methods.original.metrics["test"],
        results=(*(methods.results[name] for name in asked.methods), *left),
        threads=THREADS,
        machine=f"{platform.machine()}, {os.cpu_count()} CPUs",
        libraries=libraries,
        notes=notes_of(methods.run_state),
    )


def keep_compression(report: CompressReport, methods: Methods, store: Store) -> CompressionRef:
    """The study as an artifact; the models and verdicts that it names stay as long as it is kept."""
    content = report.model_dump(mode="json", exclude={"run"})
    key = digest_json(content)
    if (found := store.find(KIND, key)) is not None:
        return CompressionRef.model_validate(found.ref)
    gated = methods.gated.values()
    made_from = [ref for each in gated for ref in (each.compressed, each.report, each.verdict)]
    with store.create(KIND, key, dict.fromkeys(ref.uri for ref in made_from)) as draft:
        write_text(draft.path / COMPRESS, canonical_json(content))
        ref = CompressionRef(
            uri=f"{KIND}/{key}",
            sha256=key,
            rows=report.test_rows,
            parents=tuple(dict.fromkeys(ref.sha256 for ref in made_from)),
        )
        draft.ref = ref.model_dump(mode="json")
    return ref


def leave_results(request: Request, run_state: RunState, report: CompressReport) -> RunSummary:
    """The report, compress.json and the summary lie in the run's folder."""
    path = request.folder / "report.html"
    write_compress_page(path, report)
    replace_file(request.folder / COMPRESS, (report.model_dump_json(indent=1) + "\n").encode())
    finding: Finding = "compressed" if report.passing else "nothing passed"
    waits = run_state.reason if run_state.release is not None and run_state.reason else None
    summary = summarise(
        request,
        run_state,
        "compress",
        report=path.relative_to(request.store.root).as_posix(),
        finding=finding,
        reason=describe(report) + (f"; {waits}" if waits else ""),
        compress=in_short(report),
    )
    write_summary(request, run_state, summary)
    return summary


def in_short(report: CompressReport) -> CompressSummary:
    """For summary.json."""
    return CompressSummary(
        metric=report.metric,
        size_bytes=report.size_bytes,
        published=report.published,
        methods={
            each.method: CompressedSummary(
                decision=each.decision,
                reason=each.reason,
                size_bytes=each.size_bytes,
                smaller=report.smaller(each),
                row_ms=each.latency and each.latency.row_ms,
                row_faster=each.latency and each.latency.row_ratio,
                batch_faster=each.latency and each.latency.batch_ratio,
                difference=each.differences.get(report.metric),
            )
            for each in report.results
        },
    )
