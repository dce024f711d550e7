"""The monitor stage as a Prefect task."""

from __future__ import annotations

from prefect import task

from tasks.monitor.monitor import monitor, monitor_key
from tasks.task_options import CACHED, RETRIED, TAGGED, keyed, shielded

monitor_task = task(
    name="monitor",
    cache_key_fn=keyed(monitor_key),
    **TAGGED,
    **RETRIED,
    **CACHED,
)(shielded(monitor))
