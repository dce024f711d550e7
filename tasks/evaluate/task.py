"""The evaluate stage as a Prefect task."""

from __future__ import annotations

from prefect import task

from tasks.evaluate.evaluate import evaluate, evaluate_key
from tasks.task_options import CACHED, RETRIED, TAGGED, keyed, shielded

evaluate_task = task(
    name="evaluate",
    cache_key_fn=keyed(evaluate_key),
    **TAGGED,
    **RETRIED,
    **CACHED,
)(shielded(evaluate))
