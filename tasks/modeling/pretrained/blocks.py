"""The blocks of a network, from its input to its output: what is frozen or trained together, one after the other."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

_LISTS = (nn.Sequential, nn.ModuleList)
_FEW = 4


def find_blocks(network: nn.Module) -> list[nn.Module]:
    """The parts that hold parameters, in the order in which they are defined; a norm belongs to the part before it.

    Lists of layers are taken apart, and what contains such lists; a block of a known network (a residual block, a layer of
    a transformer) is one part. Parameters that hang on the network itself, such as a class token, are in none.
    """
    blocks: list[list[nn.Module]] = []
    for part in _parts(network):
        if not any(True for _ in part.parameters()):
            continue
        if blocks and _is_norm(part):
            blocks[-1].append(part)
        else:
            blocks.append([part])
    return [block[0] if len(block) == 1 else nn.ModuleList(block) for block in blocks]


def _parts(module: nn.Module) -> Iterator[nn.Module]:
    for child in module.children():
        if _is_plain_list(child) or _holds_layers(child):
            yield from _parts(child)
        else:
            yield child


def _is_plain_list(module: nn.Module) -> bool:
    """A list that is no layer itself; one of a few leaves, such as convolution and norm, is one part."""
    if type(module) not in _LISTS:
        return False
    children = list(module.children())
    filled = sum(any(True for _ in child.parameters()) for child in children)
    return any(True for child in children if list(child.children())) or filled >= _FEW


def _holds_layers(module: nn.Module) -> bool:
    """Whether a list of two or more layers of one kind lies somewhere inside."""
    return any(_is_stack(inner) for inner in module.modules())


def _is_stack(module: nn.Module) -> bool:
    children = list(module.children())
    kinds = {type(child) for child in children}
    alike = len(children) > 1 and len(kinds) == 1 and not kinds & set(_LISTS)
    return type(module) in _LISTS and alike and all(list(child.children()) for child in children)


def _is_norm(module: nn.Module) -> bool:
    return "Norm" in type(module).__name__ and not list(module.children())
