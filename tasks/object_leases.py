"""Locks between machines, as objects of a bucket: who makes the next generation of a lease has it.

`leases/NAME/GENERATION` is made only where it is not there yet, so that of those who want it one gets it. Its holder rewrites
it now and then; whoever finds it as it was for LEASE_S, by the own clock, may make the generation after it, and the holder, if
it lives after all, finds that one and knows that the lease is lost. No clock of another machine is read, and nothing but the
creation of an object where there is none has to be atomic.
"""

from __future__ import annotations

import contextlib
import threading
import time
import uuid
from collections.abc import Iterator

from pydantic import BaseModel, ConfigDict, ValidationError

from tasks import progress
from tasks.errors import EnvironmentFailed
from tasks.locks import LEASE_S, Waiting, own_record
from tasks.object_storage import ObjectStorage

POLL_S = 1.0


class Claim(BaseModel):
    """What stands in the object of a generation."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    holder: str
    token: str
    renewed: int = 0
    """Counted up while its holder lives."""
    is_released: bool = False


def held_leases(storage: ObjectStorage) -> dict[str, str]:
    """The names of the leases that nobody has released, to who holds them, as far as he lives."""
    last = {
        name.split("/")[1]: name for name in storage.names("leases") if name.count("/") == 2
    }  # sorted by generation
    claims = {lease: _claim_of(storage.read(name)) for lease, name in last.items()}
    return {lease: claim.holder for lease, claim in claims.items() if claim is not None and not claim.is_released}


@contextlib.contextmanager
def leased(
    storage: ObjectStorage, name: str, timeout_s: float, run: str | None = None, lease_s: float = LEASE_S
) -> Iterator[None]:
    """The lease is this process's for the block, among all machines that use the bucket.

    Others wait for it, and say so. EnvironmentFailed after `timeout_s`, and at the end of the block where it was lost in it.
    """
    lease = _Lease(storage, f"leases/{name}", Claim(holder=str(own_record(run)), token=uuid.uuid4().hex), lease_s)
    lease.take(timeout_s)
    try:
        yield
    finally:
        lease.release()
    if lease.is_lost:
        raise EnvironmentFailed(
            f"lease {storage.address}/{lease.folder}: was lost meanwhile, as this process or its network stood still for "
            f"{lease_s:g} s; another may have done the same work. Run it again: it resumes",
            transient=True,
        )


class _Lease:
    def __init__(self, storage: ObjectStorage, folder: str, claim: Claim, lease_s: float) -> None:
        self.folder = folder
        self.is_lost = False
        self._storage, self._claim, self._lease_s = storage, claim, lease_s
        self._generation = 0
        self._ended = threading.Event()
        self._heart = threading.Thread(target=self._beat, name="object-lease", daemon=True)

    def take(self, timeout_s: float) -> None:
        """A generation is this process's."""
        waiting = Waiting(timeout_s)
        seen: tuple[int, Claim | None, float] | None = None
        while True:
            now = time.monotonic()
            last = max(self._generations(), default=0)
            claim = self._read(last)
            if seen is None or seen[:2] != (last, claim):
                seen = (last, claim, now)
            free = last == 0 or (claim is not None and claim.is_released) or now - seen[2] >= self._lease_s
            if free and self._make(last + 1):
                self._generation = last + 1
                break
            holder = claim.holder if claim is not None else "another process"
            waiting.tell(f"lease {self._storage.address}/{self.folder}: held by {holder}")
            if not free:
                time.sleep(min(POLL_S, self._lease_s / 4))
        self._heart.start()
        with contextlib.suppress(EnvironmentFailed):  # then the next one does it
            for older in self._generations():
                if older < self._generation:
                    self._storage.delete(self._name(older))

    def release(self) -> None:
        """The next one need not wait."""
        self._ended.set()
        self._heart.join()
        with contextlib.suppress(EnvironmentFailed):  # then others wait until it has run out
            if self._is_held():  # it may have been lost since the last beat
                self._claim = self._claim.model_copy(update={"is_released": True})
                self._storage.replace(self._name(self._generation), self._text())

    def _beat(self) -> None:
        last = time.monotonic()
        while not self._ended.wait(self._lease_s / 4):
            try:
                if not self._is_held():
                    return
                self._claim = self._claim.model_copy(update={"renewed": self._claim.renewed + 1})
                self._storage.replace(self._name(self._generation), self._text())
                last = time.monotonic()
            except EnvironmentFailed as error:  # the next beat may go through
                if time.monotonic() - last >= self._lease_s:
                    progress.log(f"lease {self.folder}: could not be renewed ({error})", "warning")
                    last = time.monotonic()

    def _make(self, generation: int) -> bool:
        """Whether the generation is this process's: also where the store's first answer was lost, and it was asked again."""
        if self._storage.create(self._name(generation), self._text()):
            return True
        claim = self._read(generation)
        return claim is not None and claim.token == self._claim.token

    def _is_held(self) -> bool:
        self.is_lost = self.is_lost or max(self._generations(), default=0) > self._generation
        return not self.is_lost

    def _generations(self) -> list[int]:
        names = (found.rpartition("/")[2] for found in self._storage.names(self.folder))
        return [int(name) for name in names if name.isdecimal()]

    def _name(self, generation: int) -> str:
        return f"{self.folder}/{generation:08d}"

    def _read(self, generation: int) -> Claim | None:
        return _claim_of(self._storage.read(self._name(generation))) if generation else None

    def _text(self) -> bytes:
        return self._claim.model_dump_json().encode()


def _claim_of(data: bytes | None) -> Claim | None:
    with contextlib.suppress(ValidationError):
        return Claim.model_validate_json(data) if data is not None else None
    return None
