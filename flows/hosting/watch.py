"""The process of `crossmodal up` that looks after flow runs; it is apart because importing prefect takes seconds.

It writes one JSON event a line on stdout. On stdin a line `settle` says that the worker is being ended: no run is tried
again from then on, those that are left are marked, and the process ends. The end of stdin ends it at once.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import PrefectHTTPStatusError

from flows.hosting.processes import read_stack, working_runs
from flows.hosting.recovery import (
    Worker,
    active_runs,
    broken_since,
    cancel_missed,
    end_lost,
    is_ours,
    may_retry,
    release_held_by,
    repair_slots,
    retry_once,
    say_final,
    without_process,
)
from flows.hosting.watching import RECOVERED
from tasks.redaction import redact, redact_output
from tasks.shared_store import open_store
from tasks.store import Store

_EVERY_S = 5.0
_SETTLE_S = 45.0
_FAR = datetime.max.replace(tzinfo=UTC)


class Watch:
    """Looks for runs whose process is gone, ends them and has them tried again."""

    def __init__(self, client: SyncPrefectClient, store: Store, worker: Worker, since: datetime) -> None:
        self.client = client
        self.store = store
        self.worker = worker
        self.since = since
        self.leases = store.root / "prefect" / "concurrency_leases"
        self.missing: set[UUID] = set()
        self.handled: set[UUID] = set()

    def recover(self) -> None:
        """Before the worker starts: nothing works for any of our runs, so all of them are lost."""
        lost = [run for run in active_runs(self.client, self.worker.pool) if is_ours(run, self.worker, _FAR)]
        end_lost(self.client, lost, "its processes were gone when crossmodal up started", announce)
        repair_slots(self.client, self.leases, announce)
        cancel_missed(self.client, self.worker.pool, announce)

    def poll(self) -> None:
        """One pass. A run counts as lost when two passes found no process: its own last word may be on the way."""
        stack = read_stack(self.store)
        if stack is None:
            return
        if stack.worker_since is not None:
            working = working_runs()
            active = active_runs(self.client, self.worker.pool)
            lost = without_process(active, working, self.worker, stack.worker_since)
            end_lost(self.client, [run for run in lost if run.id in self.missing], "its process is gone", announce)
            self.missing = {run.id for run in lost}
        for run in broken_since(self.client, self.worker.pool, self.since):
            if run.id not in self.handled and is_ours(run, self.worker, _FAR):
                release_held_by(self.client, self.leases, {run.id})
                if may_retry(run, stack.server_since or self.since):
                    self.retry(run)
                else:
                    say_final(run, announce)
                self.handled.add(run.id)

    def retry(self, run: FlowRun) -> None:
        """Has the run tried again; where the deployment is gone or takes other parameters by now, that is announced."""
        try:
            retry_once(self.client, run, announce)
        except PrefectHTTPStatusError as error:
            if error.response.status_code not in {404, 409, 422}:
                raise
            message = " ".join(error.response.text.split())[:200]
            announce("retry", f"run {run.name} ({run.id}) cannot be tried again: {message}")

    def settle(self) -> None:
        """Waits until nothing works for our runs any more and marks those that could not do so themselves."""
        deadline = time.monotonic() + _SETTLE_S
        while time.monotonic() < deadline:
            ours = [run for run in active_runs(self.client, self.worker.pool) if is_ours(run, self.worker, _FAR)]
            working = working_runs()
            if not any(str(run.id) in working for run in ours):
                break
            time.sleep(0.5)
        end_lost(self.client, ours, "crossmodal up was stopped", announce)
        release_held_by(self.client, self.leases, {run.id for run in ours})


def announce(kind: str, text: str) -> None:
    """One event for whoever reads our stdout."""
    print(json.dumps({"kind": kind, "text": text}), flush=True)


def main() -> None:
    """Recovers if that is asked for, then watches until stdin says otherwise."""
    redact_output()
    parser = argparse.ArgumentParser()
    parser.add_argument("--worker", required=True)
    parser.add_argument("--pool", required=True)
    parser.add_argument("--since", required=True, type=datetime.fromisoformat)
    parser.add_argument("--recover", action="store_true")
    options = parser.parse_args()
    store = open_store(Path(os.environ["CROSSMODAL_STORE"]))
    orders: queue.Queue[str] = queue.Queue()
    threading.Thread(target=_listen, args=(orders,), daemon=True).start()
    with get_client(sync_client=True) as client:
        watch = Watch(client, store, Worker(options.worker, options.pool), options.since)
        if options.recover:
            watch.recover()
        announce(RECOVERED, "")
        while _wait_for(orders) is None:
            _try(watch.poll)
        _try(watch.settle)


def _try(step: Callable[[], None]) -> None:
    """Does the step, or says in the log why not: while the server is being restarted, the next pass will tell."""
    try:
        step()
    except httpx.HTTPError as error:
        print(redact(f"no pass: {type(error).__name__}: {error}"), file=sys.stderr, flush=True)


def _wait_for(orders: queue.Queue[str]) -> str | None:
    """The next order, None where there is none yet."""
    try:
        order = orders.get(timeout=_EVERY_S)
    except queue.Empty:
        return None
    if order != "settle":
        sys.exit(0)
    return order


def _listen(orders: queue.Queue[str]) -> None:
    for line in sys.stdin:
        orders.put(line.strip())
    orders.put("")


if __name__ == "__main__":
    main()
