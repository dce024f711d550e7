"""`crossmodal store`: how large a store is and why, whether it is intact, and deleting what nothing needs any more."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from flows.commands.options import CommonOptions, grouped
from flows.console import print_json, print_table, say
from flows.environment import tracking_uri_from_environment
from flows.request import default_tracking_uri
from flows.store_roots import KEEP_DAYS, KEEP_RUNS
from tasks.store import Store

store_app = typer.Typer(help="Show what a store holds, verify it, delete what nothing needs.")

KeepRuns = Annotated[
    int, typer.Option(min=1, help="Of each model and kind of run so many of the newest are kept in full.")
]
KeepDays = Annotated[float, typer.Option(min=0, help="What was used within so many days is kept.")]
_DAY_S = 86_400.0
_DAMAGED = 3


def _place(common: CommonOptions) -> tuple[Store, str]:
    return common.place, tracking_uri_from_environment() or default_tracking_uri(common.place)


def _say_deleted_runs(number: int, uri: str, to_stderr: bool) -> None:
    if number:
        say(
            f"MLflow holds the files of {number} runs that were deleted there: mlflow gc --backend-store-uri {uri}",
            to_stderr=to_stderr,
        )


@store_app.command()
@grouped
def status(*, keep_runs: KeepRuns = KEEP_RUNS, keep_days: KeepDays = KEEP_DAYS, common: CommonOptions) -> None:
    """Show the store's size by kind and by model, what of it is needed, and what was used the longest ago."""
    from flows.store_status import find_status

    place, uri = _place(common)
    found = find_status(place, uri, keep_runs, time.time() - keep_days * _DAY_S)
    if common.as_json:
        print_json(found.as_json())
        return
    say(f"{found.store}: {found.bytes / 1e6:,.1f} MB")
    for table in found.tables():
        say("")
        print_table(table, "no run yet; start one with crossmodal retrain")
    if found.bucket is not None:
        objects, leases = found.bucket.tables()
        say(f"\n{found.bucket.address}, of which that is the cache: {found.bucket.bytes / 1e6:,.1f} MB\n")
        print_table(objects, "nothing is there, or no such bucket")
        say("")
        print_table(leases, "no work is held by a lease")
    _say_deleted_runs(found.mlflow_deleted, uri, to_stderr=False)


@store_app.command()
@grouped
def verify(
    *,
    deep: Annotated[bool, typer.Option("--deep", help="Read every byte, of the store and of the registry.")] = False,
    common: CommonOptions,
) -> None:
    """Compare every record, the chain of digests, the registry and the journal with each other. Exit status 3: something is
    damaged; each finding says what to do."""
    from flows.verifying import verify_store

    found = verify_store(*_place(common), deep)
    if common.as_json:
        print_json(found.as_json())
    else:
        say(f"verified {found.describe()}")
        print_table(found.table(), "intact")
    if found.findings:
        raise typer.Exit(_DAMAGED)


@store_app.command()
@grouped
def gc(
    *,
    keep_runs: KeepRuns = KEEP_RUNS,
    keep_days: KeepDays = KEEP_DAYS,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what would be deleted.")] = False,
    common: CommonOptions,
) -> None:
    """Delete results that nothing needs. Kept are those of the newest runs, of current profiles, of every alias and what it can
    be rolled back to, of candidates that wait, of live runs; and models, scores, journal and the records of all runs."""
    from flows.collecting import collect

    place, uri = _place(common)
    found = collect(place, uri, keep_runs, keep_days, time.time(), dry_run)
    if common.as_json:
        print_json(found.as_json())
        return
    print_table(found.table(), "nothing to delete")
    say(found.describe(dry_run))
    _say_deleted_runs(found.mlflow_deleted, uri, to_stderr=False)
