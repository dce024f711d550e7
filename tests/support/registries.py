"""What tests of publishing ask of a registry: its client, the logged files, who is champion."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mlflow import MlflowClient

from tasks.publish import registry


def client_of(case: Any) -> MlflowClient:
    return MlflowClient(tracking_uri=case.request.tracking_uri, registry_uri=case.request.tracking_uri)


def logged(case: Any) -> Path:
    (folder,) = (case.request.store.root / "mlartifacts" / "tiny").glob("*/artifacts/model")
    return folder


def champion_version(case: Any) -> str | None:
    found = registry.fetch_champion("tiny", "champion", *case.place)
    return None if found is None else found.version
