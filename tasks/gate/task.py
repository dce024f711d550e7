"""The gate as a Prefect task. A refusal is a result, so there is nothing to retry."""

from __future__ import annotations

from prefect import task

from tasks.gate.gate import gate, gate_key
from tasks.task_options import CACHED, TAGGED, keyed, shielded

gate_task = task(name="gate", cache_key_fn=keyed(gate_key), **TAGGED, **CACHED)(shielded(gate))
