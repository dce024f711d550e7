"""Contenders in turns, and what each costs."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from benchmarks.measure import median


@dataclass(frozen=True)
class Cost:
    """Medians of the rounds, in seconds; CPU of all threads of this process."""

    cpu_s: float
    wall_s: float

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.cpu_s + other.cpu_s, self.wall_s + other.wall_s)


@dataclass(frozen=True)
class Row:
    """A line of the table: ours beside a peer that does the same to as many media."""

    case: str
    peer: str
    ours: Cost
    theirs: Cost
    items: int
    goal: float
    """Of their CPU seconds / ours: at least."""
    note: str = ""

    @property
    def ratio(self) -> float:
        """How many times less CPU ours takes."""
        return self.theirs.cpu_s / self.ours.cpu_s

    def line(self) -> str:
        """As a row of Markdown."""
        each = [1000 * seconds / self.items for seconds in (self.ours.cpu_s, self.theirs.cpu_s)]
        wall = self.theirs.wall_s / self.ours.wall_s
        met = "met" if self.ratio >= self.goal else "missed"
        cells = [self.case, self.peer, f"{each[0]:.3g}", f"{each[1]:.3g}", f"{self.ratio:.2f}", f"{wall:.2f}"]
        return "| " + " | ".join([*cells, f"{self.goal:.2f}", met + (f"; {self.note}" if self.note else "")]) + " |"


HEADER = """| case | against | ours, CPU ms each | theirs | theirs / ours, CPU | wall | goal, at least | |
|---|---|---|---|---|---|---|---|"""


def in_turns(contenders: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, Cost]:
    """The cost of every contender; a first round is not counted, and every other one goes backwards."""
    costs: dict[str, list[Cost]] = {name: [] for name in contenders}
    for turn in range(rounds + 1):
        for name in contenders if turn % 2 == 0 else reversed(list(contenders)):
            cost = _cost(contenders[name])
            if turn:
                costs[name].append(cost)
    return {
        name: Cost(median([cost.cpu_s for cost in found]), median([cost.wall_s for cost in found]))
        for name, found in costs.items()
    }


def _cost(work: Callable[[], object]) -> Cost:
    start, before = time.perf_counter(), _cpu_s()
    work()
    return Cost(_cpu_s() - before, time.perf_counter() - start)


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
