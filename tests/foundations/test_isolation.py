"""Workers that answer, fail, die, hang, or say what no worker of ours would: what the side that started them makes of it."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from tasks.errors import DataError, EnvironmentFailed
from tasks.isolation.process import Exit, Lost, OutOfTime, Process, TooLarge, answers, bare_environment, command_of
from tasks.isolation.wire_protocol import pack
from tests.waiting import wait_until

HEAD = "import os, signal, sys; from tasks.isolation.worker import Parent; parent = Parent.connect(); "


def worker(code: str, log: Path | None = None) -> Process:
    return Process([sys.executable, "-P", "-c", HEAD + code], bare_environment(), log)


def raw(message: str) -> Process:
    return Process([sys.executable, "-c", f"import sys; sys.stdout.buffer.write({message})"], bare_environment())


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_request_is_answered_until_it_is_done() -> None:
    code = "header, data = parent.receive(); [parent.send({'n': n}, data * n) for n in range(3)]; parent.send({'done': True})"
    with worker(code) as process:
        process.send({"a": 1}, b"xy")
        assert list(answers([process], each_s=600)) == [({"n": n}, b"xy" * n) for n in range(3)]
        assert process.stop().code in (0, -signal.SIGKILL)


def test_a_worker_inherits_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = (
        "AWS_SECRET_ACCESS_KEY",
        "PREFECT_API_KEY",
        "PREFECT_API_AUTH_STRING",
        "MLFLOW_TRACKING_PASSWORD",
        "TOKEN",
    )
    for name in secrets:
        monkeypatch.setenv(name, "sesame")
    with worker("parent.send({'environment': dict(os.environ)})") as process:
        found = process.receive(600)[0]["environment"]
    assert "sesame" not in found.values()
    assert found["OMP_NUM_THREADS"] == "1"
    assert set(secrets).isdisjoint(found)


def test_what_a_worker_prints_goes_to_its_log(tmp_path: Path) -> None:
    with worker(
        "print('noise', flush=True); parent.send({'done': True}); sys.exit('the end')", tmp_path / "log"
    ) as process:
        assert list(answers([process], each_s=600)) == []
        with pytest.raises(Lost, match="died"):
            process.receive(600)
        assert process.stop() == Exit(1, "the end")
    assert (tmp_path / "log").read_text() == "noise\nthe end\n"


@pytest.mark.parametrize(
    ("name", "kind"),
    [("DataError", DataError), ("EnvironmentFailed", EnvironmentFailed), ("SystemExit", EnvironmentFailed)],
)
def test_an_error_of_ours_is_raised_and_no_other_class(name: str, kind: type[Exception]) -> None:
    with worker(f"parent.fail({name!r}, 'rows are missing')") as process, pytest.raises(kind, match="rows are missing"):
        list(answers([process], each_s=600))


def test_the_answer_ends_with_the_exit_status_of_the_error() -> None:
    code = (
        "from tasks.errors import DataError\ndef run(): raise DataError('empty')\n"
        "parent.receive(); sys.exit(parent.answer(run))"
    )
    with worker(code.replace("from", "pass\nfrom", 1)) as process:
        process.send({})
        with pytest.raises(DataError, match=r"^empty$"):
            list(answers([process], each_s=600))
        with pytest.raises(Lost):
            process.receive(600)
        assert process.stop().code == DataError.exit_code


def test_what_one_reported_counts_more_than_that_another_died_of_it() -> None:
    one, other = (
        worker("parent.receive(); os._exit(1)"),
        worker("parent.send({'n': 1}); parent.fail('DataError', 'cause')"),
    )
    with one, other:
        other_says = answers([one, other], each_s=600)
        assert next(other_says)[0] == {"n": 1}
        one.send({})
        for process in (one, other):  # both have written all: the one that only died is looked at first
            os.waitid(os.P_PID, process._process.pid, os.WEXITED | os.WNOWAIT)
        with pytest.raises(DataError, match="cause"):
            list(other_says)


@pytest.mark.parametrize(
    ("message", "kind", "words"),
    [
        ("b''", Lost, "died"),
        (r"b'\xff' * 12", TooLarge, "4294967295 bytes"),
        (str(pack({}, b"xx")[:-1]), Lost, "died"),
        (r"b'\0\0\0\2' + b'\0' * 8 + b'no'", Lost, "broken answer"),
        (r"b'\0\0\0\2' + b'\0' * 8 + b'[]'", Lost, "broken answer"),
        (r"b'\0\0\0\2' + b'\0' * 8 + b'\"\xff'", Lost, "broken answer"),
        (r"b'\0\3\r\x40' + b'\0' * 8 + b'[' * 200_000", Lost, "broken answer"),
    ],
)
def test_what_is_no_message_is_a_lost_worker(message: str, kind: type[Lost], words: str) -> None:
    with raw(message) as process, pytest.raises(kind, match=words) as caught:
        process.receive(600)
    assert caught.value.process is process


def test_time_is_up_for_one_answer_and_for_all() -> None:
    for limits in ({"each_s": 0.2}, {"all_s": 0.2}):
        with worker("signal.pause()") as process, pytest.raises(OutOfTime, match=r"took longer than 0\.2 s"):
            list(answers([process], **limits))


def test_a_worker_takes_all_that_it_started_with_it() -> None:
    code = "import subprocess; parent.send({'pid': subprocess.Popen(['sleep', '100000']).pid}); signal.pause()"
    with worker(code) as process:
        child = process.receive(600)[0]["pid"]
        assert is_alive(child)
    wait_until(lambda: not is_alive(child), "the worker's own child is gone")


def test_a_dead_worker_takes_all_that_it_started_with_it() -> None:
    code = "import subprocess; parent.send({'pid': subprocess.Popen(['sleep', '100000']).pid}); os._exit(7)"
    with worker(code) as process:
        child = process.receive(600)[0]["pid"]
        with pytest.raises(Lost):
            process.receive(600)
        assert process.stop().code == 7
    wait_until(lambda: not is_alive(child), "the worker's own child is gone")


@pytest.mark.parametrize("watching", ["", "parent.watch(); os.environ.pop('x', 0); "])
def test_a_worker_ends_with_the_process_that_started_it(watching: str) -> None:
    """By Linux's own signal, or, where there is none, as its requests have ended."""
    inner = HEAD.replace("parent = ", "os.environ.pop('CROSSMODAL_PARENT'); parent = ") if watching else HEAD
    code = (
        "import sys; from tasks.isolation.process import Process, bare_environment\n"
        f"command = [sys.executable, '-c', {inner + watching + 'parent.send(dict(pid=os.getpid())); signal.pause()'!r}]\n"
        "process = Process(command, bare_environment()); parent.send(process.receive(600)[0]); signal.pause()"
    )
    with worker("pass\n" + code) as process:
        inner_pid = process.receive(600)[0]["pid"]
        assert is_alive(inner_pid)
    wait_until(lambda: not is_alive(inner_pid), "the inner worker has noticed")


@pytest.mark.parametrize(
    ("ended", "words"),
    [
        (Exit(3, ""), "exit 3"),
        (Exit(-9, ""), "SIGKILL, signal 9"),
        (Exit(-40, "bye"), "signal 40: bye"),
        (Exit(1, "MemoryError"), "exit 1: MemoryError"),
    ],
)
def test_how_a_worker_ended_is_said_in_words(ended: Exit, words: str) -> None:
    assert str(ended) == words


def test_a_worker_that_does_not_start_says_how_to_see_why() -> None:
    with (
        Process(command_of("tasks.no_such_module"), bare_environment()) as process,
        pytest.raises(
            EnvironmentFailed, match=r"that works does not start \(exit 1\); .*python -m tasks\.no_such_module <"
        ),
    ):
        process.begin({}, "works", "tasks.no_such_module")
