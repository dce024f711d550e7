"""The publish stage as a Prefect task. Never cached: the registry, not the store, says what is published."""

from __future__ import annotations

from prefect import task

from tasks.publish.publish import publish
from tasks.task_options import RETRIED, TAGGED, shielded

publish_task = task(name="publish", **TAGGED, **RETRIED)(shielded(publish))
