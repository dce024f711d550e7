"""A frozen encoder made smaller or faster: files of its own, under their own digest, beside those of other encoders."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import NamedTuple

import torch
from torch.nn import functional

from data_contracts.modalities import modality_of
from data_contracts.refs import InputName, Sha256, ValidatedRef
from tasks.compress.examples import read_examples
from tasks.compress.methods import Method
from tasks.compress.onnx_export import export_encoder
from tasks.compress.quantize import pack_weights
from tasks.errors import DataError
from tasks.modeling.card import ModelCard
from tasks.modeling.encoder_spec import EncoderSpec
from tasks.modeling.package import weights_to_bytes
from tasks.modeling.pretrained.adapter import Pretrained
from tasks.modeling.pretrained.describe import require_place
from tasks.modeling.pretrained.families import build_pretrained
from tasks.modeling.pretrained.onnx_encoder import OnnxEncoder
from tasks.modeling.pretrained.packaged import ENCODERS, ONNX, PACKED, encoder_place
from tasks.modeling.pretrained.weights import load_packed
from tasks.store import Store

SAME = 1e-4
"""1 - cosine up to which an encoder exported in float32 computes the same; further off the export is refused."""


class CompressedEncoder(NamedTuple):
    """Where it lies, and how far off it is."""

    weights_sha256: Sha256
    difference: float
    """1 - cosine of its vectors and the original's, the largest over the examples."""


def compress_encoder(
    name: InputName, spec: EncoderSpec, method: Method, card: ModelCard, valid: ValidatedRef, store: Store
) -> CompressedEncoder:
    """The encoder is in the store, in the form that the method gives it. `spec` is the original's, with the place of its files.

    DataError where its network cannot be exported, or does not compute the same when it is.
    """
    modality = modality_of(name)
    place = require_place(modality, spec)
    examples = read_examples(name, spec, card, valid, store)
    original = build_pretrained(modality, spec.model_copy(update={"reads": "inputs"}))
    original.load(place)
    packed = None if method.exports else weights_to_bytes(pack_weights(original.state_dict(), method.bits or "float16"))
    original.freeze_for_inference()
    original.read_layers(modality, spec.layers)
    with store.scratch_dir() as folder:
        for path in place.beside:
            target = folder / path.relative_to(place.root)
            target.parent.mkdir(exist_ok=True)
            shutil.copyfile(path, target)
        if packed is not None:
            (folder / PACKED).write_bytes(packed)
        else:
            export_encoder(original, examples, method.exports or "float", folder / ONNX, store)
        found = encoder_place(folder)
        assert found is not None  # it was just written
        sha256 = found.weights_sha256
        compressed = _load(name, spec, folder)
        difference = max(_difference(original, compressed, each.values, each.lengths) for each in examples)
        if method.exports == "float" and not difference <= SAME:
            raise DataError(f"{name}: its vectors by onnxruntime differ from torch's (1 - cosine {difference:.2g})")
        if store.find(ENCODERS, sha256) is None:
            with store.create(ENCODERS, sha256) as draft:
                shutil.copytree(folder, draft.path, dirs_exist_ok=True)
    return CompressedEncoder(sha256, difference)


def _load(name: InputName, spec: EncoderSpec, folder: Path) -> Pretrained:
    """The encoder as models will load it."""
    place = encoder_place(folder)
    assert place is not None
    if place.weights[0].name == ONNX:
        exported = OnnxEncoder(int(spec.width or 0))
        exported.load(place)
        return exported
    packed = build_pretrained(modality_of(name), spec.model_copy(update={"reads": "inputs"}))
    load_packed(packed, place.weights[0])
    packed.freeze_for_inference()
    packed.read_layers(modality_of(name), spec.layers)
    return packed


def _difference(original: Pretrained, compressed: Pretrained, values: torch.Tensor, lengths: torch.Tensor) -> float:
    with torch.inference_mode():
        similar = functional.cosine_similarity(original(values, lengths), compressed(values, lengths), dim=1)
    return float((1 - similar).clamp(min=0).max())
