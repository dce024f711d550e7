"""The training process: a job comes in, progress and lines of the log go out. Ends when its parent does."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import cast

from data_contracts.training_history import Epoch
from tasks import progress
from tasks.drafts import full_disk, is_full_disk
from tasks.errors import EnvironmentFailed
from tasks.isolation.worker import Parent
from tasks.train.request import TrainJob, TrainOrder


def main() -> int:
    """Reads the job, trains, and reports; 0, or the code of the error that was reported."""
    parent = Parent.connect()
    order = cast(TrainOrder, parent.receive()[0])
    parent.watch()
    return parent.answer(lambda: train(order, parent))


def train(order: TrainOrder, parent: Parent) -> None:
    """The job is done. Raises EnvironmentFailed where memory or the disk did not suffice, and what training raises."""
    from tasks.train.stage import run_training

    def send_progress(step: str, done: int, total: int, message: str) -> None:
        """The parent process hears how far a step is."""
        parent.send({"progress": [step, done, total, message]})

    def send_line(line: str, level: progress.Level) -> None:
        """The parent process gets a line of the log."""
        parent.send({"line": [line, level]})

    def send_epoch(epoch: Epoch) -> None:
        """The parent process hears of an epoch, and may end this one."""
        parent.send({"epoch": epoch.model_dump(mode="json", exclude_unset=True)})

    listening = (
        progress.listening(send_progress),
        progress.listening_to_lines(send_line),
        progress.listening_to_epochs(send_epoch),
    )
    try:
        with contextlib.ExitStack() as stack:
            for each in listening:
                stack.enter_context(each)
            run_training(TrainJob.model_validate(order["job"]), Path(order["work"]))
    except (OSError, MemoryError) as error:
        if is_full_disk(error):
            raise full_disk(error, f"training, its state in {order['work']}", Path(order["work"])) from None
        raise EnvironmentFailed(f"training: {type(error).__name__}: {error}; free some, run again") from None
    except _gpu_memory_errors() as error:
        message = " ".join(str(error).split())[:300]
        raise EnvironmentFailed(
            f"training: the GPU's memory does not suffice ({message}); lower train.batch_size, or free some, and run again"
        ) from None


def _gpu_memory_errors() -> tuple[type[Exception], ...]:
    """torch's error of that kind, without importing torch: where it is not loaded nothing can have raised it."""
    torch = sys.modules.get("torch")
    return () if torch is None else (torch.OutOfMemoryError,)


if __name__ == "__main__":
    sys.exit(main())
