"""`crossmodal login`: a link that logs a browser in to the `crossmodal up` of a store."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from flows.console import print_json, say
from flows.environment import store_from_environment
from flows.hosting.access import CODE_VALID_S, login_link
from flows.hosting.credentials import read_running
from tasks.errors import UsageError


def login(
    store: Annotated[
        str | None, typer.Option("--store", help="Folder for everything a run writes [.crossmodal].")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Print a link that logs a browser in to the `crossmodal up` of this store. It works once, for ten minutes."""
    root = Path(store_from_environment(store)).absolute()
    running = read_running(root)
    if running is None:
        raise UsageError(
            f"store {root}: no crossmodal up serves it; start one with crossmodal up --store {shlex.quote(str(root))}"
        )
    link = login_link(running.prefect_url, running.auth_string)
    if as_json:
        urls = {"prefect": running.prefect_url, "mlflow": running.mlflow_url, "pages": running.pages_url}
        print_json({"link": link, "valid_s": CODE_VALID_S, **urls})
    else:
        say(link)
