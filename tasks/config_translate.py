"""The section of the config on translation: which input is generated from which other one, and by what."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from data_contracts.modalities import ALL_MODALITIES
from data_contracts.refs import INPUT_NAME
from tasks.config_sections import Section
from tasks.generator_ids import parse_generator


def _known_generator(text: str) -> str:
    parse_generator(text)
    return text


class TranslateConfig(Section):
    """What `crossmodal translate` generates, and how it is tried. It changes nothing of a retrain."""

    source: str = "text"
    """The input that is read, as the real one of each row."""
    target: str = "image"
    """The input that is generated."""
    generator: Annotated[str, AfterValidator(_known_generator)] = "retrieval"
    """whisper:ID_OR_FOLDER (speech to text), caption:ID_OR_FOLDER (picture to text), imagenet-labels:NAME@WEIGHTS (picture to
    the names of its ImageNet classes), tesseract (picture to the words in it), diffusers:ID_OR_FOLDER (text to picture),
    espeak-ng (text to speech), or retrieval: the nearest real medium in training."""
    mode: Literal["add", "fill"] = "add"
    """add: the generated input is tried as one of its own. fill: it stands only where a row lacks the real one."""
    max_new_tokens: Annotated[int, Field(ge=1, le=1024)] = 32
    """Tokens that whisper and caption write at most; decoding is greedy."""
    top_k: Annotated[int, Field(ge=1, le=100)] = 3
    """ImageNet classes that are named, the likeliest first."""
    voice: Annotated[str, Field(pattern=r"^[A-Za-z0-9+_-]{1,40}$")] = "en"
    """Of espeak-ng (espeak-ng --voices)."""
    prompt: str = "<CAPTION>"
    """What a captioner of Florence-2 is asked."""
    lang: Annotated[str, Field(pattern=r"^[A-Za-z_]{3,20}(\+[A-Za-z_]{3,20}){0,7}$")] = "eng"
    """What tesseract reads (tesseract --list-langs), several with + between."""
    psm: Annotated[int, Field(ge=3, le=13)] = 3
    """Of tesseract, its page segmentation mode: 3 a page, 6 one block, 7 one line, 8 one word, 11 words anywhere."""
    num_inference_steps: Annotated[int, Field(ge=1, le=200)] = 25
    """Of diffusers, denoising steps for a picture."""
    guidance_scale: Annotated[float, Field(ge=0, le=30)] = 7.5
    """Of diffusers, how closely a picture follows its text (Ho and Salimans 2022); 1: not at all, for turbo models."""
    image_px: Annotated[int, Field(ge=16, le=1024, multiple_of=8)] | None = None
    """Of diffusers, a picture's width and height; None: what the pipeline was trained for."""
    embed_dim: Annotated[int, Field(ge=1, le=4096)] = 128
    """Width of the space that two inputs share, for retrieval."""
    epochs: Annotated[int, Field(ge=1, le=10_000)] | None = None
    """Of each model that is trained for the comparison; None: train.epochs."""
    shard_rows: Annotated[int, Field(ge=1, le=100_000)] = 128
    """Media that are generated between two points from which a run that was killed resumes."""
    max_listed: Annotated[int, Field(ge=1, le=1000)] = 24
    """Rows that the report shows."""

    @field_validator("source", "target")
    @classmethod
    def _is_input(cls, name: str) -> str:
        if not re.fullmatch(INPUT_NAME, name):
            raise ValueError(
                f"{name!r} is no input; they are {', '.join(ALL_MODALITIES)}, and image_2 … of further columns"
            )
        return name

    @model_validator(mode="after")
    def _fits(self) -> TranslateConfig:
        if self.source == self.target:
            raise ValueError(f"source and target are both {self.source}; name two inputs")
        kind = parse_generator(self.generator).kind
        for what, name, needed in (("source", self.source, kind.source), ("target", self.target, kind.target)):
            if needed is not None and name.partition("_")[0] != needed:
                raise ValueError(
                    f"generator {self.generator.partition(':')[0]} is {kind.source} to {kind.target}, and {what} is {name}; "
                    f"write translate.source={kind.source} and translate.target={kind.target}"
                )
        return self
