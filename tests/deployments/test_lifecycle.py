"""`crossmodal up` stopped and killed in the middle of runs: nothing stays behind, and the next run is as good as any."""

from __future__ import annotations

import json
import random
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from benchmarks.chaos.up import (
    SETTINGS,
    TARGETS,
    Up,
    ended,
    kill_at_random,
    plain_sha256,
    published_sha256,
    taken_slots,
    wait_for,
    wait_for_all,
)
from tests.support.serving import errors_in

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory, make_learnable: Callable[[Path], Path]) -> Path:
    return make_learnable(tmp_path_factory.mktemp("learnable"))


@pytest.fixture(scope="module")
def expected_sha256(manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    return plain_sha256(manifest, tmp_path_factory.mktemp("plain"))


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    running = Up(tmp_path_factory.mktemp("hosted") / "store")
    try:
        running.start()
        yield running
        assert running.stop() == 130
        assert running.orphans() == []
        assert errors_in(running.store / "prefect" / "server.log") == []
    finally:
        running.end()


def test_a_stop_in_the_middle_of_a_run_leaves_nothing_and_a_long_pause_brings_one_run(
    up: Up, manifest: Path, expected_sha256: str
) -> None:
    with up.client() as client:
        first = up.trigger(client, manifest, "stopped")
        wait_for("the trainer", lambda: up.processes(*TARGETS["trainer"]))
        second = ended(client, up.trigger(client, manifest, "stopped")).state
        assert second is not None
        assert second.is_cancelled(), second
        assert second.message == "Deployment concurrency limit reached."
    assert up.stop() == 130
    assert up.orphans() == []
    assert not (up.store / "prefect" / "processes.json").exists()
    parameters = {"profile": "defaults", "data": str(manifest), "overrides": [*SETTINGS, "name=stopped"]}
    due = move_schedule_to_the_past(up.store / "prefect" / "prefect.db", parameters)
    assert due >= 2
    up.start()
    assert f"{due} scheduled runs from " in up.output_text()
    with up.client() as client:
        assert ended(client, first).state_name in {"Crashed", "Cancelled"}
        wait_for_all(up, client)
        weekly = client.read_deployment_by_name("retrain/weekly").id
        found = client.read_flow_runs(limit=200)
        runs = [run for run in found if run.auto_scheduled and run.deployment_id == weekly and run.state]
        done = [run for run in runs if run.state and run.state.is_completed()]
        assert len(done) == 1
        assert sum(1 for run in runs if run.state and run.state.is_cancelled()) == due - 1
        assert published_sha256(up, done[0].id) == expected_sha256
        assert taken_slots(client) == {}
        assert not [run for run in client.read_flow_runs(limit=200) if f"retry-of:{first}" in run.tags]


@pytest.mark.parametrize("target", ["engine", "worker", "server", "all"])
def test_after_a_kill_the_next_run_publishes_the_same_bytes(
    up: Up, manifest: Path, expected_sha256: str, target: str
) -> None:
    delay_s = random.Random(target).uniform(0.0, 12.0)
    found = kill_at_random(up, manifest, target, delay_s, f"killed-{target}")
    assert found["slots"] == {}, f"{found}\n{up.output_text()}"
    assert found["next"] == "Completed", f"{found}\n{up.output_text()}"
    assert found["sha256"] == expected_sha256
    if target in {"server", "worker"}:
        assert f"died       {target} (SIGKILL)" in up.output_text()
        assert f"restarted  {target} " in up.output_text()


def test_a_second_up_on_the_same_store_is_refused(up: Up) -> None:
    other = Up(up.store)
    other.output = up.store.parent / "second.out"
    with pytest.raises(AssertionError, match="crossmodal up serves it since"):
        other.start()
    assert other.process is not None
    assert other.process.wait() == 2
    assert up.process is not None
    assert up.process.poll() is None


def test_a_server_that_cannot_start_is_one_line_and_status_4(tmp_path: Path) -> None:
    up = Up(tmp_path / "store")
    (up.store / "prefect" / "prefect.db").mkdir(parents=True)  # a folder where the database should be
    try:
        with pytest.raises(AssertionError, match="server did not start"):
            up.start()
        assert up.process is not None
        assert up.process.wait() == 4
        (line,) = [line for line in up.output_text().splitlines() if line.strip()]
        assert line.startswith("error: server did not start (exit status ")
        assert up.orphans() == []
    finally:
        up.end()
        shutil.rmtree(up.store)


def move_schedule_to_the_past(database: Path, parameters: dict[str, object]) -> int:
    """As if `up` had not run for weeks; the runs that the schedule had due then get the parameters. How many they are."""
    now = datetime.now(UTC)
    with sqlite3.connect(database) as connection:
        chosen = (
            "SELECT id FROM flow_run WHERE auto_scheduled AND state_type = 'SCHEDULED' "
            "AND deployment_id = (SELECT id FROM deployment WHERE name = 'weekly')"
        )
        found = [row[0] for row in connection.execute(chosen)]
        for weeks, run in enumerate(found, start=1):
            past = f"{now - timedelta(weeks=weeks):%Y-%m-%d %H:%M:%S.%f}"
            connection.execute(
                "UPDATE flow_run SET next_scheduled_start_time = ?, expected_start_time = ?, parameters = ? WHERE id = ?",
                (past, past, json.dumps(parameters), run),
            )
            # Where no service marks the run late before the worker takes it, its state says when it may begin.
            connection.execute(
                "UPDATE flow_run_state SET state_details = json_set(state_details, '$.scheduled_time', ?) "
                "WHERE flow_run_id = ?",
                (past.replace(" ", "T") + "Z", run),
            )
    connection.close()
    return len(found)
