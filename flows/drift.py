"""New data against a published model: what `crossmodal monitor` runs and flows/monitor.py wraps."""

from __future__ import annotations

from data_contracts.refs import MonitorReport
from data_contracts.run_summary import Finding, RunSummary
from flows.champion import champion_config
from flows.data_stages import extract_features
from flows.execute import attempt
from flows.predictions import asking, find_model
from flows.request import Request
from flows.run_failed import RunFailed
from flows.run_state import RunState
from flows.stages import Monitor, Stages
from flows.summary import summarise, write_summary
from tasks.ingest.ingest import ingest
from tasks.ingest.manifest.scan import scan
from tasks.ingest.sources.resolve import locate_data
from tasks.modeling.card import read_card
from tasks.monitor.monitor import monitor
from tasks.reporting.drift_report import write_page


def monitor_manifest(request: Request, model: str | None, stage: Monitor = monitor) -> RunSummary:
    """The summary of a monitor run, `drift` true or false; report.html lies in the run's folder. Labels are not needed.

    Raises UsageError for an unknown model, RunFailed where the data cannot be read.
    """
    champion = find_model(request, model)
    run_state = RunState(champion=champion)
    reports: list[MonitorReport] = []

    def compare() -> None:
        """The new data are read, encoded and compared: `run_state` and `reports` hold what came of it."""
        card = read_card(request.store.path(champion.uri), champion.card_sha256)
        config = asking(champion_config(champion, card, request), card)
        with run_state.timed("ingest"):
            raw = scan(config, request.store, locate_data(config, request.store), "predict")
            run_state.clean = ingest(raw, config, request.store, "predict")
        run_state.features = extract_features(run_state.clean, config, request.store, Stages(), run_state)
        with run_state.timed("evaluate"):
            reports.append(stage(run_state.clean, run_state.features, champion, config, request.store))

    error = attempt(compare, run_state)
    if error is not None:
        summary = summarise(request, run_state, "monitor", str(error))
        write_summary(request, run_state, summary)
        raise RunFailed(error, summary) from error
    report = reports[0]
    path = request.folder / "report.html"
    request.folder.mkdir(parents=True, exist_ok=True)
    write_page(path, report, request.run_id)
    finding: Finding = "drift" if report.drift else "no drift"
    summary = summarise(
        request,
        run_state,
        "monitor",
        report=path.relative_to(request.store.root).as_posix(),
        reason=report.reason,
        drift=report.drift,
        compared=report.rows,
        known=report.known,
        tests=report.tests,
        finding=finding if report.tests else None,
    )
    write_summary(request, run_state, summary)
    return summary
