"""Encoders that a model brings along. Of one that was trained the weights are in model.safetensors, all else in its card and
its tokenizer file. One that stayed frozen lies as it was, in a folder named by its digest: beside the model in a release, once
for all versions in a store.

Inside the program such an encoder has an id of its own, `model:FOLDER`, so that it is asked for like any other. No config may
say it.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from data_contracts.modalities import modality_of
from data_contracts.refs import Modality, Sha256
from tasks.encoder_ids import WEIGHTS, parse_encoder
from tasks.errors import DataError, EnvironmentFailed
from tasks.modalities import MODALITIES
from tasks.modeling.card import CARD, ModelCard, read_card
from tasks.modeling.encoder_spec import EncoderSpec
from tasks.modeling.pretrained.locate import Place, folder_place

ENCODERS = "encoders"
"""The folder of frozen encoders, of a release and of a store."""
_FILE = f"weights{WEIGHTS}"
"""What an encoder of one file is called there."""
PACKED, ONNX = "encoder.safetensors", "encoder.onnx"
"""The weights of a compressed encoder: its whole state in fewer bits, or a graph. Beside them lies what else it came with."""


def packaged_encoder(folder: Path) -> str:
    """The id of the encoders of the model in a folder."""
    return f"model:{folder}"


def package_folder(modality: Modality, encoder: str) -> Path | None:
    """The model's folder, where an id is one of these."""
    parsed = parse_encoder(encoder, modality)
    return Path(parsed.name) if parsed.family == "model" else None


def packaged_spec(modality: Modality, folder: Path) -> EncoderSpec:
    """What the model's card says of an encoder, under the id that it had when the model was trained.

    Raises EnvironmentFailed where the card is gone, DataError where it is damaged.
    """
    for name, spec in read_card(folder).encoders.items():
        if modality_of(name) == modality:  # all inputs of a modality have the same
            return spec
    raise DataError(f"model {folder / CARD}: does not describe its encoder of {modality}; train again")


def is_packaged(modality: Modality, spec: EncoderSpec, folder: Path) -> bool:
    """Whether the model in a folder brings along all of this encoder: the files it came from are not needed any more.

    One that was frozen where it was published or exported with it; one that was trained unless its tokenizer cannot be
    written as one JSON file.
    """
    if spec.reads == "embedding":
        return spec.weights_sha256 is not None and _included(folder, spec.weights_sha256) is not None
    if parse_encoder(spec.encoder, modality).family not in ("torchvision", "hf"):
        return False
    return not MODALITIES[modality].has_tokens or spec.tokenizer_sha256 is not None


def frozen_encoders(card: ModelCard) -> dict[Sha256, tuple[Modality, EncoderSpec]]:
    """Digest to modality and spec of every encoder whose weights are not the model's, each once."""
    return {
        spec.weights_sha256: (modality_of(name), spec)
        for name, spec in sorted(card.encoders.items())
        if spec.reads == "embedding" and spec.weights_sha256 is not None
    }


def copy_encoder(place: Place, folder: Path) -> None:
    """The files of an encoder lie in `folder`, with the same digest as where they came from."""
    if place.root.is_file():
        shutil.copyfile(place.root, folder / _FILE)
        return
    for path in (*place.weights, *place.beside):
        target = folder / path.relative_to(place.root)
        target.parent.mkdir(exist_ok=True)
        shutil.copyfile(path, target)


def included_place(modality: Modality, spec: EncoderSpec, folder: Path) -> Place:
    """The files of the frozen encoder that the model in a folder brings along, every byte of them as it was published.

    Raises EnvironmentFailed where they are gone or damaged.
    """
    sha256 = str(spec.weights_sha256)
    found = _included(folder, sha256)
    if found is None:
        raise EnvironmentFailed(
            f"model {folder}: its frozen {modality} encoder {sha256[:12]} is gone; restore the folder"
        )
    place = encoder_place(found)
    if place is None or place.weights_sha256 != sha256:
        raise EnvironmentFailed(
            f"model {folder}: its frozen {modality} encoder {found} is damaged (its digest is not {sha256[:12]}); copy or "
            "export the model again"
        )
    return place


def encoder_place(folder: Path) -> Place | None:
    """The files of an encoder as `copy_encoder` lays them out; None where there are no weights."""
    alone = folder / _FILE
    if alone.is_file() and not (folder / "config.json").is_file():
        return Place(alone, (alone,))
    place = folder_place(folder)
    if (folder / ONNX).is_file():
        return Place(folder, (folder / ONNX,), place.beside)
    return place if place.weights else None


def _included(folder: Path, sha256: str) -> Path | None:
    """Where the files lie: beside the model, or in the store in which it is `champions/KEY`."""
    places = (root / ENCODERS / sha256 for root in (folder, folder.parent.parent))
    return next((place for place in places if place.is_dir()), None)
