"""MLflow's reader and writer of `crossmodal-store:` addresses. MLflow finds it as a plug-in (pyproject.toml), so that its own
tools read a store that was moved as crossmodal does."""

from __future__ import annotations

import os

import mlflow
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository

from tasks.errors import CrossmodalError
from tasks.publish.addresses import local_path, sqlite_file

_SERVER_DATABASE = "_MLFLOW_SERVER_FILE_STORE"
"""Where `mlflow server` says which database it serves: it names none when it asks for a repository."""


class StoreArtifactRepository(LocalArtifactRepository):
    """The artifacts beside the database that names them."""

    def __init__(self, artifact_uri: str, tracking_uri: str | None = None, registry_uri: str | None = None) -> None:
        """MlflowException for an address that leads out of the store's artifacts, or where its database is not known."""
        named = (tracking_uri, registry_uri, os.environ.get(_SERVER_DATABASE), mlflow.get_tracking_uri())
        database = next((uri for uri in named if uri and sqlite_file(uri) is not None), "")
        try:
            path = local_path(artifact_uri, database)
        except CrossmodalError as error:
            raise MlflowException.invalid_parameter_value(str(error)) from None
        assert path is not None
        super().__init__(path.as_uri(), tracking_uri, registry_uri)
