"""Batch norms folded into the convolutions before them: the same output to rounding, at half the time on a CPU."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

_CONVS = (nn.Conv2d, nn.Conv3d)
_NORMS = (nn.BatchNorm2d, nn.BatchNorm3d)
_NUMBERED = ("ResNet", "BasicBlock", "Bottleneck")  # conv1, bn1, conv2, bn2, ...: in each, the norm follows at once
_NAMED = {
    "BasicConv2d": (("conv", "bn"),),
    "_MaskedConv": (("conv", "norm"),),  # of our tiny encoders, as the next
    "_Block": (("first", "norm_first"), ("second", "norm_second")),
}


def fold_norms(network: nn.Module) -> None:
    """Folds what is known to follow each other: neighbours in a Sequential, and pairs in residual blocks.

    The network must be in eval mode, and cannot be trained any more.
    """
    for module in list(network.modules()):
        for first, second in _pairs(module):
            conv, norm = getattr(module, first), getattr(module, second)
            if isinstance(conv, _CONVS) and type(norm) in _NORMS:  # one of timm may hold an activation, too
                setattr(module, first, fuse_conv_bn_eval(conv, norm))
                setattr(module, second, nn.Identity())


def _pairs(module: nn.Module) -> Iterator[tuple[str, str]]:
    kind = type(module).__name__
    if isinstance(module, nn.Sequential):
        yield from pairwise(dict(module.named_children()))
    elif kind in _NUMBERED:
        yield from ((f"conv{n}", f"bn{n}") for n in (1, 2, 3) if hasattr(module, f"bn{n}"))
    elif kind in _NAMED:
        for pair in _NAMED[kind]:
            if all(hasattr(module, name) for name in pair):  # blocks of other networks may have the same name
                yield pair
