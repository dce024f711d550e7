"""The sensor on real files: half-written, appended, renamed, deleted; killed at the worst moments; buckets, too."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from flows.arrivals import watch_source
from tasks.config import RunConfig, load_config
from tasks.errors import EnvironmentFailed, UsageError
from tasks.ingest.arrivals import is_finished, list_source, read_place
from tasks.store import Store

SETTLE_S = 60.0


class Killed(Exception):
    """Stands for a kill -9."""


@dataclass
class Sensor:
    """Looks by a clock of its own; runs are kept by their keys, as Prefect keeps them."""

    source: str
    store: Store
    config: RunConfig
    now_s: float = 1000.0
    runs: dict[str, str] = field(default_factory=dict)
    cancelled: set[str] = field(default_factory=set)
    begun: bool = True
    kill_after_start: bool = False

    def start(self, key: str) -> str:
        run = self.runs.setdefault(key, f"run-{len(self.runs)}")
        if self.kill_after_start:
            raise Killed
        return run

    def lost(self, run: str) -> bool | None:
        return True if run in self.cancelled else False if self.begun else None

    def poll(self, later_s: float = 0.0) -> str:
        self.now_s += later_s
        outcome = watch_source(
            self.source, self.config, self.store, "retrain/weekly", self.now_s, SETTLE_S, self.start, self.lost
        )
        return outcome.partition(":")[0]

    def settle(self) -> str:
        self.poll()
        return self.poll(SETTLE_S)


@pytest.fixture
def sensor(tmp_path: Path, store: Store, config: RunConfig) -> Sensor:
    folder = tmp_path / "incoming"
    folder.mkdir()
    (folder / "a.csv").write_text("id,text,label\n1,x,a\n")
    return Sensor(str(folder), store, config)


def test_what_lies_there_is_acted_on_once_it_has_settled(sensor: Sensor) -> None:
    assert sensor.poll() == "settling"
    assert sensor.poll(30) == "settling"
    assert sensor.runs == {}
    assert sensor.poll(30) == "arrived"
    assert sensor.poll(300) == "unchanged"
    assert len(sensor.runs) == 1


def test_a_file_that_grows_waits_until_it_has_been_still(sensor: Sensor) -> None:
    sensor.settle()
    new = Path(sensor.source) / "b.csv"
    for part in range(4):
        with new.open("a") as file:
            file.write(f"{part},half a li")
        assert sensor.poll(45) == "settling"
    assert len(sensor.runs) == 1
    assert sensor.poll(SETTLE_S) == "arrived"
    assert len(sensor.runs) == 2


def test_rows_appended_to_a_table_arrive(tmp_path: Path, store: Store, config: RunConfig) -> None:
    table = tmp_path / "manifest.csv"
    table.write_text("id,text,label\n1,x,a\n")
    (tmp_path / "beside.csv").write_text("not this one")
    sensor = Sensor(str(table), store, config)
    assert sensor.settle() == "arrived"
    with table.open("a") as file:
        file.write("2,y,b\n")
    assert sensor.settle() == "arrived"
    (tmp_path / "beside.csv").write_text("changed")
    assert sensor.settle() == "unchanged"


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "a.csv").rename(folder / "c.csv"),
        lambda folder: (folder / "b.csv").unlink(),
        lambda folder: (folder / "deep/er").mkdir(parents=True) or (folder / "deep/er/x.png").write_bytes(b"png"),
        lambda folder: (folder / "b.csv").write_text("id,text\n3,zz\n"),
    ],
    ids=["renamed", "deleted", "new below", "rewritten"],
)
def test_every_change_of_content_arrives_once(sensor: Sensor, change: Callable[[Path], object]) -> None:
    (Path(sensor.source) / "b.csv").write_text("id,text\n2,y\n")
    sensor.settle()
    change(Path(sensor.source))
    assert sensor.settle() == "arrived"
    assert sensor.settle() == "unchanged"
    assert len(sensor.runs) == 2


def test_the_same_bytes_written_anew_are_nothing_new(sensor: Sensor) -> None:
    sensor.settle()
    file = Path(sensor.source) / "a.csv"
    file.write_bytes(file.read_bytes())
    os.utime(file, ns=(1, 1))
    assert sensor.settle() == "unchanged"
    assert len(sensor.runs) == 1


def test_names_of_unfinished_files_hidden_and_empty_ones_are_passed_over(sensor: Sensor) -> None:
    sensor.settle()
    folder = Path(sensor.source)
    for name in ("b.csv.part", "b.csv.tmp", ".b.csv.x7", "~b.csv~", "b.csv.crdownload"):
        (folder / name).write_text("half")
    (folder / "empty.csv").touch()
    (folder / ".cache").mkdir()
    (folder / ".cache/x").write_text("x")
    assert sensor.settle() == "unchanged"
    (folder / "b.csv.part").rename(folder / "b.csv")
    assert sensor.settle() == "arrived"
    assert is_finished("part/b.csv")


def test_a_source_that_is_gone_or_empty_starts_nothing_and_forgets_nothing(sensor: Sensor) -> None:
    sensor.settle()
    away = Path(sensor.source).with_name("unmounted")
    Path(sensor.source).rename(away)
    assert sensor.settle() == "nothing there"
    away.rename(sensor.source)
    assert sensor.settle() == "unchanged"
    assert len(sensor.runs) == 1


def test_content_that_was_there_before_arrives_again(sensor: Sensor) -> None:
    """a, then a and b, then a: Prefect would give the first run again if its key were of the content alone."""
    sensor.settle()
    other = Path(sensor.source) / "b.csv"
    other.write_text("b")
    sensor.settle()
    other.unlink()
    assert sensor.settle() == "arrived"
    assert len(sensor.runs) == 3


def test_a_kill_between_the_run_and_the_place_starts_nothing_twice_and_loses_nothing(sensor: Sensor) -> None:
    sensor.poll()
    sensor.kill_after_start = True
    with pytest.raises(Killed):
        sensor.poll(SETTLE_S)
    sensor.kill_after_start = False
    assert sensor.poll(1) == "arrived"
    assert len(sensor.runs) == 1
    assert sensor.poll(1) == "unchanged"


def test_a_run_that_was_cancelled_before_it_began_is_started_again(sensor: Sensor) -> None:
    sensor.begun = False
    sensor.settle()
    sensor.cancelled.add("run-0")  # another was running, and the limit cancels the new one
    assert sensor.poll() == "unchanged"
    assert list(sensor.runs.values()) == ["run-0", "run-1"]
    sensor.poll()
    assert len(sensor.runs) == 2  # open: neither begun nor lost
    sensor.begun = True
    sensor.poll()
    sensor.cancelled.add("run-1")  # once it has begun, its end is no longer watched
    sensor.poll()
    assert len(sensor.runs) == 2


def test_a_file_that_changes_while_it_is_digested_waits(sensor: Sensor, monkeypatch: pytest.MonkeyPatch) -> None:
    from flows import arrivals

    sensor.poll()
    real = arrivals.list_source
    looks = iter((1, 2))

    def growing(source: str, config: RunConfig) -> object:
        if next(looks) == 2:
            (Path(source) / "a.csv").write_text("more than before, written while the first bytes were read")
        return real(source, config)

    monkeypatch.setattr(arrivals, "list_source", growing)
    assert sensor.poll(SETTLE_S) == "settling"
    assert sensor.runs == {}


def test_a_clock_that_was_set_back_only_delays(sensor: Sensor) -> None:
    sensor.poll()
    assert sensor.poll(-500) == "settling"
    assert sensor.poll(SETTLE_S) == "arrived"


def test_a_damaged_place_is_told(sensor: Sensor) -> None:
    sensor.settle()
    place = next((sensor.store.root / "watch").glob("*.json"))
    assert read_place(place).sequence == 1
    place.write_text("{")
    with pytest.raises(EnvironmentFailed, match="damaged; remove it"):
        sensor.poll()


def test_a_bucket_is_watched_where_its_scheme_is_allowed(store: Store) -> None:
    fsspec = pytest.importorskip("fsspec", reason="needs crossmodal[remote]")
    memory = fsspec.filesystem("memory")
    memory.pipe_file("/watched/one/a.csv", b"1")
    memory.pipe_file("/watched/one/b.csv.part", b"half")
    allowed = load_config({}, ['data.allowed_schemes=["memory"]'])
    sensor = Sensor("memory://watched/one", store, allowed)
    try:
        assert list(list_source(sensor.source, allowed)) == ["a.csv"]
        assert sensor.settle() == "arrived"
        assert sensor.settle() == "unchanged"
        memory.pipe_file("/watched/one/c.csv", b"22")
        assert sensor.settle() == "arrived"
        with pytest.raises(UsageError, match="scheme-not-allowed"):
            list_source("memory://watched/one", load_config({}, []))
        with pytest.raises(UsageError, match="the web has no folders"):
            list_source("https://host/x", load_config({}, ['data.allowed_schemes=["https"]']))
    finally:
        memory.rm("/watched", recursive=True)
