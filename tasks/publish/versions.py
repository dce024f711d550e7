"""Model versions of the registry: what their tags say, and their files brought into the store, verified."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from data_contracts.refs import ChampionRef
from tasks import progress
from tasks.errors import CrossmodalError, EnvironmentFailed
from tasks.modeling.card import CARD, read_card
from tasks.modeling.pretrained.packaged import ENCODERS, frozen_encoders
from tasks.modeling.profile import PROFILE
from tasks.modeling.training_rows import ROWS
from tasks.publish.addresses import local_path, require_known_place, require_no_links
from tasks.publish.encoders import keep_encoder, require_digest
from tasks.shared_files import link_file
from tasks.store import Draft, Store, digest_file, digest_json

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

KIND = "champions"
FILES = ("model.safetensors", CARD)
MODEL_FOLDER = "model"
"""Where the logged model lies below a run's artifacts."""
ARTIFACT_FOLDER = "artifacts"
"""Where MLflow puts a model's own files inside it."""

PREDICTED = "crossmodal.predicted"
"""The served model's column for its answer, where the probabilities do not tell it."""

# Tags of a version. The digests say which bytes it must hold; the status, how far its publication came.
MODEL_SHA256 = "crossmodal.model_sha256"
CARD_SHA256 = "crossmodal.model_json_sha256"
ROWS_SHA256 = "crossmodal.rows_sha256"
PROFILE_SHA256 = "crossmodal.profile_sha256"
TRAIN_KEY = "crossmodal.train_key"
BASE_KEY = "crossmodal.base_key"
ANCHOR = "crossmodal.anchor"
"""The version that was the best so far when this one was published; absent where it was this one."""
RUN = "crossmodal.run"
ORIGIN = "crossmodal.origin"
"""JSON of the code's digest and the libraries' versions."""
DATA_SHA256 = "crossmodal.dataset_sha256"
VERDICT = "crossmodal.verdict"
PUBLISHED = ("promote", "needs-approval", "inconclusive")
"""Verdicts whose candidates are published, the latter two as ones that wait for approval."""
EVIDENCE = "crossmodal.evidence"
"""Store path of the verdict's record and the digest of its chain, which `crossmodal store verify` walks."""
METRICS = "crossmodal.metrics"
FROZEN = "crossmodal.encoders"
"""Digests of the frozen encoders that are published with the version, with commas between; absent where there are none."""
STATUS = "crossmodal.status"  # registered -> verified, or failed
STATUS_DETAIL = "crossmodal.status_detail"
SIGNATURE = "crossmodal.signature"
"""The signature of the version's files, as JSON; absent where it was published without a key."""
ROLLED_BACK = "crossmodal.rolled_back"
PROMISES = {"model.safetensors": MODEL_SHA256, CARD: CARD_SHA256, ROWS: ROWS_SHA256, PROFILE: PROFILE_SHA256}
"""File of every version to the tag with its digest."""


def all_versions(client: MlflowClient, name: str) -> list[ModelVersion]:
    """Every version of a model, oldest first, aliases included; empty when the model is unknown."""
    found: list[ModelVersion] = []
    token = None
    while True:
        page = client.search_model_versions(f"name='{name}'", page_token=token)
        found.extend(page)
        token = page.token
        if not token:
            return sorted(found, key=lambda version: int(version.version))


def aliased_version(client: MlflowClient, name: str, alias: str) -> ModelVersion | None:
    """The version that an alias points to, None when there is no such model or alias."""
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE, RESOURCE_DOES_NOT_EXIST, ErrorCode

    absent = {ErrorCode.Name(RESOURCE_DOES_NOT_EXIST), ErrorCode.Name(INVALID_PARAMETER_VALUE)}
    try:
        return client.get_model_version_by_alias(name, alias)
    except MlflowException as error:
        if error.error_code in absent:
            return None
        raise


class Tagged(Protocol):
    """A model version, from MLflow or from a quick look."""

    @property
    def name(self) -> str:
        """The model's."""

    @property
    def version(self) -> str:
        """Its number."""

    @property
    def tags(self) -> dict[str, str]:
        """What it was published with."""


def is_in_store(version: Tagged, store: Store) -> bool:
    """Whether the files of a version that we published lie in the store, intact."""
    if not all(tag in version.tags for tag in PROMISES.values()):
        return False
    found = store.find(KIND, store_key(version))
    if found is None or not promised_files(version).items() <= found.files.items():
        return False
    return all(store.find(ENCODERS, sha256) is not None for sha256 in encoders_of(version))


def encoders_of(version: Tagged) -> list[str]:
    """The digests of the frozen encoders that were published with a version."""
    return [sha256 for sha256 in version.tags.get(FROZEN, "").split(",") if sha256]


def promised_files(version: Tagged) -> dict[str, str]:
    """File to the digest that a version's tags promise. EnvironmentFailed when it was not made by crossmodal."""
    missing = [tag for tag in PROMISES.values() if tag not in version.tags]
    if missing:
        raise EnvironmentFailed(
            f"model {version.name} version {version.version}: was not published by crossmodal (no tag {missing[0]}); "
            "move the alias with crossmodal models promote"
        )
    return {name: version.tags[tag] for name, tag in PROMISES.items()}


def store_key(version: Tagged) -> str:
    """The store key of a version's files, those that tell of its rows included."""
    promised = promised_files(version)
    model = files_key(promised["model.safetensors"], promised[CARD])
    return digest_json({"model": model, **{name: promised[name] for name in (ROWS, PROFILE)}})


def files_key(model_sha256: str, card_sha256: str) -> str:
    """The store key of a published model. model.json counts too: renamed labels leave the weights as they are."""
    return digest_json({"model.safetensors": model_sha256, CARD: card_sha256})


def download(client: MlflowClient, version: ModelVersion, folder: Path, store: Store, tracking_uri: str) -> None:
    """Brings a version's files into `folder`, checked: weights, card and rows against its tags, all else against the card.

    Its frozen encoders are not among them. Raises EnvironmentFailed where one is missing or its bytes are not those that were
    published.
    """
    address, which = address_of(client, version, store, tracking_uri), describe_version(version)
    for name, sha256 in promised_files(version).items():
        _fetch(f"{address}/{name}", folder, sha256, which, tracking_uri)
    for name, sha256 in read_card(folder).files_beside().items():
        _fetch(f"{address}/{name}", folder, sha256, which, tracking_uri)


def download_encoder(
    client: MlflowClient, version: ModelVersion, sha256: str, folder: Path, store: Store, tracking_uri: str
) -> Path:
    """Brings a frozen encoder that was published with a version into `folder`, checked; where it lies there.

    Raises EnvironmentFailed as above.
    """
    which, uri = describe_version(version), f"{address_of(client, version, store, tracking_uri)}/{ENCODERS}/{sha256}"
    found = folder / _download(uri, folder, which, tracking_uri)
    require_digest(
        found,
        sha256,
        f"{which}: the encoder at {uri} is damaged (its digest is not the published {sha256[:12]}...); restore it "
        "where it was trained, and publish again",
    )
    return found


def download_file(
    client: MlflowClient, version: ModelVersion, name: str, folder: Path, store: Store, tracking_uri: str
) -> Path:
    """Where a file that was published with a version lies in `folder`, unchecked. EnvironmentFailed where it is gone."""
    uri = f"{address_of(client, version, store, tracking_uri)}/{name}"
    return folder / _download(uri, folder, describe_version(version), tracking_uri)


def address_of(client: MlflowClient, version: ModelVersion, store: Store, tracking_uri: str) -> str:
    """Where a version's files lie; EnvironmentFailed where the registry names a place that is not the store's."""
    found = client.get_model_version_download_uri(version.name, version.version).rstrip("/") + f"/{ARTIFACT_FOLDER}"
    require_known_place(found, store.root, tracking_uri, describe_version(version))
    return found


def describe_version(version: Tagged) -> str:
    """What a version is called in messages."""
    return f"model {version.name} version {version.version}"


def _download(uri: str, folder: Path, which: str, tracking_uri: str) -> str:
    """What lies at the address lies in `folder`; its name."""
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    name = uri.rpartition("/")[2]
    require_no_links(local_path(uri, tracking_uri), which)
    try:
        download_artifacts(artifact_uri=uri, dst_path=str(folder), tracking_uri=tracking_uri)
    except (OSError, MlflowException) as error:
        message = " ".join(str(error).split())[:200]
        raise EnvironmentFailed(
            f"{which}: {name} cannot be fetched from {uri} ({message}); roll back or restore it"
        ) from None
    return name


def _fetch(uri: str, folder: Path, sha256: str, which: str, tracking_uri: str) -> None:
    """A file of `which` version lies in `folder`, with the digest that it must have."""
    name = _download(uri, folder, which, tracking_uri)
    if digest_file(folder / name) != sha256:
        raise EnvironmentFailed(
            f"{which}: {name} at {uri} is damaged (its sha256 is not the published {sha256[:12]}...); "
            "restore it, use crossmodal models rollback, or retrain under another name (--set name=...)"
        )


def into_store(client: MlflowClient, version: ModelVersion, store: Store, tracking_uri: str) -> ChampionRef:
    """The version's files lie in the store, verified; nothing is fetched when they are there already."""
    key = store_key(version)
    found = store.find(KIND, key)
    if found is not None and not promised_files(version).items() <= found.files.items():
        store.discard(KIND, key)  # complete by its own record, which is of other files
        found = None
    if found is None:
        with store.create(KIND, key) as draft:
            download(client, version, draft.path, store, tracking_uri)
            share_with_checkpoint(version, draft.path, store)
            describe(draft, version)
    for sha256 in encoders_of(version):
        if store.find(ENCODERS, sha256) is None:
            _encoder_into_store(client, version, sha256, store, tracking_uri)
    return champion_ref(version)


def share_with_checkpoint(version: Tagged, folder: Path, store: Store) -> None:
    """The version's files in `folder` that the store's checkpoint holds, too, take no room.

    They may be one file with two names: damage to it is healed from the registry, and by training again.
    """
    checkpoint = store.find("checkpoints", version.tags.get(TRAIN_KEY, ""))
    if checkpoint is not None:
        for name, sha256 in {**promised_files(version), **read_card(folder).files_beside()}.items():
            if checkpoint.files.get(name) == sha256:
                link_file(checkpoint.path / name, folder / name)


def _encoder_into_store(
    client: MlflowClient, version: ModelVersion, sha256: str, store: Store, tracking_uri: str
) -> None:
    """From the registry, or where it is damaged there from where training had it: other versions share the damaged file."""
    try:
        with store.create(ENCODERS, sha256) as draft, store.scratch_dir() as scratch:
            download_encoder(client, version, sha256, scratch, store, tracking_uri).rename(draft.path)
    except EnvironmentFailed as damage:
        modality, spec = frozen_encoders(read_card(store.path(f"{KIND}/{store_key(version)}")))[sha256]
        try:
            keep_encoder(sha256, modality, spec, store)
        except CrossmodalError:
            raise damage from None
        progress.log(f"{damage}; it is taken from {spec.encoder} instead", "warning")


def describe(draft: Draft, version: ModelVersion) -> None:
    """Says in the artifact's record what it holds. No version: several may hold the same bytes."""
    draft.ref = {"model_sha256": version.tags[MODEL_SHA256]}


def champion_ref(version: Tagged) -> ChampionRef:
    """The ref of a version whose files lie in the store."""
    key = store_key(version)
    return ChampionRef(
        uri=f"{KIND}/{key}",
        sha256=key,
        rows=0,
        name=version.name,
        version=str(version.version),
        model_sha256=version.tags[MODEL_SHA256],
        train_key=version.tags.get(TRAIN_KEY),
        base_key=version.tags.get(BASE_KEY),
        anchor=version.tags.get(ANCHOR),
        card_sha256=version.tags.get(CARD_SHA256),
    )


def figures(version: Tagged) -> dict[str, float | None]:
    """The test figures that a version was published with."""
    return dict(json.loads(version.tags.get(METRICS, "{}")))
