"""One publication of a model at a time on a registry, whichever stores publish there.

Inside a store a lock on a file sees to that. Between stores there is only MLflow's API, which has no compare-and-swap: a tag,
or an alias, is written over whatever is there. But each key of a tag is a register of its own, and that is enough for Lamport's
bakery (Communications of the ACM 17:8, 1974): everyone writes one tag only, its own, draws a number above all that are there,
and waits for those with a smaller one. So two never publish at once, however their requests interleave.

What it cannot give: a publisher that stands still for longer than LEASE_S is taken for dead by the next one, and a request of
its own that is still under way by then arrives all the same; whoever moves an alias in MLflow's own UI draws no number.
Against both the alias is read again right before it is moved.
"""

from __future__ import annotations

import contextlib
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from pydantic import BaseModel, ConfigDict, ValidationError

from tasks.errors import EnvironmentFailed
from tasks.locks import LEASE_S, Waiting, own_record
from tasks.store import Store, write_text

if TYPE_CHECKING:
    from mlflow.entities.model_registry import RegisteredModel

PREFIX = "crossmodal.lease."
"""Of the tags of a registered model, one for everyone who publishes, or waits to."""
_POLL_S = 0.5
_ID = "store-id"


class Registry(Protocol):
    """What is needed of MlflowClient."""

    def get_registered_model(self, name: str) -> RegisteredModel:
        """The model with its tags."""

    def set_registered_model_tag(self, name: str, key: str, value: str) -> None:
        """The tag has the value."""

    def delete_registered_model_tag(self, name: str, key: str) -> None:
        """The tag is gone."""


class Claim(BaseModel):
    """The value of one tag."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    owner: str
    store: str
    """Which store publishes: of one store only one process at a time does."""
    number: int = 0
    """In the order of publishing; 0 while it is being drawn."""
    renewed: int = 0
    """Counted up while its owner lives."""


@contextlib.contextmanager
def publishing(client: Registry, name: str, store: Store) -> Iterator[Lease]:
    """Nobody else publishes, promotes or rolls back this registered model in the block, in this store or another.

    EnvironmentFailed after the store's `lock_timeout_s`.
    """
    with store.work_dir("publish", name) as work, leased(client, name, store, work) as lease:
        yield lease


@contextlib.contextmanager
def leased(client: Registry, name: str, store: Store, work: Path) -> Iterator[Lease]:
    """The same, where the store's own lock is held already: `work` is its folder."""
    lease = Lease(client, name, Claim(owner=str(own_record(store.run)), store=_store_id(work)))
    try:
        lease.take(store.lock_timeout_s)
        yield lease
    finally:
        lease.release()


class Lease:
    """The right to move an alias of a model."""

    def __init__(self, client: Registry, name: str, claim: Claim) -> None:
        self._client, self._name, self._claim = client, name, claim
        self.key = f"{PREFIX}{uuid.uuid4().hex}"
        self._renewed_at = time.monotonic()
        self._ended = threading.Event()
        self._writing = threading.Lock()
        self._heart = threading.Thread(target=self._beat, name="registry-lease", daemon=True)

    def take(self, timeout_s: float) -> None:
        """It is this process's. EnvironmentFailed where others had it for longer than `timeout_s`."""
        for key, claim in self._read().items():
            if claim.store == self._claim.store:  # of a process that was killed: the store's lock is ours
                self._client.delete_registered_model_tag(self._name, key)
        self._write({})
        self._heart.start()
        self._write({"number": 1 + max((claim.number for claim in self._read().values()), default=0)})
        waiting = Waiting(timeout_s)
        seen: dict[str, tuple[Claim, float]] = {}
        while ahead := self._ahead():
            now = time.monotonic()
            for key, claim in ahead.items():
                known = seen.get(key)
                if known is None or known[0] != claim:
                    seen[key] = (claim, now)
                elif now - known[1] > LEASE_S:
                    self._client.delete_registered_model_tag(self._name, key)
            owner = min(ahead.values(), key=lambda claim: claim.number).owner
            waiting.tell(f"model {self._name}: is being published from another store by {owner}")
            time.sleep(_POLL_S)

    def require(self) -> None:
        """Raises EnvironmentFailed unless it still is this process's."""
        mine = self.key in self._client.get_registered_model(self._name).tags
        if not mine or time.monotonic() - self._renewed_at > LEASE_S / 2:
            raise EnvironmentFailed(
                f"model {self._name}: the right to publish was lost, as this process or the registry stood still for "
                f"{LEASE_S / 2:g} s; no alias was moved. Run it again: it resumes",
                transient=True,
            )

    def release(self) -> None:
        """The next one may publish."""
        self._ended.set()
        if self._heart.is_alive():
            self._heart.join()
        self._client.delete_registered_model_tag(self._name, self.key)

    def _ahead(self) -> dict[str, Claim]:
        """Who is before this one, or may still come to be."""
        mine = (self._claim.number, self.key)
        return {key: claim for key, claim in self._read().items() if not claim.number or (claim.number, key) < mine}

    def _read(self) -> dict[str, Claim]:
        """The claims of others."""
        found = {}
        for key, value in self._client.get_registered_model(self._name).tags.items():
            if key.startswith(PREFIX) and key != self.key:
                with contextlib.suppress(ValidationError):  # not ours to understand
                    found[key] = Claim.model_validate_json(value)
        return found

    def _write(self, update: dict[str, int]) -> None:
        with self._writing:
            self._claim = self._claim.model_copy(update=update)
            self._client.set_registered_model_tag(self._name, self.key, self._claim.model_dump_json())
            self._renewed_at = time.monotonic()

    def _beat(self) -> None:
        while not self._ended.wait(LEASE_S / 4):
            from mlflow.exceptions import MlflowException
            from sqlalchemy.exc import SQLAlchemyError

            if time.monotonic() - self._renewed_at > LEASE_S / 2:
                return  # another may have taken it for dead: it must not come back to life
            with contextlib.suppress(MlflowException, SQLAlchemyError):  # tried again, until it is too late
                self._write({"renewed": self._claim.renewed + 1})


def _store_id(work: Path) -> str:
    """What a store's publications of a model have in common, and those of a copy of the store do not."""
    path = work / _ID
    if not path.exists():
        write_text(path, uuid.uuid4().hex)
    return f"{path.read_text(encoding='utf-8')}.{path.stat().st_ino}"
