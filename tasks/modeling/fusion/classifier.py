"""The fused classifier: encoders, projections to one width, a presence mask, learned embeddings for what is missing."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from data_contracts.modalities import modality_of
from data_contracts.refs import InputName, Modality, Target
from tasks.config import FusionConfig
from tasks.modeling.encoder_base import Encoder, FlipAveraged
from tasks.modeling.encoder_spec import EncoderSpec
from tasks.modeling.encoders import build_encoder
from tasks.modeling.fusion.attention import Attention
from tasks.modeling.fusion.bilinear import Bilinear
from tasks.modeling.fusion.concat import Concat
from tasks.modeling.fusion.gated import Gated
from tasks.modeling.fusion.late import Late, Voter
from tasks.modeling.fusion.layers import shrink_head
from tasks.modeling.fusion.linear import Linear
from tasks.modeling.fusion.shared_projection import SharedProjection
from tasks.modeling.targets import Targets


class Present(NamedTuple):
    """One modality of a batch: only the rows that have it."""

    rows: Tensor
    """(P,) positions in the batch."""
    values: Tensor
    """image (P, 3, S, S) and video (P, N, 3, S, S) float in [0, 1]; audio (P, T, M) float; text (P, L) int64."""
    lengths: Tensor
    """(P,) frames of sound or video, or bytes."""


class Output(NamedTuple):
    """What a forward pass gives."""

    logits: Tensor
    """(B, outputs)"""
    auxiliary: dict[InputName, Tensor]
    """Modality to (P, outputs) logits from that modality alone, rows as in `Present.rows`; empty outside training."""
    vectors: dict[InputName, Tensor]
    """Modality to (P, width) projected vectors, for the contrastive loss; empty outside training."""
    log_variances: Tensor | None = None
    """(columns,) learned log-variances of several label columns. They pass through here so that processes exchange them."""
    fused: Tensor | None = None
    """(B, hidden) what the head reads; None under fusion.kind = late, which has no such layer."""


class FusedClassifier(nn.Module):
    """Predicts from any non-empty or even empty subset of its modalities."""

    def __init__(
        self,
        encoders: Mapping[InputName, EncoderSpec],
        outputs: int,
        config: FusionConfig,
        share: Collection[Modality] = (),
    ) -> None:
        """All inputs of a kind in `share` pass through one encoder. ValueError where a spec describes none, or where those of
        inputs that share one differ."""
        super().__init__()
        self.modalities: tuple[InputName, ...] = tuple(encoders)
        self.specs = dict(encoders)
        self.outputs, self.late, linear = outputs, config.kind == "late", config.kind == "linear"
        self.width = outputs if linear else config.embed_dim
        self.targets = Targets((Target(name="label", labels=tuple(str(n) for n in range(outputs))),))
        """What the outputs mean; one multiclass column unless a card says otherwise."""
        self.log_variances: nn.Parameter | None
        self.register_parameter("log_variances", None)
        self.owners = owners_of(encoders, share)
        """Input to the input under whose name its encoder lies."""
        built = {
            name: build_encoder(modality_of(name), spec) for name, spec in encoders.items() if self.owners[name] == name
        }
        self.encoders = nn.ModuleDict(dict(built.items()))
        self.projections = nn.ModuleDict(
            {name: _projection(built[owner].width, self.width, norm=not linear) for name, owner in self.owners.items()}
        )
        self.trunk = SharedProjection(config) if config.shared_projection and not linear else nn.Identity()
        self.missing = nn.ParameterDict(
            {name: nn.Parameter(torch.randn(self.width) * 0.02) for name in self.modalities}
        )
        self.auxiliary = nn.ModuleDict({name: _own_head(outputs, config) for name in self.modalities})
        self.shared = _join(len(self.modalities), outputs, config)
        self.head = nn.Identity() if self.late or linear else nn.Linear(config.hidden, outputs)
        if config.head_init == "truncated-normal":
            for head in (self.head, *self.auxiliary.values()):
                last = head[-1] if isinstance(head, Voter) else head
                if isinstance(last, nn.Linear):
                    shrink_head(last)

    @property
    def fusions(self) -> tuple[FusedClassifier, ...]:
        """The networks behind the encoders: this one; of a blend its members."""
        return (self,)

    def forward(
        self,
        batch: Mapping[InputName, Present],
        size: int,
        hidden: Tensor | None = None,
        encoded: Mapping[InputName, Tensor] | None = None,
    ) -> Output:
        """A batch of `size` = B rows -> logits (B, outputs).

        `hidden` (B, modalities), True where a modality that is there must not reach the fused head. A modality that is
        absent from `batch`, or from a row, is replaced by its learned embedding. `encoded`: what `encode` gave already.
        """
        joined, present, auxiliary, projected = [], [], {}, {}
        encodings: dict[InputName, Tensor] = dict(encoded or {})
        for column, name in enumerate(self.modalities):
            vectors = self.missing[name].expand(size, self.width)
            seen = torch.zeros(size, 1, device=vectors.device)
            part = batch.get(name)
            if part is not None and part.rows.numel():
                if name not in encodings:
                    encodings |= self.encode(name, batch)
                vector = self.trunk(self.projections[name](encodings[name]))
                if self.training:
                    projected[name] = vector
                if self.training or self.late:
                    auxiliary[name] = self.auxiliary[name](vector)
                if hidden is None and _is_everywhere(part.rows, size):
                    vectors, seen = vector, torch.ones_like(seen)
                else:
                    seen = seen.index_fill(0, part.rows, 1.0)
                    if hidden is not None:
                        seen = seen.masked_fill(hidden[:, column : column + 1], 0.0)
                    vectors = torch.where(seen > 0, _spread(vector, part.rows, size), vectors.to(vector.dtype))
            joined.append(vectors)
            present.append(seen)
        inputs = torch.stack(joined, dim=1), torch.cat(present, dim=1)
        fused = None
        if self.late:
            logits = self.shared(*inputs, self._votes(auxiliary, batch, inputs[0]))
        else:
            fused = self.shared(*inputs)
            logits = self.head(fused)
        spread = None if self.log_variances is None else self.log_variances.clone()
        return Output(logits, auxiliary if self.training else {}, projected, spread, fused)

    def encode(self, name: InputName, batch: Mapping[InputName, Present]) -> dict[InputName, Tensor]:
        """(P, its width) for this input, and for all others of the batch that share its encoder.

        They pass through it as one batch: so batch norms see in training what they will be used on, the inputs together.
        """
        owner = self.owners[name]
        together = [each for each in self.modalities if self.owners[each] == owner and each in batch]
        parts = {each: batch[each] for each in together if batch[each].rows.numel()}
        if len(parts) == 1:
            vectors: Tensor = self.encoder_of(name)(parts[name].values, parts[name].lengths)
            return {name: vectors}
        vectors = self.encoder_of(name)(*_one_after_the_other(list(parts.values())))
        counts = [len(part.rows) for part in parts.values()]
        return dict(zip(parts, torch.split(vectors, counts), strict=True))

    def encoder_of(self, name: InputName) -> nn.Module:
        """What an input passes through: its encoder; outside training with its mirror image, where the model reads both."""
        encoder, spec = self.encoders[self.owners[name]], self.specs[name]
        if self.training or spec.reads == "embedding" or not spec.test_time_flip:
            return encoder
        return FlipAveraged(cast(Encoder, encoder)).eval()

    def _votes(self, cast: Mapping[InputName, Tensor], batch: Mapping[InputName, Present], like: Tensor) -> Tensor:
        """(B, K, outputs) logits of every modality alone, 0 where it is not there."""
        nothing = like.new_zeros(like.shape[0], self.outputs)
        votes = [
            _spread(cast[name], batch[name].rows, like.shape[0]) if name in cast else nothing
            for name in self.modalities
        ]
        return torch.stack(votes, dim=1)


def owners_of(encoders: Mapping[InputName, EncoderSpec], share: Collection[Modality]) -> dict[InputName, InputName]:
    """Input to the input whose encoder it passes through: its own, or that of the first of its kind where they share one.

    Embeddings pass through nothing that could be shared. Raises ValueError where inputs that share an encoder describe
    different ones.
    """
    first: dict[Modality, InputName] = {}
    owners = {
        name: first.setdefault(modality_of(name), name)
        if modality_of(name) in share and spec.reads == "inputs"
        else name
        for name, spec in encoders.items()
    }
    for name, owner in owners.items():
        if encoders[name] != encoders[owner]:
            raise ValueError(f"{name} and {owner} share an encoder, but describe different ones")
    return owners


def _one_after_the_other(parts: Sequence[Present]) -> tuple[Tensor, Tensor]:
    """Values and lengths of several inputs as those of one, padded with zeros to the longest row."""
    longest = max(part.values.shape[1] for part in parts)
    padded = [
        functional.pad(part.values, [0, 0] * (part.values.ndim - 2) + [0, longest - part.values.shape[1]])
        for part in parts
    ]
    return torch.cat(padded), torch.cat([part.lengths for part in parts])


def _projection(inside: int, outside: int, norm: bool) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inside, outside), *([nn.LayerNorm(outside)] if norm else []))


def _own_head(outputs: int, config: FusionConfig) -> nn.Module:
    """(P, W) -> (P, outputs) the answer of one modality alone; under `linear` its vector is that already."""
    if config.kind == "late":
        return Voter(outputs, config)
    return nn.Identity() if config.kind == "linear" else nn.Linear(config.embed_dim, outputs)


def _join(modalities: int, outputs: int, config: FusionConfig) -> nn.Module:
    if config.kind == "late":
        return Late(modalities, outputs, config)
    kinds: dict[str, Callable[[int, FusionConfig], nn.Module]] = {
        "concat": Concat,
        "gated": Gated,
        "attention": Attention,
        "bilinear": Bilinear,
        "linear": Linear,
    }
    return kinds[config.kind](modalities, config)


def _is_everywhere(rows: Tensor, size: int) -> bool:
    """Whether every row of the batch has it, in their order, so that no learned embedding is needed.

    Not looked at in training, which is to reach those embeddings all the same, nor on a GPU, which would have to be waited for.
    """
    looked = len(rows) == size and not (torch.is_grad_enabled() or rows.is_cuda)
    return looked and torch.equal(rows, torch.arange(size))


def _spread(vectors: Tensor, rows: Tensor, size: int) -> Tensor:
    """(P, D) at their places among `size` rows, zeros elsewhere."""
    return vectors.new_zeros(size, vectors.shape[1]).index_copy(0, rows, vectors)


def drop_modalities(present: Tensor, chance: float, generator: torch.Generator) -> Tensor:
    """(B, K) True where a modality is hidden from a row in this step; of those present, one always stays.

    `present` is (B, K), True where the row has the modality. (Neverova et al., ModDrop, 2015.)
    """
    draws = torch.rand(present.shape, generator=generator)
    kept = present & (draws >= chance)
    spared = torch.where(present, draws, -1.0).argmax(dim=1, keepdim=True)  # the one nearest to being kept
    kept = kept.scatter(1, spared, True) & present
    return present & ~kept
