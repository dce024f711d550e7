"""Which runs count as lost, which are tried again, and what is read of leases: by value."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prefect.client.schemas.objects import FlowRun, State, StateType

from flows.hosting.postgres import parse_database
from flows.hosting.recovery import Worker, is_ours, may_retry, read_leases, say_final, without_process
from tasks.errors import UsageError

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
WORKER = Worker("ours", "crossmodal")


def make_run(
    kind: StateType, before_s: float = 0, worker: str | None = "ours", message: str = "", **more: Any
) -> FlowRun:
    state: State[Any] = State(type=kind, message=message, timestamp=NOW - timedelta(seconds=before_s))
    labels = {} if worker is None else {"prefect.worker.name": worker}
    return FlowRun(
        flow_id=uuid.uuid4(), deployment_id=uuid.uuid4(), state=state, state_type=kind, labels=labels, **more
    )


def test_a_run_is_ours_by_its_worker_and_unsigned_ones_by_their_age() -> None:
    assert is_ours(make_run(StateType.RUNNING), WORKER, NOW)
    assert not is_ours(make_run(StateType.RUNNING, worker="another machine's"), WORKER, NOW)
    assert is_ours(make_run(StateType.PENDING, before_s=1, worker=None), WORKER, NOW)
    assert not is_ours(make_run(StateType.PENDING, before_s=-1, worker=None), WORKER, NOW)


def test_a_run_is_lost_without_a_process_unless_the_worker_is_about_to_start_it() -> None:
    working, gone = make_run(StateType.RUNNING, before_s=5), make_run(StateType.RUNNING, before_s=5)
    old, new = make_run(StateType.PENDING, before_s=5), make_run(StateType.PENDING, before_s=-5)
    asked = make_run(StateType.CANCELLING, before_s=5)
    lost = without_process([working, gone, old, new, asked], {str(working.id)}, WORKER, NOW)
    assert lost == [gone, old, asked]


@pytest.mark.parametrize(
    ("message", "again"),
    [
        ("Process exited with status code: -9. Process exited due to a SIGKILL signal.", True),
        ("Process exited with status code: 137. Out of memory.", True),
        ("Process exited with status code: 1. Process exited with an unexpected status code.", False),
        ("Flow run infrastructure exited with non-zero status code 1.", False),
        ("Execution was aborted by a termination signal.", True),
        ("its process is gone; it was Running since 2026-11-25 12:00:00 UTC", True),
    ],
)
def test_only_what_was_killed_is_tried_again(message: str, again: bool) -> None:
    assert may_retry(make_run(StateType.CRASHED, message=message, start_time=NOW), NOW) is again


def test_what_ended_for_the_lack_of_a_server_is_tried_again() -> None:
    exited = "Process exited with status code: 1."
    early, late = NOW - timedelta(seconds=9), NOW + timedelta(seconds=9)
    assert may_retry(make_run(StateType.CRASHED, message=exited, start_time=early), NOW)
    assert not may_retry(make_run(StateType.CRASHED, message=exited, start_time=late), NOW)
    lost = "Flow run encountered an exception: ConnectError: All connection attempts failed"
    assert may_retry(make_run(StateType.FAILED, message=lost, start_time=early), NOW)
    slots = "ConcurrencySlotAcquisitionError: Unable to acquire concurrency slots on ['tag:crossmodal']"
    assert may_retry(make_run(StateType.FAILED, message=slots, start_time=early), NOW)
    assert not may_retry(make_run(StateType.FAILED, message=slots, start_time=late), NOW)
    assert not may_retry(make_run(StateType.FAILED, message=lost, start_time=late), NOW)
    assert not may_retry(make_run(StateType.FAILED, message="DataError: no labels", start_time=early), NOW)


def test_what_lost_its_server_before_it_ran_is_tried_again() -> None:
    early, late = NOW - timedelta(seconds=9), NOW + timedelta(seconds=9)
    message = "Flow run infrastructure exited with non-zero status code 1."
    died = {"message": message, "start_time": late, "end_time": late}  # as Prefect notes one that never ran
    assert may_retry(make_run(StateType.CRASHED, **died, expected_start_time=early), NOW)
    assert not may_retry(make_run(StateType.CRASHED, **died, expected_start_time=late), NOW)


def test_a_second_try_is_not_tried_again() -> None:
    assert not may_retry(make_run(StateType.CRASHED, tags=[f"retry-of:{uuid.uuid4()}"]), NOW)
    run = make_run(StateType.CRASHED)
    run.deployment_id = None
    assert not may_retry(run, NOW)


def test_what_is_not_tried_again_is_said_with_its_reason() -> None:
    output: list[tuple[str, str]] = []
    killed = "training: its process died (SIGKILL); run again to resume"
    failed = make_run(StateType.FAILED, message=killed, name="fruit")
    second = make_run(StateType.CRASHED, name="fruit", tags=[f"retry-of:{uuid.uuid4()}"])
    for run in (failed, second):
        say_final(run, lambda kind, text: output.append((kind, text)))
    assert output == [
        ("failed", f"run fruit ({failed.id}): {killed} - not tried again; start it again when the cause is gone"),
        ("crashed", f"run fruit ({second.id}): no reason is known - not tried again; it was the second try already"),
    ]


def test_leases_are_read_as_prefect_writes_them(tmp_path: Path) -> None:
    held, holder = uuid.uuid4(), uuid.uuid4()
    lease = {
        "id": str(held),
        "resource_ids": [str(uuid.uuid4())],
        "metadata": {"slots": 2, "holder": {"type": "task_run", "id": str(holder)}},
        "expiration": NOW.isoformat(),
        "created_at": NOW.isoformat(),
    }
    (tmp_path / f"{held}.json").write_text(json.dumps(lease))
    (tmp_path / "expirations.json").write_text("{}")
    (tmp_path / f"{uuid.uuid4()}.json").write_text("{")
    (found,) = read_leases(tmp_path)
    assert found.id == held
    assert found.metadata is not None
    assert found.metadata.slots == 2
    assert found.metadata.holder is not None
    assert found.metadata.holder.id == holder


def test_a_database_has_an_address_for_each_program_and_shows_no_password() -> None:
    database = parse_database("postgresql://me:p%40ss@db.example:5433/ours?sslmode=require")
    assert database.prefect_url == "postgresql+asyncpg://me:p%40ss@db.example:5433/ours?ssl=require"
    assert database.mlflow_uri.startswith("postgresql+psycopg2://me:p%40ss@db.example:5433/ours?")
    assert "sslmode=require" in database.mlflow_uri
    assert "search_path%3Dmlflow" in database.mlflow_uri
    assert database.shown == "postgresql://db.example:5433/ours?sslmode=require"
    assert "p%40ss" not in repr(database)


@pytest.mark.parametrize("text", ["sqlite:///x.db", "postgresql://me:secret@host", "::secret::"])
def test_another_address_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(UsageError, match=r"--postgres: .*CROSSMODAL_POSTGRES") as caught:
        parse_database(text)
    assert "secret" not in str(caught.value)
