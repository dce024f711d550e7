"""What a card says of an encoder, from its id and its files. torch is imported only to complete what only it knows."""

from __future__ import annotations

import functools
import threading
from typing import Any

from pydantic import Field

from data_contracts.refs import Frozen, Modality, Sha256
from tasks.config import EncodersConfig
from tasks.encoder_ids import BUILT_IN, EncoderId, Layers, Reads, encoder_reads, parse_encoder
from tasks.errors import CrossmodalError, EnvironmentFailed, UsageError
from tasks.modalities import MODALITIES
from tasks.modeling.encoder_spec import EncoderSpec
from tasks.modeling.pretrained.locate import Place, locate_encoder
from tasks.modeling.pretrained.packaged import included_place, package_folder, packaged_spec
from tasks.progress import note

_lock = threading.Lock()


class Identity(Frozen):
    """What distinguishes an encoder's output from another's: equal identities, equal features. No path is part of it."""

    family: str
    name: str
    """torchvision's name of the network, and of its weights where it is given: they say what inputs are prepared. Else empty,
    as the digest says it."""
    reads: Reads
    weights_sha256: Sha256 | None
    inputs_sha256: Sha256 | None
    """Of the tokenizer and the configs."""
    model_type: str | None
    """What transformers calls the architecture."""
    px: int | None
    """Side of the picture, where the config sets it."""
    layers: Layers = Field(default="last", exclude_if=lambda layers: layers == "last")
    """As the config asks for them."""
    test_time_flip: bool = Field(default=False, exclude_if=lambda flips: not flips)
    """Whether the config asks for it always."""


def identify_encoder(modality: Modality, encoder: str, regime: str, encoders: EncodersConfig) -> Identity:
    """The identity of an encoder, known without torch. Raises UsageError where its files are not on this machine."""
    folder = package_folder(modality, encoder)
    if folder is not None:
        return _packaged_identity(modality, packaged_spec(modality, folder), encoders)
    parsed, place = parse_encoder(encoder, modality), locate_encoder(modality, encoder)
    pretrained = parsed.family in ("torchvision", "hf")
    reads = encoder_reads(encoder, modality, regime)
    return Identity(
        family=parsed.family,
        name=_network_name(parsed) if parsed.family == "torchvision" else "",
        reads=reads,
        weights_sha256=None if place is None or not parsed.is_pretrained else place.weights_sha256,
        inputs_sha256=None if place is None else place.inputs_sha256,
        model_type=place.model_type if parsed.family == "hf" and place is not None else None,
        px=encoders.image_px if pretrained and MODALITIES[modality].has_pixels else None,
        layers=asked_layers(modality, encoder, reads, encoders),
        test_time_flip=_flips(modality, encoders),
    )


def _flips(modality: Modality, encoders: EncodersConfig) -> bool:
    return encoders.test_time_flip == "on" and MODALITIES[modality].has_pixels


def asked_layers(modality: Modality, encoder: str, reads: Reads, encoders: EncodersConfig) -> Layers:
    """UsageError for numbers of layers where the encoder is not frozen: what is trained is read at its end."""
    asked = encoders.layers.of(modality)
    has_layers = reads == "embedding" and encoder not in BUILT_IN
    if has_layers or asked in ("last", "auto"):
        return asked if has_layers else "last"
    why = note("has no layers") if encoder in BUILT_IN else note("is trained here, and read at its last layer")
    raise UsageError(
        f"encoders.layers.{modality} = {list(asked)}: {encoder} {why}; give layers "
        "to frozen pretrained encoders only (train.regime=head)"
    )


def _packaged_identity(modality: Modality, spec: EncoderSpec, encoders: EncodersConfig) -> Identity:
    """The identity that the encoder had when the model was trained: what was extracted then is found again."""
    parsed = parse_encoder(spec.encoder, modality)
    return Identity(
        family=parsed.family,
        name=_network_name(parsed) if parsed.family == "torchvision" else "",
        reads=spec.reads,
        weights_sha256=spec.weights_sha256,
        inputs_sha256=spec.inputs_sha256,
        model_type=spec.model_type,
        px=encoders.image_px if MODALITIES[modality].has_pixels else None,
        layers=spec.layers,
        test_time_flip=_flips(modality, encoders),
    )


def _network_name(parsed: EncoderId) -> str:
    named = parsed.is_pretrained and parsed.version is not None and not parsed.names_file
    return f"{parsed.name}@{parsed.version}" if named else parsed.name


def describe_encoder(modality: Modality, encoder: str, regime: str, encoders: EncodersConfig) -> EncoderSpec:
    """The encoder with its width, its weights' digest and all that its network is built from.

    Raises UsageError where its files are not on this machine or are no encoder of the modality.
    """
    return complete_encoder(modality, encoder, identify_encoder(modality, encoder, regime, encoders))


def complete_encoder(modality: Modality, encoder: str, identity: Identity) -> EncoderSpec:
    """The same for an encoder whose identity is known already."""
    if identity.family == "tiny":
        return EncoderSpec(encoder=encoder, reads=identity.reads, test_time_flip=identity.test_time_flip)
    if identity.family == "classical":
        width = MODALITIES[modality].classical_network().width
        return EncoderSpec(encoder=encoder, reads=identity.reads, width=width, test_time_flip=identity.test_time_flip)
    folder = package_folder(modality, encoder)
    if folder is not None:
        update = {"encoder": encoder, "test_time_flip": identity.test_time_flip}
        return packaged_spec(modality, folder).model_copy(update=update)
    with _lock:
        width, settings, tokenizer_sha256 = _complete(modality, encoder, identity)
    return EncoderSpec(
        encoder=encoder,
        reads=identity.reads,
        width=width,
        weights_sha256=identity.weights_sha256,
        inputs_sha256=identity.inputs_sha256,
        model_type=identity.model_type,
        tokenizer_sha256=tokenizer_sha256,
        layers=identity.layers,
        test_time_flip=identity.test_time_flip,
        settings=settings,
    )


@functools.lru_cache(maxsize=32)
def _complete(modality: Modality, encoder: str, identity: Identity) -> tuple[int, dict[str, Any], str | None]:
    """Width, settings, and the digest of a tokenizer that is to go with the model; of a pretrained encoder.

    The identity is there so that a changed file is looked at again.
    """
    from tasks.modeling.pretrained.families import family_settings, measure_width

    place = locate_encoder(modality, encoder)
    settings = family_settings(modality, encoder, place) | ({} if identity.px is None else {"px": identity.px})
    spec = EncoderSpec(encoder=encoder, reads="inputs", layers=identity.layers, settings=settings)
    width = measure_width(modality, spec)
    if not MODALITIES[modality].has_tokens or place is None or identity.reads == "embedding":
        return width, settings, None
    from tasks.modeling.pretrained.tokenization import tokenizer_digest

    return width, settings, tokenizer_digest(place, spec)


def require_place(modality: Modality, spec: EncoderSpec) -> Place:
    """The files of a pretrained encoder, which are those that its spec was made from.

    Raises UsageError where they are gone, EnvironmentFailed where they have changed.
    """
    folder = package_folder(modality, spec.encoder)
    if folder is not None:
        return included_place(modality, spec, folder)
    place = locate_encoder(modality, spec.encoder)
    if place is None:
        raise UsageError(f"{modality} encoder {spec.encoder}: has no weights to load")
    if spec.weights_sha256 is not None and place.weights_sha256 != spec.weights_sha256:
        raise EnvironmentFailed(
            f"{modality} encoder {spec.encoder}: {place.root} has changed (digest {place.weights_sha256[:12]}, "
            f"expected {spec.weights_sha256[:12]}); put the old files back, or train again"
        )
    return place


def find_again(modality: Modality, spec: EncoderSpec, otherwise: str) -> str:
    """The id under which the very files lie that a model was made with: its own, else `otherwise`.

    Raises EnvironmentFailed where both are gone or have changed.
    """
    if spec.weights_sha256 is None:
        return spec.encoder
    doubts = []
    for encoder in dict.fromkeys([spec.encoder, otherwise]):
        if encoder in (*BUILT_IN, "off"):
            continue
        try:
            require_place(modality, spec.model_copy(update={"encoder": encoder}))
        except CrossmodalError as error:
            doubts.append(str(error))
            continue
        return encoder
    raise EnvironmentFailed(
        f"the model reads {modality} with files that are not here any more: {'; and '.join(doubts)}; "
        f"say where they are with --set encoders.{modality}=…"
    )
