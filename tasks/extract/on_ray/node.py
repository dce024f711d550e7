"""What runs on the nodes of the cluster: tasks that read and prepare media, and actors that hold an encoder.

Ray hands arguments, results and errors on in its own format. Its keys, features and files are as in one process: both call the
same functions on a shard's media in the same order.
"""

from __future__ import annotations

import functools
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import ray

from data_contracts.refs import Frozen, Modality, Sha256
from tasks.config import RunConfig
from tasks.devices import use_cores
from tasks.errors import EnvironmentFailed, UsageError
from tasks.extract.extract import Inputs, extract_shard, features_fingerprint, read_inputs, write_features
from tasks.extract.shards import ShardRef
from tasks.shared_store import SharedStore, open_store, share
from tasks.store import Store

CHUNK_BYTES = 8 << 20
"""Prepared media that travel together; one that is larger travels by itself."""
CHUNKS_AHEAD = 3
"""Chunks of a shard that are ready and not yet taken: what its preparation is ahead of its encoder, 24 MiB."""
Chunk = tuple[list[str], list[np.ndarray]]
"""Digests, and the input of each."""


class Site(Frozen):
    """Where a node finds the store, and what it must find there."""

    root: str
    """The store's folder, the same on every node; of one in a bucket the node's own cache of it."""
    address: str | None
    """Of the bucket, where the store is in one."""
    mark: str
    """File or object that the run has written into the store."""
    config: str
    """The run's, as JSON."""
    fingerprints: tuple[tuple[Modality, str, Sha256], ...]
    """Modality, media and features' fingerprint: a node with another release, library or encoder has others."""


class Workshop(Frozen):
    """How a node's part in it is cut."""

    cpus: int
    """Threads of an encoder."""
    feed_cpus: float
    """What a task that prepares media asks Ray for."""
    feed_threads: int


def node_name() -> str:
    """Host and Ray node, for people."""
    return f"{socket.gethostname()} ({ray.get_runtime_context().get_node_id()[:8]})"


@functools.lru_cache(8)
def open_site(site: Site) -> Store:
    """The store as this node sees it. EnvironmentFailed where it does not, or would compute other features; UsageError where an
    encoder's files are not here.
    """
    root = Path(site.root)
    if site.address is not None:
        share(root, site.address)
        store = open_store(root)
        store.prepare()
        seen = isinstance(store, SharedStore) and store.shared.storage.read(site.mark) is not None
    else:
        store, seen = Store(root), (root / site.mark).is_file()
    shown = site.address or site.root
    if not seen:
        raise EnvironmentFailed(
            f"node {node_name()}: does not see the store {shown}; put it where all nodes have it under the same path, or in a "
            "bucket (--store s3://BUCKET/PREFIX)"
        )
    if site.address is None and not os.access((root / site.mark).parent, os.W_OK):
        raise EnvironmentFailed(f"node {node_name()}: cannot write to the store {shown}; give its user the right to")
    config = RunConfig.model_validate_json(site.config)
    for modality, media, expected in site.fingerprints:
        try:
            own = features_fingerprint(modality, media, config)
        except UsageError as error:
            raise UsageError(f"node {node_name()}: {error}") from None
        if own != expected:
            raise EnvironmentFailed(
                f"node {node_name()}: would compute other {modality} features than the machine that began the run (another "
                "release of crossmodal, other libraries, or another encoder under that name); run both from one image"
            )
    return store


def probe(site: Site) -> str:
    """The node's name. Raises what `open_site` raises."""
    open_site(site)
    return node_name()


def feed(site: Site, shard: ShardRef, threads: int) -> Iterator[Chunk]:
    """The shard's prepared media in chunks, in order."""
    use_cores(threads)
    digests: list[str] = []
    arrays: list[np.ndarray] = []
    held = 0
    for digest, prepared in read_inputs(shard, open_site(site)):
        if arrays and held + prepared.nbytes > CHUNK_BYTES:
            yield digests, arrays
            digests, arrays, held = [], [], 0
        digests.append(digest)
        arrays.append(prepared)
        held += prepared.nbytes
    if arrays:
        yield digests, arrays


class EncoderActor:
    """Holds encoders, loads each once, and writes the features of shard after shard."""

    def __init__(self, site: Site, workshop: Workshop) -> None:
        use_cores(workshop.cpus)
        self._site = site
        self._workshop = workshop

    def ready(self) -> str:
        """The node's name. Raises what `open_site` raises."""
        return probe(self._site)

    def extract(self, shard: ShardRef) -> list[str]:
        """Store paths of the shard's features."""
        store = open_site(self._site)
        if shard.identity.reads == "inputs":  # there is nothing to hand on to an encoder
            return [extract_shard(shard, store)]
        return write_features(shard, self._prepared(shard), store)

    def _prepared(self, shard: ShardRef) -> Inputs:
        """What another process prepares, at most CHUNKS_AHEAD chunks before it is taken."""
        chunks = (
            ray.remote(feed)
            .options(
                num_cpus=self._workshop.feed_cpus,
                num_returns="streaming",
                max_retries=3,
                _generator_backpressure_num_objects=CHUNKS_AHEAD,
            )
            .remote(self._site, shard, self._workshop.feed_threads)
        )
        for chunk in chunks:
            digests, arrays = ray.get(chunk)
            del chunk
            yield from zip(digests, arrays, strict=True)
