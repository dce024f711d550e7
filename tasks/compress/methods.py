"""Methods to make a model smaller or faster, and for which models each is one. Imports no torch."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal, get_args

from data_contracts.compression import MethodName
from data_contracts.modalities import modality_of
from tasks.errors import EnvironmentFailed, UsageError
from tasks.modeling.card import ModelCard
from tasks.modeling.pretrained.packaged import frozen_encoders

Bits = Literal["float16", "int8", "int4"]


@dataclass(frozen=True)
class Method:
    """One way."""

    says: str
    """What it does, for people."""
    bits: Bits | None = None
    """Of the weights that stay in safetensors; None: as they are."""
    exports: Literal["float", "int8"] | None = None
    """How frozen encoders are exported to ONNX; None: they are not."""
    packages: tuple[str, ...] = ()
    """Of the extra `compress`."""
    by_name_only: bool = False
    """Whether it takes so long that it is tried only where it is asked for."""


_EXPORT = ("onnx", "onnxscript", "onnxruntime")
METHODS: Mapping[MethodName, Method] = {
    "float16": Method("weights in 16 bits; computes as before", bits="float16"),
    "int8": Method("weights in 8 bits, a scale for each output channel; computes as before", bits="int8"),
    "int4": Method("matrices in 4 bits, a scale for each 32, kernels in 8; computes as before", bits="int4"),
    "onnx": Method("frozen encoders as ONNX, run by onnxruntime", exports="float", packages=_EXPORT),
    "onnx-int8": Method(
        "the same in 8 bits, computing with them; all other weights in 8 bits",
        bits="int8",
        exports="int8",
        packages=_EXPORT,
    ),
    "prune": Method("trained again without the inputs that the validation rows show to be of no use"),
    "distill": Method(
        "a student with tiny encoders, trained on what the model says of the train rows, besides their labels",
        by_name_only=True,
    ),
}


def check_methods(names: Sequence[str]) -> tuple[MethodName, ...]:
    """The methods by these names, each once, in the table's order. UsageError, with what is near, for an unknown one."""
    known = get_args(MethodName)
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise UsageError(f"--methods {name!r}: no such method; they are {', '.join(known)}{hint}")
    return tuple(name for name in METHODS if name in names)


def by_default() -> tuple[MethodName, ...]:
    """The methods that are tried where none is named."""
    return tuple(name for name, method in METHODS.items() if not method.by_name_only)


def why_not(method: MethodName, card: ModelCard) -> str | None:
    """Why a model cannot be compressed that way, as a clause; None where it can."""
    if card.compression is not None:
        made = card.compression
        return f"it is {made.method} of version {made.version} already; compress that version"
    if METHODS[method].exports and not frozen_encoders(card):
        return "it has no frozen pretrained encoder to export: a network that is trained as a whole stays with torch"
    if method == "prune" and len({modality_of(name) for name in card.modalities}) < 2:
        return "it reads one modality only"
    if method == "distill" and card.blend is None and all(spec.encoder == "tiny" for spec in card.encoders.values()):
        return "its encoders are tiny already, as a student's are; int8 makes those smaller"
    return None


def require_packages(method: MethodName) -> None:
    """EnvironmentFailed, which names the extra, where a package that the method needs is not installed."""
    lacking = [name for name in METHODS[method].packages if find_spec(name) is None]
    if lacking:
        raise EnvironmentFailed(
            f"method {method}: {', '.join(lacking)} not installed, which it needs; pip install 'crossmodal[compress]'"
        )
