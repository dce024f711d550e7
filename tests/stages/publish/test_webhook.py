"""MLflow's own webhook when an alias moves, as docs/mlflow.md describes it: a real MLflow server, a real listener."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest
from mlflow import MlflowClient

from benchmarks.chaos.up import free_ports
from flows.hosting.services import Services, executable, start_mlflow, wait_until_healthy
from flows.hosting.supervisor import stop_process
from tests.support.web import serving
from tests.waiting import wait_until

MakeCase = Callable[..., Any]


@pytest.mark.slow
def test_a_webhook_hears_of_every_promotion_and_rollback_through_the_server(
    make_case: MakeCase, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = make_case(seed=0)
    first.publish()
    make_case(seed=1, champion=first.checkpoint, run_id="run-2").publish()
    store, address = first.place
    (store.root / "prefect").mkdir()
    heard: list[dict[str, Any]] = []

    class Listener(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            heard.append(body | {"signed": self.headers["X-MLflow-Signature"][:3]})
            self.send_response(204)
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            return

    monkeypatch.setenv("MLFLOW_WEBHOOK_ALLOWED_SCHEMES", "http,https")
    monkeypatch.setenv("MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS", "true")
    services = Services(store, *free_ports(2), address)
    user, _, password = services.auth_string.partition(":")
    server = start_mlflow(services)
    try:
        wait_until_healthy(f"{services.mlflow_url}/health", server)
        monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", user)
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", password)
        with serving(Listener) as listener:
            client = MlflowClient(services.mlflow_url)
            events: Any = ["model_version_alias.created"]
            client.create_webhook(name="alias", url=f"{listener}/hook", events=events, secret="a shared secret")
            monkeypatch.setenv("MLFLOW_TRACKING_URI", services.mlflow_url)
            for command in (["rollback", "tiny"], ["promote", "tiny", "2"]):
                done = subprocess.run(
                    executable(["crossmodal", "models", *command, "--reason", "a test", "--store", str(store.root)]),
                    capture_output=True,
                    text=True,
                    check=False,
                )
                assert done.returncode == 0, done.stdout + done.stderr
            wait_until(lambda: len(heard) == 2, "both moves are heard of")
    finally:
        stop_process(server)
    assert [(each["entity"], each["action"], each["signed"]) for each in heard] == [
        ("model_version_alias", "created", "v1,")
    ] * 2
    moved = [(each["data"]["name"], each["data"]["alias"], each["data"]["version"]) for each in heard]
    assert sorted(moved) == [("tiny", "champion", "1"), ("tiny", "champion", "2")]
