"""How many requests, and how many bytes of them, are under way: the next one is refused before memory runs out."""

from __future__ import annotations

from flows.serving.limits import Limits
from flows.serving.problems import HttpProblem


class Admission:
    """Counts what is under way; of one event loop, so it needs no lock."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.requests = 0
        self._bytes = 0

    def enter(self, size_bytes: int) -> None:
        """A request with a body of this size is under way. Raises HttpProblem (429) where there is no room for it."""
        full = self.requests >= self._limits.max_pending
        if full or (self.requests and self._bytes + size_bytes > self._limits.max_pending_mb * 1e6):
            raise HttpProblem(
                429, "overloaded", f"{self.requests} requests are under way; try again", headers={"Retry-After": "1"}
            )
        self.requests += 1
        self._bytes += size_bytes

    def leave(self, size_bytes: int) -> None:
        """A request that had entered with this size has ended."""
        self.requests -= 1
        self._bytes -= size_bytes
