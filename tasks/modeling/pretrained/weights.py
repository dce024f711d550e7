"""Pretrained weights into networks."""

from __future__ import annotations

import threading
from collections import OrderedDict
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from data_contracts.modalities import modality_of
from data_contracts.refs import Modality
from tasks.errors import DataError, EnvironmentFailed
from tasks.modalities import MODALITIES
from tasks.modeling.card import ModelCard
from tasks.modeling.encoder_base import Encoder, FlipAveraged
from tasks.modeling.encoder_spec import EncoderSpec
from tasks.modeling.packed_weights import unpack_weights
from tasks.modeling.pretrained.adapter import Pretrained
from tasks.modeling.pretrained.describe import require_place
from tasks.modeling.pretrained.families import build_pretrained
from tasks.modeling.pretrained.locate import Place
from tasks.modeling.pretrained.onnx_encoder import OnnxEncoder
from tasks.modeling.pretrained.packaged import ONNX, PACKED
from tasks.store import canonical_json

KEPT = 4
"""Frozen networks that a process keeps; the one used longest ago makes room."""
_CPU = torch.device("cpu")
_frozen: OrderedDict[str, Encoder] = OrderedDict()
_lock = threading.Lock()


def load_pretrained(model: nn.Module, card: ModelCard) -> None:
    """Every trained encoder of a fresh model that has pretrained weights holds them.

    `model` is the FusedClassifier of `card`. Raises UsageError or EnvironmentFailed where the weights are gone or changed.
    """
    held = dict(model.get_submodule("encoders").named_children())  # one that several inputs share is there once
    for modality, encoder in held.items():
        spec = card.encoders[modality]
        if spec.reads == "inputs" and spec.weights_sha256 is not None:
            assert isinstance(encoder, Pretrained)
            encoder.load(require_place(modality_of(modality), spec))


def frozen_encoder(modality: Modality, spec: EncoderSpec, device: torch.device = _CPU) -> Encoder:
    """The encoder with its pretrained weights on a device, ready to look at inputs; read once per process and device, safe
    among threads. The classical one has none.

    Never move what this returns: others look through it. `Module.to` sets free, one parameter after the other, what another
    thread that moves it at the same time is still copying, which then holds whatever that memory has become.
    """
    if spec.test_time_flip:
        plain = frozen_encoder(modality, spec.model_copy(update={"test_time_flip": False}), device)
        return FlipAveraged(plain).eval()
    if spec.encoder == "classical":
        return MODALITIES[modality].classical_network().eval().to(device)
    named = spec.model_dump(mode="json", exclude={"encoder"})  # whichever model brings it along
    key = canonical_json([modality, named, str(device)])
    with _lock:
        if key not in _frozen:
            place = require_place(modality, spec)
            encoder = _build(modality, spec, place)
            require_place(modality, spec)  # nothing was changed between the look at its digest and its end
            encoder.freeze_for_inference()
            encoder.read_layers(modality, spec.layers)
            _frozen[key] = encoder.to(device)
        _frozen.move_to_end(key)
        while len(_frozen) > KEPT:
            _frozen.popitem(last=False)
        return _frozen[key]


def _build(modality: Modality, spec: EncoderSpec, place: Place) -> Pretrained:
    """The encoder with its weights: as they came, packed in fewer bits, or as a graph that onnxruntime runs."""
    if place.weights[0].name == ONNX:
        assert spec.width is not None  # an embedding has one
        exported = OnnxEncoder(spec.width)
        exported.load(place)
        return exported
    encoder = build_pretrained(modality, spec.model_copy(update={"reads": "inputs"}))
    if place.weights[0].name == PACKED:
        load_packed(encoder, place.weights[0])
    else:
        encoder.load(place)
    return encoder


def load_packed(encoder: Pretrained, path: Path) -> None:
    """The encoder holds the weights of a file of its whole state, packed. EnvironmentFailed where they are damaged."""
    try:
        encoder.load_state_dict(unpack_weights(load_file(path)))
    except (OSError, SafetensorError, RuntimeError, DataError) as error:
        message = " ".join(str(error).split())[:200]
        raise EnvironmentFailed(f"weights {path}: cannot be read ({message}); restore them") from None
