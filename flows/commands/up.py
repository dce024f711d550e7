"""`crossmodal up`: everything that is looked at in a browser, on this machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from flows import console
from flows.commands.options import CommonOptions, grouped
from flows.environment import tracking_uri_from_environment
from flows.request import default_tracking_uri


@dataclass(frozen=True)
class EventOptions(CommonOptions):
    """What nearly every command takes, of one whose JSON is a stream of events."""

    as_json: Annotated[bool, typer.Option("--json", help="Print each event as a line of JSON.")] = False


@grouped
def up(
    *,
    prefect_port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Port of Prefect's server and UI [4200, or the next free].")
    ] = None,
    mlflow_port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Port of MLflow's UI [5000, or the next free].")
    ] = None,
    pages_port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, help="Port of the start page and the reports [4300, or the next free]."),
    ] = None,
    postgres: Annotated[
        str | None,
        typer.Option(
            envvar="CROSSMODAL_POSTGRES",
            show_envvar=False,
            help="Address of a PostgreSQL database instead of SQLite in the store; better in CROSSMODAL_POSTGRES.",
        ),
    ] = None,
    common: EventOptions,
) -> None:
    """Start Prefect's server with its UI, the deployments, a worker, MLflow's UI and a start page, until Ctrl-C.

    Only this user's own browser and programs get in: the link that it prints logs the browser in.
    """
    from flows.hosting.start import Ports, start

    place = common.place
    place.prepare()
    announce = console.print_json_event if common.as_json else console.print_event
    tracking_uri = tracking_uri_from_environment()
    database_url = None
    if postgres is not None:
        from flows.hosting.postgres import parse_database, prepare_database

        database = parse_database(postgres)
        prepare_database(database)
        announce("PostgreSQL", database.shown)
        database_url = database.prefect_url
        tracking_uri = tracking_uri or database.mlflow_uri
    ports = Ports(prefect_port, mlflow_port, pages_port)
    start(place, tracking_uri or default_tracking_uri(place), ports, database_url, announce)
