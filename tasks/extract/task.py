"""The extract stage as a Prefect task: one run per shard."""

from __future__ import annotations

from typing import Protocol

from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.extract.extract import extract_shard
from tasks.extract.shards import ShardRef
from tasks.task_options import CACHED, RETRIED, TAGGED, keyed, shielded


def shard_key(shard: ShardRef) -> str:
    """The key under which the store keeps the shard's features."""
    return shard.key


extract_task = task(
    name="extract",
    task_run_name="extract-{shard.modality}-{shard.name}",
    cache_key_fn=keyed(shard_key),
    **TAGGED,
    **RETRIED,
    **CACHED,
)(shielded(extract_shard))


class Waits(Protocol):
    """What computes shards elsewhere: tasks/extract/on_ray/engine.py."""

    def wait(self, shard: ShardRef) -> None:
        """The shard's features are in the store. Raises what its computation raised."""


def wait_for_shard(shard: ShardRef, extraction: Waits) -> None:
    """The shard that a cluster computes is done: the UI shows it as a task, which does nothing else."""
    extraction.wait(shard)


wait_task = task(
    name="extract", task_run_name="extract-{shard.modality}-{shard.name}", cache_policy=NO_CACHE, **TAGGED
)(shielded(wait_for_shard))
