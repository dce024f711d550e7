"""Which settings are paths, and what a relative one is relative to: the profile's file, or the folder of who typed it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from data_contracts.modalities import ALL_MODALITIES
from data_contracts.refs import Modality
from tasks.encoder_ids import parse_encoder
from tasks.generator_ids import parse_generator

_ADDRESSES = ("builtin:", "model:", "prefect-block:")


def absolute_paths(values: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The same settings with every path that is written relative to `folder` made absolute; `~` is the home folder.

    What is not of the type that a setting takes stays as it is: the config says so.
    """

    def one(value: Any) -> Any:
        """A path made absolute."""
        return absolute_path(value, folder) if isinstance(value, str) else value

    def several(value: Any) -> Any:
        """A list of paths, each made absolute."""
        return [one(item) for item in value] if isinstance(value, list | tuple) else value

    def encoder(modality: Modality) -> Callable[[Any], Any]:
        """What makes the path inside the encoder id of a kind absolute."""
        return lambda value: _absolute_encoder(value, modality, folder) if isinstance(value, str) else value

    def backbones(value: Any) -> Any:
        """The paths inside the encoder ids of each kind."""
        if not isinstance(value, Mapping):
            return value
        return {
            kind: [encoder(kind)(each) for each in ids] if isinstance(ids, list | tuple) else ids
            for kind, ids in value.items()
        }

    rules: dict[str, dict[str, Callable[[Any], Any]]] = {
        "data": {"path": one, "allowed_roots": several, "expectations": one, "corrections": one},
        "compare": {"backbones": backbones},
        "encoders": {modality: encoder(modality) for modality in ALL_MODALITIES},
        "publish": {"sign_key": one, "verify_key": one},
        "translate": {"generator": lambda value: _absolute_generator(value, folder)},
    }
    found = dict(values)
    for section, keys in rules.items():
        section_values = found.get(section)
        if isinstance(section_values, Mapping):
            found[section] = {key: keys[key](value) if key in keys else value for key, value in section_values.items()}
    return found


def absolute_path(text: str, folder: Path) -> str:
    """The path as seen from `folder`; an address (s3://, builtin:) stays as it is, and so does nothing at all."""
    if not text or "://" in text or text.startswith(_ADDRESSES):
        return text
    return str((folder / Path(text).expanduser()).absolute())


def _absolute_encoder(encoder: str, modality: Modality, folder: Path) -> str:
    """The id with its weights file, or its folder, absolute; a hub id stays one unless a folder of that name is there."""
    try:
        parsed = parse_encoder(encoder, modality)
    except ValueError:
        return encoder  # the config says what is wrong with it
    if parsed.family == "torchvision" and parsed.version and parsed.names_file:
        return f"torchvision:{parsed.name}@{absolute_path(parsed.version, folder)}"
    if parsed.family == "hf" and (parsed.names_folder or (folder / parsed.name).is_dir()):
        return f"hf:{absolute_path(parsed.name, folder)}{f'@{parsed.version}' if parsed.version else ''}"
    return encoder


def _absolute_generator(generator: Any, folder: Path) -> Any:
    """The same of a generator id, which names its files as an encoder id does."""
    try:
        parsed = parse_generator(generator) if isinstance(generator, str) else None
    except ValueError:
        return generator  # the config says what is wrong with it
    if parsed is None or not parsed.encoder:
        return generator
    found = _absolute_encoder(parsed.encoder, parsed.kind.source or "image", folder)
    return f"{parsed.family}:{found.partition(':')[2]}"
