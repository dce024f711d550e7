"""What a modality is: one object for each, in a package of its own, found by its name in `data_contracts.refs.Modality`.

Adding one: its name there, and tasks/modality_specs/NAME.py, or a package of that name, whose `SPEC` is a `ModalitySpec`. The
stages ask the object and know no names. Its parts that need torch, a decoder or a tokenizer are imported when they are called.
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Protocol

from data_contracts.modalities import ALL_MODALITIES, in_order, modality_of
from data_contracts.refs import ColumnType, InputName, Modality

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor

    from data_contracts.data_profile import ColumnSummary
    from data_contracts.expectations.features import FeatureSpec
    from tasks.config import RunConfig, TrainConfig
    from tasks.media.canonical import Canonical
    from tasks.media.near_duplicates.signatures import ReadMedia, Signature, Signatures
    from tasks.media.thumbnails import Picture
    from tasks.modeling.encoder_base import Encoder
    from tasks.modeling.encoder_spec import EncoderSpec
    from tasks.modeling.fusion.classifier import Present
    from tasks.modeling.pretrained.adapter import Settings
    from tasks.modeling.pretrained.locate import Place

Dtype = Literal["uint8", "int16", "int32", "float32"]
Params = Mapping[str, Any]
"""Settings of a section of the config, by name."""
Medium = Any
"""A canonical medium as the store gives it back: an array, or a text."""
Prepare = Callable[[Medium, int], "np.ndarray"]
"""Canonical medium and its sample rate in Hz (sound only) -> the feature."""


class Decode(Protocol):
    """Bytes of a source to their canonical form. Raises tasks.media.canonical.Undecodable."""

    def __call__(self, data: bytes, limits: Params, /) -> Canonical:
        """`limits` are those of MediaConfig."""


@dataclass(frozen=True)
class NearDuplicates:
    """How media that nearly repeat each other are found."""

    cost_ms: float
    """What a medium takes, about: the modality that costs least is compared first, the others where it leaves a question."""
    sign: Callable[[Medium, int], Signature | None]
    """Medium and rate to what it is compared by; None where there is too little of it."""
    match: Callable[[Signatures, ReadMedia], np.ndarray]
    """Signatures to (N, 2) positions of those that repeat each other; the media can be read again."""
    match_of_one_label: Callable[[Signatures], np.ndarray] | None = None
    """(N, 2) positions of those that repeat each other if their rows have one label."""
    is_compared: Callable[[Sequence[int]], bool] = lambda shape: True
    """Whether a medium of this shape is worth reading."""
    sign_many: Callable[[Sequence[Medium]], Sequence[Signature | None]] | None = None
    """As `sign` of each, where many at once take less time."""


Preset = Literal["offline", "fast", "medium", "best"]
"""One encoder for every modality, by size; `offline`: none that must be fetched."""


class PresetEncoder(NamedTuple):
    """The encoder that a preset names for a modality; its licence allows any use."""

    encoder: str
    licence: str
    """As its model card, and of torchvision its repository, have it."""
    parameters_m: float
    """Millions of parameters of what is fetched, for Whisper with the decoder, which is not used; four bytes each."""

    @property
    def size_mb(self) -> int:
        """Megabytes to fetch."""
        return round(4 * self.parameters_m)


class Statistics(NamedTuple):
    """What media look like, by measure."""

    numbers: dict[str, list[float]]
    categories: dict[str, dict[str, int]]
    """With the number of media of each category."""


class JoinedColumns(ABC):
    """What the stages ask of a modality whose input is made of several columns, and is fitted to them."""

    @abstractmethod
    def split_entry(self, entry: str) -> tuple[str, ColumnType | None]:
        """The column that an entry of `data.columns.NAME` names, and the type that it fixes, if any."""

    @abstractmethod
    def join(self, cells: Mapping[str, Any]) -> str | None:
        """The text that stands for these cells; None where all are empty. ValueError for what no cell can be."""

    @abstractmethod
    def decide_types(self, media: Sequence[str], entries: Sequence[str]) -> tuple[dict[str, ColumnType], list[str]]:
        """The type of every column from the joined cells of all rows, and what is to be known about it."""

    @abstractmethod
    def fit(self, spec: EncoderSpec, media: Sequence[str], types: Mapping[str, ColumnType]) -> EncoderSpec:
        """The spec of the encoder fitted to the train rows' media."""

    @abstractmethod
    def columns_read(self, spec: EncoderSpec) -> tuple[str, ...]:
        """Entries of `data.columns.NAME` for the columns that a fitted encoder reads."""

    @abstractmethod
    def permute(self, media: Sequence[str], column: str, order: Sequence[int]) -> list[str | None]:
        """The media, each with the cell of the medium at `order` in this column; None where nothing is left."""

    @abstractmethod
    def describe_unknown(self, media: Sequence[str], spec: EncoderSpec) -> list[str]:
        """A line for everything in these media that a fitted encoder does not know."""

    @abstractmethod
    def summarise(
        self, media: Sequence[str], types: Mapping[str, ColumnType], labels: Sequence[str]
    ) -> tuple[list[ColumnSummary], list[str]]:
        """Every column in figures, and what is suspicious about it; `labels` are those of the rows, as texts."""


class ModalitySpec(ABC):
    """One modality. The class attributes are facts that ingest, the config and the planning need; they import nothing."""

    name: ClassVar[Modality]

    # -- in a manifest
    columns: ClassVar[tuple[str, ...]] = ()
    """Names under which a manifest may give it, in order of preference."""
    suffixes: ClassVar[tuple[str, ...]] = ()
    """File endings by which a folder per class is recognised."""
    borrowed_from: ClassVar[tuple[Modality, str] | None] = None
    """Another modality whose medium can stand in for an empty cell, and the key of MediaConfig that asks for it."""
    identifies: ClassVar[bool] = True
    """Whether samples of which nothing else is known are one sample where their media are equal."""
    column_help: ClassVar[str] = ""
    """What the reference says of `data.columns.NAME`."""

    # -- in memory
    values_help: ClassVar[str] = "a path or bytes"
    """What a row in memory may give."""

    # -- its canonical form
    media_keys: ClassVar[tuple[str, ...]] = ()
    """The settings of MediaConfig that change it."""
    media_modules: ClassVar[tuple[str, ...]] = ()
    """The modules whose code shapes it."""
    libraries: ClassVar[tuple[str, ...]] = ()
    """Distributions whose version may change it."""
    signature_modules: ClassVar[tuple[str, ...]] = ()
    """The modules whose code finds near duplicates."""
    size_unit: ClassVar[str] = ""
    """Of `size`, for people."""
    statistics_modules: ClassVar[tuple[str, ...]] = ("tasks.modeling.media_statistics",)
    """The modules whose code measures it."""
    measures: ClassVar[Mapping[str, str]] = {}
    """What `measure` measures, with its unit."""

    # -- as it may come from the world
    corruptions: ClassVar[tuple[str, ...]] = ()
    """What `corrupt` knows."""

    # -- what encoders read
    families: ClassVar[tuple[str, ...]] = ()
    """Families of pretrained encoders that can read it."""
    presets: ClassVar[Mapping[Preset, PresetEncoder]] = {}
    """Its encoder in each preset but `offline`."""
    tiny_keys: ClassVar[tuple[str, ...]] = ()
    """The settings of ExtractConfig that shape what the tiny encoder reads."""
    tiny_defaults: ClassVar[Mapping[str, int]] = {}
    """What the tiny encoder takes for settings that the config leaves open."""
    tiny_modules: ClassVar[tuple[str, ...]] = ("tasks.media.encoder_inputs",)
    """The modules whose code shapes it."""
    tiny_dtype: ClassVar[Dtype] = "uint8"
    pretrained_keys: ClassVar[tuple[str, ...]] = ()
    """The settings of ExtractConfig that shape what a pretrained encoder reads."""
    pretrained_modules: ClassVar[tuple[str, ...]] = ("tasks.media.encoder_inputs",)
    pretrained_dtype: ClassVar[Dtype] = "uint8"
    has_pixels: ClassVar[bool] = False
    """Pictures or frames: scaled on all cores, to a side that the config may set."""
    has_frames: ClassVar[bool] = False
    """Pictures in time."""
    has_tokens: ClassVar[bool] = False
    """What a pretrained encoder reads is cut by a tokenizer, which then goes with the model."""
    varies_in_length: ClassVar[bool] = False
    """Batches are sorted by length, so that little is padded."""
    batch_rows: ClassVar[int] = 16
    """Media in a batch of a frozen encoder on a CPU: 16 pictures stay in its cache (mobilenet_v2 at 160 px: 3.0 ms a picture;
    by 64, 4.5)."""

    classical_scaling: ClassVar[float | None] = None
    """The power of their deviation by which classical features are divided: 1 standardises them, 1/2 is Pareto scaling; None:
    this has no classical features."""
    network_modules: ClassVar[tuple[str, ...]] = ()
    """The modules whose code shapes the network or what is changed at random, besides those of every training run."""

    @property
    def module(self) -> str:
        """Where this object is defined; through its imports, all code of the modality."""
        return type(self).__module__

    # -- in memory
    def encode(self, value: Any) -> bytes | None:
        """A value that a program holds, as the file that `decoder` reads; None where it can be none. Raises Undecodable."""
        return None

    def example(self) -> Any:
        """A small value, to try a model with; None: there is none."""
        return None

    def sample(self, number: int) -> tuple[str, bytes] | str | None:
        """A synthetic value, another one for each number: a file's ending and its bytes, or a text; None: there is none."""
        return None

    # -- its canonical form
    @abstractmethod
    def decoder(self) -> Decode:
        """What reads the bytes of a source; called in the decoding process before it gives up its rights."""

    def restore(self, data: bytes, shape: Sequence[int]) -> Medium:
        """A canonical medium from the bytes and the shape that the store holds."""
        import numpy as np

        return np.frombuffer(data, dtype=np.uint8).reshape(shape)

    def joined_columns(self) -> JoinedColumns | None:
        """Of a modality whose input is made of several columns, which the config names; None: of one column."""
        return None

    @abstractmethod
    def size(self, shape: Sequence[int], rate_hz: int) -> float:
        """How large a medium is, in `size_unit`."""

    @abstractmethod
    def measure(self, medium: Medium, rate_hz: int) -> dict[str, float]:
        """One value for each of `measures`."""

    def circumstances(self, medium: Medium, rate_hz: int) -> dict[str, float]:
        """What can be measured of a medium and should not tell its label, by measure; an audit asks whether it does."""
        return self.measure(medium, rate_hz)

    def player(self, medium: Medium, rate_hz: int) -> str | None:
        """A medium that is heard, as a data URI; None for what is not, or does not fit into a page."""
        return None

    def statistics(self, media: Sequence[tuple[Medium, int]], spec: EncoderSpec) -> Statistics:
        """What media, each with its rate, look like: what drift is looked for in. `spec` is of the model's encoder."""
        measured = [self.measure(medium, rate_hz) for medium, rate_hz in media]
        return Statistics({name: [values[name] for values in measured] for name in self.measures}, {})

    @abstractmethod
    def thumbnail(self, medium: Medium, rate_hz: int) -> Picture:
        """A medium as a report shows it, in one of the forms of Picture."""

    def near_duplicates(self) -> NearDuplicates | None:
        """How media that nearly repeat each other are found; None: equal ones only."""
        return None

    def corrupt(self, medium: Medium, rate_hz: int, name: str, severity: int, rng: np.random.Generator) -> Medium:
        """A medium with one of `corruptions`, severity 1 (mild) to 5."""
        raise NotImplementedError(f"{self.name} has no corruptions")

    # -- what encoders read
    @abstractmethod
    def prepare_tiny(self, params: Params) -> Prepare:
        """Makes what the tiny encoder reads; safe among threads."""

    def prepare_pretrained(self, spec: EncoderSpec, params: Params) -> Prepare:
        """The same for a pretrained encoder. UsageError where a tokenizer that it needs is not on this machine."""
        raise NotImplementedError(f"{self.name} has no pretrained encoders")

    @abstractmethod
    def tiny_features(self, name: InputName, config: RunConfig) -> FeatureSpec:
        """What is expected of an input's features for the tiny encoder."""

    def pretrained_features(self, name: InputName, spec: EncoderSpec, config: RunConfig) -> FeatureSpec:
        """The same for a pretrained encoder that is trained."""
        raise NotImplementedError(f"{self.name} has no pretrained encoders")

    # -- in a network
    @abstractmethod
    def tiny_network(self, spec: EncoderSpec) -> Encoder:
        """The tiny encoder, untrained. ValueError where the spec does not describe one."""

    def classical_network(self) -> Encoder:
        """What computes the classical features of what `prepare_tiny` makes; it has no weights."""
        raise NotImplementedError(f"{self.name} has no classical features")

    def pretrained_settings(self, encoder: str, place: Place) -> Settings:
        """What rebuilds a transformers encoder, from the files at a place. UsageError for what is no encoder of this."""
        raise NotImplementedError(f"{self.name} has no pretrained encoders")

    def to_model(self, values: Tensor) -> Tensor:
        """A padded batch as it is stored to what an encoder takes in: whole numbers as int64, sound in [-1, 1)."""
        import torch

        if values.dtype == torch.int16:
            return values.float().div(32_768.0)
        return values if values.is_floating_point() else values.long()

    def augment(self, part: Present, spec: EncoderSpec, config: TrainConfig, generator: torch.Generator) -> Present:
        """A batch with what may be changed at random without changing the class; `spec` is that of its encoder."""
        return part


class _Registry(Mapping[Modality, ModalitySpec]):
    """The objects by name, in the order in which names are joined; each is imported when it is first asked for."""

    def __init__(self) -> None:
        self._known: dict[str, ModalitySpec] = {}

    def __getitem__(self, name: Modality) -> ModalitySpec:
        if name not in self._known:
            if name not in ALL_MODALITIES:
                raise KeyError(f"{name!r} is no modality; there are {', '.join(ALL_MODALITIES)}")
            spec = importlib.import_module(f"tasks.modality_specs.{name}").SPEC
            if not isinstance(spec, ModalitySpec) or spec.name != name:
                raise TypeError(f"tasks.modality_specs.{name}.SPEC: is not the ModalitySpec of {name!r}")
            self._known[name] = spec
        return self._known[name]

    def __iter__(self) -> Iterator[Modality]:
        return iter(ALL_MODALITIES)

    def __len__(self) -> int:
        return len(ALL_MODALITIES)


MODALITIES: Mapping[Modality, ModalitySpec] = _Registry()
"""What can be decoded and trained on."""


def spec_of(name: InputName) -> ModalitySpec:
    """The object of an input's modality. ValueError for a name that no input can have."""
    return MODALITIES[modality_of(name)]


def all_corruptions(modalities: Collection[Modality]) -> tuple[str, ...]:
    """`image/noise`, `audio/telephone`: what `evaluate.robustness` measures, in the order of the modalities."""
    return tuple(
        f"{modality}/{name}"
        for modality in in_order(modalities)
        for name in MODALITIES[modality_of(modality)].corruptions
    )


def joined(modalities: Collection[InputName]) -> str:
    """`image+image_2+audio`: the names in their order."""
    return "+".join(in_order(modalities))
