"""`crossmodal schedule`: when a profile is retrained, on the Prefect server that runs."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from flows.console import print_json, print_table, say
from flows.environment import store_from_environment
from flows.request import find_profile
from tasks.errors import UsageError
from tasks.store import Store


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

Profile = Annotated[str, typer.Argument(help="A profile's name (crossmodal profile list).")]
Name = Annotated[str, typer.Argument(help="The profile, or the name of its deployment (crossmodal schedule list).")]
StoreOption = Annotated[str | None, typer.Option("--store", help="Folder for everything a run writes [.crossmodal].")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]


@schedule_app.command()
def add(
    profile: Profile,
    cron: Annotated[
        str, typer.Option(help='Five fields: minute, hour, day, month, weekday; "0 3 * * 1" is Mondays at 03:00.')
    ],
    timezone: Annotated[str, typer.Option(help="An IANA name, such as Europe/Berlin.")] = "UTC",
    store: StoreOption = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Retrain the profile by the clock, in the place of the schedule that it had. `add` may be left out.

    The Prefect server is that of `crossmodal up` on this store, else PREFECT_API_URL.
    """
    place = Store(store_from_environment(store))
    path = find_profile(profile, str(place.root))
    if path.stem != profile:
        raise UsageError(
            f"profile {profile!r}: a schedule takes a profile by name; put it into {place.root / 'profiles'}"
        )
    from flows.hosting.registering import prefect_client
    from flows.hosting.schedules import check_schedule, set_schedule

    schedule = check_schedule(cron, timezone)
    with prefect_client(place.root) as client:
        line = set_schedule(client, profile, schedule, place)
    if as_json:
        print_json(line)
    else:
        say(f"scheduled  {line['deployment']}: {line['cron']} {line['timezone']}")


@schedule_app.command("list")
def list_schedules(store: StoreOption = None, as_json: Json = False, debug: Debug = False) -> None:
    """List every schedule with the profile that it retrains and when it is due next."""
    from flows.hosting.registering import prefect_client
    from flows.hosting.schedules import read_schedules

    with prefect_client(Store(store_from_environment(store)).root) as client:
        lines = read_schedules(client)
    if as_json:
        print_json(lines)
    else:
        print_table(
            list(map(dict, lines)), empty='none yet; set one with crossmodal schedule PROFILE --cron "0 3 * * 1"'
        )


@schedule_app.command()
def pause(name: Name, store: StoreOption = None, as_json: Json = False, debug: Debug = False) -> None:
    """Stop a schedule until it is resumed; a run that is on goes on."""
    _change(name, "paused", store, as_json)


@schedule_app.command()
def resume(name: Name, store: StoreOption = None, as_json: Json = False, debug: Debug = False) -> None:
    """Let a paused schedule go on."""
    _change(name, "resumed", store, as_json)


@schedule_app.command()
def remove(name: Name, store: StoreOption = None, as_json: Json = False, debug: Debug = False) -> None:
    """Remove a schedule; its deployment and the runs it had stay."""
    _change(name, "removed", store, as_json)


def _change(name: str, what: str, store: str | None, as_json: bool) -> None:
    from flows.hosting.registering import prefect_client
    from flows.hosting.schedules import change_schedule

    with prefect_client(Store(store_from_environment(store)).root) as client:
        deployment = change_schedule(client, name, what)
    if as_json:
        print_json({"deployment": deployment, "schedule": what})
    else:
        say(f"{what:<9}  {deployment}")
