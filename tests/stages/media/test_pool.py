"""The decoding pool: a file that crashes, hangs or balloons its worker costs that one file."""

from __future__ import annotations

import contextlib
import hashlib
import os
import select
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from tasks.config_sections import MediaConfig
from tasks.errors import EnvironmentFailed
from tasks.isolation import process
from tasks.media import pool
from tasks.media.pool import Decoded, Decoders, Job, decode_all
from tests.waiting import wait_until

COMMAND = (sys.executable, "-P", str(Path(__file__).with_name("misbehaving_worker.py")))
LIMITS = MediaConfig(timeout_s=600, memory_mb=2048).model_dump(mode="json")


def _job(text: str) -> Job:
    return Job("text", hashlib.sha256(text.encode()).hexdigest(), inline=text.encode())


def _decode(texts: list[str], workers: int = 1) -> dict[str, Decoded]:
    done = list(decode_all(map(_job, texts), LIMITS, workers, COMMAND))
    assert len(done) == len(texts)
    return {outcome.job.inline.decode(): outcome for outcome in done}


def _children() -> set[int]:
    """Processes whose parent we are."""
    found: set[int] = set()
    for task in Path(f"/proc/{os.getpid()}/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # a thread that has just ended
            found |= set(map(int, (task / "children").read_text().split()))
    return found


def _stands_still(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


@pytest.fixture
def time_flies_when_a_worker_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer is waited for without end, unless a worker has stopped itself: then its time is up at once."""

    def wait(handles: list[int], _: list[int], __: list[int], left_s: float) -> tuple[list[int], list[int], list[int]]:
        while True:
            hangs = any(map(_stands_still, _children()))  # looked at first: what it wrote before is then in the pipe
            ready = select.select(handles, [], [], 0.02)
            if hangs or ready[0]:
                return ready

    monkeypatch.setattr(process, "select", SimpleNamespace(select=wait, poll=select.poll, POLLIN=1, POLLHUP=16))


@pytest.fixture(autouse=True)
def _leaves_no_process() -> Iterator[None]:
    before = _children()
    yield
    assert _children() <= before


@pytest.mark.parametrize(
    ("order", "reason", "detail"),
    [
        ("crash", "decoder-crashed", "signal 11"),
        ("hang", "decoder-timeout", "media.timeout_s = 600"),
        ("balloon", "decoder-memory", "2048 MB"),
        ("raise", "decoder-crashed", "exit 1"),
    ],
)
@pytest.mark.parametrize("place", [0, 3])
@pytest.mark.usefixtures("time_flies_when_a_worker_hangs")
def test_a_bad_file_costs_exactly_itself(order: str, reason: str, detail: str, place: int) -> None:
    good = [f"good {number}" for number in range(6)]
    done = _decode([*good[:place], order, *good[place:]])
    header = done[order].header
    assert header["reason"] == reason
    assert detail in header["detail"]
    assert done[order].transient
    for text in good:
        assert done[text].data == text.encode()
        assert done[text].header["shape"] == [len(text)]


def test_a_file_that_hangs_is_ended_by_the_clock() -> None:
    (outcome,) = decode_all([_job("hang")], LIMITS | {"timeout_s": 0.5}, 1, COMMAND)
    assert outcome.header == {"reason": "decoder-timeout", "detail": "took longer than media.timeout_s = 0.5"}


def test_many_bad_files_among_many_workers_and_batches() -> None:
    texts = [f"crash {n}" if n % 29 == 0 else f"good {n}" for n in range(100)]
    done = _decode(texts, workers=2)
    assert {text for text, outcome in done.items() if "reason" in outcome.header} == {
        text for text in texts if text.startswith("crash")
    }


def test_contents_of_cells_are_answered_in_few_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[int] = []
    receive = process.Process.receive

    def count(self: process.Process, timeout_s: float) -> object:
        found = receive(self, timeout_s)
        answers.append(len(found[0].get("outcomes", [])))
        return found

    monkeypatch.setattr(process.Process, "receive", count)
    done = _decode([f"good {n}" for n in range(pool.TOGETHER + 3)])
    assert {outcome.data for outcome in done.values()} == {text.encode() for text in done}
    assert answers == [0, pool.TOGETHER, 3]  # the first: it is ready


def test_a_worker_cannot_write_a_file(tmp_path: Path) -> None:
    done = _decode([f"write {tmp_path / 'loot'}", "good"])
    assert done[f"write {tmp_path / 'loot'}"].header["reason"] == "no-write"
    assert not (tmp_path / "loot").exists() or (tmp_path / "loot").stat().st_size == 0
    assert done["good"].data == b"good"


def test_a_worker_is_bounded_in_time_and_handles_and_gains_no_privilege() -> None:
    done = _decode(["limits", "limits again", "hoard", "good"])
    for order in ("limits", "limits again"):
        privileges, cpu_s, handles = map(int, done[order].header["detail"].split())
        assert (privileges, handles) == (1, 64)
        assert LIMITS["timeout_s"] < cpu_s < LIMITS["timeout_s"] + 30
    assert done["hoard"].header["reason"] == "no-handles"
    assert done["good"].data == b"good"


def test_what_a_decoder_prints_does_not_mix_with_the_answers() -> None:
    assert _decode(["print", "good"])["good"].data == b"good"


def test_a_slow_consumer_is_not_the_files_fault() -> None:
    """Answers are received as they come, whatever the consumer does meanwhile."""
    outcomes = decode_all(map(_job, [f"large {(4 << 20) + n}" for n in range(12)]), LIMITS, 1, COMMAND)
    before = _children()
    first = next(outcomes)
    wait_until(lambda: _children() <= before, "the worker has answered all and is gone")
    assert all("reason" not in outcome.header for outcome in [first, *outcomes])


def test_an_interruption_ends_the_workers_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "_TOGETHER_S", 0.2)
    jobs = map(_job, ["good 1", *[f"hang {n}" for n in range(40)]])
    outcomes = decode_all(jobs, LIMITS | {"timeout_s": 1e6}, 2, COMMAND)
    assert next(outcomes).data == b"good 1"
    assert _children()
    with pytest.raises(KeyboardInterrupt):
        outcomes.throw(KeyboardInterrupt)


def test_closing_early_with_a_full_queue_ends_the_workers_and_reads_no_further() -> None:
    taken: list[Job] = []

    def jobs() -> Iterator[Job]:
        for number in range(20_000):
            taken.append(_job(f"good {number}"))
            yield taken[-1]

    before = _children()
    outcomes = decode_all(jobs(), LIMITS, 2, COMMAND)
    first = next(outcomes)
    assert first.data in (b"good 0", f"good {pool.TOGETHER}".encode())  # of the two workers' first batches
    wait_until(
        lambda: len(taken) > 6 * pool.TOGETHER, "some answers are kept, and the queue of jobs is filled behind them"
    )
    assert _children() > before
    outcomes.close()
    assert _children() <= before
    assert len(taken) < 20_000
    assert next(outcomes, None) is None


def test_an_error_in_the_jobs_is_raised_and_does_not_hang() -> None:
    def jobs() -> Iterator[Job]:
        yield _job("good")
        raise ZeroDivisionError("the manifest broke")

    with pytest.raises(ZeroDivisionError, match="the manifest broke"):
        list(decode_all(jobs(), LIMITS, 2, COMMAND))


@pytest.mark.parametrize("code", ["raise SystemExit(3)", "import os, sys; os.close(1); sys.stdin.read()"])
def test_a_worker_that_cannot_start_fails_the_run_with_a_hint(code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "_END_S", 0.1)  # the second one never ends by itself
    with pytest.raises(EnvironmentFailed, match=r"does not start .* python -m tasks\.media\.worker"):
        list(decode_all(map(_job, ["a", "b"]), LIMITS, 2, (sys.executable, "-c", code)))


def test_decoders_that_stay_answer_in_order_after_a_crash_and_after_the_thread_that_asked() -> None:
    def pair(number: int, outcome: Decoded) -> tuple[int, Decoded]:
        """As they come."""
        return number, outcome

    before, decoders = _children(), Decoders(LIMITS, 2, COMMAND)
    try:
        asking = threading.Thread(target=decoders.decode, args=([_job("one")], pair))
        asking.start()
        asking.join()
        texts = ["two", "crash", *map(str, range(9))]
        found = decoders.decode([*map(_job, texts)], pair)
        assert [number for number, _ in found] == [*range(len(texts))]
        assert [outcome.job.inline.decode() for _, outcome in found] == texts
        assert [outcome.header.get("reason") for _, outcome in found] == [None, "decoder-crashed", *[None] * 9]
        assert decoders.decode([], pair) == []
    finally:
        decoders.close()
    assert _children() <= before


def test_decoders_go_on_after_what_is_made_of_an_outcome_has_failed() -> None:
    decoders = Decoders(LIMITS, 1, COMMAND)
    try:
        with pytest.raises(ZeroDivisionError):
            decoders.decode([*map(_job, ["one", "two"])], lambda number, outcome: number // 0)
        assert decoders.decode([*map(_job, ["three", "four"])], lambda _, outcome: outcome.job.inline) == [
            b"three",
            b"four",
        ]
    finally:
        decoders.close()


def test_no_jobs_start_no_process() -> None:
    assert list(decode_all([], LIMITS, 2, ("/does/not/exist",))) == []


def test_the_real_worker_reads_only_regular_unchanged_files(tmp_path: Path) -> None:
    good, changed, link, pipe = (tmp_path / name for name in ("good", "changed", "link", "pipe"))
    good.write_text("fine")
    changed.write_text("new words")
    link.symlink_to(good)
    os.mkfifo(pipe)
    digest = hashlib.sha256(b"fine").hexdigest()
    jobs = [Job("text", digest, str(path)) for path in (good, changed, link, pipe, tmp_path, tmp_path / "none")]
    done = {str(o.job.path): o for o in decode_all(jobs, LIMITS, 1)}
    assert done.pop(str(good)).data == b"fine"
    assert {outcome.header["reason"] for outcome in done.values()} == {"changed-file"}
    assert all(outcome.transient for outcome in done.values())
