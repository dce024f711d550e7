"""`crossmodal run-stage`: one stage again, with what an earlier run handed to it."""

from __future__ import annotations

from typing import Annotated

import typer

from flows import console, rerun
from flows.environment import store_from_environment, tracking_uri_from_environment
from flows.history import find_run, run_config
from flows.refresh import all_stages, require_stages
from flows.request import make_request
from tasks.store import Store


def rerun_stage(
    stage: Annotated[str, typer.Argument(help=f"One of {', '.join(all_stages())}.")],
    run: Annotated[str, typer.Option(help="The run whose refs it gets: an id, or the beginning or the end of one.")],
    store: Annotated[
        str | None, typer.Option("--store", help="Folder for everything a run writes [.crossmodal].")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Run one stage again with what an earlier run, failed ones too, handed to it; in this process, for pdb.

    It is computed although the store has its result, and compared with what the run had.
    """
    require_stages([stage], all_stages())
    place = store_from_environment(store)
    record = find_run(Store(place).root, run)
    config = run_config(Store(place), record.run)
    request = make_request(config, place, tracking_uri_from_environment(), record.run)
    with console.progress_bars():
        results = rerun.run_stage(request, record.run, stage)
    if as_json:
        console.print_json(rerun.as_json(results))
        return
    for name, ref, equals in results:
        told = {True: "equal to the run's", False: "DIFFERS from the run's", None: "the run did not come to it"}[equals]
        console.say(f"{name}: {told}")
        console.print_json(ref.model_dump(mode="json"))
