"""The model that a name in the registry or a folder stands for."""

from __future__ import annotations

import os
from pathlib import Path

from data_contracts.refs import ChampionRef
from flows.predictions import find_model
from flows.request import Request
from flows.serving.hub import PREFIX, fetch_release
from flows.serving.predictor import Predictor
from tasks.errors import EnvironmentFailed, UsageError
from tasks.modeling.card import CARD, read_card
from tasks.modeling.release import WEIGHTS, read_release, require_files
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
    try:
        sha256 = verified_digest(folder / WEIGHTS)
    except OSError as error:
        raise EnvironmentFailed(f"model {folder / WEIGHTS}: cannot be read ({error.strerror})") from None
    name, version = (folder.name, sha256[:12]) if release is None else (release.name, release.version)
    return ChampionRef(uri=str(folder), sha256=sha256, rows=0, name=name, version=version, model_sha256=sha256)


def load_predictor(champion: ChampionRef, request: Request, decoders: int | None = None) -> Predictor:
    """The model, ready to be asked. Raises EnvironmentFailed or DataError where it cannot be loaded."""
    return Predictor(champion, read_card(request.store.path(champion.uri)), request, decoders)
