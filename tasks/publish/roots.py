"""What the registry needs of a store: the files of every version that an alias stands for, or could be given back to."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.modeling.pretrained.packaged import ENCODERS
from tasks.publish import versions
from tasks.publish.addresses import local_path
from tasks.publish.alias_history import champions_before, read_moves
from tasks.publish.approval import STATE
from tasks.publish.connection import connected, is_absent
from tasks.publish.registry import all_models, why_not
from tasks.store import Store
from tasks.store_view import readable

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion, RegisteredModel


@dataclass(frozen=True)
class PublishedVersion:
    """A version that crossmodal published."""

    name: str
    version: str
    needed_for: tuple[str, ...]
    """`alias champion`, `rollback of champion`, `approval`, `anchor`; empty: nothing."""
    files: str
    """Store path of its files, where they are fetched to."""
    artifacts: tuple[str, ...]
    """Store paths of all that it needs of the store."""
    run: str | None
    """That published it."""
    evidence: tuple[str, str] | None
    """Store path of the verdict's record, and the digest of its chain."""
    why_not: str | None
    """Why it may not be promoted; None where it may."""


@dataclass(frozen=True)
class Registry:
    """What the registry says of the store."""

    versions: tuple[PublishedVersion, ...] = ()
    deleted_runs: tuple[Path, ...] = ()
    """Folders of artifacts, on this machine, of runs that were deleted in MLflow: `mlflow gc` removes them."""


def read_registry(store: Store, tracking_uri: str) -> Registry:
    """Every version that crossmodal published, by model, oldest first. EnvironmentFailed where the registry does not answer."""
    if is_absent(tracking_uri):
        return Registry()
    with connected(store, tracking_uri) as client:
        found = tuple(version for model in all_models(client) for version in _versions(client, model))
        return Registry(found, tuple(_deleted_runs(client, store, tracking_uri)))


def _versions(client: MlflowClient, model: RegisteredModel) -> list[PublishedVersion]:
    name = str(model.name)
    known = {str(version.version): version for version in versions.all_versions(client, name)}
    whole = client.get_registered_model(name)
    why: dict[str, list[str]] = defaultdict(list)
    for alias, number in sorted(whole.aliases.items()):
        why[str(number)].append(f"alias {alias}")
        for earlier in dict.fromkeys(champions_before(read_moves(whole.tags, alias, str(number)))):
            why[earlier].append(f"rollback of {alias}")
    for number, version in known.items():
        if version.tags.get(STATE) == "pending":
            why[number].append("approval")
        if why[number] and (anchor := version.tags.get(versions.ANCHOR)) in known:
            why[anchor].append("anchor")
    return [
        _published(version, tuple(dict.fromkeys(why[number])))
        for number, version in known.items()
        if all(tag in version.tags for tag in versions.PROMISES.values())
    ]


def _published(version: ModelVersion, why: tuple[str, ...]) -> PublishedVersion:
    files = f"{versions.KIND}/{versions.store_key(version)}"
    train_key, evidence = version.tags.get(versions.TRAIN_KEY), version.tags.get(versions.EVIDENCE)
    uri, _, sha256 = (evidence or "").partition(" ")
    encoders = [f"{ENCODERS}/{digest}" for digest in versions.encoders_of(version)]
    of_runs = [f"checkpoints/{train_key}"] * bool(train_key) + [uri] * bool(uri)
    return PublishedVersion(
        name=str(version.name),
        version=str(version.version),
        needed_for=why,
        files=files,
        artifacts=(files, *encoders, *of_runs),
        run=version.tags.get(versions.RUN),
        evidence=(uri, sha256) if evidence else None,
        why_not=why_not(version),
    )


def _deleted_runs(client: MlflowClient, store: Store, tracking_uri: str) -> list[Path]:
    from mlflow.entities import ViewType

    experiments = [one.experiment_id for one in client.search_experiments(view_type=ViewType.ALL)]
    runs = client.search_runs(experiments, run_view_type=ViewType.DELETED_ONLY, max_results=1000)
    places = [local_path(run.info.artifact_uri, tracking_uri) for run in runs]
    return [place for place in places if place and place.is_relative_to(store.root) and place.is_dir()]


def require_intact(version: PublishedVersion, store: Store, tracking_uri: str) -> None:
    """The registry's own files of a version are those that were published. Raises EnvironmentFailed."""
    with connected(store, tracking_uri) as client, readable(store).scratch_dir() as scratch:
        found = client.get_model_version(version.name, version.version)
        versions.download(client, found, scratch, store, tracking_uri)
        for sha256 in versions.encoders_of(found):
            versions.download_encoder(client, found, sha256, scratch, store, tracking_uri)
