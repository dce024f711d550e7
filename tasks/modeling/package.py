"""A model as a folder: model.safetensors (numbers only, no time, no path), model.json (what they mean), and the tokenizers of
its trained encoders. What a model was trained from is not needed to use it, but for encoders that stayed frozen."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from data_contracts.modalities import in_order, modality_of
from data_contracts.refs import FeatureRef, InputName, ValidatedRef
from tasks.config import FusionConfig, RunConfig
from tasks.errors import DataError, EnvironmentFailed
from tasks.modeling.card import CARD, files_beside, read_beside, read_card, shared_kinds, tokenizer_file
from tasks.modeling.encoder_spec import EncoderSpec
from tasks.modeling.fusion.classifier import FusedClassifier
from tasks.modeling.pretrained.describe import describe_encoder, require_place
from tasks.modeling.targets import Targets, targets_of_card
from tasks.store import canonical_json, write_text

FORMAT = 2
WEIGHTS = "model.safetensors"


def describe_model(valid: ValidatedRef, features: Mapping[InputName, FeatureRef], config: RunConfig) -> dict[str, Any]:
    """What model.json says: the labels, the modalities, the config that rebuilds the network and its inputs."""
    names = list(in_order(features))
    return {
        "format": FORMAT,
        **Targets(valid.clean.label_targets).as_card(),
        "modalities": names,
        "features": {
            name: {"fingerprint": features[name].fingerprint, "dtype": features[name].dtype} for name in names
        },
        "encoders": {
            name: describe_encoder(
                modality_of(name), config.encoders.of(name), config.train.regime, config.encoders
            ).model_dump(mode="json")
            for name in names
        },
        "config": config.subset("media", "extract", "encoders", "fusion"),
    }


def build_model(card: Mapping[str, Any]) -> FusedClassifier:
    """The untrained network that a card describes.

    Raises DataError where it does not describe one, EnvironmentFailed where this machine cannot build it.
    """
    try:
        if card["format"] != FORMAT:
            raise DataError(f"model.json: format {card['format']!r}, this version reads {FORMAT}; train again")
        encoders = {name: EncoderSpec.model_validate(card["encoders"][name]) for name in card["modalities"]}
        fusion = FusionConfig.model_validate(card["config"]["fusion"])
        targets = targets_of_card(card)
        model = FusedClassifier(encoders, targets.outputs, fusion, shared_kinds(card))
        model.targets = targets
        if len(targets.columns) > 1:
            model.log_variances = nn.Parameter(torch.zeros(len(targets.columns)))
        return model
    except (AttributeError, KeyError, TypeError, ValueError, ValidationError) as error:
        raise DataError(f"model.json: does not describe a model ({_one_line(error)}); train again") from None
    except (ImportError, RuntimeError) as error:  # a package or memory that it asks for is not there
        raise EnvironmentFailed(f"model.json: its network cannot be built here ({_one_line(error)})") from None


def gather_files(card: Mapping[str, Any]) -> dict[str, bytes]:
    """Names and content of the files that go with a model, from the places that its encoders come from.

    Raises UsageError or EnvironmentFailed where those are gone or have changed since they were described.
    """
    specs = {name: EncoderSpec.model_validate(card["encoders"][name]) for name in card["modalities"]}
    found = {}
    for name, spec in specs.items():
        if spec.tokenizer_sha256 is not None:
            from tasks.modeling.pretrained.tokenization import tokenizer_json

            content = tokenizer_json(require_place(modality_of(name), spec), spec)
            assert content is not None  # or there would be no digest of it
            found[tokenizer_file(spec.tokenizer_sha256)] = content
    return found


def save_model(
    model: FusedClassifier, folder: Path, card: Mapping[str, Any], files: Mapping[str, bytes] = MappingProxyType({})
) -> None:
    """Writes weights, card and the files that go with them; the same weights give the same bytes."""
    (folder / WEIGHTS).write_bytes(weights_to_bytes(model.state_dict()))
    for name, content in files.items():
        (folder / name).write_bytes(content)
    write_text(folder / CARD, canonical_json(card))


def load_model(folder: Path) -> FusedClassifier:
    """The model on the CPU, ready to predict.

    Raises EnvironmentFailed where a file is missing or unreadable, DataError where the content is damaged or does not
    match its description.
    """
    card = read_card(folder)
    for name, sha256 in files_beside(card).items():
        read_beside(folder, name, sha256)
    model = build_model(card)
    try:
        weights = load((folder / WEIGHTS).read_bytes())
        model.load_state_dict(weights)
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
