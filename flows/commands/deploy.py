"""`crossmodal deploy`: every deployment on any Prefect server, or on Prefect Cloud."""

from __future__ import annotations

from typing import Annotated

import typer

from flows.commands.options import CommonOptions, grouped
from flows.console import print_json, say
from flows.hosting.deployments import POOL, POOL_TYPES, PoolType, Target, render_pool
from flows.request import not_one_of, profile_files
from tasks.errors import UsageError
from tasks.shared_store import shared_address
from tasks.store import Store


@grouped
def deploy(
    *,
    pool: Annotated[str, typer.Option(help="The work pool; it is made where it is not there.")] = POOL,
    pool_type: Annotated[
        str, typer.Option("--type", metavar="|".join(POOL_TYPES), help="Where the pool's runs are started.")
    ] = "process",
    image: Annotated[
        str | None, typer.Option(help="docker, kubernetes: the image in which crossmodal is installed.")
    ] = None,
    common: CommonOptions,
) -> None:
    """Register the work pool, all deployments and the automations on a Prefect server, or on Prefect Cloud.

    The server is that of `crossmodal up` on this store, else PREFECT_API_URL (with PREFECT_API_KEY, for the Cloud).
    """
    place = common.place
    target = make_target(place, pool, pool_type, image)
    render_pool(target)  # type and image are right before the server is asked
    from flows.automations import apply_automations
    from flows.hosting.registering import prefect_client, register_all

    with prefect_client(place.root) as client:
        names = register_all(client, target)
    applied = apply_automations(place.root, path=None, webhook_url=None)
    if common.as_json:
        print_json({"pool": pool, "type": pool_type, "deployments": names, "automations": applied})
        return
    say(f"pool        {pool} ({pool_type})")
    for name in names:
        say(f"deployment  {name}")
    for line in applied:
        say(f"automation  {line['automation']}: {line['outcome']}")


def make_target(place: Store, pool: str, pool_type: str, image: str | None) -> Target:
    """Where deployments go, with the profiles there are now as choices. UsageError for a type that is none."""
    chosen: list[PoolType] = [known for known in POOL_TYPES if known == pool_type]
    if not chosen:
        raise UsageError(f"--type: {not_one_of(pool_type, POOL_TYPES)}")
    profiles = tuple(profile_files(str(place.root)))
    store = shared_address(place.root) or str(place.root)  # a bucket's cache is another folder on each worker's machine
    return Target(pool=pool, type=chosen[0], image=image, store=store, profiles=profiles)
