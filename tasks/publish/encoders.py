"""Frozen encoders of published models: once in the store, whatever the number of versions, and with every version in MLflow.

In the store, and in a registry whose artifacts are local files, all versions share one file by hard links. An artifact store of
another kind (S3, a tracking server) has no such thing: there each version has a copy of its own.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from data_contracts.refs import Modality, Sha256
from tasks.errors import EnvironmentFailed
from tasks.modeling.card import ModelCard
from tasks.modeling.encoder_spec import EncoderSpec
from tasks.modeling.pretrained.describe import require_place
from tasks.modeling.pretrained.packaged import ENCODERS, copy_encoder, encoder_place, frozen_encoders
from tasks.publish.logged_files import log_folder
from tasks.store import Store

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run


def keep_encoders(card: ModelCard, store: Store) -> dict[Sha256, Path]:
    """Digest to folder in the store of every frozen encoder of a model; copied there from where it lies unless it is there.

    Raises UsageError or EnvironmentFailed where its files are gone or have changed.
    """
    return {
        sha256: keep_encoder(sha256, modality, spec, store)
        for sha256, (modality, spec) in frozen_encoders(card).items()
    }


def keep_encoder(sha256: Sha256, modality: Modality, spec: EncoderSpec, store: Store) -> Path:
    """The folder in the store of one of them; errors as `keep_encoders`."""
    found = store.find(ENCODERS, sha256)
    if found is not None:
        return found.path
    with store.create(ENCODERS, sha256) as draft:
        copy_encoder(require_place(modality, spec), draft.path)
        require_digest(draft.path, sha256, f"{modality} encoder {spec.encoder}: changed while it was copied; run again")
    return store.path(f"{ENCODERS}/{sha256}")


def require_digest(folder: Path, sha256: Sha256, message: str) -> None:
    """Raises EnvironmentFailed with the message unless the folder holds the encoder of that digest."""
    place = encoder_place(folder)
    if place is None or place.weights_sha256 != sha256:
        raise EnvironmentFailed(message)


def log_encoders(client: MlflowClient, run: Run, kept: dict[Sha256, Path], below: str, tracking_uri: str) -> None:
    """The encoders are artifacts of the run, `below/encoders/DIGEST`: linked where those are local files, else copied."""
    for sha256, folder in kept.items():
        log_folder(client, run, folder, f"{below}/{ENCODERS}/{sha256}", tracking_uri)
