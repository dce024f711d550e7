"""Which generator an id names: whether it is on this machine, what distinguishes its output, and the thing itself."""

from __future__ import annotations

import functools
import importlib.metadata
from typing import Any

from tasks.config_translate import TranslateConfig
from tasks.errors import EnvironmentFailed, UsageError
from tasks.generator_ids import GeneratorId, parse_generator
from tasks.modeling.pretrained.locate import Place, locate_encoder
from tasks.translate.generators.base import Asked, Generator

READ = {
    "whisper": ("max_new_tokens",),
    "caption": ("max_new_tokens",),
    "imagenet-labels": ("top_k",),
    "espeak-ng": ("voice",),
}
"""The settings that shape each family's output."""
LIBRARIES = {
    "whisper": ("torch", "transformers"),
    "caption": ("torch", "transformers"),
    "imagenet-labels": ("torch", "torchvision"),
    "espeak-ng": (),
}
ARCHITECTURES = {"whisper": ("whisper",), "caption": ("blip", "git", "florence2")}
"""What config.json may call the model."""


def require_generator(config: TranslateConfig) -> Place | None:
    """The generator's files, None where it has none.

    Raises UsageError where its files are not here or are of another architecture, EnvironmentFailed without its program.
    """
    generator = parse_generator(config.generator)
    if generator.family == "espeak-ng":
        from tasks.translate.generators.speech import program_version

        if program_version() is None:
            raise EnvironmentFailed(
                "translate.generator espeak-ng: the program is not on this machine (apt-get install espeak-ng)"
            )
        return None
    if not generator.encoder:
        return None
    try:
        place = locate_encoder(generator.kind.source or "image", generator.encoder)
    except UsageError as error:
        raise UsageError(f"translate.generator {config.generator}: {error}") from None
    assert place is not None  # random weights are refused with the id
    known = ARCHITECTURES.get(generator.family)
    if known is not None and place.model_type not in known:
        raise UsageError(
            f"translate.generator {config.generator}: {str(place.root)!r} is a {place.model_type} model; "
            f"{generator.family} takes {', '.join(known)}"
        )
    return place


def asked_of(config: TranslateConfig, place: Place | None) -> Asked:
    """The settings that the generator reads."""
    names = READ.get(parse_generator(config.generator).family, ())
    found: dict[str, Any] = {name: getattr(config, name) for name in names}
    if place is not None and place.root.is_dir() and place.model_type == "florence2":
        found["prompt"] = config.prompt
    return Asked(**found)


def identity_of(config: TranslateConfig) -> dict[str, Any]:
    """All that distinguishes the generator's output from another's; no path is part of it. Raises as `require_generator`."""
    generator, place = parse_generator(config.generator), require_generator(config)
    found: dict[str, Any] = {
        "family": generator.family,
        "asked": asked_of(config, place).model_dump(mode="json"),
        "libraries": {name: importlib.metadata.version(name) for name in LIBRARIES[generator.family]},
    }
    if place is not None:
        network = generator.parsed.name if generator.kind.encoder == "torchvision" else ""
        found |= {"weights": place.weights_sha256, "network": network}
    if generator.family == "espeak-ng":
        from tasks.translate.generators.speech import program_version

        found["program"] = program_version()
    return found


@functools.lru_cache(maxsize=1)
def load_generator(text: str, asked: Asked) -> Generator:
    """The generator of an id, read once per process. Raises as `require_generator`, EnvironmentFailed for damaged files."""
    generator = parse_generator(text)
    if generator.family == "espeak-ng":
        from tasks.translate.generators.speech import Speech

        return Speech(asked)
    return _load(text, generator, asked)


def _load(text: str, generator: GeneratorId, asked: Asked) -> Generator:
    place = locate_encoder(generator.kind.source or "image", generator.encoder)
    assert place is not None
    if generator.family == "whisper":
        from tasks.translate.generators.whisper import Whisper

        return Whisper(text, place, asked)
    if generator.family == "caption":
        from tasks.translate.generators.captions import Captioner

        return Captioner(text, place, asked)
    from tasks.translate.generators.imagenet_labels import ImageNetLabels

    return ImageNetLabels(text, generator.parsed, place, asked)
