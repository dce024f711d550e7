"""`serve` says that it is open when it is, and ends as it is asked to."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Callable
from typing import Any

import pytest
import uvicorn

from flows.serving.listening import Server


def make_server(opened: Callable[[], None], said: list[tuple[str, str]]) -> Server:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        raise NotImplementedError

    config = uvicorn.Config(application, lifespan="off", log_config=None)
    return Server(config, opened, lambda *line: said.append(line))


def test_the_first_ctrl_c_ends_a_server_and_the_second_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[int] = []
    said: list[tuple[str, str]] = []
    monkeypatch.setattr(os, "_exit", ended.append)
    server = make_server(lambda: None, said)
    server.handle_exit(signal.SIGINT, None)
    assert (server.should_exit, server.interrupted, ended) == (True, True, [])
    server.handle_exit(signal.SIGINT, None)
    assert (ended, [what for what, _ in said]) == ([130], ["ended"])
    stopped = make_server(lambda: None, said)
    stopped.handle_exit(signal.SIGTERM, None)
    stopped.handle_exit(signal.SIGTERM, None)
    assert (stopped.should_exit, stopped.interrupted, ended) == (True, False, [130])


def test_a_server_says_that_it_is_open_once_it_takes_connections() -> None:
    taken: list[bool] = []

    def opened() -> None:
        with contextlib.suppress(ConnectionRefusedError):
            socket.create_connection(bound.getsockname()).close()
            taken.append(True)
        server.should_exit = True

    server = make_server(opened, [])
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        server.run([bound])
    assert taken == [True]
