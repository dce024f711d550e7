"""`crossmodal models`: what is in the registry, and who is champion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

import typer

from flows.commands.options import CommonOptions, ModelName, grouped
from flows.commands.runs import show_run_diff
from flows.console import print_json, print_table, say
from flows.environment import now_ms, tracking_uri_from_environment, user_name
from flows.journaling import record_decisions
from flows.request import default_tracking_uri, verify_key_from_environment
from tasks.errors import UsageError
from tasks.holdout_reuse import MANY, describe_uses
from tasks.publish import alias_history, journal_events, registry
from tasks.publish.approval import Approval
from tasks.publish.journal import Entry
from tasks.reporting.run_tables import journal_table, models_table
from tasks.store import Store

NONE_YET = "none yet; publish a model with crossmodal retrain"
CHAMPION = "champion"
models_app = typer.Typer(help="List, show, approve, reject, promote and roll back published models.")

Reason = Annotated[str, typer.Option(help="Why; it is kept in the registry. A candidate needs one.")]


@dataclass(frozen=True)
class Move:
    """How an alias is moved, and why."""

    reason: Reason = ""
    alias: Annotated[str, typer.Option(help="The alias to move.")] = CHAMPION


def _place(common: CommonOptions) -> tuple[Store, str]:
    return _with_registry(common.place)


def _readable(common: CommonOptions) -> tuple[Store, str]:
    return _with_registry(common.readable_place)


def _with_registry(place: Store) -> tuple[Store, str]:
    return place, tracking_uri_from_environment() or default_tracking_uri(place)


def _approval(reason: str) -> Approval:
    return Approval(user_name(), now_ms(), reason)


def _show(rows: Sequence[Mapping[str, object]], as_json: bool, none: str = NONE_YET) -> None:
    if as_json:
        print_json(rows)
    elif not rows:
        say(none)
    else:
        print_table(models_table(rows))


def _say_waiting(common: CommonOptions, name: str = "") -> None:
    """A line for each candidate that waits, of one model or of all: until when, and what to type."""
    for entry in registry.list_pending(*_readable(common), now_ms()):
        if name in ("", entry["name"]) and entry["state"] == "pending":
            which = f"{entry['name']} {entry['version']}"
            say(
                f"{entry['name']} version {entry['version']} (challenger) waits for approval until {entry['expires']} UTC: "
                f"crossmodal models promote {which} --reason ..., or reject",
                to_stderr=common.as_json,
            )


def _show_entries(entries: Sequence[Entry], common: CommonOptions, none: str) -> None:
    if common.as_json or not entries:
        _show([entry.model_dump(mode="json") for entry in entries], common.as_json, none)
    else:
        print_table(journal_table([entry.model_dump() for entry in entries]))


@models_app.command("list")
@grouped
def list_models(common: CommonOptions) -> None:
    """List every model with its champion, and the candidates that wait for approval."""
    _show(registry.list_models(*_readable(common)), common.as_json)
    _say_waiting(common)


@models_app.command()
@grouped
def show(name: ModelName, common: CommonOptions) -> None:
    """Show every version of a model with its figures."""
    _show(registry.show_model(name, *_readable(common)), common.as_json)


@models_app.command()
@grouped
def history(name: ModelName, common: CommonOptions) -> None:
    """Show which versions have been champion, since when, by whom, and how many verdicts their test rows had decided before."""
    moves = registry.history(name, *_readable(common))
    uses = journal_events.uses_by_run(name, common.readable_place)
    published = journal_events.published_by_run(name, common.readable_place)
    known = any(move.run in uses for move in moves)
    rows = [
        _dated(move, published.get(str(move.run))) | ({"test_uses": uses.get(str(move.run))} if known else {})
        for move in moves
    ]
    _show(rows, common.as_json)
    if uses and (latest := [*uses.values()][-1]) > MANY:
        say(describe_uses(latest), to_stderr=common.as_json)
    _say_waiting(common, name)


def _dated(move: alias_history.Move, published: Entry | None) -> dict[str, object]:
    """A move for the table. The registry says when and by whom of one by hand, the journal of one by a run."""
    if published is None or move.at_ms is not None:
        return move.model_dump()
    return move.model_dump() | {"by": published.by, "at_ms": round(published.at.timestamp() * 1000)}


@models_app.command()
@grouped
def journal(
    name: Annotated[str, typer.Argument(help="The model's name; without it the entries on all models.")] = "",
    *,
    common: CommonOptions,
) -> None:
    """Show every verdict, promotion, rollback and rejection with who, when, why and the digests of the evidence.

    The chain of digests is checked first: exit status 4 names the line that was changed, or says that the end is missing.
    """
    lines, notes = journal_events.checked_journal(name, *_readable(common))
    for note in notes:
        say(note, to_stderr=common.as_json)
    _show_entries([line.entry for line in lines], common, "none yet; crossmodal retrain writes it")


@models_app.command()
@grouped
def at(
    time: Annotated[str, typer.Argument(help="2026-11-20T03:00, in UTC where it names no other zone.")],
    *,
    alias: Annotated[str, typer.Option(help="The alias.")] = CHAMPION,
    common: CommonOptions,
) -> None:
    """Show which version of each model was champion at a time, since when, and by whom, from the journal."""
    try:
        moment = datetime.fromisoformat(time)
    except ValueError:
        raise UsageError(f"time {time!r}: is not like 2026-11-20T03:00") from None
    lines, _ = journal_events.checked_journal("", *_readable(common))
    found = journal_events.champions_at(lines, moment if moment.tzinfo else moment.replace(tzinfo=UTC), alias)
    _show_entries([found[name] for name in sorted(found)], common, f"no model had the alias {alias} then")


@models_app.command()
@grouped
def diff(
    name: ModelName,
    a: Annotated[str, typer.Argument(help="The earlier version.")],
    b: Annotated[str, typer.Argument(help="The later version.")],
    *,
    common: CommonOptions,
) -> None:
    """Show what differs between two versions: settings, data, figures paired on the same rows, as `crossmodal runs diff`."""
    ours, theirs = (registry.run_of(name, version, *_readable(common)) for version in (a, b))
    show_run_diff(common, ours, theirs, heads=(f"version {a}", f"version {b}"))


@models_app.command()
@grouped
def pending(common: CommonOptions) -> None:
    """List the candidates that wait for approval, with their age and when they expire."""
    _show(registry.list_pending(*_readable(common), now_ms()), common.as_json, "none; no candidate waits for approval")


@models_app.command()
@grouped
def promote(
    name: ModelName,
    version: Annotated[str, typer.Argument(help="A verified version, or a candidate that waits for approval.")],
    move: Move,
    common: CommonOptions,
) -> None:
    """Make a verified version the champion, or approve a candidate.

    Exit status 5 when it was never verified, its approval expired, or the champion has changed since it was evaluated.
    """
    place = _place(common)
    release = registry.promote(name, version, move.alias, *place, _approval(move.reason), verify_key_from_environment())
    record_decisions(name, move.alias, *place)
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
    place = _place(common)
    entry = registry.reject(name, version, _approval(reason), *place)
    record_decisions(name, CHAMPION, *place)
    _show([entry], common.as_json)


@models_app.command()
@grouped
def rollback(name: ModelName, move: Move, common: CommonOptions) -> None:
    """Give the alias back to the champion before this one."""
    place = _place(common)
    release = registry.rollback(name, move.alias, *place, _approval(move.reason), verify_key_from_environment())
    record_decisions(name, move.alias, *place)
    _show([release.model_dump(mode="json")], common.as_json)
