"""The pipeline as a Prefect flow: what a schedule runs, what a button in the UI starts, what `crossmodal retrain` calls."""

from __future__ import annotations

import os
from typing import Any, cast

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture
from prefect.runtime import flow_run
from prefect.states import Completed
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from flows.environment import run_tags, store_from_environment, tracking_uri_from_environment
from flows.prefect_stages import prefect_stages
from flows.request import make_request, resolve_config
from flows.run_progress import execute_shown

# Prefect types a runner by its own future; the decorator asks for one of any future.
_RUNNER = cast(TaskRunner[PrefectFuture[Any]], ThreadPoolTaskRunner(max_workers=min(8, os.cpu_count() or 1)))


@flow(
    name="retrain",
    task_runner=_RUNNER,
    persist_result=True,
    result_serializer="json",
)
def retrain(
    profile: str | None = None,
    data: str | None = None,
    overrides: list[str] | None = None,
    store: str | None = None,
) -> State[dict[str, Any]]:
    """Retrains a model: ingest, validate, extract, train, evaluate, gate, publish. A refused model is a result.

    Args:
        profile: A name in deployments/profiles, or the path of a TOML file. Without it and without data: digits.
        data: A manifest (CSV, TSV, JSONL, Parquet), a folder per class, or a folder of tables named by split.
        overrides: KEY=VALUE settings on top of the profile, for example train.epochs=20.
        store: The folder for everything a run writes. Default: CROSSMODAL_STORE, else .crossmodal.
    """
    config = resolve_config(profile, data, overrides or [])
    started = flow_run.scheduled_start_time
    run_id = f"{started:%Y%m%d-%H%M%S}-{str(flow_run.id)[:8]}"
    tags = run_tags(profile, data, flow_run.id)
    request = make_request(config, store_from_environment(store), tracking_uri_from_environment(), run_id, tags)
    summary = execute_shown(request, prefect_stages())
    return Completed(message=f"{summary['verdict']}: {summary['reason']}", data=summary)
