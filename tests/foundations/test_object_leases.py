"""Locks between machines: one at a time, taken over from the dead, told when lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import pytest

from tasks.errors import EnvironmentFailed
from tasks.object_leases import Claim, held_leases, leased
from tasks.object_storage import ObjectStorage
from tests.support.buckets import bucket, s3_environment
from tests.waiting import wait_until

__all__ = ["bucket", "s3_environment"]

HOLD = """
import sys
from tasks.object_leases import leased
from tasks.object_storage import ObjectStorage
with leased(ObjectStorage(sys.argv[1]), "train-abc", 60, "run-of-another", float(sys.argv[2])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_one_at_a_time_however_many_want_it(bucket: str) -> None:
    inside, most, done = 0, 0, []

    def work(number: int) -> None:
        nonlocal inside, most
        with leased(ObjectStorage(bucket), "name", 600, lease_s=600):
            inside += 1
            most = max(most, inside)
            inside -= 1
            done.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (most, sorted(done)) == (1, [0, 1, 2, 3])
    assert len(ObjectStorage(bucket).names("leases")) == 1, "older generations are gone"


def test_the_lease_of_a_killed_process_is_taken_over_and_that_of_a_live_one_is_not(bucket: str) -> None:
    storage = ObjectStorage(bucket)
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, bucket, "2"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(EnvironmentFailed, match=r"lease .*train-abc: held by run run-of-another, process \d+ of"):
            _take(storage, "train-abc")
        wait_until(lambda: _claim(storage, "train-abc/00000001").renewed > 2, "it says that it lives")
        assert held_leases(storage)["train-abc"].startswith(f"run run-of-another, process {other.pid} of ")
        os.kill(other.pid, signal.SIGKILL)
        with leased(storage, "train-abc", 60, lease_s=2):
            assert storage.names("leases") == ["leases/train-abc/00000002"]
    storage.create("leases/train-abc/of-something-else", b"7")
    assert held_leases(storage) == {}, "it is released"


def test_a_lease_that_another_took_over_is_told_at_the_end(bucket: str) -> None:
    storage = ObjectStorage(bucket)
    claim = Claim(holder="another", token="t")
    with pytest.raises(EnvironmentFailed, match="was lost meanwhile"):
        _stand_still_while(storage, claim)
    assert _claim(storage, "name/00000002") == claim, "which is not touched"


def test_a_lease_lost_since_the_last_beat_is_told_too(bucket: str) -> None:
    storage = ObjectStorage(bucket)
    claim = Claim(holder="another", token="t").model_dump_json().encode()
    with pytest.raises(EnvironmentFailed, match="was lost meanwhile"), leased(storage, "name", 60, lease_s=6000):
        assert storage.create("leases/name/00000002", claim)
    assert storage.read("leases/name/00000002") == claim


def test_a_lease_whose_making_was_answered_late_is_the_own(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first answer is lost, and the request is sent again by botocore: then there is one by that name."""
    storage, create = ObjectStorage(bucket), ObjectStorage.create
    monkeypatch.setattr(ObjectStorage, "create", lambda *made: create(*made) and create(*made))
    with leased(storage, "name", 0, lease_s=6000):
        assert storage.names("leases") == ["leases/name/00000001"]


def _stand_still_while(storage: ObjectStorage, claim: Claim) -> None:
    with leased(storage, "name", 60, lease_s=1):
        assert storage.create("leases/name/00000002", claim.model_dump_json().encode())
        heart = next(thread for thread in threading.enumerate() if thread.name == "object-lease")
        wait_until(lambda: not heart.is_alive(), "the holder notices")


def _take(storage: ObjectStorage, name: str) -> None:
    """At once, or not at all."""
    with leased(storage, name, 0, lease_s=600):
        raise AssertionError("two hold it")


def _claim(storage: ObjectStorage, name: str) -> Claim:
    return Claim.model_validate_json(storage.read(f"leases/{name}") or b"")
