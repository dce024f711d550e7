"""The cluster: reached or refused in one line, looked at, and cut into encoders' processes."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TypedDict

import ray
from ray.exceptions import RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from tasks.config_training import ExtractConfig
from tasks.errors import CrossmodalError, EnvironmentFailed
from tasks.extract.on_ray.address import check_address
from tasks.extract.on_ray.node import Site, Workshop, probe

PROBE_S = 120.0
"""Within which a node must have looked at the store: a new process there imports what extraction needs."""
MOST_CPUS = 8
"""Of one encoder's process: with more, its batches wait for the process that prepares them."""
FEEDERS = 2
"""Shards that a process on CPUs has in work: the next one is prepared while the last one is written."""
MOST_FEEDERS = 8
"""The same of a process on a GPU."""
ENCODING_SHARE = 0.75
"""Of a process's CPUs for its encoder; the rest is its feeders'."""
_TOKEN = (
    "does it ask for a token? Then give it this process, too, in RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH with "
    "RAY_AUTH_MODE=token (docs/scale-out.md)"
)


class NodeEntry(TypedDict):
    """What is read of one entry of `ray.nodes()`."""

    NodeID: str
    Alive: bool
    NodeManagerHostname: str
    Resources: dict[str, float]


@contextlib.contextmanager
def connected(address: str) -> Iterator[str]:
    """This process is a driver of the cluster; its address. UsageError or EnvironmentFailed where it cannot be."""
    if ray.is_initialized():  # by who calls us, who also ends it
        yield ray.get_runtime_context().gcs_address
        return
    check_address(address)
    try:
        ray.init(address=address, namespace="crossmodal", log_to_driver=False, logging_level="ERROR")
    except ConnectionError as error:
        where = "no Ray cluster runs here" if address == "auto" else f"the Ray cluster at {address} does not let us in"
        raise EnvironmentFailed(
            f"extract.ray_address = {address!r}: {where} ({_line(error)}); name its head, HOST:PORT, and make "
            f"this machine a node of it (ray start); {_TOKEN}"
        ) from None
    except (RayError, RuntimeError, ValueError) as error:
        raise EnvironmentFailed(f"extract.ray_address = {address!r}: {_line(error)}; {_remedy(error)}") from None
    try:
        yield ray.get_runtime_context().gcs_address
    finally:
        ray.shutdown()


def _remedy(error: Exception) -> str:
    if "ersion" in str(error):
        return "every node and this machine need one Python and one Ray; run them from one image"
    return _TOKEN


def _line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")


def alive_nodes() -> list[NodeEntry]:
    """The nodes of the cluster by now."""
    nodes: list[NodeEntry] = [node for node in ray.nodes() if node["Alive"]]
    return nodes


def probe_nodes(site: Site) -> list[str]:
    """Names of the nodes with CPUs, all of which see the store and would compute these features. Raises what the first raises
    that does not, and EnvironmentFailed where one does not answer. Nodes that come later look for themselves.
    """
    nodes = {node["NodeID"]: node for node in alive_nodes() if node["Resources"].get("CPU")}
    looks = {
        ray.remote(probe)
        .options(num_cpus=0, scheduling_strategy=NodeAffinitySchedulingStrategy(node_id, soft=False))
        .remote(site): node["NodeManagerHostname"]
        for node_id, node in nodes.items()
    }
    done, late = ray.wait(list(looks), num_returns=len(looks), timeout=PROBE_S) if looks else ([], [])
    if late:
        hosts = ", ".join(sorted(looks[look] for look in late))
        raise EnvironmentFailed(f"nodes of the Ray cluster: {hosts}: no process started there in {PROBE_S:.0f} s")
    with causes_raised():
        return [str(name) for name in ray.get(done)]


@contextlib.contextmanager
def causes_raised() -> Iterator[None]:
    """What a node raised is raised as it was there, in one line where it is one of ours."""
    try:
        yield
    except RayTaskError as error:
        cause = deepest_cause(error)
        if isinstance(cause, CrossmodalError | OSError | MemoryError):
            raise cause from None
        raise


def deepest_cause(error: RayTaskError) -> BaseException:
    """What was raised first: on its way through an actor an error is wrapped twice."""
    cause: BaseException = error
    while isinstance(cause, RayTaskError):
        cause = cause.cause
    return cause


class Plan(TypedDict):
    """How many encoders' processes there are to be, and what each asks Ray for."""

    workers: int
    cpus: float
    gpus: float
    feeders: int
    workshop: Workshop


def plan_workers(settings: ExtractConfig, resources: Sequence[Mapping[str, float]], shards: int, embeds: bool) -> Plan:
    """As the settings say, else as many as the nodes with these resources have room for, and at most one a shard.

    `embeds`: there is an encoder to be run; else no GPU is asked for.
    """
    gpus_there = sum(each.get("GPU", 0.0) for each in resources)
    cpus_of = [math.floor(each.get("CPU", 0.0)) for each in resources if each.get("CPU", 0.0) >= 1]
    gpus = (min(1.0, gpus_there) if settings.ray_gpus is None else settings.ray_gpus) if embeds else 0.0
    if gpus:
        workers = settings.ray_workers or max(1, math.floor(gpus_there / gpus))
        feeders = min(MOST_FEEDERS, max(1, sum(cpus_of) // workers))
        workshop = Workshop(cpus=1, feed_cpus=1.0, feed_threads=1)
        return Plan(workers=min(workers, shards), cpus=0.0, gpus=gpus, feeders=feeders, workshop=workshop)
    cpus = settings.ray_cpus or min(MOST_CPUS, *cpus_of, MOST_CPUS)
    workers = settings.ray_workers or max(1, sum(each // cpus for each in cpus_of))
    workshop = Workshop(
        cpus=cpus,
        feed_cpus=cpus * (1 - ENCODING_SHARE) / FEEDERS,
        feed_threads=max(1, round(cpus * (1 - ENCODING_SHARE))),
    )
    return Plan(workers=min(workers, shards), cpus=cpus * ENCODING_SHARE, gpus=0.0, feeders=FEEDERS, workshop=workshop)
