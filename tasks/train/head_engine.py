"""Training a head on embeddings, without autograd: the network is known, so its gradients are written down.

What remains of a step is little more than its matrix products. For a plain head in one process on the CPU; all else
takes `Engine`, which computes the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from data_contracts.refs import Modality
from tasks.config import RunConfig, TrainConfig
from tasks.modeling.fusion import FusedClassifier
from tasks.modeling.joins.concat import Concat
from tasks.train.feeding import Ready
from tasks.train.flat import FlatAdamW
from tasks.train.optim import average_share
from tasks.train.processes import Processes
from tasks.train.regimes import parameter_groups
from tasks.train.state import Weights

_DRAWS = 2**16  # an element is dropped by 16 bits: 8 would be too coarse, and drawing is what costs
NORM_EPSILON = 1e-5  # of nn.LayerNorm
_aten = torch.ops.aten
_SLOPES: dict[type[nn.Module], Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    nn.GELU: lambda gradient, inside, _: _aten.gelu_backward(gradient, inside),
    nn.ReLU: lambda gradient, inside, _: _aten.threshold_backward(gradient, inside, 0),
    nn.SiLU: lambda gradient, inside, _: _aten.silu_backward(gradient, inside),
    nn.Tanh: lambda gradient, _, outside: _aten.tanh_backward(gradient, outside),
}
"""Activation to its derivative: (gradient of the output, input, output) -> gradient of the input."""


class _Encoded(NamedTuple):
    """One modality of a piece: what the way back needs of the way there. P of the B rows have it."""

    name: Modality
    rows: Tensor
    """(P,)"""
    values: Tensor
    """(P, its encoder's width)"""
    projected: Tensor
    """(P, width) before the norm, whose mean and reciprocal deviation (P, 1) follow."""
    mean: Tensor
    scale: Tensor
    vectors: Tensor
    """(P, width)"""
    visible: Tensor | None
    """(B, 1) 1 where the fused head sees it, else 0; None: in all rows."""
    own: Tensor
    """(P, outputs) logits of its own head."""


class HeadEngine:
    """The one stage of a model whose encoders are frozen and joined by `concat`."""

    def __init__(
        self, plain: FusedClassifier, config: TrainConfig, moving: frozenset[str], balance: Tensor | None
    ) -> None:
        self.plain, self.config, self.balance = plain, config, balance
        names: dict[Tensor, str] = {parameter: name for name, parameter in plain.named_parameters()}
        self.optimizer = FlatAdamW(parameter_groups(plain, config), names)
        self.weights, self.gradients = (
            self.optimizer.views(flat) for flat in (self.optimizer.weights, self.optimizer.gradient)
        )
        self._averaged = self.optimizer.weights.clone() if config.average_decay else self.optimizer.weights
        self.current: Weights = {name: tensor for name, tensor in self.weights.items() if name in moving}
        self.average: Weights = self.optimizer.views(self._averaged)
        join = cast(Concat, plain.shared)
        self.layers_of = {
            name: [key for key in self.weights if key.startswith((f"projections.{name}.", f"auxiliary.{name}."))]
            for name in plain.modalities
        }
        self._words, self._kept = torch.empty(0, dtype=torch.int64), torch.empty(0)  # of each step's masks
        self.dropout = float(cast(nn.Dropout, join[0]).p)
        self.activation, self.slope = join[2], _SLOPES[type(join[2])]

    @staticmethod
    def suits(plain: FusedClassifier, config: RunConfig, processes: Processes) -> bool:
        """Whether this can train such a model."""
        return (
            processes.count == 1
            and processes.on_cpu
            and all(spec.reads == "embedding" for spec in plain.specs.values())
            and isinstance(plain.shared, Concat)
            and isinstance(plain.trunk, nn.Identity)
            and plain.targets.is_plain
            and config.train.loss == "cross-entropy"
            and not config.train.alignment
            and config.fusion.dropout < 1
        )

    @property
    def learning_rate(self) -> float:
        """That of the latest step."""
        return self.optimizer.rate

    def optimizer_tensors(self) -> dict[str, Weights]:
        """The optimizer's tensors by the name of their parameter."""
        return self.optimizer.tensors()

    def restore(self, optimizer: dict[str, Weights], average: Weights) -> None:
        """Puts back what `optimizer_tensors` and `average` were."""
        self.optimizer.restore(optimizer)
        for name, tensor in average.items():
            self.average[name].copy_(tensor)

    def enter_training(self) -> None:
        """Training mode."""
        self.plain.train()

    def forget_gradients(self) -> None:
        """Nothing: a step's first piece writes over what is there."""

    @torch.no_grad()
    def accumulate(self, feed: Iterator[Ready]) -> tuple[Tensor, int]:
        """Adds up the gradients of one step; its loss, and how many rows it has."""
        total, rows, before = torch.zeros(()), 0, None
        for ready in feed:
            total, rows = total + self._pass(ready), rows + len(ready.piece.rows)
            if before is not None:
                self.optimizer.gradient.add_(before)
            if ready.piece.last:
                return total, rows
            before = self.optimizer.gradient.clone()
        raise RuntimeError("a step ended before its last piece")

    @torch.no_grad()
    def update(self, factor: float, step: int) -> Tensor:
        """One step of the optimizer at this share of the peak rates; the norm of the gradients before clipping."""
        norm = self.optimizer.update(factor, self.config.clip_norm)
        if self.config.average_decay:
            self._averaged.lerp_(self.optimizer.weights, average_share(step, self.config.average_decay))
        return norm

    # -- a pass there and back ---

    def _pass(self, ready: Ready) -> Tensor:
        """The weighted loss of a piece; writes all gradients."""
        size, width = len(ready.weights), self.plain.width
        parts = [self._encode(column, ready) for column in range(len(self.plain.modalities))]
        joined = self._join(parts, size)
        wide = self.weights["shared.1.bias"].numel()
        first, second = self._masks((size, joined.shape[1]), (size, wide), ready.piece.seed)
        joined = joined if first is None else joined.mul_(first)
        inside = self._linear("shared.1", joined)
        outside = self.activation(inside)
        hidden = outside if second is None else outside * second
        loss, slope, slopes = self._loss(ready, self._linear("head", hidden), parts)

        back = self._back("head", slope, hidden)
        back = self.slope(back if second is None else back.mul_(second), inside, outside)
        back = self._back("shared.1", back, joined)
        back = back if first is None else back.mul_(first)
        for column, (part, own) in enumerate(zip(parts, slopes, strict=True)):
            self._encode_back(column, part, back[:, column * width : (column + 1) * width], own)
        return loss

    def _encode(self, column: int, ready: Ready) -> _Encoded | None:
        """The vectors of a modality, and its own head's logits; None where no row has it."""
        name = self.plain.modalities[column]
        part = ready.batch.get(name)
        if part is None:
            return None
        projected, norm = self._linear(f"projections.{name}.0", part.values), f"projections.{name}.1"
        vectors, mean, scale = _aten.native_layer_norm(
            projected, projected.shape[1:], self.weights[f"{norm}.weight"], self.weights[f"{norm}.bias"], NORM_EPSILON
        )
        visible = None
        if len(part.rows) < len(ready.weights) or ready.hidden is not None:
            visible = torch.zeros(len(ready.weights), 1).index_fill_(0, part.rows, 1.0)
            if ready.hidden is not None:
                visible.masked_fill_(ready.hidden[:, column : column + 1], 0.0)
        own = self._linear(f"auxiliary.{name}", vectors)
        return _Encoded(name, part.rows, part.values, projected, mean, scale, vectors, visible, own)

    def _join(self, parts: list[_Encoded | None], size: int) -> Tensor:
        """(B, K * (width + 1)): vectors or what is learned for a missing one, then the marks of presence."""
        vectors, seen = [], []
        for name, part in zip(self.plain.modalities, parts, strict=True):
            missing = self.weights[f"missing.{name}"].expand(size, -1)
            if part is None:
                vectors.append(missing)
                seen.append(torch.zeros(size, 1))
            elif part.visible is None:
                vectors.append(part.vectors)
                seen.append(torch.ones(size, 1))
            else:
                spread = torch.zeros(size, missing.shape[1]).index_copy_(0, part.rows, part.vectors)
                vectors.append(torch.where(part.visible > 0, spread, missing))
                seen.append(part.visible)
        return torch.cat([*vectors, *seen], dim=1)

    def _loss(
        self, ready: Ready, logits: Tensor, parts: list[_Encoded | None]
    ) -> tuple[Tensor, Tensor, list[Tensor | None]]:
        """The loss, its slope at the fused logits (B, outputs), and at each modality's own (P, outputs)."""
        weights = ready.weights if self.balance is None else ready.weights * (ready.soft @ self.balance)
        smoothing = self.config.label_smoothing
        soft = ready.soft * (1 - smoothing) + smoothing / logits.shape[1]
        tops, softs, factors = [logits], [soft], [weights * (ready.piece.share / len(weights))]
        for part, share in zip(parts, ready.piece.shares.tolist(), strict=True):
            if part is not None:
                tops.append(part.own)
                softs.append(soft if part.visible is None else soft.index_select(0, part.rows))
                own = weights if part.visible is None else weights.index_select(0, part.rows)
                factors.append(own * (self.config.auxiliary * share / len(own)))
        wanted, factor, logs = torch.cat(softs), torch.cat(factors)[:, None], torch.cat(tops).log_softmax(dim=1)
        loss = -(wanted * logs).mul_(factor).sum()
        slope, *others = logs.exp_().sub_(wanted).mul_(factor).split_with_sizes([len(top) for top in tops])
        found = iter(others)
        return loss, slope, [None if part is None else next(found) for part in parts]

    def _encode_back(self, column: int, part: _Encoded | None, back: Tensor, own: Tensor | None) -> None:
        """The gradients of a modality's layers, from those of its vectors in the join (B, width) and of its logits."""
        name = self.plain.modalities[column]
        if part is None or own is None:
            torch.sum(back, 0, out=self.gradients[f"missing.{name}"])
            for key in self.layers_of[name]:
                self.gradients[key].zero_()
            return
        if part.visible is None:
            self.gradients[f"missing.{name}"].zero_()
        else:
            torch.sum(back * (1 - part.visible), 0, out=self.gradients[f"missing.{name}"])
            back = (back * part.visible).index_select(0, part.rows)
        back = back + self._back(f"auxiliary.{name}", own, part.vectors)
        norm = f"projections.{name}.1"
        scale, shift = self.weights[f"{norm}.weight"], self.weights[f"{norm}.bias"]
        back, *both = _aten.native_layer_norm_backward(
            back, part.projected, part.projected.shape[1:], part.mean, part.scale, scale, shift, [True, True, True]
        )
        for key, gradient in zip(("weight", "bias"), both, strict=True):
            self.gradients[f"{norm}.{key}"].copy_(gradient)
        self._back(f"projections.{name}.0", back, part.values, wanted=False)

    def _linear(self, name: str, x: Tensor) -> Tensor:
        return torch.addmm(self.weights[f"{name}.bias"], x, self.weights[f"{name}.weight"].t())

    def _back(self, name: str, back: Tensor, x: Tensor, wanted: bool = True) -> Tensor:
        """Writes the gradients of a linear layer; returns that of its input where that is `wanted`."""
        torch.mm(back.t(), x, out=self.gradients[f"{name}.weight"])
        torch.sum(back, 0, out=self.gradients[f"{name}.bias"])
        return back @ self.weights[f"{name}.weight"] if wanted else back

    def _masks(self, one: tuple[int, int], two: tuple[int, int], seed: int) -> tuple[Tensor | None, Tensor | None]:
        """What to multiply two layers by: 0 where an element is dropped, else the reciprocal of the share that stays.

        They lie in memory that the next call writes over: new memory for each would take as long as drawing them.
        """
        limit = round(self.dropout * _DRAWS)
        if not limit:
            return None, None
        counts = one[0] * one[1], two[0] * two[1]
        torch.default_generator.manual_seed(seed)
        words = self._words.resize_(-(-sum(counts) // 4)).random_(-(2**63), None)  # all 64 bits
        kept = self._kept.resize_(sum(counts))
        torch.ge(words.view(torch.int16)[: sum(counts)], limit - _DRAWS // 2, out=kept)  # in one pass, 1.0 or 0.0
        first, second = kept.mul_(_DRAWS / (_DRAWS - limit)).split_with_sizes(counts)
        return first.view(one), second.view(two)
