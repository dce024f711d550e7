"""model.json: what a model's numbers mean. One reader, one writer. Imports no torch."""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from data_contracts.refs import Frozen, InputName, Modality, Sha256, Target
from tasks.config_sections import MediaConfig
from tasks.config_training import EncodersConfig, ExtractConfig, FusionConfig
from tasks.errors import DataError, EnvironmentFailed
from tasks.escaping import one_line
from tasks.modalities import spec_of
from tasks.modeling.encoder_spec import EncoderSpec
from tasks.modeling.uncertainty import Uncertainty
from tasks.problems.registry import PROBLEMS, is_plain, problem_of
from tasks.store import canonical_json, write_text

CARD = "model.json"
FORMAT = 2
"""Raised whenever a key of the card or its meaning changes; a card of another format is refused."""
Finite = Annotated[float, Field(allow_inf_nan=False)]


class FeatureForm(Frozen):
    """What the model reads of one input."""

    fingerprint: Sha256
    """Of the encoder and of everything that changed the features that rows are answered by: those that it was trained on, or
    those averaged over mirror images where it chose to answer so."""
    dtype: Literal["uint8", "int16", "int32", "float32"]


class CardConfig(Frozen):
    """The sections of the config that rebuild the network and what it reads."""

    media: MediaConfig
    extract: ExtractConfig
    encoders: EncodersConfig
    fusion: FusionConfig


class Compression(Frozen):
    """Which published model a smaller or faster one was made of, and how."""

    method: str
    name: str
    version: str
    """In the registry, or of a release."""
    model_sha256: Sha256
    card_sha256: Sha256


class BlendMember(Frozen):
    """One of several models whose answers are blended, without its own label columns, which are those of the card."""

    encoders: dict[InputName, EncoderSpec]
    fusion: FusionConfig
    temperature: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    """What its logits of the first label column are divided by."""
    weight: Annotated[float, Field(gt=0, le=1)]
    """Of its logits in the mean."""


class DecisionRule(Frozen):
    """How the first label column is answered, where train.tune_thresholds chose something better than the default."""

    offsets: tuple[Finite, ...] | None = None
    """multiclass (C,): added to the log-probability of each class before they are compared."""
    thresholds: tuple[Finite, ...] | None = None
    """multilabel (L,): the probability from which on each label is given."""


def _has_known_problem(target: Target) -> Target:
    if target.problem not in PROBLEMS:
        raise PydanticCustomError("problem", "problem {name} is unknown", {"name": repr(target.problem)})
    return target


KnownTarget = Annotated[Target, AfterValidator(_has_known_problem)]


class ModelCard(Frozen):
    """The content of model.json."""

    format: Literal[2]
    labels: tuple[str, ...]
    """Of the first label column; empty for numbers."""
    targets: Annotated[tuple[KnownTarget, ...], Field(min_length=1)] | None = None
    """Every label column, the first one first; None: one multiclass column with `labels`."""
    modalities: Annotated[tuple[InputName, ...], Field(min_length=1)]
    features: dict[InputName, FeatureForm] = Field(default_factory=dict)
    encoders: dict[InputName, EncoderSpec]
    config: CardConfig
    blend: Annotated[tuple[BlendMember, ...], Field(min_length=2)] | None = None
    """The models whose answers are blended: each reads what `encoders` say, or computes classical features of it. None: it is
    one network."""
    decision: DecisionRule | None = None
    uncertainty: Uncertainty | None = None
    compression: Compression | None = None
    """Of a compressed model; None: it is as it was trained."""

    @model_validator(mode="after")
    def _check_encoders(self) -> Self:
        missing = [name for name in self.modalities if name not in self.encoders]
        if missing:
            raise PydanticCustomError("missing", "no encoder of {missing}", {"missing": ", ".join(missing)})
        return self

    @model_validator(mode="after")
    def _check_decision(self) -> Self:
        name = problem_of(self.label_targets[0]).decision or "offsets"
        if self.decision is not None and len(getattr(self.decision, name) or ()) != len(self.labels):
            raise PydanticCustomError("decision", "decision.{name} is not one number for each label", {"name": name})
        return self

    @property
    def label_targets(self) -> tuple[Target, ...]:
        """The label columns, in the order of the outputs; also where only `labels` tell of them."""
        return self.targets or (Target(name="label", labels=self.labels),)

    @property
    def shared(self) -> tuple[Modality, ...]:
        """The modalities whose inputs pass through one encoder."""
        return self.config.encoders.shared

    @property
    def offsets(self) -> tuple[float, ...] | None:
        """`decision.offsets`, None where there are none."""
        return None if self.decision is None else self.decision.offsets

    @property
    def thresholds(self) -> tuple[float, ...] | None:
        """`decision.thresholds`, None where there are none."""
        return None if self.decision is None else self.decision.thresholds

    @property
    def tuned(self) -> tuple[float, ...] | None:
        """What decides the first label column: its offsets or its thresholds, whichever its problem has; None: neither."""
        named = {"offsets": self.offsets, "thresholds": self.thresholds}
        return named.get(problem_of(self.label_targets[0]).decision or "")

    @property
    def temperature(self) -> float:
        """What the logits of the first label column are divided by; 1 where nothing else was better."""
        return (self.uncertainty.temperature if self.uncertainty else None) or 1.0

    @property
    def answers(self) -> bool:
        """Whether the answer in the first label column is not just its most probable label."""
        return self.targets is not None or self.decision is not None

    def with_targets(self, targets: tuple[Target, ...]) -> ModelCard:
        """The same with these label columns."""
        return self.model_copy(update=label_fields(targets))

    def joined_columns(self) -> dict[str, tuple[str, ...]]:
        """Keys of data.columns with the columns that the model reads for its inputs that are made of several."""
        joined = {name: spec_of(name).joined_columns() for name in self.modalities}
        return {
            name: columns.columns_read(self.encoders[name]) for name, columns in joined.items() if columns is not None
        }

    def files_beside(self) -> dict[str, Sha256]:
        """Names and sha256 of the files besides weights and card that the model cannot predict without; often none."""
        digests = {spec.tokenizer_sha256 for spec in self.encoders.values() if spec.tokenizer_sha256 is not None}
        return {tokenizer_file(digest): digest for digest in sorted(digests)}


def label_fields(targets: tuple[Target, ...]) -> dict[str, tuple[str, ...] | tuple[Target, ...] | None]:
    """The fields of a card that tell the label columns: `labels` of the first, `targets` where that does not tell all."""
    return {"labels": targets[0].labels, "targets": None if is_plain(targets) else targets}


def read_card(folder: Path, sha256: Sha256 | None = None) -> ModelCard:
    """The card of the model in a folder; `sha256`: of the one that was published, which it must be.

    Raises EnvironmentFailed where it cannot be read or comes from a crossmodal with other settings, DataError with the field
    where it is damaged.
    """
    path = folder / CARD
    try:
        content = path.read_bytes()
    except OSError as error:
        raise EnvironmentFailed(f"model {path}: cannot be read ({error.strerror}); train again") from None
    if sha256 is not None:
        require_content(content, sha256, path)
    return _parse(path, content)


def require_content(content: bytes, sha256: Sha256, path: Path) -> None:
    """DataError unless the bytes that were read at `path`, and are about to be used, are those that were published."""
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise DataError(
            f"model {path}: damaged (its sha256 is {found[:12]}, that of the published one {sha256[:12]}); restore it"
        )


@lru_cache(maxsize=16)  # whoever has only the folder of a model, as of encoders that it brings along, asks again
def _parse(path: Path, content: bytes) -> ModelCard:
    try:
        record = json.loads(content.decode())
        version = record.get("format", FORMAT) if isinstance(record, dict) else FORMAT
        if version != FORMAT:
            raise DataError(f"model {path}: format {version!r}, this version reads {FORMAT}; train again")
        return ModelCard.model_validate(record)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        if first["type"] == "extra_forbidden":
            raise EnvironmentFailed(
                f"model {path}: made by a crossmodal with other settings ({field}); retrain it with this version"
            ) from None
        message = f"{field or CARD}: {one_line(first['msg'], 200)}"
        raise DataError(f"model {path}: damaged ({message}); train again") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"model {path}: damaged ({one_line(str(error), 300)}); train again") from None


def save_card(card: ModelCard, folder: Path) -> None:
    """model.json lies in the folder; equal cards give equal bytes. It holds no time and no path of the machine."""
    absent = {
        name for name in ("targets", "blend", "decision", "uncertainty", "compression") if getattr(card, name) is None
    }
    record = card.model_dump(mode="json", exclude=absent)
    for name, part in (("decision", card.decision), ("uncertainty", card.uncertainty)):
        if part is not None:
            record[name] = part.model_dump(mode="json", exclude_none=True)
    write_text(folder / CARD, canonical_json(record))


def tokenizer_file(sha256: str) -> str:
    """The name of a tokenizer beside model.json: by its digest, so that encoders which read alike share it."""
    return f"tokenizer-{sha256[:16]}.json"


def read_beside(folder: Path, name: str, sha256: str) -> bytes:
    """The content of a file beside model.json. EnvironmentFailed where it is gone, DataError where it is another one."""
    try:
        content = (folder / name).read_bytes()
    except OSError as error:
        raise EnvironmentFailed(f"model {folder / name}: cannot be read ({error.strerror}); restore it") from None
    require_content(content, sha256, folder / name)
    return content
