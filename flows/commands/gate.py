"""`crossmodal gate`: what the gate can show."""

from __future__ import annotations

from typing import Annotated

import typer

from flows.commands.options import CommonOptions, RunInput, grouped
from flows.console import print_json, print_table, say
from flows.gate_power import find_power

gate_app = typer.Typer(help="Say what the gate can show on a model's test rows.")


@gate_app.callback()
def _group() -> None:
    """Say what the gate can show on a model's test rows."""


@gate_app.command()
@grouped
def power(
    *,
    of: RunInput,
    rows: Annotated[int | None, typer.Option(min=1, help="Test rows, instead of the last run's.")] = None,
    agreement: Annotated[
        float | None,
        typer.Option(min=0.0, max=1.0, help="Share of rows that two models answer alike, instead of the last run's."),
    ] = None,
    common: CommonOptions,
) -> None:
    """Show the smallest change that a model's test rows can show, in every mode of the gate; nothing is computed anew."""
    found = find_power(of.request(common.store), rows, agreement)
    if common.as_json:
        print_json(found.as_json())
        return
    say(found.describe())
    print_table(found.table())
