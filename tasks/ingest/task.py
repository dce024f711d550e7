"""The ingest stage as Prefect tasks."""

from __future__ import annotations

from prefect import task

from tasks.ingest.ingest import ingest, ingest_key
from tasks.ingest.manifest.scan import scan
from tasks.task_options import CACHED, RETRIED, TAGGED, keyed, shielded

scan_task = task(name="scan", **TAGGED, **RETRIED)(shielded(scan))
ingest_task = task(
    name="ingest",
    cache_key_fn=keyed(ingest_key, lambda config: config.data.max_quarantined),
    **TAGGED,
    **RETRIED,
    **CACHED,
)(shielded(ingest))
