"""`crossmodal schedule`: when a profile is retrained, on the Prefect server that runs."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from flows.commands.options import CommonOptions, ProfileName, grouped
from flows.console import print_json, print_table, say
from flows.request import find_profile, resolve_config
from tasks.display_table import DisplayTable
from tasks.errors import UsageError


class ScheduleGroup(TyperGroup):
    """`schedule PROFILE …` is `schedule add PROFILE …`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """What was typed, with `add` where it is left out."""
        if args and not args[0].startswith("-") and args[0] not in self.commands:
            args = ["add", *args]
        return super().parse_args(ctx, args)


schedule_app = typer.Typer(
    cls=ScheduleGroup,
    help="Retrain a profile again and again: schedule PROFILE --cron …, list, pause, resume, remove.",
)

Name = Annotated[str, typer.Argument(help="The profile, or the name of its deployment (crossmodal schedule list).")]


@schedule_app.command()
@grouped
def add(
    profile: ProfileName,
    *,
    cron: Annotated[
        str, typer.Option(help='Five fields: minute, hour, day, month, weekday; "0 3 * * 1" is Mondays at 03:00.')
    ],
    timezone: Annotated[str, typer.Option(help="An IANA name, such as Europe/Berlin.")] = "UTC",
    common: CommonOptions,
) -> None:
    """Retrain the profile by the clock, in the place of the schedule that it had. `add` may be left out.

    The Prefect server is that of `crossmodal up` on this store, else PREFECT_API_URL.
    """
    place = common.place
    path = find_profile(profile, str(place.root))
    if path.stem != profile:
        raise UsageError(
            f"profile {profile!r}: a schedule takes a profile by name; put it into {place.root / 'profiles'}"
        )
    resolve_config(profile, None, [], str(place.root))  # what cannot be read would fail at the hour that it is due
    from flows.hosting.registering import check_name, prefect_client
    from flows.hosting.schedules import check_schedule, set_schedule

    check_name(profile)
    schedule, due = check_schedule(cron, timezone)
    with prefect_client(place.root) as client:
        line = set_schedule(client, profile, schedule, due, place)
    if common.as_json:
        print_json(line)
    else:
        say(f"scheduled  {line['deployment']}: {line['cron']} {line['timezone']}, next {line['next']}")


@schedule_app.command("list")
@grouped
def list_schedules(common: CommonOptions) -> None:
    """List every schedule, of retraining and of watching, with its profile and when it is due next."""
    from flows.hosting.registering import prefect_client
    from flows.hosting.schedules import read_schedules

    with prefect_client(common.place.root) as client:
        lines = read_schedules(client)
    if common.as_json:
        print_json(lines)
    else:
        print_table(
            DisplayTable.of(lines), empty='none yet; set one with crossmodal schedule PROFILE --cron "0 3 * * 1"'
        )


@schedule_app.command()
@grouped
def pause(name: Name, common: CommonOptions) -> None:
    """Stop a schedule until it is resumed; a run in progress continues."""
    _change(name, "paused", common)


@schedule_app.command()
@grouped
def resume(name: Name, common: CommonOptions) -> None:
    """Resume a paused schedule."""
    _change(name, "resumed", common)


@schedule_app.command()
@grouped
def remove(name: Name, common: CommonOptions) -> None:
    """Remove a schedule; its deployment and the runs it had stay."""
    _change(name, "removed", common)


def _change(name: str, what: str, common: CommonOptions) -> None:
    from flows.hosting.registering import prefect_client
    from flows.hosting.schedules import change_schedule

    with prefect_client(common.place.root) as client:
        deployment = change_schedule(client, name, what)
    if common.as_json:
        print_json({"deployment": deployment, "schedule": what})
    else:
        say(f"{what:<9}  {deployment}")
