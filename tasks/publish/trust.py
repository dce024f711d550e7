"""Which versions may be served: those whose published files were verified, and, where a public key is configured, signed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import SecretBytes

from data_contracts.refs import Sha256
from tasks.errors import DataError, EnvironmentFailed
from tasks.modeling.release import README
from tasks.modeling.signing import (
    MANIFEST,
    SIGNATURE,
    Signed,
    make_statement,
    model_uri,
    read_signature,
    read_statement,
    require_signed,
    sign,
)
from tasks.modeling.signing_keys import parse_private_key
from tasks.publish import versions
from tasks.store import Store, digest_file, verified_digest

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion


def require_trusted(version: versions.Tagged, verify_key: str | None) -> Signed | None:
    """Whose signature a version of the registry has, None where it has none and none is asked for.

    Raises EnvironmentFailed where its files were never verified, or failed to be, and where its signature is not by
    `verify_key`, the file of a public key, or not of these files.
    """
    which, status = versions.describe_version(version), version.tags.get(versions.STATUS)
    promised = versions.promised_files(version)
    if status != "verified":
        raise EnvironmentFailed(
            f"{which}: its published files were not verified (status {status!r}); give the alias to another version with "
            f"crossmodal models promote {version.name} VERSION, or rollback"
        )
    signature = version.tags.get(versions.SIGNATURE)
    content = None if signature is None else signature.encode()
    return require_signed(promised, model_uri(version.name, str(version.version)), content, verify_key, which)


def log_manifest(
    client: MlflowClient,
    version: ModelVersion,
    published: Path,
    sign_key: SecretBytes | None,
    store: Store,
    tracking_uri: str,
) -> None:
    """What was verified in the folder `published` is listed beside the version's files and, where there is a key, signed.

    The signature is in the version's tags, too.
    """
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    versions.download_file(client, version, README, published, store, tracking_uri)
    files = {path.relative_to(published).as_posix(): path for path in sorted(published.rglob("*")) if path.is_file()}
    statement = make_statement(
        model_uri(version.name, str(version.version)), {name: digest_file(path) for name, path in files.items()}
    )
    contents = {MANIFEST: statement.to_json()}
    if sign_key is not None:
        contents[SIGNATURE] = sign(statement, parse_private_key(sign_key.get_secret_value(), "publish.sign_key"))
    place = get_artifact_repository(versions.address_of(client, version, store, tracking_uri), tracking_uri)
    with store.scratch_dir() as folder:
        for name, content in contents.items():
            (folder / name).write_bytes(content)
            place.log_artifact(str(folder / name))  # type: ignore[no-untyped-call]
    if SIGNATURE in contents:
        signature = contents[SIGNATURE].decode()
        client.set_model_version_tag(version.name, str(version.version), versions.SIGNATURE, signature)


def require_manifest(folder: Path, verify_key: str | None) -> dict[str, Sha256]:
    """File to digest of a logged model, every file of which is as it was when it was verified.

    Raises EnvironmentFailed where it was never verified, where a file is gone, or its signature is not by `verify_key`;
    DataError where a file is another.
    """
    which = f"model {folder}"
    try:
        statement = read_statement((folder / MANIFEST).read_bytes(), which)
    except FileNotFoundError:
        raise EnvironmentFailed(
            f"{which}: was never verified (it has no {MANIFEST}, which is written then); publish it with crossmodal retrain"
        ) from None
    require_signed(statement.files, statement.model, read_signature(folder), verify_key, which)
    for name, sha256 in statement.files.items():
        path = folder / name
        if not path.resolve().is_relative_to(folder.resolve()):
            raise DataError(f"{which}: {MANIFEST} names a file outside of it; restore it")
        try:
            found = verified_digest(path)
        except OSError as error:
            raise EnvironmentFailed(f"{which}: {name} cannot be read ({error.strerror}); restore it") from None
        if found != sha256:
            raise DataError(f"{which}: {name} is damaged (its sha256 is not that of {MANIFEST}); restore it")
    return statement.files
