"""On which data, under which settings a study of a published model works: those of the run that published it, or named ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from data_contracts.refs import ChampionRef
from flows.history import run_config
from flows.request import Request, resolve_config
from flows.serving.loading import names_folder
from tasks.config import RunConfig, load_config
from tasks.errors import EnvironmentFailed, UsageError
from tasks.publish.registry import run_of


class NamedData(NamedTuple):
    """What a person says of the data and settings."""

    profile: str | None = None
    data: str | None = None
    overrides: Sequence[str] = ()


def config_of_published(command: str, model: str, champion: ChampionRef, named: NamedData, place: Request) -> RunConfig:
    """The config under the model's name. `place` says where the store and the registry are.

    Raises UsageError, in the name of the command, where nothing says what the model's data are.
    """
    store = place.store
    if named.profile is not None or named.data is not None:
        config = resolve_config(named.profile, named.data, named.overrides, str(store.root))
        return config.model_copy(update={"name": champion.name})
    where = "name the data of its rows with --profile or --data"
    if names_folder(model) or ":" in model:
        raise UsageError(f"{command} {model}: a model in a folder tells nothing of its data; {where}")
    try:
        run = run_of(champion.name, champion.version, store, place.tracking_uri)
        held = run_config(store, run)
    except EnvironmentFailed as error:
        raise UsageError(f"{command} {model}: {error}; {where}") from None
    values = held.model_dump(mode="json", exclude_defaults=True) | {"name": champion.name}
    return load_config(values, named.overrides, f"run {run}")
