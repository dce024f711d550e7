"""What the start page of `up` shows: who waits for approval, the latest runs, the models and the schedules, each part from
where it is kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import httpx

from data_contracts.run_record import RunRecord
from flows.environment import now_ms
from flows.history import HISTORY, history_page, list_runs
from flows.hosting.access import basic_header
from flows.hosting.prefect_api import PrefectAPI
from tasks.problems.registry import problem_with
from tasks.publish.approval import STATE, pending_entry
from tasks.publish.champion_lookup import SeenVersion
from tasks.reporting.run_history import TONES
from tasks.reporting.start_page import ModelLine, PendingLine, RunLine, ScheduleLine, StartPage

SHOWN = 30
_TIMEOUT_S = 10.0


class _Tag(TypedDict):
    key: str
    value: str


class Version(TypedDict):
    """A model version as MLflow's API tells of it."""

    name: str
    version: str | int
    tags: list[_Tag]


class _Alias(TypedDict):
    alias: str
    version: str | int


class _Model(TypedDict):
    name: str
    aliases: NotRequired[list[_Alias]]
    latest_versions: NotRequired[list[Version]]


class _When(TypedDict, total=False):
    cron: str
    rrule: str
    interval: float
    timezone: str | None


class _ScheduleEntry(TypedDict, total=False):
    """A schedule as Prefect's API tells of it."""

    schedule: _When
    active: bool


def read_start_page(root: Path, prefect_url: str, mlflow_url: str, auth_string: str) -> StartPage:
    """The page as of now. Without an address of MLflow, which is then served elsewhere, it lists no models."""
    page = StartPage(recent_runs(root))
    try:
        if mlflow_url:
            page.models.extend(registered_models(mlflow_url, auth_string))
            page.pending.extend(pending_versions(mlflow_url, auth_string, now_ms()))
    except httpx.HTTPError:
        page.silent.append("MLflow")
    try:
        page.schedules.extend(schedules(prefect_url, auth_string))
    except httpx.HTTPError:
        page.silent.append("Prefect")
    return page


def recent_runs(root: Path, limit: int = SHOWN) -> list[RunLine]:
    """The latest runs of a store, newest first."""
    return [_run_line(root, record) for record in list_runs(root, limit=limit)]


def _run_line(root: Path, record: RunRecord) -> RunLine:
    model, found = record.model or "", record.verdict or record.status
    return RunLine(
        run=record.run,
        started=f"{record.started.astimezone(UTC):%Y-%m-%d %H:%M}",
        model=f"{model} v{record.version}" if record.version else model,
        history=f"/runs/{HISTORY}/{model}.html" if model and history_page(root, model).is_file() else "",
        verdict=found if record.flow in (None, "retrain") else f"{record.flow}: {found}",
        tone=TONES.get(found, "open"),
        reason=record.reason or "",
        figure=_figure(record.metrics),
    )


def _figure(metrics: Mapping[str, float | None]) -> str:
    """The most telling metric of a model, with its name."""
    problem = problem_with(metrics)
    named = ((name, metrics.get(name)) for name in (problem.gate_metric, *problem.headline))
    found = next(((name, value) for name, value in named if value is not None), None)
    return "" if found is None else f"{found[0].replace('_', '-')} {found[1]:.3f}"


def registered_models(url: str, auth_string: str) -> list[ModelLine]:
    """The models of the registry, with the champion's version. Raises httpx.HTTPError."""
    query = {"max_results": "100"}
    found: list[_Model] = _ask_mlflow(url, auth_string, "registered-models/search", query, "registered_models")
    return [_model_line(model) for model in found]


def pending_versions(url: str, auth_string: str, now_ms: int) -> list[PendingLine]:
    """The candidates that wait for approval, or waited until their time was over. Raises httpx.HTTPError."""
    query = {"filter": f"tags.`{STATE}` = 'pending'", "max_results": "100"}
    found: list[Version] = _ask_mlflow(url, auth_string, "model-versions/search", query, "model_versions")
    return [pending_line(version, now_ms) for version in found]


def pending_line(version: Version, now_ms: int) -> PendingLine:
    """A version, as MLflow's API tells of it, as it stands at this time."""
    tags = {tag["key"]: tag["value"] for tag in version["tags"]}
    entry = pending_entry(SeenVersion(version["name"], str(version["version"]), tags), now_ms)
    return PendingLine(
        entry["name"],
        entry["version"],
        entry["run"] or "",
        _figure(entry["metrics"]),
        entry["expires"],
        entry["state"] == "expired",
    )


def _ask_mlflow(url: str, auth_string: str, what: str, parameters: dict[str, str], key: str) -> list[Any]:
    """What MLflow's API answers under this key; a key without anything is left out of its answers."""
    with httpx.Client(headers={"Authorization": basic_header(auth_string)}, timeout=_TIMEOUT_S) as client:
        answer = client.get(f"{url}/api/2.0/mlflow/{what}", params=parameters).raise_for_status()
    found: list[Any] = answer.json().get(key, [])
    return found


def _model_line(model: _Model) -> ModelLine:
    aliases = {alias["alias"]: str(alias["version"]) for alias in model.get("aliases", [])}
    latest = max((int(version["version"]) for version in model.get("latest_versions", [])), default=None)
    return ModelLine(model["name"], aliases.get("champion", ""), str(latest or ""))


def schedules(url: str, auth_string: str) -> list[ScheduleLine]:
    """The deployments with their schedules. Raises httpx.HTTPError."""
    api = PrefectAPI(url, auth_string, _TIMEOUT_S)
    try:
        deployments = api.post("deployments/filter", {"sort": "NAME_ASC"})
        flows = {flow["id"]: flow["name"] for flow in api.post("flows/filter", {})}
        waiting = {"flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}}, "sort": "EXPECTED_START_TIME_ASC"}
        runs = api.post("flow_runs/filter", waiting)
    finally:
        api.close()
    due = {run["deployment_id"]: str(run["expected_start_time"])[:16].replace("T", " ") for run in reversed(runs)}
    lines = [
        ScheduleLine(
            found["id"],
            f"{flows.get(found['flow_id'], '?')}/{found['name']}",
            "paused" if found.get("paused") else _schedule(found.get("schedules", [])),
            due.get(found["id"], ""),
        )
        for found in deployments
    ]
    return sorted(lines, key=in_order)


def in_order(line: ScheduleLine) -> tuple[bool, str]:
    """What people come for first: retraining, then the others by name."""
    return not line.name.startswith("retrain/"), line.name


def _schedule(entries: list[_ScheduleEntry]) -> str:
    """The schedules of a deployment in words: cron and zone, or the interval."""
    words = []
    for entry in entries:
        when = entry.get("schedule") or {}
        text = when.get("cron") or when.get("rrule") or (f"every {when['interval']} s" if "interval" in when else "")
        zone = when.get("timezone") or ""
        words.append(f"{text} {zone}".strip() + ("" if entry.get("active", True) else " (paused)"))
    return "; ".join(words)
