"""`crossmodal models`: what is in the registry, and who is champion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import typer

from flows.commands.options import CommonOptions, ModelName, grouped
from flows.console import print_json, print_table, say
from flows.environment import now_ms, tracking_uri_from_environment, user_name
from flows.request import default_tracking_uri
from tasks.publish import registry
from tasks.publish.approval import Approval
from tasks.reporting.run_tables import models_table
from tasks.store import Store

NONE_YET = "none yet; publish a model with crossmodal retrain"
models_app = typer.Typer(help="List, show, approve, reject, promote and roll back published models.")

Reason = Annotated[str, typer.Option(help="Why; it is kept in the registry. A candidate needs one.")]


@dataclass(frozen=True)
class Move:
    """How an alias is moved, and why."""

    reason: Reason = ""
    alias: Annotated[str, typer.Option(help="The alias to move.")] = "champion"


def _place(common: CommonOptions) -> tuple[Store, str]:
    return common.place, tracking_uri_from_environment() or default_tracking_uri(common.place)


def _approval(reason: str) -> Approval:
    return Approval(user_name(), now_ms(), reason)


def _show(rows: Sequence[Mapping[str, object]], as_json: bool, none: str = NONE_YET) -> None:
    if as_json:
        print_json(rows)
    elif not rows:
        say(none)
    else:
        print_table(models_table(rows))


@models_app.command("list")
@grouped
def list_models(common: CommonOptions) -> None:
    """List every model with its champion."""
    _show(registry.list_models(*_place(common)), common.as_json)


@models_app.command()
@grouped
def show(name: ModelName, common: CommonOptions) -> None:
    """Show every version of a model with its figures."""
    _show(registry.show_model(name, *_place(common)), common.as_json)


@models_app.command()
@grouped
def history(name: ModelName, common: CommonOptions) -> None:
    """Show which versions have been champion, oldest first."""
    _show([move.model_dump() for move in registry.history(name, *_place(common))], common.as_json)


@models_app.command()
@grouped
def pending(common: CommonOptions) -> None:
    """List the candidates that wait for approval, with their age and when they expire."""
    _show(registry.list_pending(*_place(common), now_ms()), common.as_json, "none; no candidate waits for approval")


@models_app.command()
@grouped
def promote(
    name: ModelName,
    version: Annotated[str, typer.Argument(help="A verified version, or a candidate that waits for approval.")],
    move: Move,
    common: CommonOptions,
) -> None:
    """Make a verified version the champion, or approve a candidate.

    Exit status 5 when it was never verified, its approval expired, or the champion has changed since it was judged.
    """
    release = registry.promote(name, version, move.alias, *_place(common), _approval(move.reason))
    _show([release.model_dump(mode="json")], common.as_json)


@models_app.command()
@grouped
def reject(
    name: ModelName,
    version: Annotated[str, typer.Argument(help="A candidate that waits for approval.")],
    *,
    reason: Reason = "",
    common: CommonOptions,
) -> None:
    """Reject a candidate. Exit status 5 when it does not wait for approval."""
    _show([registry.reject(name, version, _approval(reason), *_place(common))], common.as_json)


@models_app.command()
@grouped
def rollback(name: ModelName, move: Move, common: CommonOptions) -> None:
    """Give the alias back to the champion before this one."""
    release = registry.rollback(name, move.alias, *_place(common), _approval(move.reason))
    _show([release.model_dump(mode="json")], common.as_json)
