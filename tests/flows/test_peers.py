"""Whose program asks: real connections on loopback, by this user and by another."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing

import pytest

from flows.hosting.guard import Headers, Policy, own_origins
from flows.hosting.peers import user_of
from flows.serving.entrance import Access

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux lists whose connections they are")
NOBODY = 65534
CONNECT = """
import encodings.idna, os, socket, sys  # before the folder of Python is out of reach
os.setuid(int(sys.argv[3]))
connection = socket.create_connection((sys.argv[1], int(sys.argv[2])))
print(connection.getsockname()[1], flush=True)
sys.stdin.read()
"""


@pytest.fixture(params=["127.0.0.1", "::1"])
def listener(request: pytest.FixtureRequest) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in request.param else socket.AF_INET
    try:
        bound = socket.create_server((request.param, 0), family=family)
    except OSError:
        pytest.skip(f"{request.param} is not to be had here")
    with bound:
        yield bound


def test_a_connection_of_our_own(listener: socket.socket) -> None:
    server = listener.getsockname()[:2]
    with closing(socket.create_connection(server)) as connection:
        assert user_of(connection.getsockname()[:2], server) == os.getuid()


def test_an_ipv4_client_of_a_socket_for_both() -> None:
    if not socket.has_dualstack_ipv6():
        pytest.skip("no socket here takes both IPv4 and IPv6")
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as both:
        port = both.getsockname()[1]
        with closing(socket.create_connection(("127.0.0.1", port))) as connection:
            assert user_of(connection.getsockname(), ("127.0.0.1", port)) == os.getuid()


@pytest.mark.parametrize("client", [None, ("testclient", 50000), ("127.0.0.1", 1), ("192.0.2.7", 4711)])
def test_a_client_that_the_system_does_not_list(client: tuple[str, int] | None) -> None:
    assert user_of(client, ("127.0.0.1", 2)) is None
    assert user_of(("127.0.0.1", 1), None) is None


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be another user")
def test_without_a_token_another_user_gets_the_probes_only(listener: socket.socket) -> None:
    host, port = listener.getsockname()[:2]
    access = Access(None, Policy(auth_string="", cookie="", origins=own_origins(f"http://127.0.0.1:{port}")))
    with subprocess.Popen(
        [sys.executable, "-c", CONNECT, host, str(port), str(NOBODY)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        client = (host, int(other.stdout.readline()))

        def refused(path: str, client: tuple[str, int]) -> int:
            scope = {"type": "http", "method": "GET", "path": path, "client": client, "server": (host, port)}
            scope["headers"] = [(b"host", f"127.0.0.1:{port}".encode())]
            problem = access.refuse(scope, Headers(scope))
            return 0 if problem is None else problem.status

        assert user_of(client, (host, port)) == NOBODY
        assert [refused(path, client) for path in ("/v1/predict", "/v1/model", "/metrics")] == [403, 403, 403]
        assert [refused(path, client) for path in ("/healthz", "/readyz", "/")] == [0, 0, 0]
        with closing(socket.create_connection((host, port))) as own:
            assert refused("/v1/predict", own.getsockname()[:2]) == 0
        other.communicate()
