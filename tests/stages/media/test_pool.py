"""The decoding pool: a file that crashes, hangs or balloons its worker costs that one file."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.config_sections import MediaConfig
from tasks.errors import EnvironmentFailed
from tasks.media.pool import Decoded, Job, decode_all

COMMAND = (sys.executable, "-P", str(Path(__file__).with_name("misbehaving_worker.py")))
LIMITS = MediaConfig(timeout_s=1, memory_mb=2048).model_dump(mode="json")


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


@pytest.fixture(autouse=True)
def _leaves_no_process() -> Iterator[None]:
    before = _children()
    yield
    assert _children() <= before


@pytest.mark.parametrize(
    ("order", "reason", "detail"),
    [
        ("crash", "decoder-crashed", "signal 11"),
        ("hang", "decoder-timeout", "media.timeout_s = 1"),
        ("balloon", "decoder-memory", "2048 MB"),
        ("raise", "decoder-crashed", "exit 1"),
    ],
)
@pytest.mark.parametrize("place", [0, 3])
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


def test_many_bad_files_among_many_workers_and_batches() -> None:
    texts = [f"crash {n}" if n % 29 == 0 else f"good {n}" for n in range(100)]
    done = _decode(texts, workers=2)
    assert {text for text, outcome in done.items() if "reason" in outcome.header} == {
        text for text in texts if text.startswith("crash")
    }


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
    outcomes = decode_all(
        map(_job, [f"large {(4 << 20) + n}" for n in range(12)]), LIMITS | {"timeout_s": 0.5}, 1, COMMAND
    )
    first = next(outcomes)
    time.sleep(1.5)
    assert all("reason" not in outcome.header for outcome in [first, *outcomes])


def test_an_interruption_ends_the_workers_at_once() -> None:
    outcomes = decode_all(
        map(_job, ["good 1", *[f"slow {60 + n}" for n in range(40)]]), LIMITS | {"timeout_s": 100}, 2, COMMAND
    )
    assert next(outcomes).data == b"good 1"
    assert _children()
    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        outcomes.throw(KeyboardInterrupt)
    assert time.monotonic() - begun < 3


def test_closing_early_with_a_full_queue_does_not_hang() -> None:
    outcomes = decode_all(map(_job, [f"good {n}" for n in range(2000)]), LIMITS, 2, COMMAND)
    next(outcomes)
    begun = time.monotonic()
    outcomes.close()
    assert time.monotonic() - begun < 3


def test_an_error_in_the_jobs_is_raised_and_does_not_hang() -> None:
    def jobs() -> Iterator[Job]:
        yield _job("good")
        raise ZeroDivisionError("the manifest broke")

    with pytest.raises(ZeroDivisionError, match="the manifest broke"):
        list(decode_all(jobs(), LIMITS, 2, COMMAND))


@pytest.mark.parametrize("code", ["raise SystemExit(3)", "import os; os.close(1); import time; time.sleep(1)"])
def test_a_worker_that_cannot_start_fails_the_run_with_a_hint(code: str) -> None:
    with pytest.raises(EnvironmentFailed, match=r"does not start .* python -m tasks\.media\.worker"):
        list(decode_all(map(_job, ["a", "b"]), LIMITS, 2, (sys.executable, "-c", code)))


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
