"""`crossmodal automations`: what a Prefect server does by itself when data drift, a verdict is reached or a run fails."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from flows import console
from flows.commands.options import CommonOptions, grouped
from tasks.display_table import DisplayTable

automations_app = typer.Typer(help="What the Prefect server does by itself: retrain on drift, call a webhook.")

Webhook = Annotated[
    str | None,
    typer.Option(
        envvar="CROSSMODAL_WEBHOOK_URL",
        show_envvar=True,
        metavar="URL",
        help="Address to call; `-` reads it from stdin, which keeps it out of the list of processes.",
    ),
]
File = Annotated[str | None, typer.Option("--file", help="Another file than deployments/automations.yaml.")]


@automations_app.command("apply")
@grouped
def apply(*, webhook: Webhook = None, file: File = None, common: CommonOptions) -> None:
    """Create the automations on the server of `crossmodal up`, or on PREFECT_API_URL, or update them."""
    from flows.automations import apply_automations

    url = sys.stdin.readline().strip() if webhook == "-" else webhook
    applied = apply_automations(common.place.root, file, url or None)
    if common.as_json:
        console.print_json(applied)
    else:
        console.print_table(DisplayTable.of(applied))
