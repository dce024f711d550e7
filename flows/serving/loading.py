"""The model that a name in the registry or a folder stands for."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from data_contracts.refs import ChampionRef, Sha256
from flows.predictions import find_model
from flows.request import Request
from flows.serving.hub import PREFIX, fetch_release
from flows.serving.predictor import Predictor
from tasks.errors import EnvironmentFailed, UsageError
from tasks.modeling.card import CARD, read_card
from tasks.modeling.release import WEIGHTS, is_made_by_export, read_release, require_files
from tasks.modeling.signing import Signed, model_uri, read_signature, require_signed
from tasks.store import verified_digest


def names_folder(model: str | Path) -> bool:
    """Whether a model is named by its folder: a Path, or a text with a separator in it, which no name has."""
    return isinstance(model, Path) or os.sep in model or model in (".", "..")


def find_published(model: str | Path, request: Request) -> ChampionRef:
    """The version behind NAME@ALIAS, the model in a folder, or a release on the hub. UsageError where there is none."""
    if not isinstance(model, str | Path) or not str(model).partition("@")[0].strip():
        raise UsageError(f"model {model!r}: name one of the registry, NAME or NAME@ALIAS, or a folder with {CARD}")
    if isinstance(model, str) and model.startswith(PREFIX):
        model = fetch_release(model)
    if not names_folder(model):
        return find_model(request, str(model))
    folder = Path(model).expanduser().absolute()
    if not (folder / CARD).is_file():
        raise UsageError(
            f"model {model}: no folder with {CARD} and {WEIGHTS} in it; name one, or NAME@ALIAS of the registry"
        )
    release = read_release(folder)
    if release is not None:
        require_files(folder, release)
    files = {file: _digest(folder / file) for file in (WEIGHTS, CARD)} if release is None else release.files
    sha256 = files[WEIGHTS]
    name, version = (folder.name, sha256[:12]) if release is None else (release.name, release.version)
    signed = require_signature(folder, files, None if release is None else model_uri(name, version), request.verify_key)
    return ChampionRef(
        uri=str(folder),
        sha256=sha256,
        rows=0,
        name=name,
        version=version,
        model_sha256=sha256,
        card_sha256=files[CARD],
        signed_by=signed.key_sha256 if signed else None,
    )


def require_signature(
    folder: Path, files: Mapping[str, Sha256], model: str | None, verify_key: str | None
) -> Signed | None:
    """Whose signature the model in a folder has, None where it has none and none is asked for; `files` are all that it holds.

    What an export adds, golden rows and the bill of materials, was not there to be signed. Raises EnvironmentFailed or
    DataError as `require_signed`.
    """
    published = {name: sha256 for name, sha256 in files.items() if not is_made_by_export(name)}
    return require_signed(published, model, read_signature(folder), verify_key, f"model {folder}")


def _digest(path: Path) -> Sha256:
    try:
        return verified_digest(path)
    except OSError as error:
        raise EnvironmentFailed(f"model {path}: cannot be read ({error.strerror})") from None


def load_predictor(champion: ChampionRef, request: Request, decoders: int | None = None) -> Predictor:
    """The model, ready to be asked. Raises EnvironmentFailed or DataError where it cannot be loaded."""
    card = read_card(request.store.path(champion.uri), champion.card_sha256)
    return Predictor(champion, card, request, decoders)
