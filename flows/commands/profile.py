"""`crossmodal profile`: settings under a name, of the store's own or shipped."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from flows.commands.options import CommonOptions, grouped
from flows.console import print_json, print_table, progress_bars, say, typed
from flows.environment import new_run_id, store_from_environment, tracking_uri_from_environment
from flows.profiles import changed_keys, check_target, describe_settings, list_profiles, write_profile
from flows.request import find_profile, make_request, own_profiles, resolve_config
from tasks.display_table import DisplayTable

profile_app = typer.Typer(help="Write, list and show profiles: the data and settings of a model, under a name.")

Name = Annotated[str, typer.Argument(help="The profile's name, which is the model's, too.")]
CRON = '"0 3 * * 1"'


@profile_app.command()
@grouped
def new(
    name: Name,
    *,
    data: Annotated[str, typer.Option(help="A manifest, a folder per class, or a folder of tables named by split.")],
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A setting to keep; may be repeated.")
    ] = None,
    out: Annotated[
        str | None, typer.Option(help="Where the file goes (default: profiles/NAME.toml in the store).")
    ] = None,
    common: CommonOptions,
) -> None:
    """Read the data once and write a commented profile of what was recognised. Nothing is overwritten."""
    place = store_from_environment(common.store)
    target = Path(out).expanduser() if out is not None else own_profiles(place) / f"{name}.toml"
    check_target(name, target)
    settings = [*(overrides or []), f"name={name}"]
    config = resolve_config(None, data, settings, place)
    request = make_request(config, place, tracking_uri_from_environment(), new_run_id())
    with progress_bars():
        written = write_profile(name, target, request, overrides or [])
    if common.as_json:
        print_json({"profile": name, "file": str(written)})
        return
    say(f"written  {written}")
    by_name = written.absolute().parent == own_profiles(place).absolute()
    profile = name if by_name else shlex.quote(str(written))
    say(f"next     {typed(f'retrain --profile {profile}', request.store.root)}")
    if by_name:  # a schedule takes no file: it may be gone when it is due
        say(f"         {typed(f'schedule {name} --cron {CRON}', request.store.root)}")


@profile_app.command("list")
@grouped
def list_(common: CommonOptions) -> None:
    """List the profiles that can be used by name."""
    rows = [dict(row) for row in list_profiles(store_from_environment(common.store))]
    if common.as_json:
        print_json(rows)
    else:
        print_table(DisplayTable.of(rows))


@profile_app.command()
@grouped
def show(
    name: Annotated[str, typer.Argument(help="A profile's name, or the path of a TOML file.")],
    common: CommonOptions,
) -> None:
    """Show every setting that a profile resolves to, and which of them it sets itself."""
    place = store_from_environment(common.store)
    config = resolve_config(name, None, [], place)
    path = find_profile(name, place)
    if common.as_json:
        print_json({"profile": name, "file": str(path), "config": config.model_dump(mode="json")})
        return
    own = changed_keys(path)
    print_table(
        DisplayTable.of(
            {"setting": key, "value": _shown(value), "from": "profile" if key in own else "default"}
            for key, value in describe_settings(config).items()
        )
    )


def _shown(value: Any) -> Any:
    """A list as it can be typed after --set; what is not set is left out of its parts."""
    if not isinstance(value, list):
        return value
    parts = [{k: v for k, v in part.items() if v is not None} if isinstance(part, dict) else part for part in value]
    return json.dumps(parts, ensure_ascii=False)
