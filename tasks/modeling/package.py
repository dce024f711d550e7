"""A model as a folder: model.safetensors (numbers only, no time, no path), model.json (what they mean), and the tokenizers of
its trained encoders. What a model was trained from is not needed to use it, but for encoders that stayed frozen."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from data_contracts.modalities import in_order, modality_of
from data_contracts.refs import FeatureRef, InputName, Sha256, ValidatedRef
from tasks.config import RunConfig
from tasks.errors import DataError, EnvironmentFailed
from tasks.modeling.card import (
    CARD,
    FORMAT,
    CardConfig,
    FeatureForm,
    ModelCard,
    label_fields,
    read_beside,
    read_card,
    require_content,
    save_card,
    tokenizer_file,
)
from tasks.modeling.fusion.blended import Blended, BlendedClassifier
from tasks.modeling.fusion.classifier import FusedClassifier
from tasks.modeling.packed_weights import unpack_weights
from tasks.modeling.pretrained.describe import describe_encoder, require_place
from tasks.modeling.targets import targets_of_card

WEIGHTS = "model.safetensors"


def describe_model(valid: ValidatedRef, features: Mapping[InputName, FeatureRef], config: RunConfig) -> ModelCard:
    """The card of the model that these features and settings make, its numbers not yet fitted."""
    names = in_order(features)
    return ModelCard(
        format=FORMAT,
        **label_fields(valid.clean.label_targets),
        modalities=names,
        features={
            name: FeatureForm(fingerprint=features[name].fingerprint, dtype=features[name].dtype) for name in names
        },
        encoders={
            name: describe_encoder(modality_of(name), config.encoders.of(name), config.train.regime, config.encoders)
            for name in names
        },
        config=CardConfig(
            media=config.media, extract=config.extract.shaping(), encoders=config.encoders, fusion=config.fusion
        ),
    )


def build_model(card: ModelCard) -> FusedClassifier:
    """The untrained network that a card describes.

    Raises DataError where it does not describe one, EnvironmentFailed where this machine cannot build it.
    """
    try:
        targets = targets_of_card(card)
        specs = {name: card.encoders[name] for name in card.modalities}
        if card.blend:
            members = [Blended(each.encoders, each.fusion, each.temperature, each.weight) for each in card.blend]
            return BlendedClassifier(specs, members, targets, card.shared)
        model = FusedClassifier(specs, targets.outputs, card.config.fusion, card.shared)
        model.targets = targets
        if len(targets.columns) > 1:
            model.log_variances = nn.Parameter(torch.zeros(len(targets.columns)))
        return model
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"model.json: does not describe a model ({_one_line(error)}); train again") from None
    except (ImportError, RuntimeError) as error:  # a package or memory that it asks for is not there
        raise EnvironmentFailed(f"model.json: its network cannot be built here ({_one_line(error)})") from None


def gather_files(card: ModelCard) -> dict[str, bytes]:
    """Names and content of the files that go with a model, from the places that its encoders come from.

    Raises UsageError or EnvironmentFailed where those are gone or have changed since they were described.
    """
    found = {}
    for name in card.modalities:
        spec = card.encoders[name]
        if spec.tokenizer_sha256 is not None:
            from tasks.modeling.pretrained.tokenization import tokenizer_json

            content = tokenizer_json(require_place(modality_of(name), spec), spec)
            assert content is not None  # or there would be no digest of it
            found[tokenizer_file(spec.tokenizer_sha256)] = content
    return found


def save_model(
    model: FusedClassifier, folder: Path, card: ModelCard, files: Mapping[str, bytes] = MappingProxyType({})
) -> None:
    """Writes weights, card and the files that go with them; the same weights give the same bytes."""
    (folder / WEIGHTS).write_bytes(weights_to_bytes(model.state_dict()))
    for name, content in files.items():
        (folder / name).write_bytes(content)
    save_card(card, folder)


def load_model(folder: Path, card: ModelCard | None = None, sha256: Sha256 | None = None) -> FusedClassifier:
    """The model on the CPU, ready to predict; `card` where its caller has read it already. `sha256`: of its published weights;
    the very bytes that are loaded must have it.

    Raises EnvironmentFailed where a file is missing or unreadable, DataError where the content is damaged or does not
    match its description.
    """
    card = card or read_card(folder)
    for name, published in card.files_beside().items():
        read_beside(folder, name, published)
    model = build_model(card)
    try:
        content = (folder / WEIGHTS).read_bytes()
        if sha256 is not None:
            require_content(content, sha256, folder / WEIGHTS)
        model.load_state_dict(unpack_weights(load(content)))
    except OSError as error:
        raise EnvironmentFailed(f"model {folder / WEIGHTS}: cannot be read ({error.strerror}); train again") from None
    except SafetensorError as error:
        raise DataError(f"model {folder / WEIGHTS}: damaged ({_one_line(error)}); train again") from None
    except RuntimeError as error:
        raise DataError(f"model {folder / WEIGHTS}: does not match {CARD} ({_one_line(error)}); train again") from None
    return model.eval()


def weights_to_bytes(weights: Mapping[str, Tensor]) -> bytes:
    """Safetensors without metadata."""
    return save({name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()})


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
