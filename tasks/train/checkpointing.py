"""When the state of a run is written."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from tasks.train.state import TrainState, save_state

MINUTE_S = 60.0
EPOCH_COST, STEP_COST = 10, 20  # writing takes at most a tenth of the time after epochs, a twentieth within one


class CheckpointSchedule:
    """Writes the state when it is due: what a kill may cost is weighed against what writing costs.

    With `every`, after every so many steps and after every epoch. Without, after an epoch and within one after a minute,
    but never so often that writing takes more than a small share of the time.
    """

    def __init__(self, work: Path, every: int | None, steps_only: bool, writes: bool) -> None:
        self.work, self.every, self.steps_only, self.writes = work, every, steps_only, writes
        self.cost_s = 0.0
        self.last = time.monotonic()

    def due_within(self, step: int) -> bool:
        """Whether to write after this step of the run, counted from 1, before its epoch ends."""
        if self.every is not None:
            return step % self.every == 0
        if self.steps_only:
            return False
        return time.monotonic() - self.last > max(MINUTE_S, STEP_COST * self.cost_s)

    def due_after_epoch(self) -> bool:
        """Whether to write now that an epoch has ended."""
        if self.every is not None or self.steps_only:
            return True
        return time.monotonic() - self.last > EPOCH_COST * self.cost_s

    def keep(self, gather: Callable[[], TrainState]) -> None:
        """Writes what `gather` gives, unless another process does; all processes must come here where weights are divided."""
        began = time.monotonic()
        if self.writes or self.steps_only:
            state = gather()
            if self.writes:
                save_state(state, self.work)
        self.last = time.monotonic()
        self.cost_s = self.last - began
