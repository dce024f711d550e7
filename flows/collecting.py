"""What nothing needs any more is deleted: `crossmodal store gc`, its flow, and after a retrain where a setting asks for it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from flows.history import HISTORY, RUNS
from flows.request import Request
from flows.store_roots import KEEP_RUNS, Needed, find_needed
from tasks import run_log
from tasks.display_table import DisplayTable
from tasks.errors import EnvironmentFailed, UsageError
from tasks.publish.roots import read_registry
from tasks.retention.collect import (
    DAY_S,
    Removed,
    empty_trash,
    extras_of_run,
    horizon,
    remove_work,
    stale_work,
    sweep,
    thin_run,
    unneeded,
)
from tasks.retention.inventory import freed_bytes, list_items
from tasks.store import Store

_LAST = "work/gc"
"""Its time is that of the last collection after a retrain."""


@dataclass(frozen=True)
class Collection:
    """What was removed, or would be."""

    artifacts: tuple[Removed, ...]
    work: tuple[Removed, ...]
    runs: tuple[Removed, ...]
    """Whose reports and tables are gone; their records are kept."""
    bytes: int
    """On disk, all together."""
    kept: dict[str, tuple[str, ...]]
    """Run to why all of it is kept."""
    mlflow_deleted: int
    """Runs that were deleted in MLflow, whose files `mlflow gc` removes."""

    def describe(self, dry_run: bool = False) -> str:
        """What became of the store, as one line."""
        verb = "would delete" if dry_run else "deleted"
        return (
            f"{verb} {len(self.artifacts)} results, {len(self.work)} folders of unfinished work, and the reports of "
            f"{len(self.runs)} old runs: {self.bytes / 1e6:,.1f} MB; {len(self.kept)} runs are kept in full"
        )

    def table(self) -> DisplayTable:
        """One line for each thing that was removed."""
        return DisplayTable.of(
            {
                "what": one.uri,
                "MB": f"{one.bytes / 1e6:,.2f}",
                "last used": f"{datetime.fromtimestamp(one.used, UTC):%Y-%m-%d %H:%M}",
            }
            for one in (*self.artifacts, *self.work, *self.runs)
        )

    def as_json(self) -> Mapping[str, object]:
        """For scripts."""
        return {
            "artifacts": [vars(one) for one in self.artifacts],
            "work": [vars(one) for one in self.work],
            "runs": [vars(one) for one in self.runs],
            "bytes": self.bytes,
            "kept": {run: list(why) for run, why in self.kept.items()},
            "mlflow_deleted": self.mlflow_deleted,
        }


def collect(
    store: Store, tracking_uri: str, keep_runs: int, keep_days: float, now: float, dry_run: bool = False
) -> Collection:
    """What nothing needs and no run has used for so many days is gone; with `dry_run` it is only listed.

    UsageError where there is no store; EnvironmentFailed where the registry, which says what is needed, does not answer.
    """
    if not store.root.is_dir():
        raise UsageError(f"store {store.root}: is not a folder; name the store with --store")
    registry = read_registry(store, tracking_uri)
    before = horizon(store.root, now, keep_days)
    needed = find_needed(store, registry, keep_runs, before)
    items = unneeded(list_items(store.root), needed.marked, before)
    runs = _old_runs(store, needed, before)
    work = [*stale_work(store.root, before)]
    size = freed_bytes(
        [*(store.root / one.uri for one in items), *work, *(path for run in runs for path in extras_of_run(run))]
    )
    if dry_run:
        listed = [Removed(item.uri, item.bytes, item.used) for item in items]
        of_work, of_runs = ([_listed(store, path) for path in paths] for paths in (work, runs))
    else:
        store.prepare()
        listed = sweep(store.root, items, before)
        of_work = remove_work(store.root, work, before)
        of_runs = [thin_run(store.root, run) for run in runs]
        empty_trash(store.root, before)
    return Collection(tuple(listed), tuple(of_work), tuple(of_runs), size, needed.runs, len(registry.deleted_runs))


def _old_runs(store: Store, needed: Needed, before: float) -> list[Path]:
    """Folders of runs that are not kept, were last written to before the time, and hold more than their records."""
    folders = [path for path in sorted((store.root / RUNS).glob("*")) if path.is_dir() and path.name != HISTORY]
    return [
        path
        for path in folders
        if path.name not in needed.runs and path.stat().st_mtime < before and extras_of_run(path)
    ]


def _listed(store: Store, path: Path) -> Removed:
    return Removed(path.relative_to(store.root).as_posix(), freed_bytes([path]), path.stat().st_mtime)


def collect_after_run(request: Request) -> None:
    """Under `runtime.gc_keep_days`, where none was done today, the store is collected; where that fails, the log says so."""
    keep_days, last = request.config.runtime.gc_keep_days, request.store.root / _LAST
    now = time.time()
    if keep_days is None or (last.exists() and now - last.stat().st_mtime < DAY_S):
        return
    try:
        found = collect(request.store, request.tracking_uri, KEEP_RUNS, keep_days, now)
        last.touch()
    except (EnvironmentFailed, OSError) as error:
        run_log.log_not_collected(str(error))
    else:
        run_log.log_collected(len(found.artifacts), found.bytes)
