"""The training process: a job on stdin, JSON lines of progress on stdout. Ends when its parent does."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any, TextIO

from tasks import progress
from tasks.errors import CrossmodalError
from tasks.train.request import TrainJob

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main() -> None:
    """Reads the job, trains, and reports; exits with 0, or with the error's code after reporting it."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print must not mix with the messages
    _die_with(int(sys.argv[1]))
    order = json.loads(sys.stdin.readline())
    threading.Thread(target=_watch_parent, daemon=True).start()
    from tasks.train.stage import run_training

    def tell(step: str, done: int, total: int, remark: str) -> None:
        """The parent process hears how far a step is."""
        _send(out, {"progress": [step, done, total, remark]})

    def say(line: str, level: progress.Level) -> None:
        """The parent process gets a line of the log."""
        _send(out, {"line": [line, level]})

    try:
        with progress.listening(tell), progress.listening_to_lines(say):
            run_training(TrainJob.model_validate(order["job"]), Path(order["work"]))
    except CrossmodalError as error:
        _send(out, {"error": type(error).__name__, "text": str(error)})
        sys.exit(error.exit_code)
    except (OSError, MemoryError) as error:
        _send(
            out,
            {"error": "EnvironmentFailed", "text": f"training: {type(error).__name__}: {error}; free some, run again"},
        )
        sys.exit(4)
    except _gpu_memory_errors() as error:
        message = " ".join(str(error).split())[:300]
        text = f"training: the GPU's memory does not suffice ({message}); lower train.batch_size, or free some, and run again"
        _send(out, {"error": "EnvironmentFailed", "text": text})
        sys.exit(4)
    _send(out, {"finished": True})


def _gpu_memory_errors() -> tuple[type[Exception], ...]:
    """torch's error of that kind, without importing torch: where it is not loaded nothing can have raised it."""
    torch = sys.modules.get("torch")
    return () if torch is None else (torch.OutOfMemoryError,)


def _send(out: TextIO, message: dict[str, Any]) -> None:
    out.write(json.dumps(message) + "\n")
    out.flush()


def _die_with(parent: int) -> None:
    """Asks Linux to kill us when the parent dies; elsewhere the end of stdin must do."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before we asked
        os._exit(4)


def _watch_parent() -> None:
    sys.stdin.read()
    os._exit(4)


if __name__ == "__main__":
    main()
