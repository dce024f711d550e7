"""Embeddings by a frozen encoder: prepared inputs in, one vector each out.

On a CPU every core computes batches of its own on one thread, which is faster than one batch on all cores, and makes a
sum's order independent of their number. On a GPU one batch follows the other, the next one laid out meanwhile.
"""

from __future__ import annotations

import functools
import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice

import numpy as np
import torch

from data_contracts.refs import Modality
from tasks.errors import DataError
from tasks.modalities import MODALITIES
from tasks.modeling.batches import to_tensors
from tasks.modeling.encoder_spec import EncoderSpec
from tasks.modeling.features import Padded
from tasks.modeling.pretrained.weights import frozen_encoder

GPU_FACTOR = 16
WINDOW = 8
"""Batches whose media are sorted by length before they are cut into batches, so that little is padded."""
Named = tuple[str, np.ndarray]
"""A digest, and the input or the vector that belongs to it."""


def embed(modality: Modality, spec: EncoderSpec, inputs: Iterable[Named]) -> Iterator[Named]:
    """Yields float32 (width,) for every input; DataError where one is not finite."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    encoder = frozen_encoder(modality, spec, device)
    workers = _workers(device.type)
    size = MODALITIES[modality].batch_rows * (GPU_FACTOR if device.type == "cuda" else 1)
    waiting: deque[Future[list[Named]]] = deque()
    source = iter(inputs)
    while window := list(islice(source, size * (WINDOW if MODALITIES[modality].varies_in_length else 1))):
        window.sort(key=lambda named: len(named[1]))
        for start in range(0, len(window), size):
            waiting.append(workers.submit(_embed_batch, modality, spec, encoder, window[start : start + size], device))
        while len(waiting) > 2 * WINDOW:
            yield from waiting.popleft().result()
    while waiting:
        yield from waiting.popleft().result()


@functools.cache
def _workers(device: str) -> ThreadPoolExecutor:
    """The threads that run encoders in this process, shared by all shards."""
    count = 2 if device == "cuda" else os.cpu_count() or 1  # a GPU computes one batch while the next is laid out
    return ThreadPoolExecutor(count, "embed", initializer=functools.partial(torch.set_num_threads, 1))


def _embed_batch(
    modality: Modality, spec: EncoderSpec, encoder: torch.nn.Module, batch: list[Named], device: torch.device
) -> list[Named]:
    arrays = [array for _, array in batch]
    lengths = np.array([len(array) for array in arrays], np.int64)
    values = np.zeros((len(arrays), int(lengths.max()), *arrays[0].shape[1:]), arrays[0].dtype)
    for row, array in enumerate(arrays):
        values[row, : len(array)] = array
    padded = Padded(np.arange(len(arrays)), values, lengths)
    with torch.inference_mode():
        part = to_tensors({modality: padded}, device)[modality]
        vectors = encoder(part.values, part.lengths).float().cpu().numpy()
    broken = int((~np.isfinite(vectors)).any(axis=1).sum())
    if broken:
        raise DataError(
            f"{modality} encoder {spec.encoder}: {broken} of {len(vectors)} embeddings are not finite; are these its weights?"
        )
    return [(digest, vector) for (digest, _), vector in zip(batch, vectors, strict=True)]
