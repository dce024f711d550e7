"""`crossmodal report`: pages about what a store holds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows import history
from flows.commands.options import CommonOptions, grouped
from flows.console import print_json, say

report_app = typer.Typer(help="Write a page about runs, to look at in a browser.", no_args_is_help=True)


@report_app.callback()
def report() -> None:
    """Write a page about runs, to look at in a browser."""


@report_app.command()
@grouped
def compare(
    a: Annotated[str, typer.Argument(help="The earlier run: its id, or the beginning or the end of it.")],
    b: Annotated[str, typer.Argument(help="The later run.")],
    *,
    out: Annotated[Path | None, typer.Option(help="Where the page goes; its place in the store if not said.")] = None,
    common: CommonOptions,
) -> None:
    """Write a page with two runs side by side: verdicts, figures paired on the same rows, settings, data, seconds."""
    from flows import run_diff

    place = common.place
    first, second = (history.find_run(place.root, run) for run in (a, b))
    diff = run_diff.diff_runs(place, first, second)
    path = run_diff.write_page(place, diff, first, second, out)
    if common.as_json:
        print_json({**run_diff.as_json(diff), "page": str(path)})
    else:
        say(str(path))
