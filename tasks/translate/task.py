"""Translation as Prefect tasks: one for each shard that is generated, one for a pair, one for each table of samples."""

from __future__ import annotations

from prefect import task

from tasks.task_options import CACHED, RETRIED, TAGGED, keyed, shielded
from tasks.translate.pair import fit_pair, pair_key
from tasks.translate.shards import generate_shard

generate_task = task(name="generate", task_run_name="generate-{shard.name}", **TAGGED, **RETRIED)(
    shielded(generate_shard)
)
pair_task = task(
    name="pair",
    task_run_name="pair {source.modality}-{target.modality}",
    cache_key_fn=keyed(pair_key),
    **TAGGED,
    **RETRIED,
    **CACHED,
)(shielded(fit_pair))
