"""Which generator an id names: whether it is on this machine, what distinguishes its output, and the thing itself."""

from __future__ import annotations

import functools
import importlib.metadata
from dataclasses import dataclass
from importlib.util import find_spec

from tasks.config_translate import TranslateConfig
from tasks.errors import EnvironmentFailed, UsageError
from tasks.generator_ids import PIPELINES, GeneratorId, parse_generator
from tasks.modeling.pretrained.locate import Place, locate_encoder, locate_pipeline
from tasks.packages import missing_package
from tasks.store import verified_digest
from tasks.translate.generators.base import Asked, Generator
from tasks.translate.generators.programs import program_version


@dataclass(frozen=True)
class Family:
    """What a family of generators stands on."""

    reads: tuple[str, ...] = ()
    """The settings that shape its output."""
    libraries: tuple[str, ...] = ()
    architectures: tuple[str, ...] = ()
    """What config.json may call the model."""
    program: str = ""
    package: str = ""
    """Of Debian, which has the program."""


_TRANSFORMERS = ("torch", "transformers")
FAMILIES = {
    "whisper": Family(("max_new_tokens",), _TRANSFORMERS, ("whisper",)),
    "caption": Family(("max_new_tokens",), _TRANSFORMERS, ("blip", "git", "florence2")),
    "imagenet-labels": Family(("top_k",), ("torch", "torchvision")),
    "tesseract": Family(("lang", "psm"), ("pillow",), program="tesseract", package="tesseract-ocr"),
    "diffusers": Family(("num_inference_steps", "guidance_scale", "image_px"), ("diffusers", *_TRANSFORMERS)),
    "espeak-ng": Family(("voice",), program="espeak-ng", package="espeak-ng"),
    "retrieval": Family(),
}


def require_generator(config: TranslateConfig) -> Place | None:
    """The generator's files, None where it has none.

    Raises UsageError where its files are not here or are of another architecture, EnvironmentFailed without its program or
    its libraries.
    """
    generator = parse_generator(config.generator)
    family = FAMILIES[generator.family]
    if family.program:
        _require_program(family, config)
        return None
    if not generator.encoder:
        return None
    for name in family.libraries:
        if find_spec(name) is None and (missing := missing_package(ModuleNotFoundError(name, name=name))):
            raise EnvironmentFailed(f"translate.generator {config.generator}: {missing}")
    try:
        place = _locate(config.generator, generator)
    except UsageError as error:
        raise UsageError(f"translate.generator {config.generator}: {error}") from None
    if family.architectures and place.model_type not in family.architectures:
        raise UsageError(
            f"translate.generator {config.generator}: {str(place.root)!r} is a {place.model_type} model; "
            f"{generator.family} takes {', '.join(family.architectures)}"
        )
    return place


def _require_program(family: Family, config: TranslateConfig) -> None:
    if program_version(family.program) is None:
        raise EnvironmentFailed(
            f"translate.generator {family.program}: the program is not on this machine (apt-get install {family.package})"
        )
    if "lang" in family.reads:
        from tasks.translate.generators.ocr import language_files

        language_files(config.lang)


def _locate(text: str, generator: GeneratorId) -> Place:
    if generator.family == "diffusers":
        return locate_pipeline(text, generator.parsed, PIPELINES)
    place = locate_encoder(generator.kind.source or "image", generator.encoder)
    assert place is not None  # random weights are refused with the id
    return place


def asked_of(config: TranslateConfig, place: Place | None) -> Asked:
    """The settings that the generator reads."""
    family = FAMILIES[parse_generator(config.generator).family]
    found: dict[str, object] = {name: getattr(config, name) for name in family.reads}
    if "florence2" in family.architectures and place is not None and place.model_type == "florence2":
        found["prompt"] = config.prompt
    return Asked(**found)


def identity_of(config: TranslateConfig) -> dict[str, object]:
    """All that distinguishes the generator's output from another's; no path is part of it. Raises as `require_generator`."""
    generator, place = parse_generator(config.generator), require_generator(config)
    family = FAMILIES[generator.family]
    found: dict[str, object] = {
        "family": generator.family,
        "asked": asked_of(config, place).model_dump(mode="json", exclude_defaults=True),
        "libraries": {name: importlib.metadata.version(name) for name in family.libraries},
    }
    if place is not None:
        network = generator.parsed.name if generator.kind.encoder == "torchvision" else ""
        found |= {"weights": place.weights_sha256, "network": network}
    if family.program:
        found["program"] = program_version(family.program)
    if "lang" in family.reads:
        from tasks.translate.generators.ocr import language_files

        found["weights"] = [verified_digest(path) for path in language_files(config.lang)]
    return found


@functools.lru_cache(maxsize=1)
def load_generator(text: str, asked: Asked) -> Generator:
    """The generator of an id, read once per process. Raises as `require_generator`, EnvironmentFailed for damaged files."""
    generator = parse_generator(text)
    if generator.family == "espeak-ng":
        from tasks.translate.generators.speech import Speech

        return Speech(asked)
    if generator.family == "tesseract":
        from tasks.translate.generators.ocr import Ocr

        return Ocr(asked)
    return _load(text, generator, _locate(text, generator), asked)


def _load(text: str, generator: GeneratorId, place: Place, asked: Asked) -> Generator:
    if generator.family == "whisper":
        from tasks.translate.generators.whisper import Whisper

        return Whisper(text, place, asked)
    if generator.family == "caption":
        from tasks.translate.generators.captions import Captioner

        return Captioner(text, place, asked)
    if generator.family == "diffusers":
        from tasks.translate.generators.diffusion import Diffusion

        return Diffusion(text, place, asked)
    from tasks.translate.generators.imagenet_labels import ImageNetLabels

    return ImageNetLabels(text, generator.parsed, place, asked)
