"""The model registry: who is champion, what was before, and moving the alias by hand."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, TypedDict

from data_contracts.refs import ChampionRef, Metrics, ReleaseRef
from tasks.errors import PromotionRefused, UsageError
from tasks.modeling.signing import Signed, signer_of
from tasks.number_format import utc_text
from tasks.publish import versions
from tasks.publish.alias_history import Action, Move, champions_before, move_alias, read_moves
from tasks.publish.approval import (
    AT_MS,
    BY,
    STATE,
    Approval,
    PendingEntry,
    pending_entry,
    record_decision,
    require_approvable,
)
from tasks.publish.champion_lookup import look_up
from tasks.publish.connection import connected, is_absent
from tasks.publish.lease import publishing
from tasks.publish.model_names import check_alias, check_model_name
from tasks.publish.trust import require_trusted
from tasks.store import Store

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion, RegisteredModel


def fetch_champion(
    name: str, alias: str, store: Store, tracking_uri: str, verify_key: str | None = None
) -> ChampionRef | None:
    """The version behind the alias, its files in the store and verified; None when there is none. `verify_key`: the file of the
    public key by which it must be signed.

    Where the sqlite registry does not exist yet, it is not created. MLflow is imported neither then, nor where a sqlite
    registry names a version whose files are in the store. Raises EnvironmentFailed when the published files are damaged
    or gone, were never verified, or are not signed by the key.
    """
    check_model_name(name)
    check_alias(alias)
    if is_absent(tracking_uri):
        return None
    seen = look_up(tracking_uri, name, alias)
    if seen is not None and versions.is_in_store(seen, store):
        return _signed_ref(versions.champion_ref(seen), require_trusted(seen, verify_key))
    with connected(store, tracking_uri) as client:
        version = versions.aliased_version(client, name, alias)
        return None if version is None else _fetch(client, version, store, tracking_uri, verify_key)


def _fetch(
    client: MlflowClient, version: ModelVersion, store: Store, tracking_uri: str, verify_key: str | None
) -> ChampionRef:
    signed = require_trusted(version, verify_key)
    return _signed_ref(versions.into_store(client, version, store, tracking_uri), signed)


def _signed_ref(champion: ChampionRef, signed: Signed | None) -> ChampionRef:
    return champion.model_copy(update={"signed_by": signed.key_sha256 if signed else None})


def fetch_version(
    name: str, number: str, store: Store, tracking_uri: str, verify_key: str | None = None
) -> ChampionRef | None:
    """A version by its number, its files in the store and verified; None where the registry no longer has it.

    Raises EnvironmentFailed as `fetch_champion`.
    """
    with connected(store, tracking_uri) as client:
        known = {str(version.version): version for version in versions.all_versions(client, check_model_name(name))}
        return _fetch(client, known[number], store, tracking_uri, verify_key) if number in known else None


class ModelEntry(TypedDict):
    """A model of the registry, as lists and scripts see it."""

    name: str
    versions: int
    champion: str | None
    aliases: dict[str, str]


class VersionEntry(TypedDict):
    """A version of a model, as lists and scripts see it."""

    version: str
    status: str
    """registered, verified or failed."""
    aliases: list[str]
    rolled_back: bool
    approval: str | None
    signed_by: str | None
    """sha256 of the public key of its signature; None: unsigned."""
    model_sha256: str | None
    run: str | None
    created: int
    """Milliseconds since 1970."""
    metrics: Metrics


def list_models(store: Store, tracking_uri: str) -> list[ModelEntry]:
    """One entry per model: its name, its number of versions, and the version behind each alias."""
    if is_absent(tracking_uri):
        return []
    with connected(store, tracking_uri) as client:
        return [_model_entry(client, model) for model in all_models(client)]


def show_model(name: str, store: Store, tracking_uri: str) -> list[VersionEntry]:
    """One entry per version, oldest first: status, aliases, digest, run and test figures. UsageError when unknown."""
    with _existing(name, store, tracking_uri) as client:
        return [_version_entry(version) for version in _with_aliases(client, name)]


def history(name: str, store: Store, tracking_uri: str, alias: str = "champion") -> list[Move]:
    """Every move of the alias, oldest first: what was done, to which version, from which, by which run."""
    with _existing(name, store, tracking_uri) as client:
        current = versions.aliased_version(client, name, check_alias(alias))
        tags = client.get_registered_model(name).tags
        return read_moves(tags, alias, None if current is None else str(current.version))


def run_of(name: str, version: str, store: Store, tracking_uri: str) -> str:
    """The run that published a version; UsageError where the version is unknown, or was not made by crossmodal."""
    with _existing(name, store, tracking_uri) as client:
        run: str | None = _version(client, name, version).tags.get(versions.RUN)
    if run is None:
        raise UsageError(f"model {name} version {version}: was not published by crossmodal (no tag {versions.RUN})")
    return run


def promote(
    name: str,
    version: str,
    alias: str,
    store: Store,
    tracking_uri: str,
    approval: Approval | None = None,
    verify_key: str | None = None,
) -> ReleaseRef:
    """The alias points to a version that the gate passed and that was verified. PromotionRefused for any other.

    A candidate that waits for approval needs one; PromotionRefused where it expired, or the champion has changed since.
    """
    check_alias(alias)
    with _existing(name, store, tracking_uri) as client, publishing(client, name, store) as lease:
        target = _version(client, name, version)
        reason = why_not(target)
        if reason is not None:
            raise PromotionRefused(f"model {name} version {version}: {reason}; the alias {alias!r} was not moved")
        current = versions.aliased_version(client, name, alias)
        if current is None or current.version != target.version:
            require_approvable(target, current, approval)
        champion = _fetch(client, target, store, tracking_uri, verify_key)
        previous = None if current is None else str(current.version)
        if approval is not None and previous == str(version) and target.tags.get(STATE) == "approved":
            by, when = target.tags.get(BY), utc_text(int(target.tags[AT_MS]))
            raise PromotionRefused(f"model {name} version {version}: is {alias} already, approved by {by} on {when}")
        if versions.ROLLED_BACK in target.tags:
            client.delete_model_version_tag(name, str(version), versions.ROLLED_BACK)
        if previous != str(version):
            move_alias(client, name, alias, _move("promote", str(version), previous, approval), lease)
        if STATE in target.tags and approval is not None:
            record_decision(client, target, "approved", approval)
        return release_ref(champion, alias)


def reject(name: str, version: str, approval: Approval, store: Store, tracking_uri: str) -> VersionEntry:
    """The candidate is marked as rejected; its entry. PromotionRefused for a version that does not wait for approval."""
    if not approval.reason.strip():
        raise UsageError(f"model {name} version {version}: say why it is rejected with --reason")
    with _existing(name, store, tracking_uri) as client, publishing(client, name, store):
        target = _version(client, name, version)
        if target.tags.get(STATE) != "pending":
            state = target.tags.get(STATE) or "never had to wait"
            raise PromotionRefused(f"model {name} version {version}: does not wait for approval ({state})")
        record_decision(client, target, "rejected", approval)
        return _version_entry(client.get_model_version(name, str(version)))


def list_pending(store: Store, tracking_uri: str, now_ms: int) -> list[PendingEntry]:
    """One entry per candidate that waits for approval, or waited until its time was over; oldest first, by model."""
    if is_absent(tracking_uri):
        return []
    with connected(store, tracking_uri) as client:
        found = [version for model in all_models(client) for version in versions.all_versions(client, str(model.name))]
        return [pending_entry(version, now_ms) for version in found if version.tags.get(STATE) == "pending"]


def find_pending(name: str, version: str, store: Store, tracking_uri: str, now_ms: int) -> tuple[str, str]:
    """Name and version of the candidate that is meant; an empty one stands for the only one there is. UsageError else."""
    if name and version:
        return name, version
    waiting = [(entry["name"], entry["version"]) for entry in list_pending(store, tracking_uri, now_ms)]
    found = [(model, number) for model, number in waiting if name in ("", model) and version in ("", number)]
    if len(found) != 1:
        listed = ", ".join(f"{model} version {number}" for model, number in waiting) or "none"
        raise UsageError(f"model {name!r} version {version!r}: name one candidate; those that wait are: {listed}")
    return found[0]


def rollback(
    name: str,
    alias: str,
    store: Store,
    tracking_uri: str,
    approval: Approval | None = None,
    verify_key: str | None = None,
) -> ReleaseRef:
    """The alias points to the champion before this one; done twice, to the one before that.

    Versions that are gone from the registry are passed over. The version that is left behind is marked, so that a
    retrain that arrives at the same model does not bring it back. PromotionRefused when there is nothing to go back to.
    """
    check_alias(alias)
    with _existing(name, store, tracking_uri) as client, publishing(client, name, store) as lease:
        current = versions.aliased_version(client, name, alias)
        if current is None:
            raise UsageError(f"model {name}: has no alias {alias!r}; publish one with crossmodal retrain")
        known = {str(found.version): found for found in versions.all_versions(client, name)}
        moves = read_moves(client.get_registered_model(name).tags, alias, str(current.version))
        earlier = [number for number in champions_before(moves) if number in known and why_not(known[number]) is None]
        if not earlier:
            raise PromotionRefused(f"model {name}: version {current.version} has no earlier {alias} to roll back to")
        champion = _fetch(client, known[earlier[0]], store, tracking_uri, verify_key)
        client.set_model_version_tag(name, str(current.version), versions.ROLLED_BACK, "true")
        move_alias(client, name, alias, _move("rollback", earlier[0], str(current.version), approval), lease)
        return release_ref(champion, alias)


def why_not(version: ModelVersion) -> str | None:
    """Why a version may not be promoted; None when it may."""
    if version.tags.get(versions.VERDICT) not in versions.PUBLISHED:
        return "the gate has not passed it"
    status = version.tags.get(versions.STATUS)
    if status != "verified":
        return f"its published files were not verified (status {status!r}); run crossmodal retrain again"
    return None


def release_ref(champion: ChampionRef, alias: str | None) -> ReleaseRef:
    """The ref of a release whose files lie in the store as a champion's."""
    return ReleaseRef(
        **champion.model_dump(include={"uri", "sha256", "rows", "name", "version", "model_sha256"}), alias=alias
    )


@contextlib.contextmanager
def _existing(name: str, store: Store, tracking_uri: str) -> Iterator[MlflowClient]:
    """Connects to a registry in which the model must exist; UsageError otherwise."""
    check_model_name(name)
    if is_absent(tracking_uri):
        raise UsageError(f"model {name!r}: there is no registry yet; publish a model with crossmodal retrain")
    with connected(store, tracking_uri) as client:
        if not client.search_registered_models(f"name='{name}'"):
            raise UsageError(f"model {name!r}: not in the registry; see crossmodal models list")
        yield client


def all_models(client: MlflowClient) -> list[RegisteredModel]:
    """Every registered model, by name."""
    found: list[RegisteredModel] = []
    token = None
    while True:
        page = client.search_registered_models(page_token=token)
        found.extend(page)
        token = page.token
        if not token:
            return sorted(found, key=lambda model: str(model.name))


def _version(client: MlflowClient, name: str, version: str) -> ModelVersion:
    """The version of an existing model; UsageError where it has none of this number."""
    known = {str(found.version): found for found in versions.all_versions(client, name)}
    if str(version) not in known:
        raise UsageError(f"model {name}: has no version {version!r}; it has {', '.join(known) or 'none'}")
    return known[str(version)]


def _move(action: Action, version: str, previous: str | None, approval: Approval | None) -> Move:
    if approval is None:
        return Move(action=action, version=version, previous=previous)
    reason = approval.reason or None
    return Move(action=action, version=version, previous=previous, by=approval.by, at_ms=approval.at_ms, reason=reason)


def _with_aliases(client: MlflowClient, name: str) -> list[ModelVersion]:
    """A search leaves a version's aliases out on some backends, so each is read on its own."""
    return [client.get_model_version(name, str(found.version)) for found in versions.all_versions(client, name)]


def _model_entry(client: MlflowClient, model: RegisteredModel) -> ModelEntry:
    name = str(model.name)
    count = len(versions.all_versions(client, name))
    aliases = {alias: str(version) for alias, version in sorted(client.get_registered_model(name).aliases.items())}
    return {"name": name, "versions": count, "champion": aliases.get("champion"), "aliases": aliases}


def _version_entry(version: ModelVersion) -> VersionEntry:
    return {
        "version": str(version.version),
        "status": version.tags.get(versions.STATUS, "unknown"),
        "aliases": sorted(version.aliases),
        "rolled_back": versions.ROLLED_BACK in version.tags,
        "approval": version.tags.get(STATE),
        "signed_by": signer_of(version.tags.get(versions.SIGNATURE)),
        "model_sha256": version.tags.get(versions.MODEL_SHA256),
        "run": version.tags.get(versions.RUN),
        "created": int(version.creation_timestamp),
        "metrics": versions.figures(version),
    }
