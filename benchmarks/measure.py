"""What the benchmarks share: a command's wall and CPU seconds, and a line about the machine."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.machine import describe_machine

TINY = ("encoders.image=tiny", "encoders.text=tiny", "encoders.audio=tiny", "encoders.video=tiny")
"""Settings of benchmarks that measure something else than the choice of an encoder."""


@dataclass(frozen=True)
class Timing:
    """One finished command: `cpu_s` counts its descendants too, as far as they ended before it."""

    wall_s: float
    cpu_s: float
    last_line: str

    @property
    def summary(self) -> dict[str, Any]:
        """The JSON on the last line of its output."""
        loaded: dict[str, Any] = json.loads(self.last_line)
        return loaded


def time_command(command: Sequence[str], environment: dict[str, str] | None = None) -> Timing:
    """Runs a command to its end and measures it from outside. Raises RuntimeError when it fails."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=out, stderr=err, env={**os.environ, **(environment or {})})
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        if process.returncode != 0:
            raise RuntimeError(f"{' '.join(command)}: status {process.returncode}\n{err.read()[-2000:]}")
        lines = out.read().strip().splitlines()
    return Timing(wall, usage.ru_utime + usage.ru_stime, lines[-1] if lines else "")


def program(name: str) -> str:
    """A console script of this environment."""
    return str(Path(sys.executable).parent / name)


def median(values: Sequence[float]) -> float:
    """The median."""
    return statistics.median(values)


machine = describe_machine
