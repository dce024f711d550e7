"""A request for a run: profile, data, overrides and store become one resolved config, before anything heavy is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

from tasks.config import RunConfig, load_config, read_profile
from tasks.errors import UsageError
from tasks.ingest.source import name_of_data
from tasks.publish.names import check_model_name
from tasks.store import Store
from tasks.validate.own import read_expectations

DEFAULT_PROFILE = "digits"
DEFAULT_STORE = ".crossmodal"


@dataclass(frozen=True)
class Request:
    """What to run, and where everything it writes goes."""

    config: RunConfig
    store: Store
    tracking_uri: str
    """MLflow's address."""
    run_id: str
    tags: dict[str, str] = field(default_factory=dict)
    """Of the run in MLflow, besides what the run itself finds out: profile, git commit and the like."""

    @property
    def name(self) -> str:
        """The model's name."""
        return str(self.config.name)

    @property
    def folder(self) -> Path:
        """Where the run's summary, report and quarantine lie."""
        return self.store.root / "runs" / self.run_id


def resolve_config(profile: str | None, data: str | None, overrides: Sequence[str]) -> RunConfig:
    """The config, with the model's name filled in. Without profile and data, the digits profile. Raises UsageError."""
    if profile is None and data is None and not any(text.startswith("data.path=") for text in overrides):
        profile = DEFAULT_PROFILE
    path = find_profile(profile) if profile is not None else None
    values = read_profile(path) if path is not None else {}
    config = load_config(values, overrides, None if profile is None else f"profile {profile}")
    if data is not None:
        config = config.model_copy(update={"data": config.data.model_copy(update={"path": data})})
    if config.data.expectations is not None:
        read_expectations(config.data.expectations)  # a wrong file ends here, before anything is decoded
    name = config.name or (path.stem if path is not None and data is None else name_of_data(config.data.path))
    return config.model_copy(update={"name": check_model_name(name)})


def make_request(
    config: RunConfig, store: str | None, tracking_uri: str | None, run_id: str, tags: dict[str, str] | None = None
) -> Request:
    """The request with its store made ready; MLflow on sqlite inside the store unless an address is given."""
    place = Store(Path(store or DEFAULT_STORE).expanduser())
    place.prepare()
    return Request(config, place, tracking_uri or default_tracking_uri(place), run_id, tags or {})


def default_tracking_uri(store: Store) -> str:
    """MLflow on sqlite inside the store."""
    return f"sqlite:///{store.root}/mlflow.db"


def find_profile(profile: str) -> Path:
    """The file of a profile given by name or by path. UsageError lists the names there are."""
    shipped = Path(str(resources.files("deployments"))) / "profiles"
    for path in (Path(profile), shipped / f"{profile}.toml"):
        if path.suffix == ".toml" and path.is_file():
            return path
    names = ", ".join(sorted(path.stem for path in shipped.glob("*.toml")))
    raise UsageError(f"profile {profile!r}: neither a file nor one of the profiles ({names})")
