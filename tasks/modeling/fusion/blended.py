"""Several fused classifiers that answer the same inputs as one: the mean of their logits, each calibrated."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from data_contracts.modalities import modality_of
from data_contracts.refs import InputName, Modality
from tasks.config import FusionConfig
from tasks.modalities import MODALITIES
from tasks.modeling.encoder_base import Embedded, Encoder
from tasks.modeling.encoder_spec import EncoderSpec
from tasks.modeling.encoders import build_encoder
from tasks.modeling.fusion.classifier import FusedClassifier, Output, Present, owners_of
from tasks.modeling.targets import Targets


@dataclass(frozen=True)
class Blended:
    """A member as its own training left it."""

    encoders: Mapping[InputName, EncoderSpec]
    fusion: FusionConfig
    temperature: float
    """What its own logits of the first label column are divided by."""
    weight: float
    """Of its logits in the mean; those of all members sum to 1."""


class Beside(Encoder):
    """The encoders of all members, which look at the same input; their vectors one after the other."""

    def __init__(self, encoders: Sequence[Encoder]) -> None:
        super().__init__()
        self.encoders = nn.ModuleList(encoders)
        self.width = sum(encoder.width for encoder in encoders)
        self.has_gradient = all(encoder.has_gradient for encoder in encoders)
        self.unknown: int | None = getattr(encoders[0], "unknown", None)
        """Of texts: the id of a hidden byte, the same for all that read bytes."""

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """(B, ...), (B,) -> (B, width)."""
        return torch.cat([encoder(x, lengths).float() for encoder in self.encoders], dim=1)


class BlendedClassifier(FusedClassifier):
    """Its encoders are those of all members side by side; each member fuses its own part of their vectors.

    The mean is of logits, not of probabilities: it is linear, so that what is made of logits (energies, attributions, numbers
    in their unit) is made of it as of one network's. Its probabilities are the members' geometric mean.
    """

    def __init__(
        self,
        specs: Mapping[InputName, EncoderSpec],
        members: Sequence[Blended],
        targets: Targets,
        share: Collection[Modality] = (),
    ) -> None:
        """`specs`: what is read of each input. ValueError where a member reads something that cannot be made of it."""
        nn.Module.__init__(self)  # and not the parent's, whose layers are the members'
        self.modalities: tuple[InputName, ...] = tuple(specs)
        self.specs = dict(specs)
        self.outputs, self.late, self.targets = targets.outputs, False, targets
        self.register_parameter("log_variances", None)
        self.owners = owners_of(specs, share)
        built = {
            name: _read_by_all(name, spec, [member.encoders[name] for member in members])
            for name, spec in specs.items()
            if self.owners[name] == name
        }
        self.encoders = nn.ModuleDict(dict(built.items()))
        self.cuts = [
            {name: _cut(built[owner], place) for name, owner in self.owners.items()} for place in range(len(members))
        ]
        """Of each member: input to where its part of the input's vector lies."""
        self.blended = nn.ModuleList(
            [
                _without_encoders(
                    member, targets.outputs, {name: _width(built[owner], place) for name, owner in self.owners.items()}
                )
                for place, member in enumerate(members)
            ]
        )
        self.weights = tuple(member.weight for member in members)
        self.temperatures = tuple(member.temperature for member in members)
        self.width = sum(fusion.width for fusion in self.fusions)

    @property
    def fusions(self) -> tuple[FusedClassifier, ...]:
        """The members without their encoders."""
        return tuple(cast(FusedClassifier, each) for each in self.blended)

    def forward(
        self,
        batch: Mapping[InputName, Present],
        size: int,
        hidden: Tensor | None = None,
        encoded: Mapping[InputName, Tensor] | None = None,
    ) -> Output:
        """As of one classifier; nothing is trained here, so there are no auxiliary answers."""
        encodings: dict[InputName, Tensor] = dict(encoded or {})
        for name in self.modalities:
            if name in batch and batch[name].rows.numel() and name not in encodings:
                encodings |= self.encode(name, batch)
        means: list[Tensor] = []
        for member, cuts, weight, temperature in zip(
            self.fusions, self.cuts, self.weights, self.temperatures, strict=True
        ):
            own = {name: batch[name]._replace(values=vector[:, cuts[name]]) for name, vector in encodings.items()}
            logits = member(own, size, hidden).logits
            means.append(weight * self.targets.divided(logits, temperature))
        return Output(torch.stack(means).sum(dim=0), {}, {})


def blended_weights(members: Sequence[FusedClassifier]) -> dict[str, Tensor]:
    """The state of a BlendedClassifier of these models, from theirs; what only their training used is left out."""
    found = {}
    for place, member in enumerate(members):
        for name, tensor in member.state_dict().items():
            if name == "log_variances":
                continue
            part, _, rest = name.partition(".")
            owner, _, own = rest.partition(".")
            if part == "encoders" and member.specs[owner].reads == "inputs":
                found[f"encoders.{owner}.encoders.{place}.{own}"] = tensor
            else:
                found[f"blended.{place}.{name}"] = tensor
    return found


def first_member(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state of the first member, from a blend's; `blended_weights` in the other direction."""
    found = {}
    for name, tensor in weights.items():
        part, owner, *rest = name.split(".")
        if (part, owner) == ("blended", "0"):
            found[".".join(rest)] = tensor
        elif part == "encoders" and rest[:2] == ["encoders", "0"]:
            found[".".join([part, owner, *rest[2:]])] = tensor
    return found


def _read_by_all(name: InputName, spec: EncoderSpec, members: Sequence[EncoderSpec]) -> Encoder:
    """What all members make of one input: of a frozen pretrained encoder's vector nothing, of inputs what each does."""
    if spec.reads == "embedding":
        if any(member != spec for member in members) or spec.width is None:
            raise ValueError(f"{name}: the members read different embeddings")
        return Embedded(spec.width)
    modality = modality_of(name)
    return Beside([_network(modality, member) for member in members])


def _network(modality: Modality, spec: EncoderSpec) -> Encoder:
    if spec.reads == "inputs":
        return build_encoder(modality, spec)
    if spec.encoder != "classical":
        raise ValueError(
            f"{modality} encoder {spec.encoder!r}: its embedding is not made of what the other member reads"
        )
    return MODALITIES[modality].classical_network()


def _cut(encoder: Encoder, place: int) -> slice:
    """Where the part of the member at `place` lies."""
    if not isinstance(encoder, Beside):
        return slice(None)
    widths = [_width(encoder, each) for each in range(len(encoder.encoders))]
    return slice(sum(widths[:place]), sum(widths[: place + 1]))


def _width(encoder: Encoder, place: int) -> int:
    return cast(Encoder, encoder.encoders[place]).width if isinstance(encoder, Beside) else encoder.width


def _without_encoders(member: Blended, outputs: int, widths: Mapping[InputName, int]) -> FusedClassifier:
    """What lies behind a member's encoders; classical features are scaled here, by each input's own train rows."""
    specs = {
        name: member.encoders[name].model_copy(update={"reads": "embedding", "width": width})
        for name, width in widths.items()
    }
    return FusedClassifier(specs, outputs, member.fusion)
