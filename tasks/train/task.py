"""The train stage as a Prefect task. The loop runs in a subprocess that can be killed; it resumes from its last epoch."""

from __future__ import annotations

from prefect import task

from tasks.task_options import CACHED, RETRIED, TAGGED, keyed, shielded
from tasks.train.train import train, train_key

train_task = task(
    name="train",
    cache_key_fn=keyed(train_key),
    **TAGGED,
    **RETRIED,
    **CACHED,
)(shielded(train))
