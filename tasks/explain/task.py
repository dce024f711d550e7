"""The explain stage as Prefect tasks: one for each chunk of a part, and one for what they show."""

from __future__ import annotations

from prefect import task

from tasks.explain.explain import explain, explain_key
from tasks.explain.parts import make_part, part_key
from tasks.task_options import CACHED, RETRIED, TAGGED, keyed, shielded

part_task = task(
    name="part",
    task_run_name="{part} {number}",
    cache_key_fn=keyed(part_key),
    **TAGGED,
    **RETRIED,
    **CACHED,
)(shielded(make_part))
explain_task = task(
    name="explain",
    cache_key_fn=keyed(explain_key),
    **TAGGED,
    **RETRIED,
    **CACHED,
)(shielded(explain))
