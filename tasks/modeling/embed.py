"""Embeddings by a frozen encoder: prepared inputs in, one vector each out.

On a CPU every core computes batches of its own on one thread, which is faster than one batch on all cores, and makes a
sum's order independent of their number. On a GPU one batch follows the other, the next one laid out meanwhile.
"""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice

import numpy as np
import torch

from data_contracts.refs import Modality
from tasks.devices import usable_cores
from tasks.encoder_ids import BUILT_IN
from tasks.errors import DataError
from tasks.modalities import MODALITIES
from tasks.modeling.batches import to_tensors
from tasks.modeling.encoder_spec import EncoderSpec
from tasks.modeling.features import Padded
from tasks.modeling.pretrained.weights import frozen_encoder

GPU_FACTOR = 16
WINDOW = 8
"""Batches whose media are sorted by length before they are cut into batches, so that little is padded."""
TOKENS = 512
"""In a batch of texts on a CPU, padding among them: what stays in a core's cache (MiniLM: 260 us a token; by 2,048, 300)."""
TOKEN_WINDOW = 2048
"""Texts that are sorted by length together; their tokens take little memory."""
Named = tuple[str, np.ndarray]
"""A digest, and the input or the vector that belongs to it."""


def embed(modality: Modality, spec: EncoderSpec, inputs: Iterable[Named]) -> Iterator[Named]:
    """Yields float32 (width,) for every input; DataError where one is not finite."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    encoder = frozen_encoder(modality, spec, device)
    workers = _workers(device.type)
    batches = _batches(modality, spec, inputs, GPU_FACTOR if device.type == "cuda" else 1)
    waiting: deque[Future[list[Named]]] = deque()
    for batch in batches:
        waiting.append(workers.submit(_embed_batch, modality, spec, encoder, batch, device))
        while len(waiting) > 2 * WINDOW:
            yield from waiting.popleft().result()
    while waiting:
        yield from waiting.popleft().result()


def _batches(modality: Modality, spec: EncoderSpec, inputs: Iterable[Named], factor: int) -> Iterator[list[Named]]:
    """Media of similar length: of texts as many as have TOKENS together, of others a fixed number; `factor` times that."""
    kind, source = MODALITIES[modality], iter(inputs)
    counts_tokens = kind.has_tokens and spec.encoder not in BUILT_IN  # those read bytes
    size = kind.batch_rows * factor
    sorted_rows = size * (WINDOW if kind.varies_in_length else 1)
    while window := list(islice(source, TOKEN_WINDOW if counts_tokens else sorted_rows)):
        window.sort(key=lambda named: len(named[1]))
        batch: list[Named] = []
        for named in window:  # the longest of a batch comes last
            full = (len(batch) + 1) * len(named[1]) > TOKENS * factor if counts_tokens else len(batch) == size
            if batch and full:
                yield batch
                batch = []
            batch.append(named)
        yield batch


@functools.cache
def _workers(device: str) -> ThreadPoolExecutor:
    """The threads that run encoders in this process, shared by all shards."""
    count = 2 if device == "cuda" else usable_cores()  # a GPU computes one batch while the next is laid out
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
