"""A release: a model in a folder of its own that answers on any machine. release.json lists what is in it, by sha256, and says
where the model comes from. Imports no torch."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from data_contracts.refs import MODEL_NAME, Frozen, InputName, Sha256
from tasks.errors import DataError, EnvironmentFailed, UsageError
from tasks.escaping import one_line
from tasks.modeling.card import CARD, Compression
from tasks.modeling.signing import SIGNATURE
from tasks.store import verified_digest, write_text

RELEASE = "release.json"
README = "README.md"
WEIGHTS = "model.safetensors"
GOLDEN_FILE, GOLDEN_FOLDER = "golden_rows.json", "golden"
"""Synthetic rows and their media."""
BILL = "bom.cdx.json"
"""What is in it, for tools that read bills of materials: the ending by which they know CycloneDX."""
SUFFIXES = (".safetensors", ".onnx", ".json", ".txt", ".model", ".jinja", ".md", ".png", ".wav", ".mp4")
"""Of all that a release holds: weights, graphs, settings, vocabularies, texts, media. Never code, never a pickle."""
_SHOWN = 5
_SHOWN_CHARACTERS = 80


class CodeOrigin(Frozen):
    """The code that trained and evaluated the model."""

    sha256: Sha256 | None = None
    """Of all modules and library versions that its results depend on."""
    git_commit: str | None = None
    """With `-dirty` where files differed from it."""


class Lineage(Frozen):
    """What the model was made from and with."""

    run: str | None
    """The id of the run that published it."""
    train_key: Sha256 | None
    dataset_sha256: Sha256 | None
    """Of the validated samples."""
    rows_sha256: Sha256 | None
    """Of the list of rows of train, val and test, which is not part of the release."""
    features: dict[InputName, Sha256]
    """Input to the fingerprint of its features."""
    code: CodeOrigin
    environment: dict[str, str] = Field(default_factory=dict)
    """Python and the libraries, by version."""
    environment_sha256: Sha256 | None = None
    compression: Compression | None = Field(default=None, exclude_if=lambda compression: compression is None)
    """The version that it was made of, and how; of a compressed model."""


class Release(Frozen):
    """The content of release.json."""

    format: Literal[1] = 1
    name: str = Field(pattern=f"^{MODEL_NAME}$")
    version: str = Field(pattern="^[1-9][0-9]{0,18}$")
    """In the registry that it was exported from."""
    model_sha256: Sha256
    lineage: Lineage
    files: dict[str, Sha256]
    """Every file but this one: its path below the folder to its sha256."""


def read_release(folder: Path) -> Release | None:
    """The record of a release; None where the folder has none. EnvironmentFailed or DataError where it cannot be read."""
    path = folder / RELEASE
    try:
        content = path.read_bytes()
        release = Release.model_validate_json(content)
        json.loads(content, object_pairs_hook=_require_distinct)
        return release
    except FileNotFoundError:
        return None
    except OSError as error:
        raise EnvironmentFailed(f"release {path}: cannot be read ({error.strerror}); copy it again") from None
    except ValidationError as error:
        first = error.errors()[0]
        detail = one_line(f"{'.'.join(map(str, first['loc']))}: {first['msg']}", 200)
        raise DataError(f"release {path}: damaged ({detail}); copy or export it again") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"release {path}: damaged ({error}); copy or export it again") from None


def _require_distinct(pairs: list[tuple[str, Any]]) -> None:
    """ValueError where a JSON object has a key twice: readers differ in which of the two values counts."""
    keys = sorted(key for key, _ in pairs)
    for key, following in pairwise(keys):
        if key == following:
            raise ValueError(f"{_shown(key)} is named twice")


def write_release(release: Release, folder: Path) -> None:
    """release.json lies in the folder, on disk."""
    write_text(folder / RELEASE, release.model_dump_json(indent=1) + "\n")


def require_release(folder: Path) -> Release:
    """The record of a release, every file of which is as it was exported.

    Raises UsageError where the folder is none, EnvironmentFailed where a file is gone, another, or not on its list, or where
    the weights are not the model's that it names.
    """
    release = read_release(folder) if folder.is_dir() else None
    if release is None:
        raise UsageError(f"release {folder}: no folder with {RELEASE}; make one with crossmodal models export")
    wrong = [f"{_shown(name)} is {state}" for name in sorted(release.files) if (state := _state(folder, name, release))]
    wrong += [f"{_shown(name)} is not on its list" for name in list_files(folder) if name not in release.files]
    if release.files.get(WEIGHTS) != release.model_sha256:
        wrong.append(f"model_sha256 is not the sha256 of {WEIGHTS}")
    if wrong:
        more = f", and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
        raise EnvironmentFailed(f"release {folder}: {', '.join(wrong[:_SHOWN])}{more}; copy or export it again")
    return release


def require_files(folder: Path, release: Release) -> None:
    """EnvironmentFailed unless every file on the list is as exported, weights and card among them."""
    for name in sorted({WEIGHTS, CARD, *release.files}):
        if state := _state(folder, name, release):
            raise EnvironmentFailed(f"release {folder}: {_shown(name)} is {state}; copy or export it again")


def list_files(folder: Path) -> Iterator[str]:
    """Yields the files below a folder but release.json and its signature; hidden ones, as of git and the hub, are left out."""
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in name.parts)
        if not hidden and name.as_posix() not in (RELEASE, SIGNATURE) and (path.is_file() or path.is_symlink()):
            yield name.as_posix()


def list_hidden(folder: Path, release: Release) -> list[str]:
    """The hidden files and folders that hold something that is not on the list, the topmost of each."""
    found = set()
    for path in folder.rglob("*"):
        parts = path.relative_to(folder).parts
        place = next((number for number, part in enumerate(parts) if part.startswith(".")), None)
        if place is not None and not path.is_dir() and "/".join(parts) not in release.files:
            found.add("/".join(parts[: place + 1]))
    return sorted(found)


def is_made_by_export(name: str) -> bool:
    """Whether a file of a release is made when it is exported, and not published with the model: golden rows, the bill."""
    return name in (GOLDEN_FILE, BILL) or name.startswith(f"{GOLDEN_FOLDER}/")


def _shown(name: str) -> str:
    return one_line(name, _SHOWN_CHARACTERS)


def _state(folder: Path, name: str, release: Release) -> str | None:
    """What is wrong with a file; None: nothing."""
    if name not in release.files:
        return "not on its list"
    path = Path(os.path.normpath(folder / name))
    plain = name.isprintable() and name == os.path.normpath(name)  # `./model.json` would be a second name of a file
    if not plain or not path.is_relative_to(os.path.normpath(folder)) or path.suffix not in SUFFIXES:
        return "nothing that a release holds"
    try:
        return None if verified_digest(path) == release.files[name] else "damaged"
    except OSError:
        return "missing"
