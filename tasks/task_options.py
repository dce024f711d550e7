"""What the Prefect tasks share: retries with jitter on I/O, JSON results, tags, explicit cache keys. Imports no Prefect."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ParamSpec, Protocol, TypedDict, TypeVar

from data_contracts.refs import Frozen, Ref
from tasks.config import RunConfig
from tasks.errors import EnvironmentFailed
from tasks.redaction import redact_error
from tasks.store import digest_json

P = ParamSpec("P")
R = TypeVar("R")


def is_transient(task: Any, run: Any, state: Any) -> bool:
    """True for failures of I/O that may pass. A contract, a gate or a wrong path is never tried again."""
    error = state.result(raise_on_failure=False)
    if isinstance(error, EnvironmentFailed):
        return error.transient
    return isinstance(error, OSError) and not isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError)


def shielded(run: Callable[P, R]) -> Callable[P, R]:
    """The function of a task, whose errors hold no credential that a library put there: Prefect keeps what a task raises."""

    @functools.wraps(run)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        """What `run` returns or raises."""
        try:
            return run(*args, **kwargs)
        except Exception as error:  # noqa: BLE001 (raised again)
            raise redact_error(error)  # noqa: B904 (it is the error itself, or has none behind it)

    return call


class Tags(TypedDict):
    """Arguments of Prefect's `task`."""

    tags: list[str]


class Retries(TypedDict):
    """Arguments of Prefect's `task`."""

    retries: int
    retry_delay_seconds: list[float]
    retry_jitter_factor: float
    retry_condition_fn: Callable[[Any, Any, Any], bool]


class Cache(TypedDict):
    """Arguments of Prefect's `task`."""

    persist_result: bool
    result_serializer: str


TAGGED: Tags = {"tags": ["crossmodal"]}
RETRIED: Retries = {
    "retries": 3,
    "retry_delay_seconds": [1.0, 5.0, 20.0],
    "retry_jitter_factor": 0.5,
    "retry_condition_fn": is_transient,
}
CACHED: Cache = {"persist_result": True, "result_serializer": "json"}


class CacheKey(Protocol):
    """What Prefect calls for the key of a task's result."""

    def __call__(self, context: object, parameters: dict[str, Any]) -> str:
        """The key for these arguments of the task, by name."""


def keyed(key: Callable[..., str], checked: Callable[[RunConfig], object] | None = None) -> CacheKey:
    """A Prefect cache key: the stage's own, of those of the task's parameters that it takes by the same names, and more.

    The stage's is the key under which the store keeps the result. A task that is taken from the cache is not run at all, so
    what a stage does beyond its artifact counts too: the refs whole, of which it copies notes and counts into its result, and
    the settings by which it refuses what it found, by `checked`.
    """
    names = list(inspect.signature(key).parameters)

    def cache_key(context: object, parameters: dict[str, Any]) -> str:
        """The key for these parameters."""
        refs = {name: ref.model_dump(mode="json") for name, ref in _refs(parameters)}
        limits = None if checked is None else checked(parameters["config"])
        return digest_json({"key": key(*(parameters[name] for name in names)), "refs": refs, "checked": limits})

    return cache_key


def _refs(parameters: Mapping[str, object]) -> Iterator[tuple[str, Ref]]:
    """The refs among a task's arguments, and those in a request among them, by their dotted names."""
    for name, value in parameters.items():
        if isinstance(value, Ref):
            yield name, value
        elif isinstance(value, Frozen):
            yield from ((f"{name}.{field}", held) for field, held in value if isinstance(held, Ref))
