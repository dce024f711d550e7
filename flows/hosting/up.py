"""`crossmodal up`: a Prefect server with its UI, the deployments, a worker and MLflow's UI, in one terminal until Ctrl-C."""

from __future__ import annotations

import signal
import subprocess
import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from types import FrameType

from flows.hosting.access import login_link
from flows.hosting.deployments import POOL
from flows.hosting.processes import (
    Stack,
    adopt_orphans,
    end,
    marked,
    signal_group,
    stack_file,
    working_runs,
    write_stack,
)
from flows.hosting.services import (
    Services,
    deploy,
    log_path,
    spawn,
    start_mlflow,
    start_pages,
    start_server,
    wait_until_healthy,
)
from flows.hosting.supervisor import Announce, Service, Supervisor, require_alive
from flows.hosting.watching import Watcher, worker_name
from tasks.errors import EnvironmentFailed

_TICK_S = 0.5
_RUNS_STOP_S = 40.0  # how long runs may take to note their own end
_STOP_S = 5.0


def serve_until_stopped(services: Services, announce: Announce) -> None:
    """Starts everything in order and keeps it running until Ctrl-C. EnvironmentFailed where a service does not start."""
    signal.signal(signal.SIGTERM, _stop)  # a service manager's stop ends what we started, too
    adopt_orphans()
    host = Host(services, announce)
    try:
        host.start()
        while True:
            host.supervisor.tick()
            time.sleep(_TICK_S)
    finally:
        host.stop()


class Host:
    """All that one `crossmodal up` runs."""

    def __init__(self, services: Services, announce: Announce) -> None:
        self.stack = Stack(marker=uuid.uuid4().hex)
        self.services = replace(services, marker=self.stack.marker)
        self.announce = announce
        self.supervisor = Supervisor(announce)
        self.server = self._service("server", self._start_server)
        self.mlflow = self._service("mlflow", lambda: start_mlflow(self.services))
        self.pages = self._service("pages", lambda: start_pages(self.services))
        self.worker = self._service("worker", self._start_worker)
        self.watcher = Watcher(self.services, announce)
        self.watch = self._service("watch", self.watcher.start)

    def start(self) -> None:
        """Starts the services, each when what it needs is there; what a killed stack left undone is settled before."""
        self._start(self.server, f"{self.services.prefect_url}/api/health")
        self.announce("Prefect", self.services.prefect_url)
        deploy(self.services)
        self.announce("deployed", "retrain/weekly: Mondays 03:00 UTC, or now from the UI under Deployments")
        self.supervisor.start(self.watch)
        self.watcher.wait_until_recovered(self.watch)
        self.supervisor.start(self.worker)
        if self.services.serves_mlflow:
            self._start(self.mlflow, f"{self.services.mlflow_url}/health")
        self.announce("MLflow", self.services.mlflow_url)
        self._start(self.pages, f"{self.services.pages_url}/health")
        self.announce("runs", self.services.pages_url)
        self.announce("open", login_link(self.services.prefect_url, self.services.auth_string))
        self.announce("", "(logs this browser in, once within 10 minutes; later: crossmodal login)")
        self.announce("logs", f"{self.services.store.root / 'prefect'}   (Ctrl-C stops everything)")

    def stop(self) -> None:
        """Ends everything: the worker and its runs while the server can still note their end, then the rest.

        A second Ctrl-C ends at once what is left.
        """
        try:
            self.watcher.settle()
            self._stop_worker()
            self.watcher.wait_until_settled()
            self.supervisor.stop()
        finally:
            end(marked(self.stack.marker), grace_s=5.0)
            stack_file(self.services.store).unlink(missing_ok=True)

    def _stop_worker(self) -> None:
        """Ends the worker and its runs, which share its group: they note their end before the worker has to go."""
        if self.worker.pid is None:
            return
        signal_group(self.worker.pid, signal.SIGTERM)
        deadline = time.monotonic() + _RUNS_STOP_S
        while time.monotonic() < deadline and working_runs(self.stack.marker):
            time.sleep(_TICK_S)
        self.worker.stop(_STOP_S)

    def _start(self, service: Service, url: str) -> None:
        process = self.supervisor.start(service)
        try:
            wait_until_healthy(url, process)
        except EnvironmentFailed:
            require_alive(service)
            raise

    def _start_server(self) -> subprocess.Popen[bytes]:
        self._note(server_since=datetime.now(UTC))
        return start_server(self.services)

    def _start_worker(self) -> subprocess.Popen[bytes]:
        self._note(worker_since=datetime.now(UTC))
        command = [
            "prefect",
            "worker",
            "start",
            "--pool",
            POOL,
            "--type",
            "process",
            "--name",
            worker_name(self.services),
        ]
        return spawn(self.services, "worker", command)

    def _service(self, name: str, start: Callable[[], subprocess.Popen[bytes]]) -> Service:
        return Service(name, start, log_path(self.services, name))

    def _note(self, **started: datetime) -> None:
        self.stack = self.stack.model_copy(update=started)
        write_stack(self.services.store, self.stack)


def _stop(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)
