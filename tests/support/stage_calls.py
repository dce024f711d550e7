"""Calls and compositions of stages that mypy accepts or refuses: `make lint` reads this file, and nothing runs it.

A wrong call that mypy comes to accept has a `type: ignore` too many, which strict mode refuses.
"""

from __future__ import annotations

from data_contracts.refs import CheckpointRef, CleanRef, EvalReport, RawRef, ValidatedRef
from flows.prefect_stages import _verified
from flows.stages import Features, Stages
from tasks.config import RunConfig
from tasks.evaluate.task import evaluate_task
from tasks.gate.task import gate_task
from tasks.ingest.ingest import ingest_key
from tasks.store import Store
from tasks.task_options import keyed


def call(
    *, stages: Stages, raw: RawRef, clean: CleanRef, valid: ValidatedRef, features: Features, checkpoint: CheckpointRef,
    report: EvalReport, config: RunConfig, store: Store,
) -> None:  # fmt: skip
    """One right call, then each mistake that its types are there to find."""
    stages.evaluate(valid, features, checkpoint, None, config, store)

    stages.evaluate(valid, checkpoint, features, None, config, store)  # type: ignore[arg-type]  # swapped
    stages.gate(report, config)  # type: ignore[call-arg]  # no store
    stages.ingest(raw, config, store, 3)  # type: ignore[call-arg]  # one argument too many
    stages.validate_samples(raw, config, store)  # type: ignore[arg-type]  # another ref
    Stages(gate=evaluate_task)  # type: ignore[arg-type]  # another stage as a task
    Stages(ingest=_verified(gate_task, "clean", keyed(ingest_key)))  # type: ignore[arg-type]  # and under the cache's verification
