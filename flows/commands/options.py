"""The options that commands share, each written once, and `grouped`, by which a command takes several as one object."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Annotated, Any, get_type_hints

import typer

from flows.environment import (
    new_run_id,
    refresh_from_environment,
    store_from_environment,
    tracking_uri_from_environment,
)
from flows.request import Request, make_request, named_profile, resolve_config
from tasks.modalities import Preset
from tasks.shared_store import open_store
from tasks.store import Store
from tasks.store_view import readable

StoreOption = Annotated[
    str | None,
    typer.Option("--store", help="Folder for everything a run writes [.crossmodal], or a bucket: s3://BUCKET/PREFIX."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
SummaryJson = Annotated[
    bool, typer.Option("--json", help="Print the run's summary as JSON on the last line of stdout.")
]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
Profile = Annotated[str | None, typer.Option(help="A name (crossmodal profile list), or the path of a TOML file.")]
ProfileName = Annotated[str, typer.Argument(help="A profile's name (crossmodal profile list).")]
Data = Annotated[str | None, typer.Option(help="A manifest, a folder per class, or a folder of tables named by split.")]
MANIFEST = typer.Argument(help="A manifest, a folder per class, or a folder of tables named by split.")
Set = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a setting; may be repeated.")
]
PresetName = Annotated[
    Preset | None,
    typer.Option(help="Encoders of one size, for each modality without one: offline, fast, medium or best."),
]
Model = Annotated[str | None, typer.Option(help="NAME or NAME@ALIAS in the registry; may be left out if there is one.")]
ModelName = Annotated[str, typer.Argument(help="The model's name.")]


@dataclass(frozen=True)
class CommonOptions:
    """What nearly every command takes."""

    store: StoreOption = None
    as_json: Json = False
    debug: Debug = False
    """Acted on where errors are shown, in flows/cli.py."""

    @property
    def place(self) -> Store:
        """The store: the option's, else the environment's."""
        return open_store(store_from_environment(self.store))

    @property
    def readable_place(self) -> Store:
        """The same for a command that only reads: one that cannot be written to will do."""
        return readable(self.place)


@dataclass(frozen=True)
class SummaryOptions(CommonOptions):
    """The same, of a command whose JSON is a run's summary."""

    as_json: SummaryJson = False


@dataclass(frozen=True)
class RunInput:
    """Whose settings and data a run takes."""

    profile: Profile = None
    data: Data = None
    preset: PresetName = None
    overrides: Set = None

    def __post_init__(self) -> None:
        """The preset is one of the overrides, which every run takes."""
        if self.preset is not None:
            object.__setattr__(self, "overrides", [f"encoders.preset={self.preset}", *(self.overrides or [])])
            object.__setattr__(self, "preset", None)

    def request(self, store: str | None, reading: bool = False) -> Request:
        """The run that is asked for, new, in the store of the option or the environment. Raises UsageError.

        `reading`: a store that cannot be written to will do.
        """
        place = store_from_environment(store)
        config = resolve_config(self.profile, self.data, self.overrides or [], place)
        request = make_request(config, place, tracking_uri_from_environment(), new_run_id(), reading=reading)
        return replace(request, refresh=refresh_from_environment(), profile=named_profile(self.profile, self.data))


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """The command as typer takes it: a parameter that is a dataclass of options stands there as the dataclass's fields."""
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {name: hint for name, hint in hints.items() if is_dataclass(hint)}
    parameters: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(command).parameters.items():
        own = parameter.replace(annotation=hints[name], kind=inspect.Parameter.KEYWORD_ONLY)
        parameters += _parameters_of(groups[name]) if name in groups else [own]

    @functools.wraps(command)
    def call(**values: Any) -> None:
        """The command has run, each group made of the values of its fields."""
        for name, group in groups.items():
            values[name] = group(**{field.name: values.pop(field.name) for field in fields(group)})
        command(**values)

    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    call.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return call


def _parameters_of(group: Any) -> list[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(
            field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=hints[field.name]
        )
        for field in fields(group)
    ]
