"""A real Prefect server, the shipped deployment, a real worker, and a run triggered through the API."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest

from benchmarks.chaos.up import free_ports
from flows.hosting.access import basic_header
from flows.hosting.credentials import read_running
from flows.hosting.deployments import BASE, read_deployments
from flows.hosting.prefect_api import PrefectAPI
from flows.hosting.services import Services, executable
from tasks.store import Store
from tests.support import serving
from tests.support.data import SMALL, write_learnable
from tests.support.serving import errors_in, running_services
from tests.waiting import wait_for, wait_until

pytestmark = pytest.mark.slow


def call(services: Services, path: str, body: dict[str, Any] | None = None) -> Any:
    api = PrefectAPI(services.prefect_url, services.auth_string)
    try:
        return api.get(path) if body is None else api.post(path, body)
    finally:
        api.close()


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    with running_services(Store(tmp_path_factory.mktemp("served"))) as running:
        yield running


def wait_for_end(services: Services, run: str) -> dict[str, Any]:
    def state() -> dict[str, Any]:
        found: dict[str, Any] = call(services, f"flow_runs/{run}")["state"]
        return found

    ends = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}
    wait_until(lambda: state()["type"] in ends, f"run {run} has ended", every_s=1)
    return state()


def test_a_run_triggered_through_the_api_completes_and_publishes(services: Services, make_data: Any) -> None:
    data = make_data()
    deployment = call(services, "deployments/name/retrain/weekly")
    assert deployment["parameters"] == {"profile": "digits", "store": str(services.store.root)}
    shipped = next(entry for entry in read_deployments() if entry.name == BASE)
    registered = [
        (one["schedule"]["cron"], one["schedule"]["timezone"], one["active"]) for one in deployment["schedules"]
    ]
    assert registered == [(one.cron, one.timezone, one.active) for one in shipped.schedules]
    parameters = {"profile": "defaults", "data": str(data), "overrides": ["train.epochs=2", "name=served"]}
    run = call(services, f"deployments/{deployment['id']}/create_flow_run", {"parameters": parameters})
    state = wait_for_end(services, run["id"])
    log = (services.store.root / "prefect" / "worker.log").read_text()
    assert state["type"] == "COMPLETED", f"{state}\n{log[-3000:]}"
    summaries = sorted(services.store.root.glob("runs/*/summary.json"))
    summary = json.loads(summaries[-1].read_text())
    assert summary["verdict"] in {"promote", "inconclusive", "reject"}
    assert state["message"] == f"{summary['verdict']}: {summary['reason']}"
    artifacts = call(services, "artifacts/filter", {"artifacts": {"flow_run_id": {"any_": [run["id"]]}}})
    keys = {artifact["key"] for artifact in artifacts}
    assert {key for key in keys if key} == {"plan", "verdict", "metrics", "gate", "work", "data"}
    (first, *_) = sorted((one for one in artifacts if one["key"]), key=lambda one: one["created"])
    stages = [line["stage"] for line in json.loads(first["data"])]
    assert (first["key"], stages[0], stages[-1]) == ("plan", "rows", "publish")
    (bar,) = (artifact for artifact in artifacts if artifact["type"] == "progress")
    assert (bar["key"], bar["data"]) == (None, 100.0)
    (shown,) = (artifact["data"] for artifact in artifacts if artifact["key"] == "verdict")
    assert "file:" not in shown
    assert summary["report"] in shown

    def logged() -> list[str]:
        filters = {"logs": {"flow_run_id": {"any_": [run["id"]]}}, "limit": 200}
        return [entry["message"] for entry in call(services, "logs/filter", filters)]

    # Log lines are sent in batches, also after the state.
    wait_until(lambda: any(line.startswith("verdict: ") for line in logged()), "the last line is there", every_s=1)
    lines = logged()
    for start in ("ingest: ", "validate: ", "extract: ", "train: epoch 1 of 2: ", "evaluate: ", "gate: ", "verdict: "):
        assert any(line.startswith(start) for line in lines), f"{start!r} is not in {lines}"
    tasks = call(services, "task_runs/filter", {"flow_runs": {"id": {"any_": [run["id"]]}}})
    assert {"scan", "ingest", "validate-samples", "train", "evaluate", "gate"} <= {
        task["name"].rsplit("-", 1)[0] for task in tasks
    }


def crossmodal(services: Services, *arguments: str) -> str:
    """What the command prints, run as a user would in another terminal."""
    return serving.call(services, "crossmodal", *arguments, "--store", str(services.store.root))


def listed(services: Services, name: str) -> dict[str, Any] | None:
    rows = json.loads(crossmodal(services, "schedule", "list", "--json"))
    return next((row for row in rows if row["deployment"] == f"retrain/{name}"), None)


def runs_of(services: Services, deployment: str, *states: str) -> list[dict[str, Any]]:
    filters = {
        "deployments": {"id": {"any_": [deployment]}},
        "flow_runs": {"state": {"type": {"any_": list(states)}}},
        "sort": "EXPECTED_START_TIME_ASC",
    }
    found: list[dict[str, Any]] = call(services, "flow_runs/filter", filters)
    return found


def test_a_schedule_fires_cancels_a_second_run_and_stops_when_it_is_paused(services: Services, tmp_path: Path) -> None:
    data = write_learnable(tmp_path / "learnable")
    settings = [part for value in SMALL for part in ("--set", value)]
    crossmodal(services, "profile", "new", "timed", "--data", str(data), *settings)
    every_minute = "* * * * *"  # a single minute could pass while a busy machine's scheduler is on its way
    crossmodal(services, "schedule", "timed", "--cron", every_minute, "--timezone", "Europe/Berlin")
    line = wait_for(lambda: (row := listed(services, "timed")) and row["next"] and row, "the next run")
    assert (line["profile"], line["cron"], line["timezone"]) == ("timed", every_minute, "Europe/Berlin")
    assert line["active"] is True

    deployment = call(services, "deployments/name/retrain/timed")["id"]
    [run] = wait_for(lambda: runs_of(services, deployment, "RUNNING"), "the scheduled run")
    engine = int(
        wait_for(lambda: call(services, f"flow_runs/{run['id']}")["infrastructure_pid"], "its process").split(":")[-1]
    )
    os.kill(engine, signal.SIGSTOP)  # it is still on when the second one is due, however fast the machine is
    try:
        [second] = wait_for(lambda: runs_of(services, deployment, "CANCELLED")[:1], "the second run is cancelled")
        weekly = "0 3 * * 1"
        crossmodal(services, "schedule", "timed", "--cron", weekly, "--timezone", "Europe/Berlin")
    finally:
        os.kill(engine, signal.SIGCONT)
    assert second["auto_scheduled"]
    assert second["state"]["message"] == "Deployment concurrency limit reached."

    state = wait_for_end(services, run["id"])
    assert state["type"] == "COMPLETED", f"{state}\n{log_of(services, 'worker')[-3000:]}"
    assert state["message"].startswith("promote: ")
    due = datetime.fromisoformat(run["expected_start_time"]).astimezone(ZoneInfo("Europe/Berlin"))
    assert call(services, f"flow_runs/{run['id']}")["name"] == f"timed · {due:%Y-%m-%d %H:%M} · promote v1"
    changed = wait_for(
        lambda: (row := listed(services, "timed")) and row["cron"] == weekly and row["next"], "the changed schedule"
    )
    assert datetime.fromisoformat(changed).astimezone(ZoneInfo("Europe/Berlin")).strftime("%a %H:%M") == "Mon 03:00"

    assert [state["type"] for state in modes(services, deployment)] == ["COMPLETED", "COMPLETED"]

    crossmodal(services, "schedule", "pause", "timed")
    paused = listed(services, "timed")
    assert paused is not None
    assert (paused["active"], paused["next"]) == (False, None)
    assert runs_of(services, deployment, "SCHEDULED") == []
    crossmodal(services, "deploy")  # what a person changed outlives the next deploy
    assert listed(services, "timed") == paused
    crossmodal(services, "schedule", "resume", "timed")
    assert wait_for(lambda: (row := listed(services, "timed")) and row["next"], "the resumed schedule's next run")
    crossmodal(services, "schedule", "remove", "timed")
    assert listed(services, "timed") is None
    assert runs_of(services, deployment, "SCHEDULED") == []
    # The worker's log tells of the connection that the engine lost while it was stopped.
    assert errors_in(services.store.root / "prefect" / "server.log") == []


def modes(services: Services, deployment: str) -> list[dict[str, Any]]:
    """The last states of a run that only plans and of one that only evaluates, checked for what they leave."""
    ended = []
    for mode, output in (
        ("plan only", "plan: nothing to compute"),
        ("evaluate only", "unchanged: timed version 1 still passes"),
    ):
        body = {"parameters": {"mode": mode}}
        run = call(services, f"deployments/{deployment}/create_flow_run", body)
        ended.append(wait_for_end(services, run["id"]))
        assert ended[-1]["message"].startswith(output)
        tasks = call(services, "task_runs/filter", {"flow_runs": {"id": {"any_": [run["id"]]}}})
        assert not {task["name"].rsplit("-", 1)[0] for task in tasks} & {"train", "publish"}
        if mode == "plan only":
            assert tasks == []
            artifacts = call(services, "artifacts/filter", {"artifacts": {"flow_run_id": {"any_": [run["id"]]}}})
            [plan] = [artifact for artifact in artifacts if artifact["key"]]
            assert plan["key"] == "plan"
            stages = [line["stage"] for line in json.loads(plan["data"])]
            assert (stages[0], stages[-1]) == ("preflight: data", "train")
    return ended


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"profile": "nope"}, "'nope' is not one of ['defaults', 'digits'"),
        ({"mode": "plan"}, "'plan' is not one of ['full', 'plan only', 'evaluate only']"),
        ({"preset": "small"}, "'small' is not one of [\"the profile's\", 'offline', 'fast', 'medium', 'best']"),
        ({"epochs": -1}, "-1 is less than the minimum of 0"),
        ({"overrides": ["epochs"]}, "'epochs' does not match '^[^=]+='"),
    ],
)
def test_the_server_refuses_a_bad_value_with_the_words_of_the_command_line(
    services: Services, parameters: dict[str, Any], words: str
) -> None:
    deployment = call(services, "deployments/name/retrain/weekly")["id"]
    with pytest.raises(httpx.HTTPStatusError) as refused:
        call(services, f"deployments/{deployment}/create_flow_run", {"parameters": parameters})
    assert refused.value.response.status_code == 409
    assert words in refused.value.response.json()["detail"]


def test_the_check_deployment_tells_rows_and_reasons(services: Services, make_data: Any) -> None:
    data = make_data(change=lambda row, number: row | {"image": "img/none.png"} if number == 3 else row)
    deployment = call(services, "deployments/name/check/data")["id"]
    parameters = {"profile": "defaults", "data": str(data), "overrides": ["runtime.workers=1"]}
    run = call(services, f"deployments/{deployment}/create_flow_run", {"parameters": parameters})
    state = wait_for_end(services, run["id"])
    assert ": 11 of 12 rows can be used; quarantined: 1 missing-file" in state["message"], state
    artifacts = call(services, "artifacts/filter", {"artifacts": {"flow_run_id": {"any_": [run["id"]]}}})
    tables = {artifact["key"]: json.loads(artifact["data"]) for artifact in artifacts if artifact["type"] == "table"}
    counts = {row["rows"]: row["count"] for row in tables["data"]}
    assert (counts["read"], counts["used"], counts["quarantined: missing-file"]) == (12, 11, 1)


def save_schedules(services: Services, deployment: str, client: str, count: int) -> Iterator[tuple[str, int]]:
    """Schedules saved, paused and removed as Prefect's UI does it, which sends once. What is asked, and the status."""
    headers = {"Authorization": basic_header(services.auth_string)}
    with httpx.Client(base_url=f"{services.prefect_url}/api", headers=headers, timeout=600) as api:
        token = api.get(f"/csrf-token?client={client}").json()["token"]
        api.headers.update({"Prefect-Csrf-Token": token, "Prefect-Csrf-Client": client})
        path = f"/deployments/{deployment}/schedules"
        for _ in range(count):
            saved = api.post(path, json=[{"schedule": {"cron": "0 3 1 1 *"}, "active": True}])
            yield "save", saved.status_code
            if saved.is_success:
                own = f"{path}/{saved.json()[0]['id']}"
                yield "pause", api.patch(own, json={"active": False}).status_code
                yield "remove", api.delete(own).status_code


def test_what_the_ui_saves_is_saved_while_others_write(services: Services) -> None:
    deployment = call(services, "deployments/name/retrain/weekly")["id"]
    with ThreadPoolExecutor(6) as pool:
        saving = [pool.submit(lambda k: list(save_schedules(services, deployment, f"ui-{k}", 10)), k) for k in range(6)]
        answers = Counter(answer for one in saving for answer in one.result())
    assert answers == {("save", 201): 60, ("pause", 204): 60, ("remove", 204): 60}


def log_of(services: Services, name: str) -> str:
    return (services.store.root / "prefect" / f"{name}.log").read_text()


def test_pools_of_every_type_are_made_and_the_gpu_has_one_slot(services: Services) -> None:
    crossmodal(services, "deploy", "--pool", "containers", "--type", "docker", "--image", "registry/crossmodal:1")
    try:
        pool = call(services, "work_pools/containers")
        assert pool["type"] == "docker"
        assert pool["base_job_template"]["variables"]["properties"]["image"]["default"] == "registry/crossmodal:1"
        deployment = call(services, "deployments/name/retrain/weekly")
        assert (deployment["work_pool_name"], deployment["parameters"]) == ("containers", {"profile": "digits"})
        limit = call(services, "v2/concurrency_limits/gpu")
        assert limit["limit"] == 1
    finally:
        crossmodal(services, "deploy")


TRAINING = """
from flows import prefect_stages
from prefect.client.orchestration import get_client
from types import SimpleNamespace
from tasks.store import Store
import sys

def train(*arguments):
    with get_client(sync_client=True) as client:
        return client.read_global_concurrency_limit_by_name("gpu").active_slots

prefect_stages.train_key = lambda *arguments: "none"
answers = []
for has_gpu in (True, False):
    prefect_stages.uses_gpu = lambda config: has_gpu
    answers.append(prefect_stages._in_gpu_slot(train)(SimpleNamespace(config=None), Store(sys.argv[1])))
print(*answers, train())
"""


def test_training_on_a_gpu_holds_its_slot_and_gives_it_back(services: Services) -> None:
    command = [sys.executable, "-c", TRAINING, str(services.store.root)]
    done = subprocess.run(command, env=services.environment, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["1", "0", "0"], done.stderr


def test_up_serves_its_pages_and_stops_on_ctrl_c(tmp_path: Path, interruptible: Any) -> None:
    prefect_port, mlflow_port, pages_port = free_ports(3)
    command = [
        "crossmodal",
        "up",
        "--store",
        str(tmp_path),
        "--prefect-port",
        str(prefect_port),
        "--mlflow-port",
        str(mlflow_port),
        "--pages-port",
        str(pages_port),
    ]
    started = interruptible(executable(command))
    process = subprocess.Popen(started, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line.startswith("logs"):
            break
    running = read_running(tmp_path)
    assert running is not None
    for port in (prefect_port, mlflow_port, pages_port):
        headers = {"Authorization": basic_header(running.auth_string)}
        request = urllib.request.Request(f"http://127.0.0.1:{port}/", headers=headers)
        with urllib.request.urlopen(request) as response:
            assert b"<html" in response.read().lower()
    os.kill(process.pid, signal.SIGINT)
    assert process.wait() == 130
    for port in (prefect_port, mlflow_port, pages_port):
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", port)) != 0, f"something still listens on {port}"
