"""A published model as a folder that answers anywhere: what `crossmodal models export` and `crossmodal models verify` run."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from data_contracts.refs import ChampionRef
from flows.predictions import find_model
from flows.request import Request
from flows.serving.golden import Verified, verify_release, write_golden_rows
from flows.serving.loading import find_published, load_predictor, require_signature
from tasks.drafts import draft
from tasks.errors import EnvironmentFailed, UsageError
from tasks.modeling.bill_of_materials import bill_of_materials
from tasks.modeling.card import CARD, ModelCard, read_card
from tasks.modeling.release import BILL, README, WEIGHTS, Release, list_files, require_release, write_release
from tasks.modeling.signing import SIGNATURE, describe_signature, model_uri
from tasks.publish.lineage import fetch_origin
from tasks.store import RECORD, digest_file, sync, write_text


def export_release(
    request: Request, model: str, folder: Path, golden: bool = True, encoders: bool = True
) -> tuple[Release, Path]:
    """`folder` is a release of the model that NAME@ALIAS names, complete, or nothing of it is there; with its absolute path.

    Raises UsageError where the folder holds something, or the model is unknown; EnvironmentFailed where the disk is full, or
    files of an encoder that was not published with the model are gone.
    """
    folder = folder.expanduser().absolute()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"folder {folder}: is not empty; name a new one")
    if not folder.parent.is_dir():
        raise UsageError(f"folder {folder}: the folder {str(folder.parent)!r} does not exist; make it first")
    champion = find_model(request, model)
    card = read_card(request.store.path(champion.uri), champion.card_sha256)
    origin = fetch_origin(champion, card, request.store, request.tracking_uri)
    with _appearing(folder) as scratch:
        copy_model(champion, card, request, scratch, encoders)
        if golden:
            predictor = load_predictor(champion.model_copy(update={"uri": str(scratch)}), request, 1)
            try:
                write_golden_rows(predictor, scratch)
            finally:
                predictor.close()
        (scratch / README).write_bytes(origin.readme)
        if origin.signature is not None:
            (scratch / SIGNATURE).write_bytes(origin.signature)
        files = {name: digest_file(scratch / name) for name in list_files(scratch)}
        release = Release(
            name=champion.name,
            version=champion.version,
            model_sha256=champion.model_sha256,
            lineage=origin.lineage,
            files=files,
        )
        write_text(scratch / BILL, bill_of_materials(release))
        release = release.model_copy(update={"files": {**files, BILL: digest_file(scratch / BILL)}})
        write_release(release, scratch)
        require_release(scratch)
        require_signature(scratch, files, model_uri(champion.name, champion.version), request.verify_key)
    return release, folder


def copy_model(champion: ChampionRef, card: ModelCard, request: Request, target: Path, encoders: bool) -> None:
    """Weights, card, tokenizers and frozen encoders of a model lie in `target`; nothing that tells of its rows."""
    from tasks.modeling.pretrained.packaged import ENCODERS
    from tasks.publish.encoders import keep_encoders

    source = request.store.path(champion.uri)
    for name in (WEIGHTS, CARD, *card.files_beside()):
        shutil.copyfile(source / name, target / name)
    for sha256, folder in keep_encoders(card, request.store).items() if encoders else ():
        shutil.copytree(folder, target / ENCODERS / sha256, ignore=shutil.ignore_patterns(RECORD))


def verify_folder(request: Request, folder: Path) -> Verified:
    """What was verified of the release in a folder.

    Raises UsageError where it is none, EnvironmentFailed where anything in it was changed.
    """
    folder = folder.expanduser().absolute()
    require_release(folder)
    found = find_published(folder, request)
    predictor = load_predictor(found, request, 1)
    try:
        verified = verify_release(folder, predictor)
        signature = describe_signature(found.signed_by, request.verify_key is not None)
        return verified.model_copy(update={"signature": signature})
    finally:
        predictor.close()


@contextlib.contextmanager
def _appearing(folder: Path) -> Iterator[Path]:
    """Yields where to write what is the folder on a clean exit, synced; on an error nothing is left."""
    try:
        with draft(folder.parent, folder.name, f"release {folder}") as scratch:
            scratch.mkdir()
            yield scratch
            for path in sorted(scratch.rglob("*")):
                sync(path)
            sync(scratch)
            scratch.rename(folder)
        sync(folder.parent)
    except OSError as error:
        raise EnvironmentFailed(f"folder {folder}: {error.strerror or error}; nothing was left there") from error
