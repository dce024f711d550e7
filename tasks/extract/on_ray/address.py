"""What can be known of a cluster without Ray, which takes a second to import."""

from __future__ import annotations

import socket
from importlib.util import find_spec

from tasks.errors import EnvironmentFailed, UsageError
from tasks.packages import missing_package

ANSWER_S = 5.0
"""Within which the head's port must open; Ray itself tries for 20 s and more."""


def check_engine(address: str) -> None:
    """Raises EnvironmentFailed where Ray is not installed, and as `check_address`."""
    if find_spec("ray") is None:
        raise EnvironmentFailed(f"extract.engine = ray: {missing_package(ModuleNotFoundError(name='ray'))}")
    check_address(address)


def check_address(address: str) -> None:
    """Raises UsageError where this is no address of a cluster's head, EnvironmentFailed where nothing answers there."""
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    if "://" in address or not host or not port.isdigit():
        raise UsageError(
            f"extract.ray_address = {address!r} is not HOST:PORT of a cluster's head (say 10.0.0.5:6379); Ray Client's "
            "ray:// is not used: start the run on a node of the cluster"
        )
    try:
        socket.create_connection((host, int(port)), ANSWER_S).close()
    except (OSError, OverflowError) as error:
        raise EnvironmentFailed(
            f"extract.ray_address = {address!r}: no cluster answers there ({error}); is its head up, and the port open?"
        ) from None
