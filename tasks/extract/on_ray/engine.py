"""Shards computed by a cluster: each one's features are in the store once, whatever happens to the nodes meanwhile."""

from __future__ import annotations

import contextlib
import time
import uuid
from collections import Counter, deque
from collections.abc import Iterator
from concurrent.futures import Future
from threading import Event, Thread
from types import TracebackType
from typing import Self

import ray
from ray.actor import ActorHandle
from ray.exceptions import RayActorError, RayError, RayTaskError

from data_contracts.run_summary import ExtractedOn
from tasks import progress
from tasks.config import RunConfig
from tasks.errors import EnvironmentFailed
from tasks.extract.extract import stored_digests
from tasks.extract.on_ray.cluster import (
    Plan,
    alive_nodes,
    causes_raised,
    connected,
    deepest_cause,
    plan_workers,
    probe_nodes,
)
from tasks.extract.on_ray.node import EncoderActor, Site
from tasks.extract.shards import ShardRef
from tasks.shared_store import SharedStore
from tasks.store import Store

TRIES = 4
"""Times that a shard is begun, at most."""
_LOOK_S = 1.0
_SAY_S = 30.0  # how often a run that waits says so


class Extraction:
    """Shards that a cluster computes while the block lasts; at its end, however that comes, nothing of it runs there."""

    def __init__(self, shards: list[ShardRef], config: RunConfig, store: Store) -> None:
        self._shards = shards
        self._config = config
        self._store = store
        self._stack = contextlib.ExitStack()
        self._ended = Event()
        self._futures: dict[str, Future[None]] = {shard.key: Future() for shard in shards}
        self._finished: Counter[str] = Counter()
        self._retried = 0

    def __enter__(self) -> Self:
        """Connected, and every node has seen the store. Raises UsageError or EnvironmentFailed."""
        with self._stack:
            self.address = self._stack.enter_context(connected(self._config.extract.ray_address))
            site = self._stack.enter_context(_marked(self._shards, self._config, self._store))
            nodes = probe_nodes(site)
            embeds = any(shard.identity.reads == "embedding" for shard in self._shards)
            plan = plan_workers(
                self._config.extract, [node["Resources"] for node in alive_nodes()], len(self._shards), embeds
            )
            self._pool = Pool(site, plan, self._config.extract.ray_wait_s)
            self._stack.callback(self._pool.close)
            what = f"{plan['gpus']:g} GPUs" if plan["gpus"] else f"{plan['workshop'].cpus} CPUs"
            progress.log(
                f"extract: on Ray at {self.address}: {len(self._shards)} shards for {plan['workers']} processes "
                f"of {what} each; nodes: {', '.join(sorted(nodes)) or 'none yet'}"
            )
            self._stack = self._stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._stack.close()

    def run(self) -> Iterator[ShardRef]:
        """Yields each shard once its features are in the store. Raises what computing one raised."""
        waiting = deque((shard, 1) for shard in self._shards)
        while waiting or self._pool.is_busy():
            if self._ended.is_set():
                return
            while waiting and self._pool.has_room():
                self._pool.begin(*waiting.popleft())
            for shard, tries, parts, node in self._pool.look():
                if parts is None and not self._is_stored(shard):
                    self._retried += 1
                    if tries == TRIES:
                        raise EnvironmentFailed(
                            f"{shard.modality} features: the process that computed shard {shard.name} died {TRIES} "
                            f"times, {node} last; is its node's memory too small? See the cluster's logs"
                        )
                    waiting.appendleft((shard, tries + 1))
                    continue
                for part in parts or ():
                    self._store.add_part(part)
                self._finished[node] += 1
                yield shard

    def _is_stored(self, shard: ShardRef) -> bool:
        """Whether the features of a shard whose process is gone were written before."""
        wanted = set(shard.read_digests(self._store).to_pylist())
        return stored_digests(shard.modality, shard.fingerprint, self._store, wanted) == wanted

    def begin(self) -> Self:
        """`run` goes on in a thread; `wait` tells what became of each shard."""
        thread = Thread(target=self._run_to_end, name="extract on Ray", daemon=True)
        self._stack.callback(thread.join)
        thread.start()
        return self

    def _run_to_end(self) -> None:
        error: BaseException = EnvironmentFailed("extraction on Ray was ended before this shard was computed")
        try:
            for shard in self.run():
                self._futures[shard.key].set_result(None)
        except BaseException as raised:  # noqa: BLE001 (raised where it is waited for)
            error = raised
        for future in self._futures.values():
            if not future.done():
                future.set_exception(error)

    def wait(self, shard: ShardRef) -> None:
        """The shard's features are in the store. Raises what ended the extraction before."""
        self._futures[shard.key].result()

    def extracted_on(self) -> ExtractedOn:
        """Where the shards were computed."""
        return ExtractedOn(address=self.address, shards=dict(sorted(self._finished.items())), retried=self._retried)


@contextlib.contextmanager
def _marked(shards: list[ShardRef], config: RunConfig, store: Store) -> Iterator[Site]:
    """While the block lasts there is something new in the store by which a node knows that it sees the same one."""
    known = {(shard.modality, shard.media, shard.fingerprint) for shard in shards}
    with contextlib.ExitStack() as stack:
        if isinstance(store, SharedStore):
            address, mark = store.shared.storage.address, f"marks/{uuid.uuid4().hex}"
            store.shared.storage.create(mark, b"seen")
            stack.callback(store.shared.storage.delete, mark)
        else:
            path = stack.enter_context(store.scratch_dir()) / "seen"
            path.touch()
            address, mark = None, path.relative_to(store.root).as_posix()
        yield Site(
            root=str(store.root),
            address=address,
            mark=mark,
            config=config.model_dump_json(),
            fingerprints=tuple(sorted(known)),
        )


Ended = tuple[ShardRef, int, list[str] | None, str]
"""Shard, how often it was begun, store paths of its features (None: its process is gone), node."""


class Pool:
    """Encoders' processes on the cluster; one that is gone is asked for anew."""

    def __init__(self, site: Site, plan: Plan, wait_s: float) -> None:
        self._site, self._plan, self._wait_s = site, plan, wait_s
        self._starting: dict[ray.ObjectRef, ActorHandle] = {}
        self._node: dict[ActorHandle, str] = {}
        self._room: deque[ActorHandle] = deque()
        self._running: dict[ray.ObjectRef, tuple[ActorHandle, ShardRef, int]] = {}
        self._gone: set[ActorHandle] = set()
        self._lost = 0
        self._since = self._said = time.monotonic()
        for _ in range(plan["workers"]):
            self._start()

    def _start(self) -> None:
        actor = (
            ray.remote(EncoderActor)
            .options(
                num_cpus=self._plan["cpus"],
                num_gpus=self._plan["gpus"],
                max_concurrency=self._plan["feeders"],
                max_restarts=0,  # elsewhere, with another's help, instead
            )
            .remote(self._site, self._plan["workshop"])
        )
        self._starting[actor.ready.remote()] = actor

    def is_busy(self) -> bool:
        """Whether a shard is being computed."""
        return bool(self._running)

    def has_room(self) -> bool:
        """Whether a process could begin a shard."""
        return bool(self._room)

    def begin(self, shard: ShardRef, tries: int) -> None:
        """A process with room computes the shard."""
        actor = self._room.popleft()
        self._running[actor.extract.remote(shard)] = (actor, shard, tries)

    def look(self) -> list[Ended]:
        """What has ended meanwhile, within a second. Raises what a shard's computation raised, and EnvironmentFailed where no
        process has started for too long, or each dies as it starts.
        """
        done, _ = ray.wait([*self._running, *self._starting], num_returns=1, timeout=_LOOK_S)
        ended = []
        for ref in done:
            if ref in self._starting:
                self._started(ref)
            else:
                ended.append(self._take(ref))
        self._say_waiting()
        return ended

    def _started(self, ref: ray.ObjectRef) -> None:
        actor = self._starting.pop(ref)
        try:
            with causes_raised():
                self._node[actor] = ray.get(ref)
        except RayActorError as error:
            self._replace(actor, error)
            return
        self._room.extend([actor] * self._plan["feeders"])

    def _take(self, ref: ray.ObjectRef) -> Ended:
        actor, shard, tries = self._running.pop(ref)
        node = self._node[actor]
        try:
            with causes_raised():
                parts = ray.get(ref)
        except RayActorError as error:
            self._replace(actor, error)
            return shard, tries, None, node
        except RayTaskError as error:
            if not isinstance(deepest_cause(error), RayError):
                raise
            self._room.append(actor)  # what prepared its media is gone, not itself
            return shard, tries, None, node
        self._room.append(actor)
        return shard, tries, parts, node

    def _replace(self, actor: ActorHandle, error: RayActorError) -> None:
        """The process is gone; its other shard says so, too, but only one other is started."""
        self._room = deque(each for each in self._room if each != actor)
        node = self._node.get(actor, "a node")
        if actor in self._gone:
            return
        self._gone.add(actor)
        self._lost += 1
        if self._lost > TRIES * self._plan["workers"]:
            raise EnvironmentFailed(
                f"extraction on Ray: {self._lost} processes died, {node} last ({' '.join(str(error).split())[:300]}); see the "
                "cluster's logs"
            )
        progress.log(f"extract: a process on {node} is gone; its shards begin anew", "warning")
        self._start()

    def _say_waiting(self) -> None:
        now = time.monotonic()
        if self._room or self._running:
            self._since = self._said = now
        asked = f"{self._plan['gpus']:g} GPUs" if self._plan["gpus"] else f"{self._plan['cpus']:g} CPUs"
        if now - self._since > self._wait_s:
            raise EnvironmentFailed(
                f"extraction on Ray: the cluster had no room for a process of {asked} for {self._wait_s:.0f} s "
                "(extract.ray_wait_s); add nodes, end what holds them, or lower extract.ray_cpus or extract.ray_gpus"
            )
        if now - self._said > _SAY_S:
            self._said = now
            progress.log(f"extract: waits until the cluster has room for a process of {asked}", "warning")

    def close(self) -> None:
        """No process of it is left."""
        for actor in {*self._starting.values(), *self._node}:
            ray.kill(actor)
