"""Files among the artifacts of an MLflow run: where those are local files they are linked, so that they take no room twice; an
artifact store of another kind (S3, a tracking server) has a copy of its own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tasks.publish.addresses import local_path
from tasks.shared_files import link_file
from tasks.store import RECORD

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run


def log_file(client: MlflowClient, run: Run, path: Path, below: str, tracking_uri: str) -> None:
    """The file is an artifact of the run, `below/NAME`."""
    place = local_path(run.info.artifact_uri, tracking_uri)
    if place is None:
        client.log_artifact(run.info.run_id, str(path), below or None)
    else:
        link_file(path, place / below / path.name)


def log_folder(client: MlflowClient, run: Run, folder: Path, below: str, tracking_uri: str) -> None:
    """All files of the folder but an artifact's record are artifacts of the run, `below/PATH`."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != RECORD:
            inner = (Path(below) / path.relative_to(folder)).parent.as_posix()
            log_file(client, run, path, inner, tracking_uri)
