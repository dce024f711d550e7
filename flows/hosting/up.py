"""`crossmodal up`: a Prefect server with its UI, the deployments, a worker and MLflow's UI, in one terminal until Ctrl-C."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from types import FrameType

from flows.hosting.access import login_link
from flows.hosting.deployments import POOL
from flows.hosting.services import (
    Services,
    deploy,
    spawn,
    start_mlflow,
    start_pages,
    start_server,
    wait_until_healthy,
)
from tasks.errors import EnvironmentFailed

Say = Callable[[str], None]


def serve_until_stopped(services: Services, say: Say) -> None:
    """Starts everything in order and blocks until Ctrl-C or until one service ends. Raises EnvironmentFailed."""
    running: list[tuple[str, subprocess.Popen[bytes]]] = []
    signal.signal(signal.SIGTERM, _stop)  # a service manager's stop ends what we started, too
    try:
        running.append(("prefect server", start_server(services)))
        wait_until_healthy(f"{services.prefect_url}/api/health", running[0][1])
        say(f"Prefect    {services.prefect_url}")
        deploy(services)
        say("deployed   retrain/weekly: Mondays 03:00 UTC, or now from the UI under Deployments")
        running.append(
            ("worker", spawn(services, "worker", ["prefect", "worker", "start", "--pool", POOL, "--type", "process"]))
        )
        if services.serves_mlflow:
            running.append(("mlflow", start_mlflow(services)))
            wait_until_healthy(f"{services.mlflow_url}/health", running[-1][1])
        say(f"MLflow     {services.mlflow_url}")
        running.append(("pages", start_pages(services)))
        wait_until_healthy(f"{services.pages_url}/health", running[-1][1])
        say(f"runs       {services.pages_url}")
        say(f"open       {login_link(services.prefect_url, services.auth_string)}")
        say("           (logs this browser in, once within 10 minutes; later: crossmodal login)")
        say(f"logs       {services.store.root / 'prefect'}   (Ctrl-C stops everything)")
        _watch(running)
    finally:
        stop_all(running)


def stop_all(running: list[tuple[str, subprocess.Popen[bytes]]]) -> None:
    """Ends every service and what it started: politely, then not."""
    for _, process in reversed(running):
        _signal_group(process, signal.SIGTERM)
    for _, process in reversed(running):
        try:
            process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            _signal_group(process, signal.SIGKILL)
            process.wait()


def _stop(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def _watch(running: list[tuple[str, subprocess.Popen[bytes]]]) -> None:
    while True:
        for name, process in running:
            if process.poll() is not None:
                raise EnvironmentFailed(
                    f"{name} ended with status {process.returncode}; see its log in the store's prefect/"
                )
        time.sleep(1.0)


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return
