"""The connection to a Prefect server: what a busy one refuses is sent again, other refusals are not."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from flows.hosting.prefect_api import PrefectAPI


@pytest.fixture
def serve() -> Iterator[Callable[[list[int]], tuple[str, list[str]]]]:
    """serve([503, 200]) answers with these statuses, the last one from then on: its address, and the paths asked for."""
    servers = []

    def start(statuses: list[int]) -> tuple[str, list[str]]:
        asked: list[str] = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append(self.path)
                self.send_response(statuses[min(len(asked), len(statuses)) - 1])
                self.end_headers()
                self.wfile.write(b'"answer"')

            def log_message(self, *_: object) -> None:
                """Nothing on stderr."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}", asked

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_what_a_busy_server_refuses_is_sent_again(serve: Callable[[list[int]], tuple[str, list[str]]]) -> None:
    url, asked = serve([503, 503, 200])
    assert PrefectAPI(url, "user:secret").get("health") == "answer"
    assert asked == ["/api/health"] * 3


def test_another_refusal_is_an_error_at_once(serve: Callable[[list[int]], tuple[str, list[str]]]) -> None:
    url, asked = serve([404, 200])
    with pytest.raises(httpx.HTTPStatusError, match="404"):
        PrefectAPI(url, "user:secret").get("health")
    assert len(asked) == 1
