"""The stages as Prefect tasks, to put in the place of the plain ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from prefect import Task, unmapped
from prefect.client.orchestration import get_client
from prefect.concurrency.sync import concurrency

from flows.hosting.registering import GPU_SLOT, ensure_gpu_slot
from flows.pipeline import Stages
from tasks import progress
from tasks.config import RunConfig
from tasks.evaluate.evaluate import evaluate_key
from tasks.evaluate.task import evaluate_task
from tasks.extract.extract import ShardRef
from tasks.extract.task import extract_task
from tasks.gate.gate import gate_key
from tasks.gate.task import gate_task
from tasks.ingest.ingest import ingest_key
from tasks.ingest.task import ingest_task, scan_task
from tasks.publish.task import publish_task
from tasks.store import Store
from tasks.train.task import train_task
from tasks.train.train import train_key
from tasks.validate.manifest_and_predictions import manifest_key, predictions_key
from tasks.validate.task import (
    validate_features_task,
    validate_manifest_task,
    validate_predictions_task,
    validate_samples_task,
)
from tasks.validate.validate import features_key, samples_key


def prefect_stages() -> Stages:
    """Every stage as a task; extraction maps over its shards on the flow's bounded runner."""
    return Stages(
        scan=scan_task,
        ingest=_verified(ingest_task, "clean", lambda raw, config, store: ingest_key(raw, config)),
        validate_manifest=_verified(validate_manifest_task, "validations", lambda raw, store: manifest_key(raw)),
        validate_samples=_verified(
            validate_samples_task, "validations", lambda clean, config, store: samples_key(clean, config)
        ),
        extract=_map_shards,
        validate_features=_verified(
            validate_features_task,
            "validations",
            lambda valid, features, config, store: features_key(valid, features, config),
        ),
        train=_in_gpu_slot(_verified(train_task, "checkpoints", train_key)),
        evaluate=_verified(
            evaluate_task,
            "evaluations",
            lambda valid, features, checkpoint, prepared_champion, config, store: evaluate_key(
                valid, features, checkpoint, prepared_champion, config
            ),
        ),
        validate_predictions=_verified(validate_predictions_task, "validations", predictions_key),
        gate=_verified(gate_task, "verdicts", lambda report, config, store: gate_key(report, config)),
        publish=publish_task,
    )


def _verified(task: Task[..., Any], kind: str, key: Callable[..., str]) -> Callable[..., Any]:
    """Calls the task; a cached result counts only while the store still holds the artifact, intact."""

    def call(*args: Any) -> Any:
        """The task's result for these arguments, one of which is the Store."""
        store = next(arg for arg in args if isinstance(arg, Store))
        return task.with_options(refresh_cache=store.find(kind, key(*args)) is None)(*args)

    return call


def _in_gpu_slot(train: Callable[..., Any]) -> Callable[..., Any]:
    """Training that waits for the global limit `gpu` where it will use one; a model that is in the store needs none."""

    def call(valid: Any, features: Any, config: RunConfig, store: Store, champion: Any) -> Any:
        """The stage's result; while it is computed on a GPU, one slot of the limit is taken."""
        arguments = (valid, features, config, store, champion)
        if not uses_gpu(config) or store.find("checkpoints", train_key(*arguments)) is not None:
            return train(*arguments)
        with get_client(sync_client=True) as client:
            ensure_gpu_slot(
                client
            )  # on a server that nothing was deployed to, too: strict, as else no limit means no waiting
        with concurrency(GPU_SLOT, strict=True):
            return train(*arguments)

    return call


def uses_gpu(config: RunConfig) -> bool:
    """Whether training with this config takes a CUDA device."""
    if config.train.device == "cpu":
        return False
    import torch

    return torch.cuda.is_available()


def _map_shards(shards: list[ShardRef], store: Store) -> list[str]:
    """One task a shard. Only shards whose features are missing are planned, so none may come from the cache."""
    futures = extract_task.with_options(refresh_cache=True).map(shards, store=unmapped(store))
    parts = []
    for done, future in enumerate(futures, start=1):
        parts.append(future.result())
        progress.report("extract", done, len(shards), "shards")
    return parts
