"""The processes that train together, as one of them sees them; a single one is the ordinary case."""

from __future__ import annotations

import os

import torch
from torch import Tensor, distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.nn.parallel import DistributedDataParallel

from tasks.config import TrainConfig
from tasks.errors import EnvironmentFailed
from tasks.modeling.fusion.classifier import FusedClassifier
from tasks.train.divided import is_divided_tensor
from tasks.train.fsdp import divide
from tasks.train.request import RENDEZVOUS


class Processes:
    """This process's rank, its device, and what it does together with the others."""

    def __init__(self, config: TrainConfig) -> None:
        self.on_cpu = config.device == "cpu" or not torch.cuda.is_available()
        self.count, self.strategy = config.devices, config.strategy
        if self.count > 1:
            self._join()
        self.device = torch.device("cpu") if self.on_cpu else torch.device("cuda", torch.cuda.current_device())
        # Said here, as torch would take a GPU where there is one, whatever train.device says.
        self.mesh = init_device_mesh(self.device.type, (self.count,)) if self.divides else None
        self.rank = distributed.get_rank() if self.count > 1 else 0

    @property
    def divides(self) -> bool:
        """Whether weights are divided among the processes."""
        return self.count > 1 and self.strategy == "fsdp"

    @property
    def bf16(self) -> bool:
        """Whether to compute in bfloat16: on GPUs that can."""
        return not self.on_cpu and torch.cuda.is_bf16_supported(including_emulation=False)

    def _join(self) -> None:
        """Meets the other processes; EnvironmentFailed where they were not started, or there are too few GPUs."""
        place, found = os.environ.get(RENDEZVOUS), 0 if self.on_cpu else torch.cuda.device_count()
        if place is None:
            raise EnvironmentFailed(
                f"train.devices = {self.count}: several devices need processes of their own; train with isolation"
            )
        if not self.on_cpu:
            if found < self.count:
                raise EnvironmentFailed(
                    f"train.devices = {self.count}: this machine has {found} GPUs; lower it, or set train.device = cpu"
                )
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        distributed.init_process_group(
            "gloo" if self.on_cpu else "cpu:gloo,cuda:nccl",
            init_method=place,
            rank=int(os.environ["RANK"]),
            world_size=self.count,
        )

    def leave(self) -> None:
        """Parts from the others, when all is done."""
        if self.count > 1:
            distributed.destroy_process_group()

    @property
    def home(self) -> torch.device:
        """Where whole models lie between their uses: beside the CPU where one might not fit a GPU."""
        return torch.device("cpu") if self.divides else self.device

    def wrap(self, model: FusedClassifier) -> nn.Module:
        """The model as training calls it: as it is, copied to every process (ddp), or divided among them (fsdp)."""
        if self.count == 1:
            return model
        if self.mesh is not None:
            divide(model, self.mesh)
            return model
        # A modality that none of a process's rows has leaves its encoder without gradients there.
        return DistributedDataParallel(model, find_unused_parameters=True, gradient_as_bucket_view=True)

    def collect(self, tensor: Tensor) -> Tensor:
        """A divided tensor whole on the first process's CPU, and nothing on the others, which must call it too."""
        if not is_divided_tensor(tensor):
            return tensor
        found = tensor.full_tensor()
        return found.cpu() if self.rank == 0 else found.new_empty(0)

    def mean(self, values: list[float]) -> list[float]:
        """Each number's mean over the processes."""
        if self.count == 1 or not values:
            return values
        together = torch.tensor(values, dtype=torch.float64)
        distributed.all_reduce(together)
        means: list[float] = (together / self.count).tolist()
        return means

    def sum_arrays(self, array: Tensor) -> Tensor:
        """The sum over the processes of a tensor on the CPU."""
        if self.count > 1:
            distributed.all_reduce(array)
        return array

    def copy_from_first(self, tensors: list[Tensor]) -> None:
        """Gives all processes the first one's values."""
        if self.count > 1:
            for tensor in tensors:
                distributed.broadcast(tensor, 0)


def whole(tensor: Tensor) -> Tensor:
    """A divided tensor as one, on every process; another as it is. All processes must call it."""
    return tensor.full_tensor() if is_divided_tensor(tensor) else tensor


def like(kept: Tensor, reference: Tensor) -> Tensor:
    """A copy of a whole tensor on the reference's device, and divided as it is."""
    if is_divided_tensor(reference):
        from torch.distributed.tensor import distribute_tensor

        moved = kept.to(device=reference.device, dtype=reference.dtype)
        return distribute_tensor(moved, reference.device_mesh, reference.placements)
    return torch.empty_like(reference).copy_(kept)
