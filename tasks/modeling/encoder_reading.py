"""What encoders read of a canonical medium: the tiny encoder and the classical one, or a pretrained one as it wants it."""

from __future__ import annotations

from data_contracts.refs import Modality
from tasks.config import ExtractConfig
from tasks.encoder_ids import BUILT_IN
from tasks.modalities import MODALITIES, Dtype, Params, Prepare
from tasks.modeling.encoder_spec import EncoderSpec


def extract_keys(modality: Modality, pretrained: bool) -> tuple[str, ...]:
    """The settings of ExtractConfig that shape an encoder's inputs."""
    spec = MODALITIES[modality]
    return spec.pretrained_keys if pretrained else spec.tiny_keys


def params_of(modality: Modality, config: ExtractConfig, *, pretrained: bool) -> Params:
    """Those settings by value; a side that the config leaves open is known for tiny, and is the encoder's own for others."""
    params = {key: getattr(config, key) for key in extract_keys(modality, pretrained)}
    defaults = {} if pretrained else MODALITIES[modality].tiny_defaults
    return {key: defaults.get(key) if value is None else value for key, value in params.items()}


def input_dtype(modality: Modality, pretrained: bool) -> Dtype:
    """The type in which an encoder's inputs are stored."""
    spec = MODALITIES[modality]
    return spec.pretrained_dtype if pretrained else spec.tiny_dtype


def preparer(modality: Modality, spec: EncoderSpec, params: Params) -> Prepare:
    """Makes an encoder's inputs; safe among threads. UsageError where its tokenizer is not on this machine."""
    if spec.encoder in BUILT_IN:
        return MODALITIES[modality].prepare_tiny(params)
    return MODALITIES[modality].prepare_pretrained(spec, params)
