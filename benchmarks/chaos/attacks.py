"""The attacks. Each yields a line per attempt: what was done, and what is wrong with how it ended, if anything."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import psutil

from benchmarks.chaos.forked import Ended, Forked, run
from benchmarks.chaos.trial import Trial, fresh, is_error_of_ours, publishes, summary_of

_PUBLISHED = ("champions", "mlartifacts", "mlflow.db*", "journal.jsonl", "runs", "work", "tmp")
"""What a store has of a published model; what the model was made from is left."""
_KILLS_A_STORE = 5
"""Kills in a row on one store, before it must finish."""
_ROOM_KB = 1 << 20
"""More than a run asks for before it begins."""
_PATIENCE = 100
"""Looks for processes that are left."""


class Attempt(NamedTuple):
    """One attempt of an attack."""

    what: str
    outcome: str
    """As a column of the table counts it."""
    wrong: str = ""
    """What should not have happened; empty where all is well."""


def kills(trial: Trial, count: int, draw: random.Random) -> Iterator[Attempt]:
    """SIGKILL at random moments of a run, five in a row on one store; the run after them publishes the same bytes."""
    yield from _kill(trial, count, draw, lambda: fresh(trial, "killed"))


def publish_kills(trial: Trial, count: int, draw: random.Random) -> Iterator[Attempt]:
    """The same of runs that have only to publish: all before that is in their store, and there is no registry yet."""

    def without_registry() -> Path:
        """A copy of the undisturbed store as it was before it published."""
        store = fresh(trial, "killed")
        shutil.copytree(trial.scratch / "undisturbed", store, symlinks=True, ignore=shutil.ignore_patterns(*_PUBLISHED))
        return store

    yield from _kill(trial, count, draw, without_registry)


def _kill(trial: Trial, count: int, draw: random.Random, make_store: Callable[[], Path]) -> Iterator[Attempt]:
    """Until `count` runs were killed: those that had finished do not count. A moment is drawn from as long as a run takes."""
    killed, seconds = 0, run(trial.retrain(make_store()), trial.scratch / "log")[1]
    while killed < count:
        store = make_store()
        for _ in range(min(_KILLS_A_STORE, count - killed)):
            after_s = draw.uniform(0.0, seconds)
            running = Forked(trial.retrain(store), trial.scratch / "log")
            time.sleep(after_s)
            running.kill()
            ended = running.wait()
            what = f"{killed}: killed after {after_s:.2f} s"
            finished = ended.code >= 0
            killed += not finished
            wrong = "" if not finished or publishes(trial, ended) else _say(ended)
            yield Attempt(what, "had finished" if finished else "killed", wrong)
            if finished:
                break  # what follows would find nothing to do
        yield _finish(trial, store)


def _finish(trial: Trial, store: Path) -> Attempt:
    ended, seconds = run(trial.retrain(store), trial.scratch / "log")
    wrong = "" if publishes(trial, ended) else _say(ended)
    return Attempt(f"the run after them, {seconds:.1f} s", "published the same bytes", wrong or _leftovers(store))


def at_once(trial: Trial, rounds: int, draw: random.Random) -> Iterator[Attempt]:
    """2, 4 and 8 runs at once on one store: all end with the same model, of which there is one version."""
    for number in range(rounds):
        store, several = fresh(trial, "shared"), (2, 4, 8)[number % 3]
        running = [Forked(trial.retrain(store), trial.scratch / f"log{one}") for one in range(several)]
        ended = [one.wait() for one in running]
        bad = [one for one in ended if not publishes(trial, one)]
        versions = {summary_of(one)["model"]["version"] for one in ended if publishes(trial, one)}
        wrong = _say(bad[0]) if bad else "" if versions == {"1"} else f"versions {sorted(versions)}"
        yield Attempt(f"{several} runs at once", "one version", wrong or _leftovers(store))


def full_disks(trial: Trial, count: int, draw: random.Random) -> Iterator[Attempt]:
    """A disk of its own for the store, too small in `count` sizes: refused in one line; with room, the run resumes.

    Needs the right to mount a tmpfs.
    """
    whole = _size_kb(trial.scratch / "undisturbed")
    for number in range(count):
        size_kb = round(64 * (whole / 64) ** ((number + draw.random()) / count))
        store = fresh(trial, "small")
        store.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size_kb}k", "tmpfs", str(store)], check=True)
        try:
            ended, _ = run(trial.retrain(store), trial.scratch / "log")
            fits = ended.code == 0
            fine = publishes(trial, ended) if fits else ended.code == 4 and is_error_of_ours(ended)
            subprocess.run(["mount", "-o", f"remount,size={_ROOM_KB}k", str(store)], check=True)
            again = _finish(trial, store)
            wrong = "" if fine else _say(ended)
            said = "had room" if fits else "refused, then resumed"
            yield Attempt(f"{size_kb} kB of {whole}: {_last_line(ended)}", said, wrong or again.wrong)
        finally:
            subprocess.run(["umount", str(store)], check=True)


def flips(trial: Trial, count: int, draw: random.Random) -> Iterator[Attempt]:
    """One bit of one file of a finished store is another: the same answer, or a refusal, and never the same failure twice.

    The kinds of files are drawn alike, then a file of the kind, then a byte. The retrain that follows would be `unchanged`.
    """
    source = trial.scratch / "undisturbed"
    by_kind = _files_by_kind(source)
    for number in range(count):
        kind = draw.choice(sorted(by_kind))
        name = draw.choice(by_kind[kind])
        store = fresh(trial, "flipped")
        shutil.copytree(source, store, symlinks=True)
        place = _flip(store / name, draw)
        what = f"{number}: {kind}: {name} bit {place}"
        first, _ = run(trial.retrain(store), trial.scratch / "log")
        if publishes(trial, first):
            noted = "damage" in first.out or "damage" in first.err
            yield Attempt(what, "noted, same answer" if noted else "same answer")
            continue
        if not is_error_of_ours(first):
            yield Attempt(what, "wrong", _say(first))
            continue
        second, _ = run(trial.retrain(store), trial.scratch / "log")
        if publishes(trial, second):
            yield Attempt(what, "refused once, then the same answer")
        elif is_error_of_ours(second) and _has_way_out(second):
            yield Attempt(f"{what}: {_last_line(second)}", "refused, with a way out")
        else:
            yield Attempt(what, "wrong", _say(second))


def _has_way_out(ended: Ended) -> bool:
    """The line says what to do."""
    return any(word in ended.err for word in ("restore", "rollback", "move it", "remove", "crossmodal ", "run again"))


def _flip(path: Path, draw: random.Random) -> int:
    bit = draw.randrange(8 * path.stat().st_size)
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(bit // 8)
        byte = file.read(1)[0] ^ (1 << bit % 8)
        file.seek(bit // 8)
        file.write(bytes([byte]))
    return bit


def _files_by_kind(store: Path) -> dict[str, list[str]]:
    """Files with bytes in them, by the top-level name and whether they are a record, a table or another file."""
    found: dict[str, list[str]] = {}
    for path in sorted(path for path in store.rglob("*") if path.is_file() and path.stat().st_size):
        name = path.relative_to(store)
        form = "record" if name.name == "artifact.json" else path.suffix
        kind = name.parts[0] if len(name.parts) == 1 else f"{name.parts[0]}/*{form}"
        found.setdefault(kind, []).append(name.as_posix())
    return {kind: names for kind, names in found.items() if kind not in ("prefect", "trash", "tmp")}


def _leftovers(store: Path) -> str:
    """What a finished run should not leave behind."""
    drafts = [path.name for path in (store / "tmp").glob("*")] if (store / "tmp").exists() else []
    hidden = [path.name for path in store.glob(".mlflow*")]
    states = [path.parent.name for path in store.glob("work/train-*/state*")]
    return f"left behind: {drafts + hidden + states}" if drafts + hidden + states else ""


def _size_kb(folder: Path) -> int:
    return sum(path.stat().st_blocks for path in folder.rglob("*")) // 2


def _last_line(ended: Ended) -> str:
    lines = ended.err.strip().splitlines()
    return lines[-1][:300] if lines else ""


def _say(ended: Ended) -> str:
    found = summary_of(ended)
    model = (found.get("model") or {}).get("sha256")
    return f"exit {ended.code}, verdict {found.get('verdict')}, sha256 {model}: {_last_line(ended)}"


def count_processes(trial: Trial) -> int:
    """Processes that work below the scratch folder, once they have had time to notice that their parent is gone."""
    for _ in range(_PATIENCE):
        found = [process for process in psutil.process_iter() if _works_below(process, str(trial.scratch))]
        if not found:
            return 0
        time.sleep(0.3)
    return len(found)


def _works_below(process: psutil.Process, folder: str) -> bool:
    with contextlib.suppress(psutil.Error):
        return process.pid != os.getpid() and folder in " ".join(process.cmdline())
    return False
