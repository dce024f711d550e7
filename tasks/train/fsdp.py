"""A model divided among processes (FSDP): what is gathered together, and what keeps all processes in step with each other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh

from data_contracts.refs import InputName
from tasks.modeling.fusion.classifier import FusedClassifier, Present
from tasks.modeling.pretrained.adapter import Pretrained
from tasks.train.batch_plan import Microbatch
from tasks.train.dataset import Dataset, Source


def divide(model: FusedClassifier, mesh: DeviceMesh) -> None:
    """Each process keeps its share of every tensor, on the mesh's device; a block is whole only while it computes.

    The blocks of pretrained encoders are units of their own; all the rest is one. Blocks that are a single layer belong to
    the rest, as some are read without being called (DeBERTa's table of relative positions).
    """
    from torch.distributed.fsdp import FSDPModule, fully_shard

    for parameter in model.parameters():
        parameter.data = parameter.data.contiguous()  # fully_shard takes no others: no filters with channels last
    for encoder in model.encoders.values():
        if isinstance(encoder, Pretrained):
            for block in encoder.blocks():
                for module in block if isinstance(block, nn.ModuleList) else [block]:
                    if list(module.children()) and not isinstance(module, FSDPModule):
                        fully_shard(module, mesh=mesh)
    fully_shard(model, mesh=mesh)


class PlaceholderRows:
    """Rows for the encoders that none of a process's own rows would pass through.

    The others gather the blocks of that encoder, and would wait for a process that does not. A placeholder row's vector is
    hidden from the fusion and its share of every loss is 0, so its gradients are zeros: what is learned is that of one process.
    """

    def __init__(self, data: Dataset, source: Source, modalities: Sequence[InputName]) -> None:
        self.source, self.modalities = source, tuple(modalities)
        self.first = data.present.argmax(axis=0)
        """(K,) a row that has the modality; where none has, none is ever asked for."""

    def add(
        self, batch: dict[InputName, Present], hidden: Tensor | None, microbatch: Microbatch
    ) -> tuple[dict[InputName, Present], Tensor | None]:
        """The batch with a placeholder row for every modality that it lacks and the step has; (B, K) what is hidden of it.

        A modality that no process's rows have in this step is left out by all of them, as a single process would.
        """
        lacking = [
            column for column, name in enumerate(self.modalities) if microbatch.somewhere[column] and name not in batch
        ]
        if not lacking:
            return batch, hidden
        batch = dict(batch)
        shape = len(microbatch.rows), len(self.modalities)
        hidden = torch.zeros(shape, dtype=torch.bool) if hidden is None else hidden.clone()
        for column in lacking:
            name = self.modalities[column]
            batch[name] = self.source.take(np.array([self.first[column]]))[name]  # its one row stands at place 0
            hidden[0, column] = True
        return batch, hidden
