"""model.json: what a model's numbers mean. Imports no torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from data_contracts.refs import InputName, Modality, Target
from tasks.errors import DataError, EnvironmentFailed
from tasks.escaping import one_line
from tasks.modalities import spec_of
from tasks.modeling.encoder_spec import EncoderSpec

CARD = "model.json"


class _Knobs(BaseModel):
    """The sections of the config under which a model was trained that a reader cannot do without."""

    media: dict[str, Any]
    extract: dict[str, Any]
    encoders: dict[str, Any]
    fusion: dict[str, Any]


class _Shape(BaseModel):
    """What every reader of a card relies on: that these are there, and of their type."""

    labels: tuple[str, ...]
    targets: tuple[Target, ...] | None = None
    modalities: tuple[InputName, ...] = Field(min_length=1)
    encoders: dict[str, EncoderSpec]
    config: _Knobs

    @model_validator(mode="after")
    def _check_encoders(self) -> Self:
        missing = [name for name in self.modalities if name not in self.encoders]
        if missing:
            raise PydanticCustomError("missing", "no encoder of {missing}", {"missing": ", ".join(missing)})
        return self


def read_card(folder: Path) -> dict[str, Any]:
    """The content of model.json, which names its labels, and an encoder and settings for each of its modalities.

    Raises EnvironmentFailed where it cannot be read, DataError where it is damaged.
    """
    try:
        card = json.loads((folder / CARD).read_text(encoding="utf-8"))
        _Shape.model_validate(card)
    except OSError as error:
        raise EnvironmentFailed(f"model {folder / CARD}: cannot be read ({error.strerror}); train again") from None
    except ValidationError as error:
        first = error.errors()[0]
        message = f"{'.'.join(map(str, first['loc'])) or CARD}: {one_line(first['msg'], 200)}"
        raise DataError(f"model {folder / CARD}: damaged ({message}); train again") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"model {folder / CARD}: damaged ({one_line(str(error), 300)}); train again") from None
    return dict(card)


def shared_kinds(card: Mapping[str, Any]) -> tuple[Modality, ...]:
    """The kinds whose inputs pass through one encoder; none in a card from before there were several inputs of a kind."""
    return tuple(card["config"].get("encoders", {}).get("shared", ()))


def columns_read(card: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Keys of data.columns with the columns that a model reads for its inputs that are made of several."""
    found = {}
    for name in card["modalities"]:
        columns = spec_of(name).joined_columns()
        if columns is not None:
            found[name] = columns.columns_read(EncoderSpec.model_validate(card["encoders"][name]))
    return found


def read_targets(card: Mapping[str, Any]) -> tuple[Target, ...]:
    """The label columns that a card tells, in the order of the outputs; one multiclass column where it names only labels."""
    given: Iterable[Any] = card.get("targets") or [{"name": "label", "labels": card["labels"]}]
    return tuple(Target.model_validate(target) for target in given)


def tokenizer_file(sha256: str) -> str:
    """The name of a tokenizer beside model.json: by its digest, so that encoders which read alike share it."""
    return f"tokenizer-{sha256[:16]}.json"


def files_beside(card: Mapping[str, Any]) -> dict[str, str]:
    """Names and sha256 of the files besides weights and card that a model cannot predict without; often none."""
    try:
        specs = [EncoderSpec.model_validate(spec) for spec in card.get("encoders", {}).values()]
    except (AttributeError, ValidationError):
        raise DataError(f"{CARD}: does not describe its encoders; train again") from None
    digests = sorted({spec.tokenizer_sha256 for spec in specs if spec.tokenizer_sha256 is not None})
    return {tokenizer_file(digest): digest for digest in digests}


def read_beside(folder: Path, name: str, sha256: str) -> bytes:
    """The content of a file beside model.json. EnvironmentFailed where it is gone, DataError where it is another one."""
    try:
        content = (folder / name).read_bytes()
    except OSError as error:
        raise EnvironmentFailed(f"model {folder / name}: cannot be read ({error.strerror}); restore it") from None
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise DataError(
            f"model {folder / name}: damaged (its sha256 is {found[:12]}, {CARD} says {sha256[:12]}); restore it"
        )
    return content
