"""One look at a source of data, and the run that follows from it: what flows/watch.py does every few minutes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import cast
from uuid import UUID

from tasks.config import RunConfig
from tasks.ingest.arrivals import Place, Poll, digest_in, list_source, poll, read_place, write_place
from tasks.ingest.sources.remote import is_remote
from tasks.store import Store, digest_json

Start = Callable[[str], str]
"""Starts a run under an idempotency key and gives its id."""
Lost = Callable[[str], bool | None]
"""Whether a run was cancelled before it began; None while that is open."""


def watch_source(
    source: str, config: RunConfig, store: Store, subject: str, now_s: float, settle_s: float, start: Start, lost: Lost
) -> str:
    """What the look found, as a sentence; a run is started where data have arrived, and again where the last one was lost.

    `subject` is what is started (one source may be watched for several deployments). Whoever looks at the same time waits.
    """
    where = source if is_remote(source) else str(Path(source).absolute())
    key = digest_json([where, subject])[:16]
    file = store.root / "watch" / f"{key}.json"
    with store.work_dir("watch", key):
        place = _follow(file, read_place(file), start, lost)
        listing = list_source(where, config)
        found = poll(place, listing, now_s, settle_s, digest_in(where, listing))
        if found.outcome != "arrived":
            write_place(file, found.place)
            return f"{found.outcome}: {len(listing)} files in {source}"
        if list_source(where, config) != listing:  # it changed while it was digested
            return f"settling: {source} changes while it is read"
        run = start(found.place.key)
        write_place(file, found.place.model_copy(update={"run": run}))
        return f"arrived: {_described(found)} in {source}; started run {run}"


def _follow(file: Path, place: Place, start: Start, lost: Lost) -> Place:
    """Starts the run of the last arrival again where it was cancelled before it began: another was running, say."""
    if place.run is None:
        return place
    gone = lost(place.run)
    if gone is None:
        return place
    if gone:
        again = place.model_copy(update={"attempt": place.attempt + 1})
        place = again.model_copy(update={"run": start(again.key)})
    else:
        place = place.model_copy(update={"run": None})
    write_place(file, place)
    return place


def _described(found: Poll) -> str:
    shown = ", ".join(found.changed[:3])
    return f"{len(found.changed)} files new, changed or gone ({shown}{', …' if len(found.changed) > 3 else ''})"


def starter(deployment: str, parameters: dict[str, object]) -> Start:
    """start(key) makes a run of the deployment, or gives the one that was made under this key before."""
    from prefect.client.schemas.objects import FlowRun
    from prefect.deployments import run_deployment

    def start(key: str) -> str:
        """The id of the run under this key, made now unless it was made before."""
        # No subflow: its parent ends at once, and the run is the deployment's own.
        flow_run = run_deployment(deployment, parameters=parameters, timeout=0, idempotency_key=key, as_subflow=False)
        return str(cast(FlowRun, flow_run).id)  # a coroutine only inside an event loop

    return start


def was_lost(run: str) -> bool | None:
    """Whether a run was cancelled before it began, as Prefect does beyond a concurrency limit, or was deleted."""
    from prefect.client.orchestration import get_client
    from prefect.exceptions import ObjectNotFound

    with get_client(sync_client=True) as client:
        try:
            found = client.read_flow_run(UUID(run))
        except ObjectNotFound:
            return True
    if found.start_time is not None:
        return False
    return True if found.state is not None and found.state.is_final() else None
