"""Two stores on one registry publish one at a time: the lease's order, its dead owners, and the alias that moved meanwhile."""

from __future__ import annotations

import itertools
import os
import random
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mlflow import MlflowClient

from tasks import locks
from tasks.errors import EnvironmentFailed, PromotionRefused
from tasks.progress import listening_to_lines
from tasks.publish import lease as lease_module
from tasks.publish.alias_history import Move, move_alias
from tasks.publish.lease import PREFIX, Claim, Lease, publishing
from tasks.store import Store


class Tags:
    """A registry's tags of one model, each read and written on its own, as over MLflow's API."""

    def __init__(self, pause: Callable[[], None] = lambda: None) -> None:
        self.tags: dict[str, str] = {}
        self._pause, self._lock = pause, threading.Lock()

    def get_registered_model(self, name: str) -> Any:
        self._pause()
        with self._lock:
            return SimpleNamespace(tags=dict(self.tags))

    def set_registered_model_tag(self, name: str, key: str, value: str) -> None:
        self._pause()
        with self._lock:
            self.tags[key] = value

    def delete_registered_model_tag(self, name: str, key: str) -> None:
        self._pause()
        with self._lock:
            self.tags.pop(key, None)


@pytest.fixture
def client(migrated: Path, tmp_path: Path) -> MlflowClient:
    uri = f"sqlite:///{shutil.copyfile(migrated, tmp_path / 'mlflow.db')}"
    client = MlflowClient(uri, uri)
    client.create_registered_model("tiny")
    for _ in range(3):
        client.create_model_version("tiny", source=str(tmp_path))
    return client


@pytest.mark.parametrize("seed", range(4))
def test_two_never_publish_at_once_however_their_requests_interleave(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease_module, "_POLL_S", 0)
    rng, inside, most = random.Random(seed), itertools.count(), []

    def pause() -> None:
        for _ in range(rng.randrange(50)):
            os.sched_yield()

    registry, within, lock = Tags(pause), [0], threading.Lock()

    def publish(number: int) -> None:
        for _ in range(5):
            with publishing(registry, "tiny", Store(tmp_path / str(number))):
                with lock:
                    within[0] += 1
                    most.append(within[0])
                pause()
                next(inside)
                with lock:
                    within[0] -= 1

    threads = [threading.Thread(target=publish, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 20
    assert registry.tags == {}


def test_who_waits_is_told_for_whom_and_until_when(
    client: MlflowClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "SAY_AFTER_S", -1)
    said: list[str] = []
    with publishing(client, "tiny", Store(tmp_path / "one", run="the-run")) as held:
        impatient = Store(tmp_path / "two", None, 0)
        with (
            listening_to_lines(lambda line, level: said.append(line)),
            pytest.raises(
                EnvironmentFailed, match=r"model tiny: is being published from another store by run the-run.*0 s"
            ),
            publishing(client, "tiny", impatient),
        ):
            pass
        held.require()
        assert [key for key in client.get_registered_model("tiny").tags if key.startswith(PREFIX)] == [held.key]
    assert client.get_registered_model("tiny").tags == {}


def test_a_killed_one_of_this_store_is_passed_at_once_and_of_another_when_it_is_silent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry, store = Tags(), Store(tmp_path)
    with publishing(registry, "tiny", store):
        (ours,) = registry.tags.values()
    registry.tags[f"{PREFIX}killed"] = ours
    with publishing(registry, "tiny", store):
        assert f"{PREFIX}killed" not in registry.tags
    registry.tags[f"{PREFIX}killed"] = Claim(owner="o", store="elsewhere", number=3).model_dump_json()
    now = [0.0]
    clock = SimpleNamespace(monotonic=lambda: now[0], sleep=lambda seconds: now.append(now.pop() + 1))
    for module in (lease_module, locks):
        monkeypatch.setattr(module, "time", clock)
    with pytest.raises(EnvironmentFailed), publishing(registry, "tiny", Store(tmp_path, None, 50)):
        pass
    assert f"{PREFIX}killed" in registry.tags
    with publishing(registry, "tiny", store):
        assert f"{PREFIX}killed" not in registry.tags


def test_one_who_was_taken_for_dead_moves_no_alias(client: MlflowClient, tmp_path: Path) -> None:
    move = Move(action="publish", version="1", previous=None)
    with publishing(client, "tiny", Store(tmp_path / "one")) as lost:
        client.delete_registered_model_tag("tiny", lost.key)
        with pytest.raises(EnvironmentFailed, match=r"right to publish was lost.*no alias was moved"):
            move_alias(client, "tiny", "champion", move, lost)
    assert client.get_registered_model("tiny").aliases == {}


def test_one_who_stood_still_for_long_moves_no_alias(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with publishing(Tags(), "tiny", Store(tmp_path)) as late:
        monkeypatch.setattr(late, "_renewed_at", float("-inf"))
        with pytest.raises(EnvironmentFailed, match="stood still"):
            late.require()


def test_an_alias_that_was_moved_meanwhile_stays(client: MlflowClient, tmp_path: Path) -> None:
    def move(lease: Lease, version: str, previous: str | None) -> None:
        move_alias(client, "tiny", "champion", Move(action="publish", version=version, previous=previous), lease)

    with publishing(client, "tiny", Store(tmp_path / "one")) as lease:
        move(lease, "1", None)
        client.set_registered_model_alias("tiny", "champion", "3")  # in MLflow's own UI
        with pytest.raises(
            PromotionRefused,
            match=r"version 2: the alias 'champion' points to version 3 now, and pointed to version 1 when this was decided",
        ):
            move(lease, "2", "1")
        with pytest.raises(PromotionRefused, match="pointed to no version"):
            move(lease, "2", None)
    assert client.get_registered_model("tiny").aliases == {"champion": 3}


def test_a_copy_of_a_store_is_another_one(tmp_path: Path) -> None:
    registry = Tags()
    with publishing(registry, "tiny", Store(tmp_path / "one")):
        (ours,) = registry.tags.values()
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    with publishing(registry, "tiny", Store(tmp_path / "two")):
        (theirs,) = registry.tags.values()
    assert Claim.model_validate_json(ours).store != Claim.model_validate_json(theirs).store
