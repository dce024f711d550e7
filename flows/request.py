"""A request for a run: profile, data, overrides and store become one resolved config, before anything heavy is loaded."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Literal, get_args

from tasks.config import RunConfig, load_config, read_profile
from tasks.config_paths import absolute_path
from tasks.errors import UsageError
from tasks.fingerprint import keep_digests
from tasks.ingest.sources.resolve import name_of_data
from tasks.publish.addresses import sqlite_uri
from tasks.publish.model_names import check_model_name
from tasks.shared_store import SharedStore, open_store
from tasks.store import Store
from tasks.store_use import hold
from tasks.store_view import readable

DEFAULT_PROFILE = "digits"
DEFAULT_STORE = ".crossmodal"
VERIFY_KEY = "CROSSMODAL_VERIFY_KEY"
OVERRIDE = r"^[^=]+="
"""What a KEY=VALUE looks like, as a JSON Schema pattern: the form in the UI and the command line refuse the same."""
Mode = Literal["full", "plan only", "evaluate only"]
"""full: all stages. plan only: what would be computed. evaluate only: evaluate the champion on the test rows of today."""
MODES: tuple[Mode, ...] = get_args(Mode)

PresetChoice = Literal["the profile's", "offline", "fast", "medium", "best"]
"""What the form in the UI offers: a preset of encoders, or what the profile has."""
OF_PROFILE: PresetChoice = "the profile's"


def verify_key_from_environment() -> str | None:
    """CROSSMODAL_VERIFY_KEY, when it is set: the file of the public key that models must be signed with.

    UsageError where it is empty: a variable that nobody filled in must not switch verification off.
    """
    path = os.environ.get(VERIFY_KEY)
    if path == "":
        raise UsageError(f"{VERIFY_KEY}: is empty; name the file of a public key, or unset it to verify no signatures")
    return path


@dataclass(frozen=True)
class Request:
    """What to run, and where everything it writes goes."""

    config: RunConfig
    store: Store
    tracking_uri: str = field(repr=False)
    """MLflow's address, which may hold a password."""
    run_id: str
    prefect_run_id: str | None = None
    """Of the flow run, where there is one."""
    refresh: tuple[str, ...] = ()
    """Stages that are computed although the store has their results."""
    profile: str | None = None
    """The profile that was asked for, by name or path."""

    @property
    def name(self) -> str:
        """The model's name."""
        return str(self.config.name)

    @property
    def verify_key(self) -> str | None:
        """The file of the public key that models must be signed with, where there is one."""
        return self.config.publish.verify_key or verify_key_from_environment()

    @property
    def folder(self) -> Path:
        """Where the run's summary, report and quarantine lie."""
        return self.store.root / "runs" / self.run_id


def resolve_config(
    profile: str | None, data: str | None, overrides: Sequence[str], store: str | None = None
) -> RunConfig:
    """The config, with the model's name filled in and every path absolute. Without profile and data, the digits profile.

    Profiles are looked up by name in the store's own first. Raises UsageError.
    """
    if profile is None and data is None and not any(text.startswith("data.path=") for text in overrides):
        profile = DEFAULT_PROFILE
    path = find_profile(profile, store) if profile is not None else None
    values = read_profile(path) if path is not None else {}
    check_overrides(overrides)
    config = load_config(values, overrides, None if profile is None else f"profile {profile}")
    if data is not None:
        here = absolute_path(data, Path.cwd())
        config = config.model_copy(update={"data": config.data.model_copy(update={"path": here})})
    name = config.name or (path.stem if path is not None and data is None else name_of_data(config.data.path))
    return config.model_copy(update={"name": check_model_name(name)})


def named_profile(profile: str | None, data: str | None) -> str | None:
    """The profile that a run is of: the one named, the default one where nothing is, none where only data are."""
    return profile or (None if data else DEFAULT_PROFILE)


def make_request(
    config: RunConfig,
    store: str | None,
    tracking_uri: str | None,
    run_id: str,
    prefect_run_id: str | None = None,
    reading: bool = False,
) -> Request:
    """The request with its store made ready, which this process is known to use from now on; MLflow on sqlite inside the store
    unless an address is given.

    `reading`: a store that cannot be written to will do.
    """
    place = open_store(Path(store or DEFAULT_STORE).expanduser(), run_id, config.runtime.lock_timeout_s)
    if reading:
        place = readable(place)
    place.prepare()
    keep_digests(place.root)
    if not reading:
        hold(place.root)
    return Request(config, place, tracking_uri or default_tracking_uri(place), run_id, prefect_run_id)


def default_tracking_uri(store: Store) -> str:
    """MLflow on sqlite inside the store. UsageError for a store that other machines share: its registry must be theirs, too."""
    if isinstance(store, SharedStore):
        raise UsageError(
            f"store {store.shared.storage.address}: its results are shared, so its registry must be, too; set "
            "MLFLOW_TRACKING_URI to the address of an MLflow server"
        )
    return sqlite_uri(store.root / "mlflow.db")


def find_profile(profile: str, store: str | None = None) -> Path:
    """The file of a profile given by path or by name: the store's own, else a shipped one. UsageError lists the names."""
    if profile.endswith(".toml") and Path(profile).is_file():
        return Path(profile)
    known = profile_files(store)
    if profile in known:
        return known[profile]
    if profile.endswith(".toml"):
        raise UsageError(
            f"profile {profile!r}: no such file (seen from {str(Path.cwd())!r}); give its path, or a name of {list(known)!r}"
        )
    raise UsageError(f"profile: {not_one_of(profile, known)}; write your own with crossmodal profile new")


def profile_files(store: str | None = None) -> dict[str, Path]:
    """Name to file of every profile: the shipped ones and the store's own, which come first where a name is in both."""
    folders = (Path(str(resources.files("deployments"))) / "profiles", own_profiles(store))
    found = {path.stem: path for folder in folders for path in folder.glob("*.toml")}
    return {name: found[name] for name in sorted(found)}


def own_profiles(store: str | None = None) -> Path:
    """The folder of the store's own profiles."""
    return Path(store or DEFAULT_STORE).expanduser().absolute() / "profiles"


def check_mode(mode: str) -> Mode:
    """The mode, when it is one; UsageError says which there are."""
    for known in MODES:
        if mode == known:
            return known
    raise UsageError(f"mode: {not_one_of(mode, MODES)}")


def check_overrides(overrides: Sequence[str]) -> None:
    """Raises UsageError for the first that is no KEY=VALUE."""
    for text in overrides:
        if re.search(OVERRIDE, text) is None:
            problem = f"{text!r} does not match {OVERRIDE!r}"
            raise UsageError(f"overrides: {problem}; write KEY=VALUE, for example --set train.epochs=20")


def not_one_of(value: str, choices: Iterable[str]) -> str:
    """What JSON Schema, and so Prefect's form, says of a value that is none of the choices."""
    return f"{value!r} is not one of {list(choices)!r}"
