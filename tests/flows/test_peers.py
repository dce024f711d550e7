"""Whose program asks: real connections on loopback, by this user and by another."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
import uvicorn

from flows.hosting import peers
from flows.hosting.guard import Headers, Policy, own_origins
from flows.hosting.peers import UNLISTED, user_of
from flows.serving.connection import Connection
from flows.serving.entrance import USER, Access, Entrance
from flows.serving.server import open_socket
from tests.waiting import wait_until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux lists whose connections they are")
NOBODY = 65534
CONNECT = """
import encodings.idna, os, socket, sys  # before the folder of Python is out of reach
os.setuid(int(sys.argv[3]))
connection = socket.create_connection((sys.argv[1], int(sys.argv[2])))
print(connection.getsockname()[1], flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True, params=["asked", "listed"])
def _way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the kernel it is asked, and where that is not to be had it is read from the list: both say the same."""
    if request.param == "listed":
        monkeypatch.setattr(peers, "_ask_for", lambda _: None)


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


@pytest.mark.parametrize("client", [None, ("testclient", 50000)])
def test_what_is_no_address_has_no_user(client: tuple[str, int] | None) -> None:
    assert user_of(client, ("127.0.0.1", 2)) is None
    assert user_of(("127.0.0.1", 1), None) is None


@pytest.mark.parametrize("client", [("127.0.0.1", 1), ("192.0.2.7", 4711)])
def test_a_client_that_the_system_does_not_list(client: tuple[str, int]) -> None:
    assert user_of(client, ("127.0.0.1", 2)) == UNLISTED


def test_a_client_that_sends_no_more_is_known(listener: socket.socket) -> None:
    """What another user's program sends before it closes its half of the connection is of another user all the same."""
    server = listener.getsockname()[:2]
    with closing(socket.create_connection(server)) as connection:
        connection.shutdown(socket.SHUT_WR)
        assert user_of(connection.getsockname()[:2], server) == os.getuid()


def test_a_connection_that_no_program_holds_any_more(listener: socket.socket) -> None:
    server = listener.getsockname()[:2]
    connection = socket.create_connection(server)
    client = connection.getsockname()[:2]
    accepted, _ = listener.accept()
    with accepted:
        connection.close()
        assert user_of(client, server) == UNLISTED


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
            scope["state"] = {USER: user_of(client, (host, port))}
            scope["headers"] = [(b"host", f"127.0.0.1:{port}".encode())]
            problem = access.refuse(scope, Headers(scope))
            return 0 if problem is None else problem.status

        assert user_of(client, (host, port)) == NOBODY
        assert [refused(path, client) for path in ("/v1/predict", "/v1/model", "/metrics")] == [403, 403, 403]
        assert [refused(path, client) for path in ("/healthz", "/readyz", "/")] == [0, 0, 0]
        with closing(socket.create_connection((host, port))) as own:
            assert refused("/v1/predict", own.getsockname()[:2]) == 0
        other.communicate()


ASK = """
import email.feedparser, email.message, encodings.idna, http.client, os, socket, sys
os.setuid(int(sys.argv[2]))
connection = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]))
statuses = []
for _ in range(2 if sys.argv[3] == "two on one connection" else 1):
    connection.request("GET", "/v1/model")
    if sys.argv[3] == "half":
        connection.sock.shutdown(socket.SHUT_WR)
    try:
        answer = connection.getresponse()
        answer.read()
        statuses.append(answer.status)
    except http.client.RemoteDisconnected:  # asyncio closes the other half, too, and may have done so before the answer
        pass
print(statuses)
"""


@pytest.fixture
def server() -> Iterator[tuple[int, list[str]]]:
    """The port of a server as `serve` sets it up, and the paths that came through to its app."""
    reached: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            reached.append(scope["path"])
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body", "body": b""})

    with open_socket("127.0.0.1", 0) as bound:
        port = bound.getsockname()[1]
        access = Access(None, Policy(auth_string="", cookie="", origins=own_origins(f"http://127.0.0.1:{port}")))
        entrance = Entrance(app, access, lambda path, status, seconds: None)
        running = uvicorn.Server(uvicorn.Config(entrance, http=Connection, lifespan="off", log_level="warning"))
        thread = threading.Thread(target=running.run, args=([bound],))
        thread.start()
        try:
            wait_until(lambda: running.started, "the server")
            yield port, reached
        finally:
            running.should_exit = True
            thread.join()


def ask(port: int, user: int, how: str) -> str:
    """The statuses that a program of a user gets."""
    command = [sys.executable, "-c", ASK, str(port), str(user), how]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_a_server_answers_its_own_user(server: tuple[int, list[str]]) -> None:
    port, reached = server
    assert ask(port, os.getuid(), "two on one connection") == "[200, 200]"
    assert reached == ["/v1/model"] * 2


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be another user")
def test_a_server_refuses_another_user(server: tuple[int, list[str]]) -> None:
    port, reached = server
    assert ask(port, NOBODY, "two on one connection") == "[403, 403]"
    assert ask(port, NOBODY, "half") in ("[403]", "[]")
    assert reached == []


def test_answers_do_not_wait_for_more_to_send() -> None:
    with open_socket("127.0.0.1", 0) as bound:
        assert bound.proto == socket.IPPROTO_TCP  # else asyncio leaves Nagle's algorithm on
