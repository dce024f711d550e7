"""Whether a tensor or a model is divided among processes (FSDP).

Nothing is before what divides it was imported: torch.distributed.tensor and its sympy take a second of a training that runs
in one process, as most do, and are looked up only.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, TypeGuard

from torch import Tensor, nn

if TYPE_CHECKING:
    from torch.distributed.fsdp import FSDPModule
    from torch.distributed.tensor import DTensor


def is_divided_tensor(tensor: Tensor) -> TypeGuard[DTensor]:
    """Whether this process holds only its share of the tensor."""
    found = sys.modules.get("torch.distributed.tensor")
    return found is not None and isinstance(tensor, found.DTensor)


def is_divided_model(model: nn.Module) -> TypeGuard[FSDPModule]:
    """Whether the processes hold the model's weights in shares."""
    found = sys.modules.get("torch.distributed.fsdp")
    return found is not None and isinstance(model, found.FSDPModule)
