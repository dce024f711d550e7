"""The services of `crossmodal up`: how each is started, and how the others find it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import flows
from flows.environment import PREFECT_DEFAULTS, prefect_database
from flows.hosting.access import new_auth_string
from flows.hosting.processes import MARKER
from flows.hosting.serve import AUTH_STRING, MLFLOW_URL, PAGES_URL, PREFECT_URL
from tasks.errors import EnvironmentFailed
from tasks.publish.connection import without_password
from tasks.store import Store

_START_S = 180.0
_PARENT_DEATH = Path(__file__).with_name("parent_death.py")
ROOT = Path(flows.__file__).resolve().parent.parent


@dataclass(frozen=True)
class Services:
    """Where the services listen, and what they share."""

    store: Store
    prefect_port: int
    mlflow_port: int
    tracking_uri: str
    pages_port: int = 4300
    auth_string: str = field(default_factory=new_auth_string, repr=False)
    """What whoever talks to them must know; made anew for each start."""
    marker: str = ""
    """Names this stack in the environment of everything it starts."""
    server_environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    """What only Prefect's server gets: the database's address, with its password."""

    @property
    def prefect_url(self) -> str:
        """The address of Prefect's server and UI."""
        return f"http://127.0.0.1:{self.prefect_port}"

    @property
    def serves_mlflow(self) -> bool:
        """Whether the registry needs a UI from us; an MLflow server elsewhere has its own."""
        return not self.tracking_uri.startswith(("http://", "https://"))

    @property
    def mlflow_url(self) -> str:
        """The address of MLflow's UI."""
        return f"http://127.0.0.1:{self.mlflow_port}" if self.serves_mlflow else without_password(self.tracking_uri)

    @property
    def pages_url(self) -> str:
        """The address of the start page and of the runs' files."""
        return f"http://127.0.0.1:{self.pages_port}"

    @property
    def environment(self) -> dict[str, str]:
        """What every service gets: one store, one database, no telemetry, and the credential, which goes no other way."""
        home = self.store.root / "prefect"
        return {
            **prefect_database(home),
            **os.environ,
            **PREFECT_DEFAULTS,
            MARKER: self.marker,
            "CROSSMODAL_STORE": str(self.store.root),
            "MLFLOW_TRACKING_URI": self.tracking_uri,
            "PREFECT_HOME": str(home),
            # Seconds between tries are 2, 4 … 256: runs and the worker outlive a restart of the server.
            "PREFECT_CLIENT_MAX_RETRIES": "8",
            # In memory, the default, they are lost with the server, while the count of taken slots stays in its database.
            "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
            "PREFECT_API_URL": f"{self.prefect_url}/api",
            "PREFECT_LOCAL_STORAGE_PATH": str(home / "storage"),
            PREFECT_URL: self.prefect_url,
            MLFLOW_URL: self.mlflow_url if self.serves_mlflow else "",  # who gets an address gets the credential
            PAGES_URL: self.pages_url,
            AUTH_STRING: self.auth_string,
            "PREFECT_API_AUTH_STRING": self.auth_string,
            "PREFECT_SERVER_CSRF_PROTECTION_ENABLED": "true",
            "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": self.prefect_url,
        }


def start_server(services: Services) -> subprocess.Popen[bytes]:
    """Prefect's API and UI on their port, behind the guard, with a database of the store's own."""
    return spawn(services, "server", ["python", "-m", "flows.hosting.prefect_server"], services.server_environment)


def start_mlflow(services: Services) -> subprocess.Popen[bytes]:
    """MLflow's UI over the registry that runs publish to, behind the guard."""
    return spawn(services, "mlflow", ["python", "-m", "flows.hosting.mlflow_server"])


def start_pages(services: Services) -> subprocess.Popen[bytes]:
    """The start page and the runs' files, behind the guard."""
    return spawn(services, "pages", ["python", "-m", "flows.hosting.pages"])


def log_path(services: Services, name: str) -> Path:
    """Where a service's output goes."""
    return services.store.root / "prefect" / f"{name}.log"


def spawn(
    services: Services, name: str, command: list[str], environment: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Starts one service in a session of its own, its output in its log. It gets SIGTERM when this process dies."""
    with log_path(services, name).open("ab") as log:
        return subprocess.Popen(
            bound_to_parent(executable(command)),
            cwd=ROOT,
            env=services.environment | dict(environment or {}),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def deploy(services: Services) -> None:
    """Registers the pool and every deployment on the services' Prefect server."""
    _run(services, ["crossmodal", "deploy", "--store", str(services.store.root)])


def wait_until_healthy(url: str, process: subprocess.Popen[bytes]) -> None:
    """Returns when the address answers. EnvironmentFailed when its process ends or three minutes pass."""
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise EnvironmentFailed(
                f"{url}: the server ended with status {process.returncode}; see its log in the store's prefect/"
            )
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.3)
    raise EnvironmentFailed(f"{url}: no answer within {_START_S:.0f} s")


def _run(services: Services, command: list[str]) -> None:
    done = subprocess.run(
        executable(command),
        cwd=ROOT,
        env=services.environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["no message"]
        raise EnvironmentFailed(f"{' '.join(command)}: status {done.returncode}: {last[0]}")


def bound_to_parent(command: list[str]) -> list[str]:
    """The command, tied to the life of this process."""
    return [sys.executable, "-IS", str(_PARENT_DEATH), str(os.getpid()), *command]


def executable(command: list[str]) -> list[str]:
    """The command with the program of this environment, whether or not its bin folder is on the PATH."""
    beside = Path(sys.executable).parent / command[0]
    program = str(beside) if beside.exists() else shutil.which(command[0])
    if program is None:
        raise EnvironmentFailed(f"{command[0]}: not installed beside {sys.executable}")
    return [program, *command[1:]]
