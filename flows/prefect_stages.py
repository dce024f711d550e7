"""The stages as Prefect tasks, to put in the place of the plain ones."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from prefect import Task, unmapped
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.concurrency.sync import concurrency
from prefect.futures import PrefectFutureList
from prefect.utilities.callables import get_call_parameters

from data_contracts.refs import CheckpointRef
from data_contracts.run_summary import ExtractedOn
from flows.hosting.registering import GPU_SLOT, ensure_gpu_slot
from flows.stages import AuditStages, ExplainStages, Stages, Train, TranslateStages
from tasks import progress
from tasks.audit.audit import audit_key
from tasks.audit.out_of_fold import fold_key
from tasks.audit.task import audit_task, fold_task, view_task
from tasks.audit.views import view_key
from tasks.config import RunConfig
from tasks.devices import may_have_gpu
from tasks.evaluate.evaluate import evaluate_key
from tasks.evaluate.task import evaluate_task
from tasks.explain.explain import explain_key
from tasks.explain.parts import part_key
from tasks.explain.task import explain_task, part_task
from tasks.extract.shards import ShardRef
from tasks.extract.task import extract_task, wait_task
from tasks.gate.gate import gate_key
from tasks.gate.task import gate_task
from tasks.ingest.ingest import ingest_key
from tasks.ingest.task import ingest_task, scan_task
from tasks.publish.task import publish_task
from tasks.store import Store
from tasks.task_options import TAGGED, CacheKey, keyed, shielded
from tasks.train.request import TrainRequest
from tasks.train.task import train_task
from tasks.train.train import train_key
from tasks.translate.pair import pair_key
from tasks.translate.task import generate_task, pair_task
from tasks.validate.manifest_and_predictions import manifest_key, predictions_key
from tasks.validate.task import (
    validate_features_task,
    validate_manifest_task,
    validate_predictions_task,
    validate_samples_task,
)
from tasks.validate.validate import features_key, samples_key

P = ParamSpec("P")
R = TypeVar("R")


def prefect_stages() -> Stages:
    """Every stage as a task; extraction maps over its shards on the flow's bounded runner."""
    return Stages(
        scan=scan_task,
        ingest=_verified(ingest_task, "clean", keyed(ingest_key)),
        validate_manifest=_verified(validate_manifest_task, "validations", keyed(manifest_key)),
        validate_samples=_verified(validate_samples_task, "validations", keyed(samples_key)),
        extract=_map_shards,
        validate_features=_verified(validate_features_task, "validations", keyed(features_key)),
        train=_in_gpu_slot(_verified(train_task, "checkpoints", keyed(train_key))),
        evaluate=_verified(evaluate_task, "evaluations", keyed(evaluate_key)),
        validate_predictions=_verified(validate_predictions_task, "validations", keyed(predictions_key)),
        gate=_verified(gate_task, "verdicts", keyed(gate_key)),
        publish=publish_task,
    )


def audit_stages() -> AuditStages:
    """Every part of an audit as a task."""
    return AuditStages(
        view=_verified(view_task, "views", keyed(view_key)),
        fold=_verified(fold_task, "out_of_fold", keyed(fold_key)),
        audit=_verified(audit_task, "audits", keyed(audit_key)),
    )


def explain_stages() -> ExplainStages:
    """Every part of an explanation as a task."""
    return ExplainStages(
        part=_verified(part_task, "explanation_parts", keyed(part_key)),
        explain=_verified(explain_task, "explanations", keyed(explain_key)),
    )


def translate_stages() -> TranslateStages:
    """Every part of a translation as a task; the store says which media are missing, so no result of one is kept."""
    return TranslateStages(generate=generate_task, pair=_verified(pair_task, "pairs", keyed(pair_key)))


def _verified(task: Task[P, R], kind: str, key: CacheKey) -> Callable[P, R]:
    """Calls the task; a cached result counts only while the store still holds the artifact, intact.

    `key` is the task's own cache key, which is the store's key of its result; one of the task's parameters is the `store`.
    """

    @wraps(task.fn)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        """The task's result for these arguments."""
        parameters = get_call_parameters(task.fn, args, kwargs)
        held = parameters["store"].find(kind, key(None, parameters))
        return task.with_options(refresh_cache=held is None)(*args, **kwargs)

    return call


def _in_gpu_slot(train: Train) -> Train:
    """Training that waits for the global limit `gpu` where it will use one; a model that is in the store needs none."""

    def call(request: TrainRequest, store: Store) -> CheckpointRef:
        """The stage's result; while it is computed on a GPU, one slot of the limit is taken."""
        key = train_key(request, store) if uses_gpu(request.config) else None
        needs_none = key is None or store.find("checkpoints", key) is not None
        with contextlib.nullcontext() if needs_none else gpu_slot():
            return train(request, store)

    return call


def run_in_task(name: str, label: str, work: Callable[[], None], config: RunConfig | None = None) -> None:
    """The work is a task of the flow's run, one slot of the GPU taken where it trains there under this config."""
    slot = gpu_slot() if config is not None and uses_gpu(config) else contextlib.nullcontext()
    with slot:
        Task(shielded(work), name=name, task_run_name=label, cache_policy=NO_CACHE, **TAGGED)()


@contextlib.contextmanager
def gpu_slot() -> Iterator[None]:
    """One slot of the global limit `gpu` is taken for the block, which waits for it."""
    with get_client(sync_client=True) as client:
        # On a server that nothing was deployed to, too: strict, as else no limit means no waiting.
        ensure_gpu_slot(client)
    with concurrency(GPU_SLOT, strict=True):
        yield


def uses_gpu(config: RunConfig) -> bool:
    """Whether training with this config takes a CUDA device."""
    if config.train.device == "cpu" or not may_have_gpu():
        return False
    import torch

    return torch.cuda.is_available()


def _map_shards(shards: list[ShardRef], config: RunConfig, store: Store) -> ExtractedOn | None:
    """One task a shard. Only shards whose features are missing are planned, so none may come from the cache."""
    if config.extract.engine == "ray" and shards:
        from tasks.extract.on_ray.engine import Extraction

        with Extraction(shards, config, store) as extraction:
            _show(wait_task.map(shards, extraction=unmapped(extraction.begin())))
            return extraction.extracted_on()
    _show(extract_task.with_options(refresh_cache=True).map(shards, store=unmapped(store)))
    return None


def _show(futures: PrefectFutureList[Any]) -> None:
    for done, future in enumerate(futures, start=1):
        future.result()
        progress.report("extract", done, len(futures), "shards")
