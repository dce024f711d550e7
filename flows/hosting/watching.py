"""The watch's other end: starts it, passes its events on, and waits for its word."""

from __future__ import annotations

import contextlib
import hashlib
import json
import socket
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime

from flows.hosting.deployments import POOL
from flows.hosting.services import ROOT, Services, bound_to_parent, log_path
from flows.hosting.supervisor import Announce, Service, require_alive
from tasks.errors import EnvironmentFailed

RECOVERED = "recovered"
"""The kind of the event that says: what a killed stack left is settled, the worker may start."""
_RECOVERY_S = 300.0
_SETTLE_S = 60.0


def worker_name(services: Services) -> str:
    """The worker's name, the same at every start: the runs that it took are known by it."""
    place = hashlib.sha256(str(services.store.root.resolve()).encode()).hexdigest()[:8]
    return f"crossmodal-{socket.gethostname()}-{place}"


class Watcher:
    """The watch process of one stack."""

    def __init__(self, services: Services, announce: Announce) -> None:
        self.services = services
        self.announce = announce
        self.since = datetime.now(UTC)
        self.recovered = threading.Event()
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> subprocess.Popen[bytes]:
        """Starts the process; the first one recovers."""
        command = [sys.executable, "-m", "flows.hosting.watch", "--pool", POOL, "--worker", worker_name(self.services)]
        command += ["--since", self.since.isoformat(), *([] if self.recovered.is_set() else ["--recover"])]
        # It looks again soon, so it need not insist.
        environment = {"PREFECT_CLIENT_MAX_RETRIES": "1", "PREFECT_CLIENT_SERVER_VERSION_CHECK_ENABLED": "false"}
        with log_path(self.services, "watch").open("ab") as log:
            self.process = subprocess.Popen(
                bound_to_parent(command),
                cwd=ROOT,
                env=self.services.environment | environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        threading.Thread(target=self._listen, args=(self.process,), daemon=True).start()
        return self.process

    def wait_until_recovered(self, service: Service) -> None:
        """Returns when the recovery is done. EnvironmentFailed when it fails."""
        deadline = time.monotonic() + _RECOVERY_S
        while not self.recovered.wait(0.2):
            require_alive(service)
            if time.monotonic() > deadline:
                raise EnvironmentFailed(f"recovery: not done within {_RECOVERY_S:.0f} s; its log: {service.log}")

    def settle(self) -> None:
        """Tells the watch that the worker is being ended: it tries nothing again, marks what is left, and ends."""
        if self.process is not None and self.process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):  # it has ended
                self.process.stdin.write(b"settle\n")
                self.process.stdin.flush()

    def wait_until_settled(self) -> None:
        """Returns when the watch has ended, or a minute later."""
        if self.process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(_SETTLE_S)

    def _listen(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            event = json.loads(line)
            if event["kind"] == RECOVERED:
                self.recovered.set()
            else:
                self.announce(event["kind"], event["text"])
