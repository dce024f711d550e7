"""Keeps services running: one that dies is started again, later each time it dies young, and every step is announced."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from flows.hosting.processes import Orphans, signal_group
from tasks.errors import EnvironmentFailed

Announce = Callable[[str, str], None]
"""Called with the kind of an event (`worker`, `restarted` …) and its line."""

FIRST_DELAY_S = 1.0
LONGEST_DELAY_S = 60.0
SETTLED_S = 60.0
"""A service that lived this long is healthy: its next death is the first in a row again."""
TOO_MANY = 5
"""After so many early deaths in a row the last line of the log is announced, too."""
_STOP_S = 15.0


def restart_delay_s(early_deaths: int) -> float:
    """Seconds to wait after the n-th early death in a row: 1, 2, 4 … 60."""
    return min(LONGEST_DELAY_S, FIRST_DELAY_S * 2.0 ** (max(early_deaths, 1) - 1))


def last_line(log: Path) -> str:
    """The last line of a log that says something, at most 300 characters of it."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    except FileNotFoundError:
        lines = []
    return lines[-1].strip()[:300] if lines else "its log is empty"


def stop_process(process: subprocess.Popen[bytes], timeout_s: float = _STOP_S) -> None:
    """Ends a process that leads a group, and the group: SIGTERM, then SIGKILL. Another call finds nothing to do."""
    signal_group(process.pid, signal.SIGTERM)
    try:
        process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        pass
    finally:  # also when a second Ctrl-C ends the wait; and what it leaves of its group ends with it
        signal_group(process.pid, signal.SIGKILL)
        process.wait()


@dataclass
class Service:
    """One process that ought to run. `start` begins a process group of its own; `log` gets its output."""

    name: str
    start: Callable[[], subprocess.Popen[bytes]]
    log: Path
    process: subprocess.Popen[bytes] | None = None
    started_s: float = 0.0
    early_deaths: int = 0
    restart_at_s: float | None = None

    @property
    def pid(self) -> int | None:
        """The process that runs or ran last."""
        return None if self.process is None else self.process.pid

    def launch(self) -> subprocess.Popen[bytes]:
        """Starts the process."""
        self.process = self.start()
        self.started_s = time.monotonic()
        self.restart_at_s = None
        return self.process

    def stop(self, timeout_s: float = _STOP_S) -> None:
        """Ends the process and its group: SIGTERM, then SIGKILL. A second call finds nothing to do."""
        if self.process is not None:
            stop_process(self.process, timeout_s)


class Supervisor:
    """Starts services, restarts the dead ones, ends orphans. `tick` is called about once a second."""

    def __init__(self, announce: Announce) -> None:
        self.announce = announce
        self.services: list[Service] = []
        self.orphans = Orphans()

    def start(self, service: Service) -> subprocess.Popen[bytes]:
        """Starts a service and keeps it running from now on."""
        self.services.append(service)
        return service.launch()

    def tick(self) -> None:
        """Looks at every service once, restarts those whose time has come, ends orphans."""
        for service in self.services:
            if service.restart_at_s is not None:
                if time.monotonic() >= service.restart_at_s:
                    service.launch()
                    self.announce("restarted", f"{service.name} (process {service.pid})")
            elif service.process is not None and service.process.poll() is not None:
                self._plan_restart(service, service.process.returncode)
        for name in self.orphans.poll({service.pid for service in self.services if service.pid is not None}):
            self.announce("ended", f"{name}, which a dead process had left behind")

    def stop(self) -> None:
        """Ends every service, the last started first."""
        for service in reversed(self.services):
            service.stop()

    def _plan_restart(self, service: Service, status: int) -> None:
        lived_s = time.monotonic() - service.started_s
        service.early_deaths = 1 if lived_s >= SETTLED_S else service.early_deaths + 1
        delay_s = restart_delay_s(service.early_deaths)
        service.restart_at_s = time.monotonic() + delay_s
        if service.pid is not None:
            signal_group(service.pid, signal.SIGTERM)  # what it had started in its own group goes with it
        text = f"{service.name} ({describe_status(status)}) after {lived_s:.0f} s; again in {delay_s:.0f} s; log: {service.log}"
        if service.early_deaths >= TOO_MANY:
            text = f"{text}: {last_line(service.log)}"
        self.announce("died", text)


def describe_status(status: int) -> str:
    """`SIGKILL` or `exit status 1`."""
    if status >= 0:
        return f"exit status {status}"
    try:
        return signal.Signals(-status).name
    except ValueError:
        return f"signal {-status}"


def require_alive(service: Service) -> None:
    """Raises EnvironmentFailed with the last line of its log when a service ended before it was ready."""
    assert service.process is not None
    if service.process.poll() is not None:
        raise EnvironmentFailed(
            f"{service.name} did not start ({describe_status(service.process.returncode)}): {last_line(service.log)}; "
            f"its log: {service.log}"
        )
