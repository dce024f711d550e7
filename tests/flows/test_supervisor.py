"""Services that die, with real processes that take no time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from flows.hosting import supervisor as supervising
from flows.hosting.processes import (
    MARKER,
    RUN,
    Stack,
    end,
    end_former_stack,
    marked,
    working_runs,
    write_stack,
)
from flows.hosting.services import bound_to_parent
from flows.hosting.supervisor import Service, Supervisor, describe_status, last_line, require_alive, restart_delay_s
from tasks.errors import EnvironmentFailed
from tasks.store import Store
from tests.waiting import wait_until

SLEEP = "import signal; signal.pause()"


def start_python(code: str, log: Path, **environment: str) -> subprocess.Popen[bytes]:
    with log.open("ab") as out:
        return subprocess.Popen(
            [sys.executable, "-c", code], stdout=out, stderr=out, start_new_session=True, env=os.environ | environment
        )


@pytest.fixture
def events() -> list[tuple[str, str]]:
    return []


@pytest.fixture
def supervisor(events: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch) -> Iterator[Supervisor]:
    monkeypatch.setattr(supervising, "FIRST_DELAY_S", 0.01)
    running = Supervisor(lambda kind, text: events.append((kind, text)))
    try:
        yield running
    finally:
        running.stop()


def test_the_delay_doubles_up_to_a_minute() -> None:
    assert [restart_delay_s(deaths) for deaths in range(1, 9)] == [1, 2, 4, 8, 16, 32, 60, 60]


def test_a_killed_service_is_started_again_and_both_are_announced(
    supervisor: Supervisor, events: list[tuple[str, str]], tmp_path: Path
) -> None:
    log = tmp_path / "log"
    service = Service("worker", lambda: start_python(SLEEP, log), log)
    first = supervisor.start(service)
    supervisor.tick()
    assert events == []
    first.kill()
    first.wait()

    def restarted() -> bool:
        supervisor.tick()
        return service.process is not first

    wait_until(restarted, "the service was started again")
    assert service.process is not None
    assert service.process.poll() is None
    assert [kind for kind, _ in events] == ["died", "restarted"]
    assert events[0][1].startswith("worker (SIGKILL) after ")
    assert str(log) in events[0][1]


def test_early_deaths_in_a_row_end_with_the_last_line_of_the_log(
    supervisor: Supervisor, events: list[tuple[str, str]], tmp_path: Path
) -> None:
    log = tmp_path / "log"
    supervisor.start(Service("mlflow", lambda: start_python("print('no room'); raise SystemExit(3)", log), log))

    def dead_often() -> bool:
        supervisor.tick()
        return sum(kind == "died" for kind, _ in events) >= supervising.TOO_MANY

    wait_until(dead_often, "it died often")
    died = [text for kind, text in events if kind == "died"]
    assert all(text.startswith("mlflow (exit status 3)") for text in died)
    assert died[-1].endswith(": no room")
    assert not died[0].endswith(": no room")


def test_a_death_after_a_long_life_is_the_first_in_a_row_again(supervisor: Supervisor, tmp_path: Path) -> None:
    log = tmp_path / "log"
    service = Service("server", lambda: start_python(SLEEP, log), log, early_deaths=4)
    process = supervisor.start(service)
    service.started_s -= supervising.SETTLED_S
    process.kill()
    process.wait()
    supervisor.tick()
    assert service.early_deaths == 1


def test_a_child_from_before_is_left_alone(events: list[tuple[str, str]], tmp_path: Path) -> None:
    child = start_python(SLEEP, tmp_path / "log")
    try:
        Supervisor(lambda kind, text: events.append((kind, text))).tick()
        assert child.poll() is None
        assert events == []
    finally:
        child.kill()
        child.wait()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux gives orphans to the nearest subreaper")
def test_what_a_killed_service_had_started_is_ended(tmp_path: Path) -> None:
    """In a process of its own, since a subreaper stays one."""
    log = tmp_path / "log"
    child = f"import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', {SLEEP!r}], start_new_session=True)"
    code = f"""
import select, subprocess, sys
from pathlib import Path
from flows.hosting.processes import adopt_orphans
from flows.hosting.supervisor import Service, Supervisor
adopt_orphans()
start = lambda: subprocess.Popen([sys.executable, "-c", {f"{child}; print(p.pid, flush=True); {SLEEP}"!r}],
                                 start_new_session=True, stdout=Path({str(log)!r}).open("ab"))
supervisor = Supervisor(lambda kind, text: print(kind, text, flush=True))
service = Service("worker", start, Path({str(log)!r}))
supervisor.start(service)
while not Path({str(log)!r}).read_text():
    select.select([], [], [], 0.05)
service.process.kill()
while True:
    supervisor.tick()
    select.select([], [], [], 0.05)
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=Path.cwd())
    try:
        assert process.stdout is not None
        line = next(line for line in process.stdout if line.startswith("ended"))
        orphan = int(log.read_text().split()[0])
        assert f"({orphan})" in line
        wait_until(lambda: not psutil.pid_exists(orphan), "the orphan has ended")
    finally:
        for left in psutil.Process(process.pid).children(recursive=True):
            left.kill()
        process.kill()
        process.wait()


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux's")
def test_a_leashed_process_ends_with_the_one_that_started_it(tmp_path: Path) -> None:
    log = tmp_path / "log"
    code = f"""
import signal, subprocess, sys
from flows.hosting.services import bound_to_parent
print(subprocess.Popen(bound_to_parent([sys.executable, "-c", {SLEEP!r}]), start_new_session=True).pid, flush=True)
signal.pause()
"""
    parent = start_python(code, log)
    wait_until(lambda: log.read_text().strip(), "the child has started")
    child = psutil.Process(int(log.read_text()))
    wait_until(lambda: "parent_death" not in " ".join(child.cmdline()), "the program has replaced its starter")
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    wait_until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE, "the child has ended")
    assert bound_to_parent(["/bin/true"])[-1] == "/bin/true"


def test_only_marked_processes_belong_to_a_stack_and_all_of_them_end(tmp_path: Path) -> None:
    stubborn = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('on', flush=True); signal.pause()"
    log = tmp_path / "log"
    mine = start_python(stubborn, log, **{MARKER: "stack-a", RUN: "run-a"})
    other = start_python(SLEEP, tmp_path / "other", **{MARKER: "stack-b", RUN: "run-b"})
    try:
        wait_until(log.read_text, "the process is on")
        assert [process.pid for process in marked("stack-a")] == [mine.pid]
        assert working_runs("stack-a") == {"run-a"}
        assert {"run-a", "run-b"} <= working_runs()
        end(marked("stack-a"), grace_s=0.2)
        assert not psutil.pid_exists(mine.pid)
        assert other.poll() is None
    finally:
        for process in (mine, other):
            process.kill()
            process.wait()


def test_a_former_stack_is_ended_by_its_marker(store: Store, tmp_path: Path) -> None:
    (store.root / "prefect").mkdir()
    assert end_former_stack(store) == []
    left = start_python(SLEEP, tmp_path / "log", **{MARKER: "former"})
    try:
        write_stack(store, Stack(marker="another"))
        assert end_former_stack(store) == []
        write_stack(store, Stack(marker="former"))
        assert len(end_former_stack(store)) == 1
        assert not psutil.pid_exists(left.pid)
    finally:
        left.kill()
        left.wait()


def test_a_service_that_never_started_says_why(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    service = Service("server", lambda: start_python("raise SystemExit('port in use')", log), log)
    service.launch().wait()
    with pytest.raises(EnvironmentFailed, match=r"server did not start \(exit status 1\): port in use; its log: "):
        require_alive(service)


def test_how_a_process_ended_and_what_it_said_last(tmp_path: Path) -> None:
    assert describe_status(-9) == "SIGKILL"
    assert describe_status(2) == "exit status 2"
    (tmp_path / "log").write_text("one\ntwo\n\n")
    assert last_line(tmp_path / "log") == "two"
    assert last_line(tmp_path / "none") == "its log is empty"
