"""Real services for tests, on free ports: a whole `crossmodal up`, or a server with a worker; and what their user sees."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.chaos.up import free_ports
from flows.hosting.credentials import Running, read_running
from flows.hosting.deployments import POOL
from flows.hosting.prefect_api import PrefectAPI
from flows.hosting.services import Services, deploy, executable, spawn, start_server, wait_until_healthy
from flows.hosting.supervisor import stop_process
from tasks.store import Store
from tests.waiting import wait_until

KNOWN_OF_PREFECT = ("database is locked", "constraint failed: events.occurred")


@dataclass
class Up:
    """A running `crossmodal up`."""

    store: Path
    running: Running
    lines: list[str]
    """What it printed until it was ready."""

    @property
    def link(self) -> str:
        """The login link that it printed."""
        return next(line.split()[1] for line in self.lines if line.startswith("open"))

    @property
    def urls(self) -> list[str]:
        """Where it listens."""
        return [self.running.prefect_url, self.running.mlflow_url, self.running.pages_url]

    @property
    def environment(self) -> dict[str, str]:
        """Another terminal's: nothing of Prefect is set in it."""
        return {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "CROSSMODAL_"))}

    def flow_runs(self, **filters: Any) -> list[dict[str, Any]]:
        """The flow runs that no schedule made."""
        api = PrefectAPI(self.running.prefect_url, self.running.auth_string)
        try:
            # what the schedule has made is not counted: it comes when it comes
            return [run for run in api.post("flow_runs/filter", filters) if not run["auto_scheduled"]]
        finally:
            api.close()

    def start(self, deployment: str, **parameters: Any) -> str:
        """The id of a run of the deployment, with these parameters."""
        api = PrefectAPI(self.running.prefect_url, self.running.auth_string)
        try:
            found = api.get(f"deployments/name/{deployment}")["id"]
            body = {"parameters": parameters, "idempotency_key": uuid.uuid4().hex}  # a busy server is asked again
            return str(api.post(f"deployments/{found}/create_flow_run", body)["id"])
        finally:
            api.close()

    def end_of(self, run: str) -> dict[str, Any]:
        """The run's last state, once it has ended."""
        ends: list[dict[str, Any]] = []

        def ended() -> bool:
            ends[:] = [found["state"] for found in self.flow_runs(flow_runs={"id": {"any_": [run]}})]
            return bool(ends) and ends[0]["type"] in {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}

        wait_until(ended, f"run {run} has ended", every_s=1)
        return ends[0]

    def artifacts_of(self, run: str) -> dict[str, str]:
        """Key to id of the artifacts of a run."""
        api = PrefectAPI(self.running.prefect_url, self.running.auth_string)
        try:
            found = api.post("artifacts/filter", {"artifacts": {"flow_run_id": {"any_": [run]}}})
        finally:
            api.close()
        return {artifact["key"]: artifact["id"] for artifact in found if artifact["key"]}

    def call(self, *command: str) -> subprocess.CompletedProcess[str]:
        """A command in another terminal."""
        return subprocess.run(executable([*command]), capture_output=True, text=True, env=self.environment, check=False)


@contextlib.contextmanager
def running_up(store: Path) -> Iterator[Up]:
    """`crossmodal up` on the store, until the end of the block."""
    names = ("--prefect-port", "--mlflow-port", "--pages-port")
    ports = [text for name, port in zip(names, free_ports(3), strict=True) for text in (name, str(port))]
    command = executable(["crossmodal", "up", "--store", str(store), *ports])
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    assert process.stdout is not None
    lines: list[str] = []
    try:
        for line in process.stdout:
            lines.append(line)
            if line.startswith("logs"):
                break
        running = read_running(store)
        assert running is not None, lines
        yield Up(store, running, lines)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        rest, _ = process.communicate()
    assert "error: terminated (SIGTERM); what was finished is kept" in rest
    assert not (store / "up.json").exists()


@contextlib.contextmanager
def running_services(store: Store) -> Iterator[Services]:
    """Prefect's server with every deployment, and a worker, on the store, until the end of the block."""
    store.prepare()
    (store.root / "prefect").mkdir()
    services = Services(store, *free_ports(2), f"sqlite:///{store.root}/mlflow.db")
    running = [start_server(services)]
    try:
        wait_until_healthy(f"{services.prefect_url}/api/health", running[0])
        deploy(services)
        running.append(spawn(services, "worker", ["prefect", "worker", "start", "--pool", POOL, "--type", "process"]))
        yield services
    finally:
        for process in reversed(running):
            stop_process(process)


def call(services: Services, *command: str, stdin: str = "") -> str:
    """What a command prints in another terminal, which has the services' environment; it must succeed."""
    done = subprocess.run(
        executable([*command]), env=services.environment, input=stdin, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def errors_in(log: Path) -> list[str]:
    """The exceptions whose tracebacks a service's log holds, one line each.

    Left out are two of Prefect's own on SQLite, which lose nothing and which PostgreSQL does not have: "database is
    locked", when two of its services turn a read into a write at once (they try again), and an INSERT without rows
    (refused for the first column without a value), when every event of a batch was stored already and is sent again.
    """
    lines = iter(log.read_text(errors="replace").splitlines())
    found = []
    for line in lines:
        if "Traceback (most recent call last)" in line:
            error = next((text for text in lines if text and not text[0].isspace() and text[0] not in "|+"), line)
            found.append(error)
    return [error for error in found if not any(known in error for known in KNOWN_OF_PREFECT)]
