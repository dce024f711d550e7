"""`crossmodal backup` and `crossmodal restore`: the store, its registry and Prefect's database, as one folder."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from flows import console
from flows.commands.options import CommonOptions, grouped
from flows.environment import tracking_uri_from_environment
from tasks.redaction import redact


@grouped
def backup(
    out: Annotated[Path, typer.Option(help="A new folder for the copy, outside the store.")], common: CommonOptions
) -> None:
    """Copy the store with its databases, also while runs write to it. A database elsewhere is named, not copied."""
    from flows.hosting.backup import back_up

    record = back_up(common.place, out, datetime.now(UTC))
    elsewhere = _elsewhere(record.databases)
    if common.as_json:
        counts = {"files": len(record.files), "bytes": record.bytes, "databases": list(record.databases)}
        console.print_json({"backup": str(out.absolute()), **counts, "elsewhere": elsewhere})
        return
    console.say(f"copied   {len(record.files)} files, {record.bytes / 1e6:.1f} MB, to {out.absolute()}")
    console.say(f"holds    {', '.join(record.databases) or 'no database'}")
    for line in elsewhere:
        console.say(f"without  {line}")


@grouped
def restore(
    folder: Annotated[Path, typer.Argument(help="A folder that crossmodal backup made.")], common: CommonOptions
) -> None:
    """Make a store from a backup, in a new place or the old one, every file verified. Exit status 4: it is damaged."""
    from flows.hosting.backup import restore as restore_store

    place = common.place
    record = restore_store(folder, place)
    if common.as_json:
        console.print_json(
            {
                "store": str(place.root),
                "files": len(record.files),
                "created_at": f"{record.created_at:%Y-%m-%dT%H:%M:%SZ}",
            }
        )
    else:
        console.say(f"restored {len(record.files)} files of {record.created_at:%Y-%m-%d %H:%M} UTC to {place.root}")


def _elsewhere(databases: tuple[str, ...]) -> list[str]:
    """What belongs to a whole backup and was not in the store."""
    lines = []
    if "mlflow.db" not in databases:
        where = redact(tracking_uri_from_environment() or "")
        lines.append(f"the model registry {where or '(nothing was published yet)'}")
    if "prefect/prefect.db" not in databases:
        lines.append("Prefect's database: there is none in the store; on PostgreSQL, take pg_dump (docs/hosting.md)")
    return lines
