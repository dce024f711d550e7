"""No test may fail because a machine is slow or busy: none reads a clock, sleeps, or sets a limit that could be reached.

Count what can be counted (modules, calls, bytes, rows), wait for conditions (tests/waiting.py), let what must be late be
late for ever, and put times into benchmarks/, as ratios. What hangs is ended by the one limit in pyproject.toml.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
CLOCKS = {"monotonic", "perf_counter", "process_time", "thread_time", "sleep"}
SHORT_S = 600
LIMITS = re.compile(r"timeout|deadline|within_s")
IN_TEXT = re.compile(rf"\btime\.({'|'.join(CLOCKS)})\(|\w*timeout_s\s*=\s*(?P<seconds>\d[\d.]*)")
ALLOWED = {
    # Limits of the product, reached on purpose by what would never end; the slower the machine, the surer.
    ("stages/media/test_pool.py", "test_a_file_that_hangs_is_ended_by_the_clock"): "its worker has stopped itself",
    (
        "stages/ingest/test_formats_read.py",
        "test_a_reading_process_that_goes_wrong",
    ): "its process waits for a signal that nobody sends",
    ("stages/train/test_subprocess.py", "test_out_of_time_it_is_killed"): "training for 100,000 epochs",
    ("security/test_remote.py", "_Pages"): "the pace of a page that has no end",
    ("security/test_canaries_of_services.py", "arguments_noted"): "the pace at which command lines are looked at",
    ("waiting.py", "wait_until"): "the one place that reads a clock, with the longest of limits",
}


def number(node: ast.expr | None) -> float | None:
    return node.value if isinstance(node, ast.Constant) and type(node.value) in (int, float) else None


def limits_of(node: ast.AST) -> Iterator[tuple[str, ast.expr | None]]:
    """Names and values of what a node passes, sets or presumes."""
    match node:
        case ast.Call(func=ast.Attribute(attr="timeout"), args=[value, *_]):  # pytest.mark.timeout
            yield "timeout", value
        case ast.Call(func=ast.Attribute(attr="wait" | "join" | "result"), args=[value]):
            yield "timeout", value
        case ast.Call(keywords=keywords):
            yield from ((keyword.arg or "", keyword.value) for keyword in keywords)
        case ast.Dict(keys=keys, values=values):
            yield from ((key.value, value) for key, value in zip(keys, values, strict=True) if _is_text(key))
        case ast.arguments(args=given, defaults=defaults) if defaults:
            yield from zip([argument.arg for argument in given[-len(defaults) :]], defaults, strict=True)
        case ast.Assign(targets=[ast.Name(id=name)], value=value):
            yield name, value


def _is_text(node: ast.expr | None) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def complaints_about(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Attribute(attr=name) if name.removesuffix("_ns") in CLOCKS:
            yield f"uses the clock: .{name}"
        case ast.Attribute(value=ast.Name(id="time"), attr="time" | "time_ns" as name):
            yield f"uses the clock: time.{name}"
        case ast.ImportFrom(module="time"):
            yield "uses the clock: from time import"
        case ast.Constant(value=str(text)):
            for found in IN_TEXT.finditer(text):
                if found["seconds"] is None or float(found["seconds"].rstrip(".")) < SHORT_S:
                    yield f"in a text: {found[0]}"
    for name, value in limits_of(node):
        seconds = number(value)
        if LIMITS.search(name) and seconds is not None and seconds < SHORT_S:
            yield f"sets a limit that a busy machine may reach: {name}={seconds:g}"


def complaints(source: str, where: str = "<module>") -> Iterator[tuple[str, int, str]]:
    """(module-level function or <module>, line, complaint) of a test's source; docstrings are not read."""
    for top in ast.parse(source).body:
        place = top.name if isinstance(top, ast.FunctionDef | ast.ClassDef) else where
        documents = {node.value for node in ast.walk(top) if isinstance(node, ast.Expr)}
        for node in ast.walk(top):
            if node in documents and _is_text(node):  # type: ignore[arg-type]
                continue
            for complaint in complaints_about(node):
                yield place, getattr(node, "lineno", top.lineno), complaint


def test_no_test_depends_on_the_clock() -> None:
    found, used = [], set()
    for path in sorted(TESTS.rglob("*.py")):
        name = path.relative_to(TESTS).as_posix()
        if path == Path(__file__):
            continue
        for place, line, complaint in complaints(path.read_text()):
            if (name, place) in ALLOWED:
                used.add((name, place))
            else:
                found.append(f"{name}:{line} in {place} {complaint}")
    assert found == [], f"see the head of {Path(__file__).name}:\n" + "\n".join(found)
    assert used == set(ALLOWED), "an exception that nothing needs any more"


@pytest.mark.parametrize(
    "source",
    [
        "import time\nstart = time.perf_counter()",
        "import time as clock\nassert clock.process_time() < 3",
        "from time import sleep",
        "import time\ntime.sleep(1)",
        "import asyncio\nasync def f(): await asyncio.sleep(1)",
        "code = 'import time; time.sleep(60)'",
        "subprocess.run([], timeout=60)",
        "process.wait(5)",
        "pytestmark = [pytest.mark.timeout(300)]",
        "def wait(run, timeout_s=20): ...",
        "limits = {'timeout_s': 1}",
        "settings(deadline=5000 / 10, deadline_ms=1) and settings(deadline=200)",
        "make('media.timeout_s=20')",
        "deadline_s = 5.0",
    ],
)
def test_the_guard_sees(source: str) -> None:
    assert list(complaints(source))


@pytest.mark.parametrize(
    "source",
    ["settings(deadline=None)", "make('media.timeout_s=600')", "thread.join()", "', '.join(x)", "timeout_s = 3600"],
)
def test_the_guard_lets_pass(source: str) -> None:
    assert list(complaints(source)) == []
