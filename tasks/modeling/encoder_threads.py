"""The encoders of a small batch side by side, for answers that somebody waits for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

from data_contracts.refs import InputName
from tasks.modeling.fusion.classifier import FusedClassifier, Present


def one_thread(name: str) -> ThreadPoolExecutor:
    """A thread that runs torch's operations alone; the program's own threads, and those to come, are left as they are."""
    before = torch.get_num_threads()
    thread = ThreadPoolExecutor(1, thread_name_prefix=name, initializer=_run_alone)
    thread.submit(torch.get_num_threads).result()
    torch.set_num_threads(before)
    return thread


def _run_alone() -> None:
    torch.get_num_threads()  # the first operation of a thread takes the number that was set last, by whichever thread
    torch.set_num_threads(1)


class EncoderThreads:
    """Encodes a batch on two threads: that of who asks, and one of its own. For one batch at a time.

    Two encoders wait for each other once; an encoder whose layers torch splits over two threads waits at each. The output has
    the same bits as that of one thread.
    """

    def __init__(self, model: FusedClassifier) -> None:
        self._model = model
        self._beside = one_thread("encoder")

    def encode(self, batch: Mapping[InputName, Present]) -> dict[InputName, Tensor]:
        """Input to its encoding, for `FusedClassifier.forward`; empty where there are no two encoders to run."""
        sizes: dict[InputName, int] = {}
        for name, part in batch.items():
            if part.rows.numel() and self._model.specs[name].reads == "inputs":
                owner = self._model.owners[name]
                sizes[owner] = sizes.get(owner, 0) + part.values.numel()
        if len(sizes) < 2:
            return {}
        here, beside = _halves(sizes)
        encoding = self._beside.submit(self._encode, beside, batch)
        try:
            found = self._encode(here, batch)
        finally:
            others = encoding.result()  # awaited even where this thread fails: nobody else may use the model meanwhile
        return found | others

    @torch.inference_mode()
    def _encode(self, owners: Iterable[InputName], batch: Mapping[InputName, Present]) -> dict[InputName, Tensor]:
        found: dict[InputName, Tensor] = {}
        for owner in owners:
            name = next(each for each in self._model.modalities if self._model.owners[each] == owner and each in batch)
            found |= self._model.encode(name, batch)
        return found


def _halves(sizes: Mapping[InputName, int]) -> tuple[list[InputName], list[InputName]]:
    """Two lists of about the same size in all: the largest first, each to the list that has less."""
    halves: tuple[list[InputName], list[InputName]] = [], []
    totals = [0, 0]
    for name in sorted(sizes, key=lambda each: -sizes[each]):
        lighter = totals.index(min(totals))
        halves[lighter].append(name)
        totals[lighter] += sizes[name]
    return halves
