"""The start of `crossmodal up`: one per store, on ports that are free, known to the other terminals while it runs."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from datetime import UTC, datetime

from flows.hosting.credentials import Running, claimed, published
from flows.hosting.processes import end_former_stack
from flows.hosting.services import Services
from flows.hosting.supervisor import Announce
from flows.hosting.up import serve_until_stopped
from tasks.errors import EnvironmentFailed, UsageError
from tasks.store import Store

_PORTS = {"prefect": 4200, "mlflow": 5000, "pages": 4300}
_TRIED = 50


@dataclass(frozen=True)
class Ports:
    """The ports that the user chose; None for the default, or the next free one."""

    prefect: int | None
    mlflow: int | None
    pages: int | None


def start(store: Store, tracking_uri: str, chosen: Ports, database_url: str | None, announce: Announce) -> None:
    """Serves until it is stopped; Prefect's database is the store's unless there is an address of another.

    UsageError when another `up` serves the store, or a port that was chosen is in use.
    """
    with claimed(store.root):
        for name in end_former_stack(store):
            announce("ended", f"{name}, left behind by a crossmodal up that was killed")
        ports: dict[str, int] = {}
        for name in _PORTS:
            ports[name] = pick_port(name, getattr(chosen, name), set(ports.values()), announce)
        environment = {} if database_url is None else {"PREFECT_SERVER_DATABASE_CONNECTION_URL": database_url}
        services = Services(
            store, ports["prefect"], ports["mlflow"], tracking_uri, ports["pages"], server_environment=environment
        )
        with published(store.root, _running(services)):
            serve_until_stopped(services, announce)


def pick_port(name: str, chosen: int | None, taken: set[int], announce: Announce) -> int:
    """The port that was chosen, else the service's own, else the next free one, which is said."""
    default = _PORTS[name]
    if chosen is not None:
        if not is_free(chosen) or chosen in taken:
            raise UsageError(f"port {chosen} is in use; choose another with --{name}-port, or leave it out")
        return chosen
    for port in range(default, default + _TRIED):
        if port not in taken and is_free(port):
            if port != default:
                announce("port", f"{default} is in use; {name} takes {port}")
            return port
    raise EnvironmentFailed(f"ports {default} to {default + _TRIED - 1} are in use; choose one with --{name}-port")


def is_free(port: int) -> bool:
    """True when nothing listens on the port of the loopback address."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def _running(services: Services) -> Running:
    return Running(
        pid=os.getpid(),
        started=f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC",
        prefect_url=services.prefect_url,
        mlflow_url=services.mlflow_url,
        pages_url=services.pages_url,
        auth_string=services.auth_string,
    )
