"""What becomes of flow runs whose process is gone: they end, their slots are freed, and they are tried again once.

Only runs of this machine's worker are touched, and only through Prefect's own client.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import GlobalConcurrencyLimitUpdate
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterEndTime,
    FlowRunFilterNextScheduledStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.exceptions import PrefectHTTPStatusError
from prefect.states import Cancelled, Crashed
from pydantic import BaseModel

from flows.hosting.supervisor import Announce
from tasks.escaping import one_line

ACTIVE = [StateType.RUNNING, StateType.PENDING, StateType.CANCELLING]
RETRY_OF = "retry-of:"
_PAGE = 200
_LATE = timedelta(seconds=60)
_OWN_EXIT = re.compile(r"status code:? (?!-)([1-9]\d?)\b(?!\d)")  # 1-99: it ended itself; 128 + n and -n are signals

_NO_SERVER = re.compile(
    r"ConnectError|ConnectTimeout|ReadError|ReadTimeout|RemoteProtocolError|connection attempts failed"
    r"|ConcurrencySlotAcquisitionError"  # a task asks for its tag's slots before it begins
)


@dataclass(frozen=True)
class Worker:
    """The worker whose runs these are, by its name and the pool it serves."""

    name: str
    pool: str


def read_runs(client: SyncPrefectClient, pool: str, run_filter: FlowRunFilter) -> list[FlowRun]:
    """All runs of the pool that the filter lets through."""
    pools = WorkPoolFilter(name=WorkPoolFilterName(any_=[pool]))
    runs: list[FlowRun] = []
    while True:
        page = client.read_flow_runs(flow_run_filter=run_filter, work_pool_filter=pools, limit=_PAGE, offset=len(runs))
        runs += page
        if len(page) < _PAGE:
            return runs


def active_runs(client: SyncPrefectClient, pool: str) -> list[FlowRun]:
    """The pool's runs that hold a slot or a process: running, pending, cancelling."""
    return read_runs(client, pool, FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=ACTIVE))))


def broken_since(client: SyncPrefectClient, pool: str, since: datetime) -> list[FlowRun]:
    """The pool's runs that crashed or failed after the time."""
    broken = FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.CRASHED, StateType.FAILED]))
    return read_runs(client, pool, FlowRunFilter(state=broken, end_time=FlowRunFilterEndTime(after_=since)))


def is_ours(run: FlowRun, worker: Worker, worker_since: datetime) -> bool:
    """True for a run that this worker took; one that nobody had signed yet counts when it was there before the worker."""
    signed = run.labels.get("prefect.worker.name")
    if signed is not None:
        return signed == worker.name
    return run.state is not None and run.state.timestamp < worker_since


def without_process(
    runs: Iterable[FlowRun], working: set[str], worker: Worker, worker_since: datetime
) -> list[FlowRun]:
    """Those of our runs that nothing on this machine works for, and that the worker will not start any more."""
    lost = []
    for run in runs:
        if str(run.id) in working or not is_ours(run, worker, worker_since):
            continue
        if run.state_type == StateType.PENDING and run.state is not None and run.state.timestamp >= worker_since:
            continue  # the worker is about to start it
        lost.append(run)
    return lost


def end_lost(client: SyncPrefectClient, runs: Iterable[FlowRun], reason: str, announce: Announce) -> None:
    """Marks each run Crashed, or Cancelled where that was asked for; this frees its deployment's slot."""
    for run in runs:
        since = run.start_time or (run.state.timestamp if run.state else run.created)
        shown = f"{since:%Y-%m-%d %H:%M:%S} UTC" if since else "an unknown time"
        before = run.state.name if run.state else "no state"
        message = f"{reason}; it was {before} since {shown}"
        asked = run.state_type == StateType.CANCELLING
        end: State[None] = Cancelled(message=message) if asked else Crashed(message=message)
        client.set_flow_run_state(run.id, end, force=True)
        announce("cancelled" if asked else "crashed", f"run {run.name} ({run.id}), {before} since {shown}: {reason}")


def may_retry(run: FlowRun, server_since: datetime) -> bool:
    """True for a run of a deployment that something killed, or that lost its server, and that is not itself another try."""
    if run.deployment_id is None or any(tag.startswith(RETRY_OF) for tag in run.tags):
        return False
    message = (run.state.message if run.state else None) or ""
    never_ran = run.start_time == run.end_time  # Prefect then takes the end for the start
    begun = run.expected_start_time if never_ran else run.start_time or run.expected_start_time
    without_server = begun is not None and begun < server_since
    if run.state_type == StateType.FAILED:
        return without_server and _NO_SERVER.search(message) is not None
    return without_server or _OWN_EXIT.search(message) is None


def retry_once(client: SyncPrefectClient, run: FlowRun, announce: Announce) -> None:
    """There is exactly one new run of the same deployment with the same parameters, however often this is called."""
    assert run.deployment_id is not None
    key = f"{RETRY_OF}{run.id}"
    new = client.create_flow_run_from_deployment(
        run.deployment_id,
        parameters=run.parameters,
        tags=[*run.tags, key],
        idempotency_key=key,
        job_variables=run.job_variables,
        work_queue_name=run.work_queue_name,
    )
    announce("retry", f"run {new.name} ({new.id}) resumes from what {run.name} ({run.id}) had finished")


def say_final(run: FlowRun, announce: Announce) -> None:
    """The terminal says that a run ended so and is not tried again, with the run's own reason and where to read on."""
    second = any(tag.startswith(RETRY_OF) for tag in run.tags)
    kind = "crashed" if run.state_type == StateType.CRASHED else "failed"
    reason = one_line((run.state.message if run.state else None) or "no reason is known", 200)
    again = "it was the second try already" if second else "start it again when the cause is gone"
    announce(kind, f"run {run.name} ({run.id}): {reason} - not tried again; {again}")


def cancel_missed(client: SyncPrefectClient, pool: str, announce: Announce) -> None:
    """Of the runs that a schedule had due while nothing ran, the latest of each deployment is left to run."""
    overdue = FlowRunFilter(
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED])),
        next_scheduled_start_time=FlowRunFilterNextScheduledStartTime(before_=datetime.now(UTC) - _LATE),
    )
    due: dict[UUID, list[FlowRun]] = {}
    for run in read_runs(client, pool, overdue):
        if run.auto_scheduled and run.deployment_id is not None:
            due.setdefault(run.deployment_id, []).append(run)
    for runs in due.values():
        runs.sort(key=lambda run: run.expected_start_time or datetime.min.replace(tzinfo=UTC))
        for run in runs[:-1]:
            client.set_flow_run_state(
                run.id, Cancelled(message="due while crossmodal up was not running; the latest one runs instead")
            )
        if len(runs) > 1:
            first, last = runs[0].expected_start_time, runs[-1].expected_start_time
            announce(
                "missed",
                f"{len(runs)} scheduled runs from {first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} UTC: one runs",
            )


class _Holder(BaseModel):
    type: str
    id: UUID


class _Metadata(BaseModel):
    slots: int = 1
    holder: _Holder | None = None


class Lease(BaseModel):
    """A lease as Prefect's filesystem storage writes it."""

    id: UUID
    resource_ids: list[UUID]
    metadata: _Metadata | None = None


def read_leases(folder: Path) -> list[Lease]:
    """Every lease in the folder; the index of expiry times beside them is not one."""
    leases = []
    for path in sorted(folder.glob("*.json")):
        if path.stem == "expirations":
            continue
        with suppress(FileNotFoundError, ValueError):  # released, or being written, in between
            leases.append(Lease.model_validate_json(path.read_text(encoding="utf-8")))
    return leases


def release(client: SyncPrefectClient, lease: Lease) -> None:
    """The lease and its slots are free."""
    try:
        client.release_concurrency_slots_with_lease(lease.id)
    except PrefectHTTPStatusError as error:
        if error.response.status_code not in {404, 410}:  # else released in between
            raise


def release_held_by(client: SyncPrefectClient, folder: Path, runs: set[UUID]) -> None:
    """Leases that the runs, or tasks of theirs, held by name are free."""
    for lease in read_leases(folder):
        holder = lease.metadata.holder if lease.metadata else None
        if holder is None or not lease.resource_ids:  # tasks without tags leave leases of nothing
            continue
        run = client.read_task_run(holder.id).flow_run_id if holder.type == "task_run" else holder.id
        if run in runs:
            release(client, lease)


def repair_slots(client: SyncPrefectClient, folder: Path, announce: Announce) -> None:
    """No limit counts more slots than leases hold, and no lease is held for a run that has ended.

    Only while no worker runs: a lease is written a moment before the run that will name it.
    """
    every = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=ACTIVE)))
    active = client.read_flow_runs(flow_run_filter=every, limit=_PAGE)
    held = {run.state.state_details.deployment_concurrency_lease_id for run in active if run.state is not None}
    for lease in read_leases(folder):
        anonymous = lease.metadata is None or lease.metadata.holder is None
        if anonymous and lease.id not in held and not active:
            release(client, lease)
    counts: dict[UUID, int] = {}
    for lease in read_leases(folder):
        for limit_id in lease.resource_ids:
            counts[limit_id] = counts.get(limit_id, 0) + (lease.metadata.slots if lease.metadata else 1)
    for limit in client.read_global_concurrency_limits(limit=_PAGE):
        really = counts.get(limit.id, 0)
        if limit.slot_decay_per_second == 0 and limit.active_slots > really:
            client.update_global_concurrency_limit(limit.name, GlobalConcurrencyLimitUpdate(active_slots=really))
            announce("freed", f"{limit.active_slots - really} slots of {limit.name}, which no run holds")
