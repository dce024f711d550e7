"""Commands in forks of one process that has the libraries loaded: as killable as a process of its own, and without the
seconds that each would take to import them. Their decoders, trainers and verifiers are started as ever.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_LIBRARIES = (
    *("numpy", "pandas", "pyarrow.parquet", "scipy.stats", "sklearn.linear_model", "torch", "great_expectations"),
    *("mlflow", "mlflow.pyfunc", "flows.cli", "flows.pipeline", "flows.execute", "flows.check"),
)


def load_libraries() -> None:
    """What a retrain imports is imported. RuntimeError where that started a thread: it would be missing in a fork."""
    for name in _LIBRARIES:
        importlib.import_module(name)
    if threading.active_count() > 1:
        raise RuntimeError(f"threads are running: {[thread.name for thread in threading.enumerate()]}")


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    """The exit status, or the signal's number below zero."""
    out: str
    err: str


class Forked:
    """`crossmodal ARGUMENT…` in a fork that leads a session of its own; its output is in files below `folder`."""

    def __init__(self, arguments: Sequence[str], folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._out, self._err = folder / "out", folder / "err"
        self.pid = os.fork()
        if self.pid == 0:
            _become(arguments, self._out, self._err)

    def kill(self) -> None:
        """SIGKILL, to it alone: what it has started has to notice by itself."""
        os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> Ended:
        """Its end."""
        _, status = os.waitpid(self.pid, 0)
        code = os.waitstatus_to_exitcode(status)
        return Ended(code, *(path.read_text(encoding="utf-8", errors="replace") for path in (self._out, self._err)))


def run(arguments: Sequence[str], folder: Path) -> tuple[Ended, float]:
    """A command to its end, and the seconds that it took."""
    start = time.perf_counter()
    return Forked(arguments, folder).wait(), time.perf_counter() - start


def _become(arguments: Sequence[str], out: Path, err: Path) -> None:
    code = 70
    try:
        os.setsid()
        for descriptor, path in ((0, Path(os.devnull)), (1, out), (2, err)):
            opened = os.open(path, os.O_RDONLY if descriptor == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(opened, descriptor)
            os.close(opened)
        from flows.cli import main

        sys.argv = ["crossmodal", *arguments]
        main()
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 0
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
