"""Locks on files: one process holds one at a time, whoever waits sees who that is, and the next one has it when that ends.

Where the file system has locks that all its machines see, the kernel, or the server, frees a lock however its holder ends
(flock; on NFSv4 the server's POSIX locks). Elsewhere a lock is a lease: a file beside it that its holder touches now and
then, and that another takes over when nobody has touched it for a while. Which of the two is read from the mount, or by the
file system's refusal. No lock rests on a host's name and a process id: containers share both.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import functools
import getpass
import os
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, ValidationError

from tasks import progress
from tasks.errors import EnvironmentFailed

if TYPE_CHECKING:
    from filelock import BaseFileLock

LOCK_TIMEOUT_S = 7 * 3600.0
"""Longer than a training may take (runtime.train_timeout_s), for whose end another run of the same training waits."""
SAY_AFTER_S = 2.0
SAY_EVERY_S = 60.0
LEASE_S = 60.0
"""A lease that nobody has touched for so long, by the clock of who waits, is taken over; its holder touches it every 15 s."""
DEAD_S = 3600.0
"""A lease whose file is so old is nobody's, also for one who does not wait: clocks of machines differ by less."""
_LEASE = ".lease"
_UNSUPPORTED = frozenset({errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP})
_SEEN_BY_ALL = frozenset({"fuse.ceph", "fuse.ceph-fuse", "fuse.glusterfs", "fuse.juicefs"})
"""File systems in user space that pass locks on to their server; the kernel keeps those of others to one machine."""


class Holder(BaseModel):
    """Who holds a lock, as it says of itself in the lock's file."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    user: str
    host: str
    pid: int
    started: datetime
    """When the process began, UTC."""
    since: datetime
    """When it got the lock, UTC."""
    run: str | None = None

    def __str__(self) -> str:
        what = f"run {self.run}, " if self.run else ""
        return f"{what}process {self.pid} of {self.user} on {self.host}, since {self.since:%Y-%m-%d %H:%M:%S} UTC"


@contextlib.contextmanager
def held(path: Path, timeout_s: float = LOCK_TIMEOUT_S, run: str | None = None) -> Iterator[None]:
    """The lock at `path` is this process's for the block; meanwhile its file says whose.

    Others wait for it, and say so. EnvironmentFailed after `timeout_s`, where the lock cannot be made, and at the end of the
    block where a lease was lost in it.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = _acquire(path, timeout_s, _teller(path))
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        way = "free space, and run it again" if full else "run as a user who may write there"
        raise EnvironmentFailed(f"lock {path}: cannot be made ({error.strerror or error}); {way}") from None
    if lock is None:
        raise EnvironmentFailed(_waited(_held_by(path), timeout_s), transient=True)
    with contextlib.suppress(OSError):  # on a full disk the lock holds, nameless
        path.write_text(own_record(run).model_dump_json(), encoding="utf-8")
    try:
        yield
    finally:
        lock.release()
    if (lost := getattr(lock, "compromise", None)) is not None:
        raise EnvironmentFailed(
            f"lock {path}: was lost meanwhile ({lost.reason}), as this process or the file system stood still for {LEASE_S:g} "
            "s; another may have done the same work. Run it again: it resumes",
            transient=True,
        )


@contextlib.contextmanager
def held_if_free(path: Path, timeout_s: float = 0.0) -> Iterator[bool]:
    """Whether the lock at `path` is this process's for the block. Nameless and silent; OSError where it cannot be made."""
    lock = _acquire(path, timeout_s, lambda: False)
    try:
        yield lock is not None
    finally:
        if lock is not None:
            lock.release()


def is_held(path: Path) -> bool:
    """Whether a process holds the lock. Only reads: right on a read-only file system too."""
    if uses_lease(path):
        return _is_alive(path)
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError as error:
        if error.errno in _UNSUPPORTED:
            return _is_alive(path)
        raise
    finally:
        os.close(descriptor)
    return False


def lock_of(name: str) -> str | None:
    """The name of the lock's file that a file of this name belongs to, itself or a lease's; None for any other file."""
    lock = name.removesuffix(_LEASE)
    return lock if lock.endswith(".lock") else None


def _acquire(path: Path, timeout_s: float, on_wait: Callable[[], bool]) -> BaseFileLock | None:
    """The lock, held; None where another held it all the time."""
    from filelock import FileLock, Timeout

    try:
        if uses_lease(path):
            return _acquire_lease(path, timeout_s, on_wait)
        lock = FileLock(path, fallback_to_soft=False)
        lock.acquire(timeout_s, cancel_check=on_wait)
    except Timeout:
        return None
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
        try:
            return _acquire_lease(path, timeout_s, on_wait)
        except Timeout:
            return None
    return lock


def _acquire_lease(path: Path, timeout_s: float, on_wait: Callable[[], bool]) -> BaseFileLock:
    from filelock import SoftFileLease

    lease = SoftFileLease(f"{path}{_LEASE}", lease_duration=LEASE_S, heartbeat_interval=LEASE_S / 4)
    if not _is_alive(path):
        lease.force_break()
    lease.acquire(timeout_s, cancel_check=on_wait)
    return lease


def _is_alive(path: Path) -> bool:
    """Whether the lease of a lock was touched lately."""
    try:
        return time.time() - Path(f"{path}{_LEASE}").stat().st_mtime < DEAD_S
    except FileNotFoundError:
        return False


class Waiting:
    """A wait for somebody else, who is named after a moment and now and then."""

    def __init__(self, timeout_s: float = float("inf")) -> None:
        self._timeout_s = timeout_s
        self._begun = time.monotonic()
        self._next = self._begun + SAY_AFTER_S

    def tell(self, why: str) -> None:
        """Says why there is a wait, where it is time to. EnvironmentFailed where it has lasted too long."""
        now = time.monotonic()
        if now - self._begun >= self._timeout_s:
            raise EnvironmentFailed(_waited(why, self._timeout_s), transient=True)
        if now >= self._next:
            self._next = now + SAY_EVERY_S
            progress.log(f"{why}; this process waits for its end", "notice")


def _teller(path: Path) -> Callable[[], bool]:
    waiting = Waiting()

    def tell() -> bool:
        """Whether to give up: never, that is the timeout's."""
        waiting.tell(_held_by(path))
        return False

    return tell


def _held_by(path: Path) -> str:
    return f"lock {path}: held by {_describe(path)}"


def _waited(why: str, timeout_s: float) -> str:
    return (
        f"{why}; waited {timeout_s:g} s. Wait for its end or end it, or allow more time with --set "
        "runtime.lock_timeout_s=…"
    )


def _describe(path: Path) -> str:
    try:
        return str(Holder.model_validate_json(path.read_text(encoding="utf-8")))
    except (OSError, ValidationError, UnicodeDecodeError):
        return "another process"


def own_record(run: str | None) -> Holder:
    """This process as a holder, from now on."""
    import psutil

    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        user = str(os.getuid())
    began = datetime.fromtimestamp(psutil.Process().create_time(), UTC)
    now = datetime.now(UTC)
    return Holder(user=user, host=os.uname().nodename, pid=os.getpid(), started=began, since=now, run=run)


def uses_lease(path: Path) -> bool:
    """Whether a lock at this place is a lease, as the mount keeps those of the kernel to one machine."""
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    return needs_lease(*_mounted(folder.stat().st_dev))


def needs_lease(kind: str, options: frozenset[str]) -> bool:
    """Whether locks on a file system of this kind, mounted so, are unknown to the other machines that have it."""
    match kind.partition(".")[0]:
        case "nfs" | "nfs4":
            return bool(options & {"nolock", "local_lock=all", "local_lock=flock"})
        case "cifs" | "smb3":
            return "nobrl" in options
        case "lustre":
            return "flock" not in options
        case "fuse":
            return kind not in _SEEN_BY_ALL
        case other:
            return other in {"9p", "virtiofs", "beegfs"}


def find_mount(device: int, lines: Iterable[str]) -> tuple[str, frozenset[str]]:
    """The kind and the options of the file system of a device number, from the lines of /proc/self/mountinfo; "" where unknown.

    A line: `36 35 0:42 / /store rw - nfs4 server:/export rw,vers=4.2,local_lock=none`.
    """
    for line in lines:
        before, _, after = line.partition(" - ")
        if before.split()[2] == f"{os.major(device)}:{os.minor(device)}":
            kind, _, options = after.split(" ", 2)
            return kind, frozenset(options.strip().split(","))
    return "", frozenset()


@functools.cache
def _mounted(device: int) -> tuple[str, frozenset[str]]:
    try:
        with Path("/proc/self/mountinfo").open() as lines:
            return find_mount(device, lines)
    except OSError:  # not Linux
        return "", frozenset()
