"""What the parts of one input add to an answer: integrated gradients and Grad-CAM, by captum, through encoder and fusion."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from data_contracts.explanations import Attribution, Method, PartValue
from tasks.explain.readings import Reading

GAP = 0.05
"""What the values of integrated gradients may sum to beside the difference, as a share of it, before more steps are taken:
captum's and Sundararajan et al.'s (2017) "within 5 %"."""
DOUBLINGS = 2
MAP_SIDE = 32
"""Cells of a map along its longer side, at most."""
BATCH = 8
"""Interpolated inputs in memory at a time."""
MIN_CONVOLUTIONS = 3
"""Of a network whose last map Grad-CAM reads; a transformer of pictures has one, which cuts patches."""
Score = Callable[[Tensor], Tensor]
"""(B, L, ...) inputs -> (B,) what is explained."""


@dataclass(frozen=True)
class Found:
    """An attribution with the value of each part, by which deletion and insertion are ordered."""

    attribution: Attribution
    parts: NDArray[np.float64]
    """(parts,)"""


def attribute(reading: Reading, encoder: nn.Module, score: Score, is_numeric: bool, n_steps: int) -> Found:
    """The attribution of one input of one row. Raises ModuleNotFoundError where captum is not installed."""
    layer = _last_map(encoder, reading) if reading.form == "picture" else None
    method: Method
    if not _has_gradient(reading, encoder):
        method, parts, difference, gap = "occlusion", _occlude(reading, score), None, None
        spread = parts
    elif layer is not None:
        method, spread, difference, gap = "Grad-CAM", _grad_cam(reading, layer, score), None, None
    else:
        method = "integrated gradients"
        spread, difference, gap = _integrate(reading, encoder, score, n_steps)
    if method != "occlusion":
        parts = _sum_parts(spread, reading)
    named = reading.form in ("words", "frames", "columns")
    values = tuple(
        PartValue(name=name, value=_short(value)) for name, value in zip(reading.labels, parts.tolist(), strict=True)
    ) if named else ()  # fmt: skip
    found = Attribution(
        input=reading.name,
        form=reading.form,
        method=method,
        of="value" if is_numeric else "log-odds",
        values=values,
        map=() if named else _map(spread, reading, mean=layer is not None),
        difference=difference,
        gap=gap,
    )
    return Found(found, parts.numpy())


def _has_gradient(reading: Reading, encoder: nn.Module) -> bool:
    """Whether there is something to interpolate: of letters and cells that is a layer, and a blend has one in each model."""
    from tasks.modeling.fusion.blended import Beside

    if isinstance(encoder, Beside) and not reading.values.is_floating_point():
        return False
    return bool(getattr(encoder, "has_gradient", True))


# -- occlusion ---


def _occlude(reading: Reading, score: Score) -> Tensor:
    """(parts,) by how much the answer falls without each of them (Zeiler and Fergus, 2014)."""
    each = torch.eye(reading.count, dtype=torch.bool)
    with torch.no_grad():
        without = torch.cat([score(reading.without(some)) for some in torch.split(each, BATCH)])
        return (score(reading.values) - without).double()


# -- integrated gradients ---


def _integrate(reading: Reading, encoder: nn.Module, score: Score, n_steps: int) -> tuple[Tensor, float, float]:
    """What each value adds, the difference that they should sum to, and how far they are from it.

    Words and columns are interpolated where the encoder embeds them, a sound where its spectrogram is normalised: a louder
    copy is the same to it, so that the way from silence would be all in the first step.
    """
    from captum.attr import IntegratedGradients, LayerIntegratedGradients

    layer, at_input = _place(encoder)
    with torch.no_grad():
        difference = float(score(reading.values) - score(reading.baseline))
    spread, gap = torch.zeros(1), 0.0
    for doubling in range(DOUBLINGS + 1):
        steps = n_steps << doubling
        if layer is None:
            method = IntegratedGradients(score, multiply_by_inputs=True)
            found = method.attribute(
                reading.values, reading.baseline.contiguous(), n_steps=steps, internal_batch_size=BATCH
            )
        else:
            method = LayerIntegratedGradients(score, layer)
            found = method.attribute(
                reading.values,
                reading.baseline.contiguous(),
                n_steps=steps,
                internal_batch_size=BATCH,
                attribute_to_layer_input=at_input,
            )
        spread = found.detach().float()
        gap = abs(float(spread.double().sum()) - difference) / max(abs(difference), 0.1)
        if gap <= GAP:
            break
    return _in_place(spread, reading, encoder), _short(difference), _short(gap)


def _place(encoder: nn.Module) -> tuple[nn.Module | None, bool]:
    """The layer along whose values is interpolated, and whether along those that it takes; None: the input itself."""
    from tasks.modality_specs.tabular.network import TinyTabular
    from tasks.modeling.encoders import TinyAudio, TinyText

    if isinstance(encoder, TinyText):
        return encoder.embed, False
    if isinstance(encoder, TinyAudio):
        return encoder.stem.conv, True
    if isinstance(encoder, TinyTabular):
        return encoder.first, True
    pretrained: Any = encoder
    if hasattr(encoder, "mel"):
        return pretrained.mel, False
    if hasattr(encoder, "pad_token_id"):
        return pretrained.network.get_input_embeddings(), False
    return None, False


def _in_place(spread: Tensor, reading: Reading, encoder: nn.Module) -> Tensor:
    """What the values of a layer add, as (1, ...) over what the reading's parts are of: (L), (frames, bands) or pixels."""
    if reading.form == "words":
        return spread.sum(dim=-1)
    if reading.form == "columns":
        return spread.reshape(1, len(reading.labels), -1).sum(dim=-1)
    if reading.form == "frames":
        return spread.sum(dim=(2, 3, 4))
    if reading.form == "picture":
        return spread.sum(dim=1)
    if hasattr(encoder, "mel"):  # (1, bands, frames) or (1, frames, bands), padded to a fixed length
        mel: Any = encoder.mel
        whole = spread if spread.shape[-1] == mel.filters.shape[1] else spread.transpose(1, 2)
        real = -(-int(reading.lengths) // int(mel.hop))
        return whole[:, : max(1, min(real, whole.shape[1]))]
    return spread[:, 0] if spread.ndim == 4 else spread


def _sum_parts(spread: Tensor, reading: Reading) -> Tensor:
    """(parts,) the sum of what the values of each part add."""
    if reading.form in ("columns", "frames"):
        return spread[0].double()
    if reading.form == "words":
        parts = reading.parts[0]
    elif reading.form == "picture":
        spread = functional.interpolate(spread[None], reading.values.shape[-2:], mode="bilinear")[0]
        parts = reading.parts[0, 0]
    elif (
        reading.grid is not None and reading.grid[0] == 1 and spread.ndim == 3
    ):  # samples, of which a spectrogram is made
        spread = spread.sum(dim=2)
        parts = torch.arange(spread.shape[1]) * reading.count // spread.shape[1]
    else:
        parts = reading.parts[0]
    kept = parts.flatten() >= 0
    found = torch.zeros(reading.count, dtype=torch.float64)
    return found.index_add(0, parts.flatten()[kept], spread[0].double().flatten()[kept])


# -- Grad-CAM ---


def _last_map(encoder: nn.Module, reading: Reading) -> nn.Module | None:
    """The last layer of a pretrained network of convolutions that still has a map; None for `tiny`, and for transformers."""
    network = getattr(encoder, "network", None)
    if network is None or sum(isinstance(layer, nn.Conv2d) for layer in network.modules()) < MIN_CONVOLUTIONS:
        return None
    seen: list[nn.Module] = []

    def keep(layer: nn.Module, inputs: tuple[object, ...], output: object) -> None:
        """Keeps a layer that gives a map."""
        if isinstance(output, Tensor) and output.ndim == 4 and min(output.shape[-2:]) > 1:
            seen.append(layer)

    hooks = [layer.register_forward_hook(keep) for layer in network.modules()]
    try:
        with torch.no_grad():
            encoder(reading.values, reading.lengths)
    finally:
        for hook in hooks:
            hook.remove()
    return seen[-1] if seen else None


def _grad_cam(reading: Reading, layer: nn.Module, score: Score) -> Tensor:
    """(1, H, W) of the layer's map (Selvaraju et al. 2017), what speaks for the answer only."""
    from captum.attr import LayerGradCam

    values = reading.values.clone().requires_grad_()  # a frozen network has no other leaf with a gradient
    found: Tensor = LayerGradCam(score, layer).attribute(values, relu_attributions=True)
    return found.detach().float()[:, 0]


# -- maps ---


def _map(spread: Tensor, reading: Reading, mean: bool) -> tuple[tuple[float, ...], ...]:
    """Lines of at most MAP_SIDE cells: sums, or means, of what they cover. A spectrogram's lines are its bands."""
    whole = spread[0] if spread.ndim == 3 else spread
    whole = (whole.T if reading.form == "spectrogram" and spread.ndim == 3 else whole).double()
    lines, columns = (_cells(size) for size in whole.shape)
    pooled = lines.T @ whole @ columns
    if mean:
        pooled = pooled / (lines.sum(dim=0)[:, None] * columns.sum(dim=0))
    return tuple(tuple(_short(value) for value in line) for line in pooled.tolist())


def _cells(size: int) -> Tensor:
    """(size, cells) 1 where a line is in a cell."""
    cells = min(size, MAP_SIDE)
    return functional.one_hot(torch.arange(size) * cells // size, cells).double()


def _short(value: float) -> float:
    """Five digits: maps are many numbers."""
    return float(f"{value:.5g}")
