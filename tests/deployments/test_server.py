"""A real Prefect server, the shipped deployment, a real worker, and a run triggered through the API."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flows.hosting.services import POOL, Services, deploy, spawn, start_server, wait_until_healthy
from flows.hosting.up import stop_all
from tasks.store import Store

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def call(services: Services, path: str, body: dict[str, Any] | None = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{services.prefect_url}/api/{path}", data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as response:
        return json.load(response)


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    store = Store(tmp_path_factory.mktemp("served"))
    store.prepare()
    (store.root / "prefect").mkdir()
    made = Services(store, free_port(), free_port(), f"sqlite:///{store.root}/mlflow.db")
    running = [("server", start_server(made))]
    try:
        wait_until_healthy(f"{made.prefect_url}/api/health", running[0][1])
        deploy(made)
        running.append(
            ("worker", spawn(made, "worker", ["prefect", "worker", "start", "--pool", POOL, "--type", "process"]))
        )
        yield made
    finally:
        stop_all(running)


def wait_for_end(services: Services, run: str, timeout_s: float = 600) -> dict[str, Any]:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        state: dict[str, Any] = call(services, f"flow_runs/{run}")["state"]
        if state["type"] in {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}:
            return state
        time.sleep(2)
    raise AssertionError(f"run {run} did not end within {timeout_s} s")


def test_a_run_triggered_through_the_api_completes_and_publishes(services: Services, make_data: Any) -> None:
    data = make_data()
    deployment = call(services, "deployments/name/retrain/weekly")
    assert deployment["parameters"] == {"profile": "digits"}
    assert [entry["schedule"]["cron"] for entry in deployment["schedules"]] == ["0 3 * * 1"]
    parameters = {"profile": None, "data": str(data), "overrides": ["train.epochs=2", "name=served"]}
    run = call(services, f"deployments/{deployment['id']}/create_flow_run", {"parameters": parameters})
    state = wait_for_end(services, run["id"])
    log = (services.store.root / "prefect" / "worker.log").read_text()
    assert state["type"] == "COMPLETED", f"{state}\n{log[-3000:]}"
    summaries = sorted(services.store.root.glob("runs/*/summary.json"))
    summary = json.loads(summaries[-1].read_text())
    assert summary["verdict"] in {"promote", "inconclusive", "reject"}
    assert state["message"] == f"{summary['verdict']}: {summary['reason']}"
    artifacts = call(services, "artifacts/filter", {"artifacts": {"flow_run_id": {"any_": [run["id"]]}}})
    keys = {artifact["key"] for artifact in artifacts}
    assert {key for key in keys if key} == {"verdict", "metrics", "gate", "plan", "data"}
    (bar,) = (artifact for artifact in artifacts if artifact["type"] == "progress")
    assert (bar["key"], bar["data"]) == (None, 100.0)
    (told,) = (artifact["data"] for artifact in artifacts if artifact["key"] == "verdict")
    assert "file:" not in told
    assert summary["report"] in told
    logs = call(services, "logs/filter", {"logs": {"flow_run_id": {"any_": [run["id"]]}}, "limit": 200})
    lines = [entry["message"] for entry in logs]
    for start in ("ingest: ", "validate: ", "extract: ", "train: epoch 1 of 2: ", "evaluate: ", "gate: ", "verdict: "):
        assert any(line.startswith(start) for line in lines), f"{start!r} is not in {lines}"
    tasks = call(services, "task_runs/filter", {"flow_runs": {"id": {"any_": [run["id"]]}}})
    assert {"scan", "ingest", "validate-samples", "train", "evaluate", "gate"} <= {
        task["name"].rsplit("-", 1)[0] for task in tasks
    }


def test_up_serves_both_pages_and_stops_on_ctrl_c(tmp_path: Path, interruptible: Any) -> None:
    from flows.hosting.services import executable

    prefect_port, mlflow_port = free_port(), free_port()
    command = [
        "crossmodal",
        "up",
        "--store",
        str(tmp_path),
        "--prefect-port",
        str(prefect_port),
        "--mlflow-port",
        str(mlflow_port),
    ]
    started = interruptible(executable(command))
    process = subprocess.Popen(started, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line.startswith("logs"):
            break
    for port in (prefect_port, mlflow_port):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=30) as response:
            assert b"<html" in response.read().lower()
    os.kill(process.pid, signal.SIGINT)
    assert process.wait(timeout=60) == 130
    for port in (prefect_port, mlflow_port):
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", port)) != 0, f"something still listens on {port}"
