"""The ports of `up`: the chosen one or none, else the next free one, which is said."""

from __future__ import annotations

import socket

import pytest

from flows.hosting import start
from tasks.errors import UsageError


def test_a_port_in_use_is_passed_over_and_said_unless_it_was_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = int(busy.getsockname()[1])
        monkeypatch.setitem(start._PORTS, "mlflow", port)
        output: list[tuple[str, str]] = []

        def announce(name: str, text: str) -> None:
            output.append((name, text))

        found = start.pick_port("mlflow", None, {port + 1}, announce)
        assert found > port + 1
        assert output == [("port", f"{port} is in use; mlflow takes {found}")]
        with pytest.raises(UsageError, match=f"port {port} is in use; choose another with --mlflow-port"):
            start.pick_port("mlflow", port, set(), announce)
        with pytest.raises(UsageError, match="is in use"):
            start.pick_port("pages", found, {found}, announce)
