"""What a run leaves in its folder besides summary and report, from its first moment on: run.json, config.json, refs.json."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from data_contracts.refs import Frozen
from data_contracts.run_refs import RunRefs
from flows.environment import git_commit
from flows.request import Request
from flows.run_state import RunState
from tasks import locks
from tasks.drafts import clear_leftovers
from tasks.redaction import redact, redact_json
from tasks.store import canonical_json, replace_file

RUN, CONFIG, REFS = "run.json", "config.json", "refs.json"
LOCK = "run.lock"
"""Held while the run lasts, by which others know that it does."""


class RunStart(Frozen):
    """run.json: who did what, when, and with which code."""

    run: str
    flow: str
    model: str
    started: datetime
    finished: datetime | None = None
    error: str | None = None
    """Why a run ended that left no summary."""
    data: str
    """The path of the data, absolute where it is local."""
    git_commit: str | None = None
    prefect_run_id: str | None = None
    host: str
    pid: int


@contextlib.contextmanager
def recorded(request: Request, flow: str, run_state: RunState) -> Iterator[None]:
    """The run of the block is in its folder while it lasts, its refs after every stage, and its end, whatever the end."""
    start = RunStart(
        run=request.run_id,
        flow=flow,
        model=request.name,
        started=datetime.now(UTC),
        data=shown_path(request.config.data.path),
        git_commit=git_commit(),
        prefect_run_id=request.prefect_run_id,
        host=socket.gethostname(),
        pid=os.getpid(),
    )
    _clear_killed(request.folder.parent)
    with locks.held(request.folder / LOCK, request.store.lock_timeout_s, request.run_id):
        try:
            with _kept(request, start, run_state):
                yield
        finally:
            (request.folder / LOCK).unlink(missing_ok=True)


def _clear_killed(runs: Path) -> None:
    """What killed runs were writing in their folders is gone, and the lock by which they are known."""
    for lock in runs.glob(f"*/{LOCK}"):
        with contextlib.suppress(OSError), locks.held_if_free(lock) as free:  # a run that ends meanwhile clears its own
            if free:
                for folder in (lock.parent, *(path for path in lock.parent.rglob("*") if path.is_dir())):
                    clear_leftovers(folder)
                lock.unlink(missing_ok=True)


@contextlib.contextmanager
def _kept(request: Request, start: RunStart, run_state: RunState) -> Iterator[None]:
    _write(request, CONFIG, redact_json(request.config.model_dump(mode="json")))
    _write(request, RUN, redact_json(start.model_dump(mode="json")))

    def keep(refs: RunRefs) -> None:
        """refs.json in the run's folder holds these refs."""
        _write(request, REFS, refs.model_dump(mode="json"))

    run_state.keep = keep
    error: str | None = None
    try:
        yield
    except KeyboardInterrupt:
        error = "interrupted"
        raise
    except SystemExit as stop:  # Prefect's, too, of a run whose worker is gone: all it says is the number
        error = f"its process was ended before the run was (exit status {stop.code})"
        raise
    except BaseException as failure:
        number = getattr(failure, "signal", None)  # Prefect's TerminationSignal, which says nothing else
        error = f"ended by {signal.Signals(number).name}" if number else f"{failure}" or type(failure).__name__
        raise
    finally:
        keep(run_state.refs())
        end = start.model_copy(update={"finished": datetime.now(UTC), "error": error})
        _write(request, RUN, redact_json(end.model_dump(mode="json")))


def shown_path(path: str) -> str:
    """A data path as it may be shown: absolute where it is local, without credentials where it is an address."""
    if "://" in path:
        return redact(path)
    return path if path.startswith("builtin:") else os.path.abspath(path)  # noqa: PTH100 - Path.absolute keeps ".."


def _write(request: Request, name: str, value: Any) -> None:
    replace_file(request.folder / name, canonical_json(value).encode())
