"""The extract stage as a Prefect task: one run per shard."""

from __future__ import annotations

from prefect import task

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
