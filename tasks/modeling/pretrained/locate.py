"""Where an encoder's files lie on this machine, and their digests. Never goes to the network; imports no torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_contracts.refs import Modality
from tasks.encoder_ids import WEIGHTS, EncoderId, parse_encoder
from tasks.errors import UsageError
from tasks.store import RECORD, digest_json, verified_digest

CACHE = "~/.cache/crossmodal/torchvision"
"""Where `crossmodal fetch` puts torchvision's weights."""
_BESIDE = (".json", ".txt", ".model", ".jinja")  # configs, tokenizers, poolings; never code, never pickle
_POOLING = "1_Pooling/config.json"
TIMM = "timm_wrapper"
"""The model type of a network of timm."""
PIPELINE = "model_index.json"
"""What names the parts of a pipeline of diffusers, each in a folder of its own."""
_LIBRARIES = ("diffusers", "transformers", "stable_diffusion")
"""What a part may be of; another name could be that of code in the folder."""


@dataclass(frozen=True)
class Place:
    """The files of a pretrained encoder."""

    root: Path
    """A .safetensors file, or a folder as transformers writes it."""
    weights: tuple[Path, ...]
    beside: tuple[Path, ...] = ()
    """What else shapes its output: configs and tokenizer."""

    @property
    def weights_sha256(self) -> str:
        """Digest of the weights and of all beside them; taken anew only where the file system reports a change."""
        return _digest((*self.weights, *self.beside), self.root)

    @property
    def inputs_sha256(self) -> str | None:
        """Digest of what shapes the network's inputs, so of all but the weights; None where there is nothing."""
        return _digest(self.beside, self.root) if self.beside else None

    @property
    def config(self) -> Mapping[str, Any]:
        """A folder's config.json. Raises UsageError where it cannot be read."""
        path = self.root / "config.json"
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise UsageError(f"encoder file {path}: cannot be read ({error})") from None
        return record if isinstance(record, dict) else {}

    @property
    def model_type(self) -> str | None:
        """What a folder's config.json calls the architecture; timm's own folders do not, as transformers knows, too."""
        record = self.config
        found = record.get("model_type") or (TIMM if "pretrained_cfg" in record else None)
        return found if isinstance(found, str) else None


def locate_encoder(modality: Modality, encoder: str) -> Place | None:
    """The files of an encoder; None for one that has none (tiny, or from scratch).

    Raises UsageError where they are not on this machine, with the way to get them there.
    """
    parsed = parse_encoder(encoder, modality)
    if parsed.family == "hf":
        return _folder(encoder, parsed)
    if parsed.family == "torchvision" and parsed.is_pretrained:
        return _weights_file(encoder, parsed)
    return None


def cached_weights(name: str, version: str | None) -> Path:
    """Where torchvision's weights of that name lie once they are fetched."""
    return Path(CACHE).expanduser() / f"{name}{f'@{version}' if version else ''}{WEIGHTS}"


def _weights_file(encoder: str, parsed: EncoderId) -> Place:
    by_path = parsed.names_file
    path = Path(str(parsed.version)).expanduser() if by_path else cached_weights(parsed.name, parsed.version)
    if by_path and path.suffix != WEIGHTS:
        raise UsageError(f"encoder {encoder}: weights are read from {WEIGHTS} files only; no pickle is ever loaded")
    if path.is_file():
        return Place(path, (path,))
    if by_path:
        raise UsageError(f"encoder {encoder}: there is no file {str(path)!r} (seen from {str(Path.cwd())!r})")
    raise UsageError(
        f"encoder {encoder}: its weights are not on this machine; get them with crossmodal fetch {encoder}"
    )


def locate_pipeline(generator: str, parsed: EncoderId, known: tuple[str, ...]) -> Place:
    """The files of a pipeline of diffusers. `known`: names of its class that are taken.

    Raises UsageError where they are not on this machine, are of another class, or would run code that came with them.
    """
    folder = _find_folder(f"pipeline {generator}", generator, parsed)
    what = f"pipeline {generator}: {str(folder)!r}"
    if not (folder / PIPELINE).is_file():
        raise UsageError(f"{what} has no {PIPELINE}, so is no pipeline of diffusers")
    try:
        index = json.loads((folder / PIPELINE).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{what}: {PIPELINE} cannot be read ({error})") from None
    kind = index.get("_class_name") if isinstance(index, dict) else None
    if kind not in known:
        raise UsageError(f"{what} is a {kind}; diffusers takes {', '.join(known)}")
    for name, part in index.items():
        if isinstance(part, list) and part[:1] not in ([None], *([each] for each in _LIBRARIES)):
            raise UsageError(f"{what}: its part {name} is of {part[0]!r}; no code from a folder is run")
    parts = [each for each in sorted(folder.iterdir()) if each.is_dir() and each.name in index]
    files = [path for part in parts for path in sorted(part.iterdir()) if path.is_file()]
    weights = tuple(path for path in files if path.suffix == WEIGHTS)
    if not weights:
        raise UsageError(f"{what} has no {WEIGHTS} file; no pickle is ever loaded")
    return Place(folder, weights, (folder / PIPELINE, *(path for path in files if path.suffix in _BESIDE)))


def _folder(encoder: str, parsed: EncoderId) -> Place:
    folder = _find_folder(f"encoder {encoder}", encoder, parsed)
    place = folder_place(folder)
    if not (folder / "config.json").is_file():
        raise UsageError(f"encoder {encoder}: {str(folder)!r} has no config.json, so is no model of transformers")
    if not place.weights:
        raise UsageError(f"encoder {encoder}: {str(folder)!r} has no {WEIGHTS} file; no pickle is ever loaded")
    return place


def folder_place(folder: Path) -> Place:
    """What a folder of transformers holds of an encoder; a store's own record is no part of it."""
    files = sorted(path for path in folder.iterdir() if path.is_file() and path.name != RECORD)
    beside = [path for path in files if path.suffix in _BESIDE]
    pooling = folder / _POOLING
    weights = tuple(path for path in files if path.suffix == WEIGHTS)
    return Place(folder, weights, (*beside, *([pooling] if pooling.is_file() else [])))


def _find_folder(what: str, name: str, parsed: EncoderId) -> Path:
    """The folder that an id names, or that of its snapshot; `what` begins an error, `name` is what can be fetched."""
    folder = Path(parsed.name).expanduser()
    if not (
        parsed.names_folder and folder.is_dir()
    ):  # whether a hub id depends on the current folder is never asked here
        return _snapshot(what, name, parsed)
    if parsed.version is not None:
        raise UsageError(f"{what}: a folder has no revision; leave @{parsed.version} out")
    return folder


def _snapshot(what: str, name: str, parsed: EncoderId) -> Path:
    """The folder of a hub id in the cache of huggingface_hub."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    if parsed.names_folder:
        raise UsageError(f"{what}: there is no folder {parsed.name!r} (seen from {str(Path.cwd())!r})")
    try:
        return Path(snapshot_download(parsed.name, revision=parsed.version, local_files_only=True))
    except LocalEntryNotFoundError:
        raise UsageError(
            f"{what}: neither a folder nor in the local cache; get it with crossmodal fetch {name}"
        ) from None
    except HFValidationError:
        raise UsageError(f"{what}: {parsed.name!r} is neither a folder nor the id of a model") from None


def _digest(files: tuple[Path, ...], root: Path) -> str:
    base = root if root.is_dir() else root.parent
    if files == (root,):
        return verified_digest(root)
    return digest_json({path.relative_to(base).as_posix(): verified_digest(path) for path in files})
