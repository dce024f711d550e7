"""`crossmodal runs`: what was run, how two runs differ, what was refused, and a run's inputs to take along."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows import history
from flows.commands.options import CommonOptions, ModelName, grouped
from flows.console import print_json, print_pairs, print_table, say
from flows.request import not_one_of
from tasks.display_table import DisplayTable
from tasks.errors import UsageError
from tasks.reporting.run_diff import changes_table, figures_table
from tasks.reporting.run_tables import run_facts, runs_table

runs_app = typer.Typer(help="List, show and compare runs; look at refused rows; pack a run's inputs.")

Run = Annotated[str, typer.Argument(help="A run's id, or the beginning or the end of it.")]


@runs_app.command("list")
@grouped
def list_runs(
    *,
    model: Annotated[str | None, typer.Option(help="Only those of this model.")] = None,
    verdict: Annotated[
        str | None,
        typer.Option(help=f"Only {', '.join(history.ENDINGS)}."),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, the newest.")] = 20,
    common: CommonOptions,
) -> None:
    """List runs, newest first, refused and failed ones too."""
    if verdict is not None and verdict not in history.ENDINGS:
        raise UsageError(f"--verdict: {not_one_of(verdict, history.ENDINGS)}")
    records = history.list_runs(common.place.root, model, verdict, limit)
    if common.as_json:
        print_json([record.model_dump(mode="json") for record in records])
    else:
        print_table(
            runs_table(records),
            "no run yet; start one with crossmodal retrain" if (model or verdict) is None else "no such run",
        )


@runs_app.command()
@grouped
def show(run: Run, common: CommonOptions) -> None:
    """Show all that is known of a run."""
    place = common.place
    record = history.find_run(place.root, run)
    if common.as_json:
        print_json(record.model_dump(mode="json"))
        return
    report = record.report and str(place.root / record.report)
    print_pairs([*run_facts(record), ("report", report)])


@runs_app.command()
@grouped
def diff(
    a: Annotated[str, typer.Argument(help="The earlier run.")],
    b: Annotated[str, typer.Argument(help="The later run.")],
    common: CommonOptions,
) -> None:
    """Show what differs between two runs: settings, data, figures paired on the same rows, seconds."""
    show_run_diff(common, a, b)


def show_run_diff(common: CommonOptions, a: str, b: str, heads: tuple[str, str] | None = None) -> None:
    """The two runs are shown beside each other, under these heads or their ids. UsageError where the store has no such run."""
    from flows import run_diff

    place = common.place
    found = run_diff.diff_runs(place, history.find_run(place.root, a), history.find_run(place.root, b))
    if common.as_json:
        print_json(run_diff.as_json(found))
        return
    heads = heads or (found.a, found.b)
    for title, changes in (("settings", found.config), ("data", found.data), ("seconds", found.seconds)):
        say(f"\n{title}{'' if changes else ': the same'}")
        if changes:
            print_table(changes_table(title, changes, heads))
    say(f"\nfigures ({found.paired})")
    print_table(figures_table(found, heads), "neither run has any")


@runs_app.command("history")
@grouped
def history_page(
    model: ModelName,
    *,
    out: Annotated[Path | None, typer.Option(help="Where the page goes; its place in the store if not said.")] = None,
    common: CommonOptions,
) -> None:
    """Write the page of a model's history: figures over its runs, rows, seconds, verdicts."""
    path = history.write_history_page(common.place.root, model, out)
    if common.as_json:
        print_json({"model": model, "page": str(path)})
    else:
        say(str(path))


@runs_app.command()
@grouped
def quarantine(
    run: Run,
    *,
    row: Annotated[int | None, typer.Option(min=1, help="Show this row wholly, with what its media look like.")] = None,
    table: Annotated[str | None, typer.Option(help="Of several tables the one that the row is in.")] = None,
    common: CommonOptions,
) -> None:
    """Show the rows that a run did not use, or one of them wholly."""
    from flows import quarantine as refused

    place = common.place
    record = history.find_run(place.root, run)
    if row is None:
        if table is not None:
            raise UsageError(f"--table {table!r}: says which table --row is in; give the row as well")
        rows = refused.refused_rows(place, record)
        if common.as_json:
            print_json(rows)
        else:
            print_table(DisplayTable.of(rows), "every row was used")
        return
    found = refused.refused_row(place, record, row, table)
    page = refused.leave_page(place, found)
    if common.as_json:
        print_json(found.model_dump(mode="json", exclude={"media"}) | {"page": str(page)})
        return
    print_pairs(list(found.facts.items()))
    say("\nthe cells in the manifest")
    print_pairs(list(found.cells.items()))
    say("\nwhat was read of them")
    print_pairs(list(found.read.items()))
    say(f"\nits media: {page}")


@runs_app.command()
@grouped
def pack(
    run: Run,
    *,
    out: Annotated[Path, typer.Option(help="The zip file.")],
    rows: Annotated[int, typer.Option(min=1, help="At most so many rows; of more, refused ones first.")] = 200,
    max_mb: Annotated[float, typer.Option(min=0.1, help="At most so much of media.")] = 100.0,
    common: CommonOptions,
) -> None:
    """Pack a run's settings and rows with their media, so that it ends the same way elsewhere."""
    from flows.pack import pack_run

    place = common.place
    packed = pack_run(place, history.find_run(place.root, run), out, rows, max_mb)
    if common.as_json:
        print_json({**packed._asdict(), "path": str(packed.path)})
        return
    say(f"{packed.path}: {packed.rows} of {packed.total} rows, {packed.media} media, {packed.bytes / 1e6:.1f} MB")
    for line in packed.left_out[:20]:
        say(f"left out   {line}")
