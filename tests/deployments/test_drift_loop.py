"""Data arrive, and nobody touches anything: sensor, monitor, drift, retrain, verdict, webhook; on a real server and worker."""

from __future__ import annotations

import contextlib
import csv
import json
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from prefect.client.schemas.filters import ArtifactFilter

from flows.hosting.services import Services
from tasks.store import Store
from tests import waiting
from tests.support.data import write_learnable
from tests.support.serving import call, running_services
from tests.support.web import serving

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3000)]
SECRET = "T0P-S3CRET-PATH"
PROFILE = """
name = "loop"
[data]
path = "{path}"
[encoders]
image = "tiny"
text = "tiny"
audio = "tiny"
[train]
epochs = 4
batch_size = 16
threads = 1
learning_rate = 0.003
[runtime]
workers = 1
"""


wait_for = partial(waiting.wait_for, every_s=3)


class Inbox:
    """What a webhook on loopback has received."""

    def __init__(self) -> None:
        inbox: list[dict[str, Any]] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                inbox.append(json.loads(body) | {"path": self.path, "type": self.headers["Content-Type"]})
                self.send_response(204)
                self.end_headers()

            def log_message(self, *args: Any) -> None:
                return

        self.received = inbox
        self.handler = Handler
        self.url = ""

    def first(self, *events: str) -> dict[str, Any] | None:
        return next((message for message in list(self.received) if message["event"] in events), None)


@pytest.fixture(scope="module")
def inbox() -> Iterator[Inbox]:
    box = Inbox()
    with serving(box.handler) as address:
        box.url = f"{address}/{SECRET}"
        yield box


@pytest.fixture(scope="module")
def learnable(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_learnable(tmp_path_factory.mktemp("learnable"))


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory, learnable: Path) -> Iterator[Services]:
    store = Store(tmp_path_factory.mktemp("watched"))
    (store.root / "profiles").mkdir()
    (store.root / "profiles" / "loop.toml").write_text(PROFILE.format(path=learnable))
    with running_services(store) as running:
        yield running


@contextlib.contextmanager
def client_of(services: Services) -> Iterator[Any]:
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

    environment = services.environment
    settings = {PREFECT_API_URL: environment["PREFECT_API_URL"]}
    if "PREFECT_API_AUTH_STRING" in environment:
        settings[PREFECT_API_AUTH_STRING] = environment["PREFECT_API_AUTH_STRING"]
    with temporary_settings(settings), get_client(sync_client=True) as client:
        yield client


def runs_of(services: Services, deployment: str) -> list[Any]:
    from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId

    with client_of(services) as client:
        found = client.read_deployment_by_name(deployment)
        only = DeploymentFilter(id=DeploymentFilterId(any_=[found.id]))
        return list(client.read_flow_runs(deployment_filter=only))


def append_darker_rows(manifest: Path, count: int = 60) -> None:
    """As a person who goes on collecting would: pictures at dusk, a third of the rows without words."""
    rng = np.random.default_rng(5)
    rows = list(csv.DictReader(manifest.open()))
    with manifest.open("a", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        for number in range(count):
            like = rows[number]
            pixels = rng.integers(0, 20, (24, 24, 3), dtype=np.uint8)
            pixels[..., 2 * (like["label"] == "high")] += 40
            Image.fromarray(pixels).save(manifest.parent / f"img/dusk{number}.png")
            new = {"id": f"dusk{number}", "image": f"img/dusk{number}.png", "split": "train"}
            writer.writerow(like | new | ({"text": ""} if number % 3 == 0 else {}))


def test_data_that_arrive_end_as_a_verdict_at_the_webhook(services: Services, inbox: Inbox, learnable: Path) -> None:
    first = json.loads(
        call(services, "crossmodal", "retrain", "--plain", "--json", "--profile", "loop").splitlines()[-1]
    )
    assert first["verdict"] == "promote"
    # The address comes by stdin and shows up nowhere.
    apply = ("crossmodal", "automations", "apply", "--json")
    output = call(services, *apply, "--webhook", "-", stdin=inbox.url + "\n")
    # Those that need no webhook are there since the deployments are, without the actions that call one.
    assert {line["outcome"] for line in json.loads(output)} == {"created", "updated", "unchanged"}
    again = call(services, *apply)
    assert {line["outcome"] for line in json.loads(again)} == {"unchanged"}
    assert SECRET not in output + again
    with client_of(services) as client:
        block = client.read_block_document_by_name("crossmodal", "webhook", include_secrets=False)
        assert SECRET not in block.model_dump_json()
    watch = ("crossmodal", "watch", "loop", "--deployment", "monitor/new-data", "--every", "30", "--settle", "5")
    assert call(services, *watch).startswith("scheduled loop-monitor-new-data")

    # What is there at first is looked at once: nothing new in it.
    def monitored() -> list[Any]:
        return [run for run in runs_of(services, "monitor/new-data") if run.state.is_final()]

    before = wait_for(lambda: monitored() or None, "the first look")
    assert [run.state.type.value for run in before] == ["COMPLETED"]
    assert before[0].state.message.startswith("drift no: 0 new rows")
    assert inbox.first("crossmodal.data.drifted") is None

    append_darker_rows(learnable)

    drift = wait_for(lambda: inbox.first("crossmodal.data.drifted"), "drift")
    assert drift["payload"]["profile"] == "loop"
    assert "image brightness" in drift["payload"]["drifted"]
    assert drift["payload"]["rows"] == 60
    verdicts = ("crossmodal.model.promoted", "crossmodal.model.rejected")
    verdict = wait_for(lambda: inbox.first(*verdicts), "the verdict")
    assert (verdict["path"], verdict["type"]) == (f"/{SECRET}", "application/json")
    retrained = runs_of(services, "retrain/weekly")
    started = [run for run in retrained if run.parameters["profile"] == "loop"]
    assert len(started) == 1
    summary = json.loads((services.store.root / "runs" / verdict["payload"]["run"] / "summary.json").read_text())
    assert verdict["payload"]["verdict"] == summary["verdict"]
    assert verdict["payload"]["reason"] == summary["reason"]
    assert summary["rows"]["in"] == 180
    assert verdict["text"].startswith("loop: ")
    assert len(runs_of(services, "monitor/new-data")) == 2, "the same content was acted on twice"


def test_the_command_line_answers_the_same(services: Services, learnable: Path) -> None:
    lines = list(csv.DictReader(learnable.open()))[-60:]
    with (learnable.parent / "later.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, lines[0].keys())
        writer.writeheader()
        writer.writerows(line | {"id": f"later-{line['id']}"} for line in lines)
    words = ("crossmodal", "monitor", str(learnable.parent / "later.csv"), "--model", "loop@champion", "--json")
    summary = json.loads(call(services, *words, "--set", "runtime.workers=1").splitlines()[-1])
    assert summary["drift"] is True
    assert summary["compared"] == 60
    assert "image brightness" in {test["name"] for test in summary["tests"] if test["drifted"]}
    assert "<h1>Drift</h1>" in (services.store.root / summary["report"]).read_text()


def test_the_deployment_scores_new_rows_once(services: Services, learnable: Path) -> None:
    """Twice in a row: the second run finds all of them scored."""
    for scored in (60, 0):
        before = len(runs_of(services, "score/new-rows"))
        with client_of(services) as client:
            deployment = client.read_deployment_by_name("score/new-rows")
            assert [(one.schedule.cron, one.active) for one in deployment.schedules] == [("0 2 * * *", False)]
            parameters = {"profile": "loop", "data": str(learnable.parent / "later.csv"), "part_rows": 40}
            run = client.create_flow_run_from_deployment(deployment.id, parameters=parameters)
        state = wait_for(lambda run=run: (found := read_state(services, run.id)).is_final() and found, "the scores")
        assert (state.type.value, len(runs_of(services, "score/new-rows"))) == ("COMPLETED", before + 1), state.message
        assert f"{scored} rows scored, 0 refused" in state.message
    found = pd.read_parquet(services.store.root / "scores")
    assert sorted(found["id"]) == sorted(f"later-dusk{number}" for number in range(60))
    assert len([*(services.store.root / "scores").rglob("part-*.parquet")]) == 2
    with client_of(services) as client:
        (table,) = client.read_artifacts(
            artifact_filter=ArtifactFilter(flow_run_id={"any_": [run.id]}, key={"any_": ["scores"]})
        )
        assert json.loads(table.data)[0]["already scored"] == 60


def read_state(services: Services, run_id: Any) -> Any:
    with client_of(services) as client:
        return client.read_flow_run(run_id).state


def test_a_failed_run_is_told_and_a_silent_one_becomes_crashed(
    services: Services, inbox: Inbox, tmp_path: Path
) -> None:
    from prefect import flow
    from prefect.client.schemas.filters import FlowRunFilter
    from prefect.states import Running

    from flows import automations

    with client_of(services) as client:
        for schedule in client.read_deployment_by_name("watch/new-data").schedules:
            client.delete_deployment_schedule(client.read_deployment_by_name("watch/new-data").id, schedule.id)
        weekly = client.read_deployment_by_name("retrain/weekly")
        client.create_flow_run_from_deployment(weekly.id, parameters={"data": "/nowhere/at/all.csv"})
    shorter = automations.read_entries(None)
    for entry in shorter:
        if entry["trigger"]["posture"] == "Proactive":
            entry["trigger"]["within"] = 20
    quick = tmp_path / "quick.yaml"
    quick.write_text(json.dumps(shorter))  # JSON is YAML, too
    output = json.loads(call(services, "crossmodal", "automations", "apply", "--json", "--file", str(quick)))
    assert {line["automation"]: line["outcome"] for line in output}["crossmodal-zombie"] == "updated"
    failed = wait_for(lambda: inbox.first("prefect.flow-run.Failed"), "the failed run")
    assert "/nowhere/at/all.csv" in failed["payload"]["message"]

    @flow(name="silent")
    def silent() -> None: ...

    with client_of(services) as client:
        run = client.create_flow_run(silent, state=Running(), tags=["crossmodal"])
        related = [{"prefect.resource.id": "prefect.tag.crossmodal", "prefect.resource.role": "tag"}]
        beat = ("prefect", "event", "emit", "prefect.flow-run.heartbeat", "--related", json.dumps(related))
        call(services, *beat, "--resource-id", f"prefect.flow-run.{run.id}")
        only = FlowRunFilter(id={"any_": [run.id]})

        def crashed() -> Any:
            found = client.read_flow_runs(flow_run_filter=only)[0].state
            return found if found.type.value == "CRASHED" else None

        wait_for(crashed, "the silent run")
    wait_for(lambda: inbox.first("prefect.flow-run.Crashed"), "the crash at the webhook")
    wait_for(lambda: inbox.first("crossmodal.run.missed"), "the missing run")
