"""`crossmodal monitor` and `crossmodal watch`: whether data have drifted, and whether they have arrived."""

from __future__ import annotations

from typing import Annotated

import typer

from data_contracts.run_summary import RunSummary
from flows import console
from flows.commands.options import Model, ProfileName, Set, SummaryOptions, grouped
from flows.drift import monitor_manifest
from flows.environment import new_run_id, store_from_environment, tracking_uri_from_environment
from flows.request import make_request, resolve_config
from tasks.reporting.run_tables import drift_table

NewData = Annotated[str, typer.Argument(help="New data: a manifest, a folder per class, or a folder of tables.")]


@grouped
def monitor(
    manifest: NewData,
    *,
    model: Model = None,
    overrides: Set = None,
    common: SummaryOptions,
) -> None:
    """Compare new data with those that a model was published with. Labels are not needed. Drift is a result: exit status 0."""
    config = resolve_config(None, manifest, overrides or [])
    request = make_request(config, store_from_environment(common.store), tracking_uri_from_environment(), new_run_id())
    with console.progress_bars():
        summary = monitor_manifest(request, model)
    _print(summary, str(request.store.root / str(summary.report)), common.as_json)


@grouped
def watch(
    profile: ProfileName,
    *,
    source: Annotated[
        str | None, typer.Option(help="Folder, file or bucket to look at (default: the profile's data).")
    ] = None,
    deployment: Annotated[str, typer.Option(help="FLOW/NAME that is started.")] = "retrain/weekly",
    every_s: Annotated[float, typer.Option("--every", min=10, help="Seconds between two looks.")] = 300,
    settle_s: Annotated[int, typer.Option("--settle", min=0, help="Seconds without a change before a run.")] = 60,
    remove: Annotated[bool, typer.Option("--remove", help="Look no more: remove the sensor's schedule.")] = False,
    common: SummaryOptions,
) -> None:
    """Start a run whenever data arrive: schedules the sensor on the server of `crossmodal up`, or on PREFECT_API_URL."""
    from flows.sensors import is_missing, remove_watch, schedule_watch

    root = common.place.root
    if remove:
        slug = remove_watch(root, profile, deployment)
        if common.as_json:
            console.print_json({"schedule": slug, "removed": True, "deployment": deployment})
        else:
            console.say(f"removed   {slug}")
        return
    if source is not None and is_missing(source):
        console.print_warning(f"--source {source!r}: nothing is there now; nothing is started until something is")
    slug = schedule_watch(root, profile, source, deployment, every_s, settle_s)
    if common.as_json:
        console.print_json({"schedule": slug, "every_s": every_s, "deployment": deployment})
    else:
        console.say(f"scheduled {slug}: a look every {every_s:g} s, {deployment} when data have arrived")


def _print(summary: RunSummary, report: str, as_json: bool) -> None:
    if as_json:
        console.print_json(summary.as_json())
        return
    console.say(f"drift    {'yes' if summary.drift else 'no'}")
    console.say(f"reason   {summary.reason}")
    if summary.tests:
        console.print_table(drift_table(summary.tests))
    console.say(f"report   {report}")
