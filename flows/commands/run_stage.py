"""`crossmodal run-stage`: one stage again, with what an earlier run handed to it."""

from __future__ import annotations

from typing import Annotated

import typer

from flows import console, rerun
from flows.commands.options import CommonOptions, grouped
from flows.environment import tracking_uri_from_environment
from flows.history import find_run, run_config
from flows.refresh import all_stages, require_stages
from flows.request import make_request


@grouped
def run_stage(
    stage: Annotated[str, typer.Argument(help=f"One of {', '.join(all_stages())}.")],
    run: Annotated[str, typer.Option(help="The run whose refs it gets: an id, or the beginning or the end of one.")],
    common: CommonOptions,
) -> None:
    """Run one stage again with what an earlier run, failed ones too, handed to it; in this process, for pdb.

    It is computed although the store has its result, and compared with what the run had.
    """
    require_stages([stage], all_stages())
    place = common.place
    record = find_run(place.root, run)
    config = run_config(place, record.run)
    request = make_request(config, str(place.root), tracking_uri_from_environment(), record.run)
    with console.progress_bars():
        results = rerun.run_stage(request, record.run, stage)
    if common.as_json:
        console.print_json(rerun.as_json(results))
        return
    for name, ref, equals in results:
        listed = {True: "equal to the run's", False: "DIFFERS from the run's", None: "the run did not come to it"}[
            equals
        ]
        console.say(f"{name}: {listed}")
        console.print_json(ref.model_dump(mode="json"))
