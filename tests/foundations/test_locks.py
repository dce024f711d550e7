"""Locks: one process at a time, whoever waits is told for whom, a killed holder frees it; leases where no lock reaches."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from tasks import locks
from tasks.errors import EnvironmentFailed
from tasks.progress import listening_to_lines
from tests.waiting import wait_until

HOLD = (
    "import sys\nfrom pathlib import Path\nfrom tasks import locks\n"
    "if sys.argv[2] == 'lease':\n    locks.needs_lease = lambda kind, options: True\n"
    "with locks.held(Path(sys.argv[1]), run='20261126-the-run'):\n    print('held', flush=True)\n    sys.stdin.read()\n"
)


@pytest.fixture(params=["lock", "lease"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "lease":
        monkeypatch.setattr(locks, "needs_lease", lambda kind, options: True)
    return str(request.param)


def hold_elsewhere(path: Path, way: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", HOLD, str(path), way]
    other = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None
    assert other.stdout.readline() == "held\n"
    return other


def test_who_waits_is_told_for_whom_and_a_killed_holder_frees_it(
    way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, said = tmp_path / "a.lock", []
    monkeypatch.setattr(locks, "SAY_AFTER_S", 0)
    other = hold_elsewhere(path, way)
    assert locks.is_held(path)
    with (
        listening_to_lines(lambda line, level: said.append((line, level))),
        pytest.raises(EnvironmentFailed) as refused,
        locks.held(path, 0),
    ):
        pass
    who = f"run 20261126-the-run, process {other.pid} of "
    assert [level for _, level in said] == ["notice"]
    assert who in said[0][0]
    assert str(path) in said[0][0]
    assert who in str(refused.value)
    assert "waited 0 s" in str(refused.value)
    assert "runtime.lock_timeout_s" in str(refused.value)
    other.kill()
    other.wait()
    assert way == "lease" or not locks.is_held(path)
    with locks.held(path):
        assert json.loads(path.read_text())["pid"] == os.getpid()
    assert not locks.is_held(path)


def test_ctrl_c_ends_the_wait(way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(line: str, level: str) -> None:
        raise KeyboardInterrupt

    path = tmp_path / "a.lock"
    monkeypatch.setattr(locks, "SAY_AFTER_S", 0)
    other = hold_elsewhere(path, way)
    with listening_to_lines(interrupt), pytest.raises(KeyboardInterrupt), locks.held(path):
        pass
    other.communicate()
    with locks.held(path):
        pass


def test_a_lease_of_another_machine_is_taken_over_when_it_is_long_dead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "needs_lease", lambda kind, options: True)
    path, lease = tmp_path / "a.lock", tmp_path / "a.lock.lease"
    lease.write_text(f"filelock/2\npid=7\nhost=elsewhere\nmode=lease\ntoken=t\nduration={locks.LEASE_S!r}\n")
    assert locks.is_held(path)
    with locks.held_if_free(path) as ours:
        assert not ours
    old = lease.stat().st_mtime - locks.DEAD_S
    os.utime(lease, (old, old))
    assert not locks.is_held(path)
    with locks.held_if_free(path) as ours:
        assert ours
    assert not lease.exists()


def test_a_lease_that_was_lost_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "needs_lease", lambda kind, options: True)
    monkeypatch.setattr(locks, "LEASE_S", 0.04)
    path = tmp_path / "a.lock"
    with pytest.raises(EnvironmentFailed, match=r"a\.lock: was lost meanwhile .*Run it again"), locks.held(path):  # noqa: PT012
        (tmp_path / "a.lock.lease").unlink()
        heartbeats = [thread for thread in threading.enumerate() if thread.name.startswith("filelock-lease")]
        wait_until(lambda: not any(thread.is_alive() for thread in heartbeats), "the heartbeat has seen it")


def test_a_file_system_without_locks_gets_leases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(file: int, how: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    path = tmp_path / "a.lock"
    with locks.held(path):
        assert (tmp_path / "a.lock.lease").exists()
        assert locks.is_held(path)
        with locks.held_if_free(path) as ours:
            assert not ours
    assert not locks.is_held(path)


@pytest.mark.parametrize(
    ("kind", "options", "lease"),
    [
        ("ext4", "rw", False),
        ("", "", False),
        ("nfs4", "rw,vers=4.2,local_lock=none", False),
        ("nfs", "rw,vers=3,local_lock=none", False),
        ("nfs", "rw,vers=3,nolock,local_lock=all", True),
        ("nfs", "rw,vers=3,local_lock=flock", True),
        ("cifs", "rw,vers=3.1.1", False),
        ("smb3", "rw,nobrl", True),
        ("lustre", "rw,flock", False),
        ("lustre", "rw,localflock", True),
        ("ceph", "rw", False),
        ("fuse.ceph-fuse", "rw", False),
        ("fuse.sshfs", "rw", True),
        ("fuse.gcsfuse", "rw", True),
        ("9p", "rw", True),
        ("virtiofs", "rw", True),
    ],
)
def test_locks_that_stay_on_one_machine_are_no_locks(kind: str, options: str, lease: bool) -> None:
    assert locks.needs_lease(kind, frozenset(options.split(","))) is lease


def test_the_mount_is_found_by_its_device() -> None:
    lines = [
        "22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,discard\n",
        "36 22 0:42 / /the\\040store rw,nosuid - nfs4 server:/a\\040b rw,vers=4.2,local_lock=none\n",
    ]
    assert locks.find_mount(os.makedev(254, 0), lines) == ("ext4", {"rw", "discard"})
    assert locks.find_mount(os.makedev(0, 42), lines) == ("nfs4", {"rw", "vers=4.2", "local_lock=none"})
    assert locks.find_mount(os.makedev(9, 9), lines) == ("", frozenset())


def test_a_lock_that_cannot_be_made_is_told_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(EnvironmentFailed, match=r"lock .*file/a\.lock: cannot be made"),
        locks.held(tmp_path / "file" / "a.lock"),
    ):
        pass


def test_it_is_said_after_two_seconds_and_every_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    now, said = [0.0], []
    monkeypatch.setattr(locks, "time", SimpleNamespace(monotonic=lambda: now[0]))
    waiting = locks.Waiting(timeout_s=1000)
    with listening_to_lines(lambda line, level: said.append(now[0])):
        for now[0] in (0.0, 1.9, 2.0, 3.0, 61.9, 62.0, 62.1):
            waiting.tell("a lock is held")
        now[0] = 1000.0
        with pytest.raises(EnvironmentFailed, match="a lock is held; waited 1000 s"):
            waiting.tell("a lock is held")
    assert said == [2.0, 62.0]
